//! What operators type, ask and read, and what name servers say to weir.

use std::time::{Duration, SystemTime};

use weir::net::Service;
use weir::telemetry::{Line, Text};
use weir::{admin, app, cli, telemetry};

use crate::input::{self, Numbers};

/// Texts of a line, each in one of `data`'s.
pub(crate) fn access_log(data: &[u8]) {
    let text = input::text(data);
    let mut parts = text.split('\u{0}');
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let mut line = Line::new(time, [198, 18, 0, 1].into(), "1.1");
    line.status = u16::try_from(data.len()).ok();
    line.bytes = data.len() as u64;
    line.complete = data.len().is_multiple_of(2);
    line.attempts = 1;
    line.duration = Duration::from_nanos(data.len() as u64);
    for kind in [
        Text::Method,
        Text::Host,
        Text::Target,
        Text::Referer,
        Text::UserAgent,
        Text::Origin,
        Text::Cache,
    ] {
        line.set(kind, &[parts.next().unwrap_or_default()]);
    }
    line.set(Text::RequestId, &["1f"]);
    telemetry::fuzz::line(&line);
}

/// A query, and content of requests and answers.
pub(crate) fn admin(data: &[u8]) {
    admin::fuzz::queries(&input::text(data));
    admin::fuzz::content(data);
}

/// Words, one a line, of a command; and numbers to be shown.
pub(crate) fn command_line(data: &[u8]) {
    let text = input::text(data);
    let words: Vec<_> = std::iter::once("weir")
        .chain(text.lines().take(16))
        .collect();
    cli::fuzz::command(&words);
    let mut numbers = Numbers(data);
    let (number, other) = (numbers.u64(), numbers.u64());
    cli::fuzz::numbers(number, other, f64::from_bits(numbers.u64()));
}

/// Records of a service: priority, weight, port, a letter of the host.
pub(crate) fn services(data: &[u8]) {
    let records: Vec<_> = data
        .chunks(7)
        .take(64)
        .map(|record| {
            let mut numbers = Numbers(record);
            Service {
                priority: numbers.u16() & 3,
                weight: numbers.u16(),
                port: numbers.u16(),
                host: format!("host-{}.test", numbers.bytes::<1>()[0]),
            }
        })
        .collect();
    app::fuzz::services(&records);
}
