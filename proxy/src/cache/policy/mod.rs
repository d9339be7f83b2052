//! What may be answered from the store, what may go into it, what throws out of it (RFC 9111 §3, §4, §4.4, §5.2.1).

use std::time::{Instant, SystemTime};

use http::header::{
    AGE, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderName, IF_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, SET_COOKIE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode};

use super::directives::Directives;
use super::freshness::{self, corrected_initial_age, freshness_lifetime};
use super::response::{Audience, StoredResponse};
use super::status::Forwarded;
use super::vary::{copied, nominated_fields};

/// When a request was sent to the origin and its response arrived.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When the request was sent.
    pub request_time: Instant,
    /// When the response's head arrived.
    pub response_time: Instant,
    /// The same by the wall clock, for comparison with Date and Expires.
    pub response_wall: SystemTime,
}

/// Whether the cache may be asked for this request at all (RFC 9111 §4, §5.2.1): `None` = yes.
///
/// - Other methods than GET and HEAD: [`Forwarded::Method`].
/// - Content (as Content-Length or Transfer-Encoding announce it; over HTTP/2 the caller has to look), Range, If-Range,
///   If-Match and If-Unmodified-Since, which this cache leaves to the origin: [`Forwarded::Bypass`].
/// - `no-cache`, `no-store`, `max-age=0`, a malformed Cache-Control, `Pragma: no-cache` without Cache-Control:
///   [`Forwarded::Request`]. A response to `no-cache` may be stored and replaces what was.
///
/// If-None-Match and If-Modified-Since are answered from the store. `max-stale` is ignored, nothing stale is served;
/// `only-if-cached` is ignored: a miss is forwarded.
// Departs from RFC 9111 §5.2.1.7 (SHOULD answer 504 on a miss) because a reverse proxy acts for the origin.
pub fn must_forward(method: &Method, fields: &HeaderMap) -> Option<Forwarded> {
    if method != Method::GET && method != Method::HEAD {
        return Some(Forwarded::Method);
    }
    let unhandled = [RANGE, IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];
    if has_content(fields) || unhandled.iter().any(|name| fields.contains_key(name)) {
        return Some(Forwarded::Bypass);
    }
    let directives = Directives::of_request(fields);
    let refuses = directives.no_cache
        || directives.no_store
        || directives.max_age.is_some_and(|max_age| max_age.is_zero());
    refuses.then_some(Forwarded::Request)
}

/// Whether a response may be stored (RFC 9111 §3) and if so everything but its content, which the caller adds once it is whole.
/// `request` are the fields as they were when the store was asked.
///
/// Stored is, if all of it holds, the response to a GET without content that has
/// - a status of 200, 203, 204, 300, 301, 302, 307, 308, 404, 410: not partial content, and not the errors that a forged
///   request can provoke for others (400, 405, 414, 431, 501, …);
/// - no `no-store` on either side, no `private`, no `no-cache`, no malformed Cache-Control;
/// - `public`, `s-maxage` or `must-revalidate` if the request had Authorization (§3.5);
/// - no Set-Cookie, stricter than RFC 9111;
/// - a Vary that nominates at most 8 fields, `*` not among them;
/// - an explicit freshness lifetime that is longer than its age on arrival.
pub fn storable(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    times: &Times,
) -> Option<StoredResponse> {
    let directives = Directives::of_response(response);
    let audience = audience(&directives);
    let forbidden = method != Method::GET
        || has_content(request)
        || !STORED_STATUSES.contains(&status.as_u16())
        || Directives::of_request(request).no_store
        || directives.no_store
        || directives.private
        || directives.no_cache
        || (request.contains_key(AUTHORIZATION) && audience == Audience::Unauthenticated)
        || response.contains_key(SET_COOKIE)
        || response.contains_key(CONTENT_RANGE);
    if forbidden {
        return None;
    }
    let nominated_fields = nominated_fields(request, response)?;
    let freshness_lifetime = freshness_lifetime(&directives, response, times)?;
    let corrected_initial_age = corrected_initial_age(response, times);
    if freshness_lifetime <= corrected_initial_age {
        return None;
    }
    Some(StoredResponse {
        status,
        fields: stored_fields(response, times)?,
        content: Vec::new(),
        freshness_lifetime,
        corrected_initial_age,
        response_time: times.response_time,
        nominated_fields,
        audience,
    })
}

/// Whether a response to an unsafe method invalidates what is stored for its URI (RFC 9111 §4.4): any that is not an error.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    is_unsafe(method) && (status.is_success() || status.is_redirection())
}

/// Whether a method may change what it is aimed at (RFC 9110 §9.2.1); one of unknown safety may.
pub fn is_unsafe(method: &Method) -> bool {
    !method.is_safe() && !OTHER_SAFE_METHODS.contains(&method.as_str())
}

/// Whether the request fields announce content: a GET with content is answered by the origin only and never stored, for the
/// content is no part of the key.
fn has_content(request: &HeaderMap) -> bool {
    let mut lengths = request.get_all(CONTENT_LENGTH).iter();
    request.contains_key(TRANSFER_ENCODING) || lengths.any(|length| length != "0")
}

fn audience(directives: &Directives) -> Audience {
    if directives.public || directives.must_revalidate || directives.s_maxage.is_some() {
        Audience::Everyone
    } else {
        Audience::Unauthenticated
    }
}

/// `response` without what is not stored (RFC 9111 §3.1), in memory of its own, Date added if it has none (RFC 9110 §6.6.1).
/// `None` if it is more than a `HeaderMap` holds.
fn stored_fields(response: &HeaderMap, times: &Times) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(response.len() + 1);
    for (name, line) in response {
        if !NOT_STORED.contains(name) && !is_nominated_by_connection(response, name) {
            fields.try_append(name.clone(), copied(line)).ok()?;
        }
    }
    if freshness::date(&fields, &DATE).is_none() {
        fields.remove(DATE);
        if let Some(date) = freshness::date_field(times.response_wall) {
            fields.try_insert(DATE, date).ok()?;
        }
    }
    Some(fields)
}

fn is_nominated_by_connection(response: &HeaderMap, name: &HeaderName) -> bool {
    let lines = response.get_all(CONNECTION).iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.any(|member| {
        member
            .trim_ascii()
            .eq_ignore_ascii_case(name.as_str().as_bytes())
    })
}

/// Final statuses this cache understands (RFC 9110 §15) and keeps.
const STORED_STATUSES: [u16; 10] = [200, 203, 204, 300, 301, 302, 307, 308, 404, 410];

/// Safe by IANA's method registry, besides those `http` knows.
const OTHER_SAFE_METHODS: [&str; 4] = ["PROPFIND", "QUERY", "REPORT", "SEARCH"];

/// Of one connection (RFC 9110 §7.6.1) or for one proxy (RFC 9111 §3.1); and Age, which is computed at each use.
static NOT_STORED: [HeaderName; 11] = [
    AGE,
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
];

#[cfg(test)]
mod tests;
