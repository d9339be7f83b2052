//! How long an origin, and in a dialogue the client, may be silent.
//!
//! A response that pauses is one whose origin hangs, unless it is a stream of events: those come when something happens.
//! So server-sent events and gRPC have a longer limit. In a gRPC call the client, too, speaks when it has something to
//! say; but only where both sides speak HTTP/2, because in HTTP/1.1 a connection would be held by saying so.

use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::activity::Http;
use crate::balance::UpstreamTimeouts;
use crate::route::RouteTimeouts;

/// The limits of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    response: Duration,
    stream: Duration,
}

/// Whether request and response go on side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialogue {
    Yes,
    No,
}

impl Patience {
    /// A route's limits come before its upstream's.
    pub(super) fn of(route: RouteTimeouts, upstream: &UpstreamTimeouts) -> Self {
        let response = route.response.unwrap_or(upstream.response);
        let stream = route.stream.unwrap_or(upstream.stream);
        Self {
            response,
            stream: stream.max(response),
        }
    }

    /// Until the response head.
    pub(super) fn response(self) -> Duration {
        self.response
    }

    /// Between parts of a stream.
    pub(super) fn stream(self) -> Duration {
        self.stream
    }

    /// Between parts of the content of a response with these fields.
    pub(super) fn between_parts(self, response: &HeaderMap) -> Duration {
        let is_stream = media_type(response).is_some_and(|kind| {
            is(kind, EVENT_STREAM) || kind.get(..GRPC.len()).is_some_and(|kind| is(kind, GRPC))
        });
        if is_stream {
            self.stream
        } else {
            self.response
        }
    }
}

impl Dialogue {
    /// Whether a request with these fields that came over `http` is one side of a gRPC call.
    pub(super) fn of(http: Http, request: &HeaderMap) -> Self {
        let is_call = http == Http::Two
            && media_type(request)
                .and_then(|kind| kind.split(|byte| *byte == b'+').next())
                .is_some_and(|kind| is(kind, GRPC));
        if is_call { Self::Yes } else { Self::No }
    }
}

/// `Content-Type` without its parameters.
fn media_type(fields: &HeaderMap) -> Option<&[u8]> {
    let value = fields.get(CONTENT_TYPE)?.as_bytes();
    let kind = value.split(|byte| *byte == b';').next();
    kind.map(<[u8]>::trim_ascii)
}

fn is(kind: &[u8], expected: &[u8]) -> bool {
    kind.eq_ignore_ascii_case(expected)
}

const EVENT_STREAM: &[u8] = b"text/event-stream";
/// And what begins so: `+proto`, `+json`, `-web`, `-web-text`.
const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const SECOND: Duration = Duration::from_secs(1);

    fn of(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    fn patience(response: Option<u32>, stream: Option<u32>) -> Patience {
        let route = RouteTimeouts {
            response: response.map(|seconds| seconds * SECOND),
            stream: stream.map(|seconds| seconds * SECOND),
        };
        let upstream = UpstreamTimeouts {
            response: 30 * SECOND,
            stream: 300 * SECOND,
            ..UpstreamTimeouts::default()
        };
        Patience::of(route, &upstream)
    }

    #[test]
    fn a_routes_limits_come_first_and_a_stream_never_has_less_than_a_response() {
        for (response, stream, expected) in [
            (None, None, (30, 300)),
            (Some(5), None, (5, 300)),
            (None, Some(3_600), (30, 3_600)),
            (Some(600), None, (600, 600)),
            (None, Some(1), (30, 30)),
            (Some(1), Some(2), (1, 2)),
        ] {
            let patience = patience(response, stream);
            let seconds = (patience.response.as_secs(), patience.stream.as_secs());
            assert_eq!(seconds, expected, "{response:?} {stream:?}");
        }
    }

    #[test]
    fn events_and_grpc_may_pause_longer_than_other_responses() {
        let patience = patience(None, None);
        for (content_type, seconds) in [
            ("text/event-stream", 300),
            ("Text/Event-Stream; charset=utf-8", 300),
            ("application/grpc", 300),
            ("application/grpc+proto", 300),
            ("application/grpc-web-text+proto", 300),
            ("text/event-streams", 30),
            ("application/json", 30),
            ("application/grp", 30),
            ("", 30),
        ] {
            let timeout = patience.between_parts(&of(content_type));
            assert_eq!(timeout.as_secs(), seconds, "{content_type}");
        }
        assert_eq!(patience.between_parts(&HeaderMap::new()), 30 * SECOND);
    }

    #[test]
    fn only_a_grpc_call_over_http_2_is_a_dialogue() {
        for (http, content_type, expected) in [
            (Http::Two, "application/grpc", Dialogue::Yes),
            (Http::Two, "application/grpc+json;x=y", Dialogue::Yes),
            (Http::One, "application/grpc", Dialogue::No),
            (Http::Two, "application/grpc-web+proto", Dialogue::No),
            (Http::Two, "text/event-stream", Dialogue::No),
        ] {
            let dialogue = Dialogue::of(http, &of(content_type));
            assert_eq!(dialogue, expected, "{http:?} {content_type}");
        }
    }
}
