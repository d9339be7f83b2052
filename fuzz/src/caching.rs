//! What the cache decides by.

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, StatusCode};
use weir::cache;

use crate::input::{self, Numbers};

/// Values of `Cache-Control`, one a line.
pub(crate) fn cache_control(data: &[u8]) {
    let lines: Vec<_> = input::lines(data)
        .take(16)
        .filter_map(|line| HeaderValue::from_bytes(line).ok())
        .collect();
    cache::fuzz::cache_control(&lines);
}

/// Seconds on the way, then a request head, an empty line, a status and field lines of the response.
pub(crate) fn storing(data: &[u8]) {
    let mut numbers = Numbers(data);
    let [delay] = numbers.bytes();
    let (request, response) = input::halves(numbers.0);
    let Some(parts) = input::request(request) else {
        return;
    };
    let mut lines = input::lines(response);
    let status = StatusCode::from_bytes(lines.next().unwrap_or_default());
    let request_time = input::now();
    let times = cache::Times {
        request_time,
        response_time: request_time + Duration::from_secs(u64::from(delay & 15)),
        // Sun, 06 Nov 1994 08:49:37 GMT
        response_wall: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
    };
    let status = status.unwrap_or(StatusCode::OK);
    let response = input::fields(lines);
    cache::fuzz::storing(&parts.method, &parts.headers, status, &response, &times);
}

/// Six lines: the parts of two keys.
pub(crate) fn keys(data: &[u8]) {
    let text = input::text(data);
    let mut lines = text.split('\n');
    let mut parts = || [(); 3].map(|()| lines.next().unwrap_or_default());
    cache::fuzz::keys(parts(), parts());
}

/// Names, separated by commas, then field lines.
pub(crate) fn vary(data: &[u8]) {
    let mut lines = input::lines(data);
    let names = lines.next().unwrap_or_default();
    let mut nominated = Vec::new();
    for name in names.split(|byte| *byte == b',') {
        if let Ok(name) = HeaderName::from_bytes(name)
            && !nominated.contains(&name)
        {
            nominated.push(name);
        }
    }
    cache::fuzz::nominated(&input::fields(lines), &nominated);
}
