//! From an origin's response to the client's.

use std::rc::Rc;

use http::header::{CACHE_STATUS, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, Version, request, response};
use http_body::Body as _;

use super::activity::Http;
use super::body::FromOrigin;
use super::cached::{Changed, Miss, Place};
use super::connection::Connection;
use super::fault::Fault;
use super::fields::{self, Origin, Scheme};
use super::forward::Exchange;
use super::patience::Patience;
use super::pipeline::{Answer, AnswerContent};
use super::served::Served;
use super::target::Target;
use super::upgrade::{Agreed, Pending};
use super::worker::Worker;
use crate::route::RouteSettings;

/// Where a request was found to be aimed, and what it may change there.
pub(super) struct Matched<'a> {
    pub(super) scheme: Scheme,
    pub(super) route: &'a RouteSettings,
    pub(super) target: &'a Target,
    changed: Changed,
}

impl<'a> Matched<'a> {
    pub(super) fn new(
        worker: &Worker,
        scheme: Scheme,
        route: &'a RouteSettings,
        target: &'a Target,
        request: &request::Parts,
    ) -> Self {
        let mut matched = Self {
            scheme,
            route,
            target,
            changed: Changed::default(),
        };
        matched.changed = Changed::by(worker, &matched.place(), request);
        matched
    }

    /// As the cache calls it.
    pub(super) fn place(&self) -> Place<'a> {
        Place {
            scheme: self.scheme,
            target: self.target,
            conditions: &self.route.pattern.fields,
        }
    }
}

/// From the origin's response to the client's.
pub(super) fn conclude(
    connection: &Rc<Connection>,
    matched: &Matched<'_>,
    exchange: Exchange,
    upgrade: Option<Pending>,
    miss: Option<Miss>,
    served: &mut Served,
) -> Result<Answer, Fault> {
    let Exchange { response, lease } = exchange;
    let (mut response, incoming) = response.into_parts();
    let lease = match upgrade {
        None => lease,
        Some(pending) => match pending.answered(&mut response, lease)? {
            Ok(agreed) => return Ok(agree(matched, agreed, response)),
            Err(lease) => lease,
        },
    };
    check_response(response.status, &response.headers)?;
    let fields = &mut response.headers;
    settle_length(fields)?;
    let delimited =
        fields.contains_key(TRANSFER_ENCODING) || incoming.size_hint().exact().is_some();
    if !fields.contains_key(DATE) {
        // RFC 9110 §6.6.1: whoever passes a response on dates it, if its origin did not.
        fields.insert(DATE, connection.worker.date());
    }
    let Matched {
        scheme,
        route,
        target,
        ref changed,
    } = *matched;
    changed.invalidate(&connection.worker, response.status);
    let origin = Origin {
        upstream: &lease.server.upstream,
        server: lease.server.index,
        reveal: route.reveal_origin,
    };
    let version = response.version;
    fields::to_client(fields, &origin, scheme, &target.authority, version);
    if connection.http() == Http::One && version == Version::HTTP_2 {
        fields::announce_trailers(fields);
    }
    let mut fill = None;
    if let Some(miss) = miss {
        let (status, filling) = miss.settle(&connection.worker, response.status, fields, delimited);
        fields.append(CACHE_STATUS, served.cached(status));
        fill = filling;
    }
    let timeout = Patience::of(route.timeouts, &lease.server.upstream.settings.timeouts)
        .between_parts(&response.headers);
    Ok(Answer {
        status: response.status,
        fields: response.headers,
        content: AnswerContent::Origin(Box::new(FromOrigin::new(
            incoming, version, timeout, lease, fill,
        ))),
    })
}

/// The origin's 101 as the client's, or as what stands for it in HTTP/2.
fn agree(matched: &Matched<'_>, agreed: Agreed, response: response::Parts) -> Answer {
    let mut fields = response.headers;
    let server = agreed.server();
    let origin = Origin {
        upstream: &server.upstream,
        server: server.index,
        reveal: matched.route.reveal_origin,
    };
    let version = response.version;
    let authority = &matched.target.authority;
    fields::to_client(&mut fields, &origin, matched.scheme, authority, version);
    Answer {
        status: agreed.announce(&mut fields),
        fields,
        content: AnswerContent::Upgraded(Box::new(agreed)),
    }
}

/// What a response must not be (RFC 9112 §6.3): an answer to an upgrade that was not asked for, framed twice, or in a
/// transfer coding that nobody agreed on.
fn check_response(status: StatusCode, fields: &HeaderMap) -> Result<(), Fault> {
    let framed_twice =
        fields.contains_key(TRANSFER_ENCODING) && fields.contains_key(CONTENT_LENGTH);
    if status.is_informational() || !is_chunked_at_most(fields) || framed_twice {
        return Err(Fault::HttpProtocolError);
    }
    Ok(())
}

/// Makes `Content-Length` one plain number (RFC 9110 §8.6): repeated or listed, though always the same, it is to the client.
/// hyper looks at it where there is content to frame, not in answers to HEAD, which clients believe, too.
fn settle_length(fields: &mut HeaderMap) -> Result<(), Fault> {
    let mut lines = fields.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else {
        return Ok(());
    };
    if lines.next().is_none() && is_plain_number(first.as_bytes()) {
        return Ok(());
    }
    let mut said = None;
    for line in fields.get_all(CONTENT_LENGTH) {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let length = length_of(member.trim_ascii()).ok_or(Fault::HttpProtocolError)?;
            if said.replace(length).is_some_and(|before| before != length) {
                return Err(Fault::HttpProtocolError);
            }
        }
    }
    fields.insert(CONTENT_LENGTH, HeaderValue::from(said.unwrap_or_default()));
    Ok(())
}

/// As everybody writes it, and in 64 bits without a doubt.
fn is_plain_number(digits: &[u8]) -> bool {
    (1..=18).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && (digits[0] != b'0' || digits.len() == 1)
}

fn length_of(digits: &[u8]) -> Option<u64> {
    let plain = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    text.parse().ok()
}

/// Whether content is in no transfer coding or in `chunked`, once. hyper takes only the last `chunked` of a list off; what
/// is under it would go on without its name.
pub(super) fn is_chunked_at_most(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}
