//! RFC 9111's rules, one line each.

use std::time::Duration;

use http::HeaderValue;

use super::super::response::tests::start;
use super::*;

type Lines = &'static [(&'static str, &'static str)];

fn fields(lines: Lines) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(*name, HeaderValue::from_static(value));
    }
    fields
}

/// Sun, 06 Nov 1994 08:49:37 GMT, one second after the request was sent.
fn times() -> Times {
    let request_time = start();
    Times {
        request_time,
        response_time: request_time + Duration::from_secs(1),
        response_wall: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
    }
}

fn store(request: Lines, response: Lines) -> Option<StoredResponse> {
    let (request, response) = (fields(request), fields(response));
    storable(&Method::GET, &request, StatusCode::OK, &response, &times())
}

#[test]
fn requests_that_the_cache_does_not_answer_are_forwarded_and_say_why() {
    use Forwarded::{Bypass, Request};
    for (lines, expected) in [
        (&[][..], None),
        (&[("authorization", "Basic eA==")], None),
        (&[("if-none-match", "\"a\"")], None),
        (
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            None,
        ),
        (&[("cache-control", "max-age=1")], None),
        (&[("cache-control", "max-stale, min-fresh=5")], None),
        (&[("cache-control", "only-if-cached")], None),
        (
            &[("cache-control", "max-age=5"), ("pragma", "no-cache")],
            None,
        ),
        (&[("content-length", "0")], None),
        (&[("cache-control", "No-Cache")], Some(Request)),
        (&[("cache-control", "no-store")], Some(Request)),
        (&[("cache-control", "max-age=0")], Some(Request)),
        (&[("cache-control", "max-age=x")], Some(Request)),
        (
            &[("cache-control", "foo"), ("cache-control", "no-cache")],
            Some(Request),
        ),
        (&[("cache-control", "a b")], Some(Request)),
        (&[("pragma", "no-cache")], Some(Request)),
        (&[("range", "bytes=0-1")], Some(Bypass)),
        (&[("if-range", "\"a\"")], Some(Bypass)),
        (&[("if-match", "\"a\"")], Some(Bypass)),
        (
            &[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            Some(Bypass),
        ),
        (&[("content-length", "3")], Some(Bypass)),
        (&[("transfer-encoding", "chunked")], Some(Bypass)),
    ] {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(
                must_forward(&method, &fields(lines)),
                expected,
                "{method} {lines:?}"
            );
        }
    }
    for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::CONNECT] {
        assert_eq!(
            must_forward(&method, &HeaderMap::new()),
            Some(Forwarded::Method)
        );
    }
}

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn a_fresh_response_that_nothing_forbids_is_stored() {
    let cases: [(Lines, Lines); 10] = [
        (&[], &[FRESH]),
        (&[("cookie", "a=b")], &[FRESH]),
        (&[("cache-control", "no-cache")], &[FRESH]),
        (&[], &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")]),
        (&[], &[FRESH, ("vary", "accept-encoding")]),
        (&[], &[FRESH, ("cache-status", "origin; hit")]),
        (&[], &[("cache-control", "s-maxage=60, max-age=0")]),
        (&[], &[FRESH, ("age", "58")]),
        (&[], &[FRESH, ("expires", "0")]),
        (&[], &[FRESH, ("pragma", "no-cache")]),
    ];
    for (request, response) in cases {
        assert!(
            store(request, response).is_some(),
            "{request:?} {response:?}"
        );
    }
}

#[test]
fn a_response_that_is_not_explicitly_fresh_on_arrival_is_not_stored() {
    let cases: [Lines; 12] = [
        &[],
        &[("last-modified", "Sun, 06 Nov 1993 08:49:37 GMT")],
        &[("cache-control", "public")],
        &[("cache-control", "must-revalidate")],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "max-age=-60")],
        &[("cache-control", "max-age=60, max-age=0")],
        &[("cache-control", "s-maxage=0, max-age=60")],
        // As old as it may get: the response took a second.
        &[("cache-control", "max-age=1")],
        &[("expires", "0")],
        &[FRESH, ("age", "59")],
        &[FRESH, ("date", "Sun, 06 Nov 1994 08:48:37 GMT")],
    ];
    for response in cases {
        assert!(store(&[], response).is_none(), "{response:?}");
    }
}

#[test]
fn what_either_side_forbids_is_not_stored() {
    let cases: [(Lines, Lines); 12] = [
        (&[("cache-control", "no-store")], &[FRESH]),
        (&[("content-length", "3")], &[FRESH]),
        (&[], &[FRESH, ("cache-control", "no-store")]),
        (&[], &[FRESH, ("cache-control", "No-Cache")]),
        (&[], &[FRESH, ("cache-control", "no-cache=\"x\"")]),
        (&[], &[FRESH, ("cache-control", "private")]),
        (&[], &[FRESH, ("cache-control", "private=\"x\"")]),
        (&[], &[FRESH, ("cache-control", "{}")]),
        (&[], &[FRESH, ("set-cookie", "a=b")]),
        (&[], &[FRESH, ("content-range", "bytes 0-1/2")]),
        (&[], &[FRESH, ("vary", "*")]),
        (&[], &[FRESH, ("vary", "accept, *")]),
    ];
    for (request, response) in cases {
        assert!(
            store(request, response).is_none(),
            "{request:?} {response:?}"
        );
    }
}

#[test]
fn a_response_to_credentials_needs_permission() {
    for (directives, expected) in [
        ("max-age=60", false),
        ("max-age=60, public=x", false),
        ("max-age=60, proxy-revalidate", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
    ] {
        let request = fields(&[("authorization", "Basic eA==")]);
        let mut response = HeaderMap::new();
        response.insert(
            http::header::CACHE_CONTROL,
            HeaderValue::from_static(directives),
        );
        let stored = storable(&Method::GET, &request, StatusCode::OK, &response, &times());
        assert_eq!(stored.is_some(), expected, "{directives}");
    }
}

#[test]
fn only_responses_to_get_with_a_kept_status_are_stored() {
    let (request, response) = (HeaderMap::new(), fields(&[("cache-control", "max-age=60")]));
    let is_stored = |method, status| {
        let status = StatusCode::from_u16(status).expect("a status");
        storable(&method, &request, status, &response, &times()).is_some()
    };
    for status in 100..=599 {
        let expected = STORED_STATUSES.contains(&status);
        assert_eq!(is_stored(Method::GET, status), expected, "{status}");
    }
    for status in [101, 206, 304, 400, 401, 403, 405, 414, 431, 500, 501, 503] {
        assert!(!is_stored(Method::GET, status), "{status}");
    }
    for method in [Method::HEAD, Method::POST, Method::PUT, Method::OPTIONS] {
        assert!(!is_stored(method, 200));
    }
}

#[test]
fn what_is_stored_carries_lifetime_age_nominated_fields_and_audience() {
    let stored = store(
        &[("accept-encoding", "gzip"), ("cookie", "a")],
        &[
            ("cache-control", "max-age=60"),
            ("age", "4"),
            ("vary", "Accept-Encoding, accept"),
        ],
    );
    let stored = stored.expect("storable");
    assert_eq!(stored.freshness_lifetime, Duration::from_mins(1));
    assert_eq!(stored.corrected_initial_age, Duration::from_secs(5));
    assert_eq!(stored.audience, Audience::Unauthenticated);
    let expected = [
        (http::header::ACCEPT, vec![]),
        (
            http::header::ACCEPT_ENCODING,
            vec![HeaderValue::from_static("gzip")],
        ),
    ];
    assert_eq!(stored.nominated_fields, expected);
    let public = store(&[], &[("cache-control", "max-age=60, public")]).expect("storable");
    assert_eq!(public.audience, Audience::Everyone);
}

#[test]
fn fields_of_the_connection_are_not_stored_and_all_others_are_line_by_line() {
    let stored = store(
        &[],
        &[
            ("cache-control", "max-age=60"),
            ("age", "1"),
            ("connection", "X-Hop, close"),
            ("connection", "x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
            ("proxy-authorization", "x"),
            ("link", "</a>"),
            ("link", "</b>"),
            ("cache-status", "origin; hit"),
        ],
    );
    let stored = stored.expect("storable");
    let lines: Vec<_> = stored
        .fields
        .iter()
        .map(|(name, line)| (name.as_str(), line.as_bytes()))
        .collect();
    let expected: [(&str, &[u8]); 5] = [
        ("cache-control", b"max-age=60"),
        ("link", b"</a>"),
        ("link", b"</b>"),
        ("cache-status", b"origin; hit"),
        ("date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_valid_date_is_kept_and_an_invalid_one_replaced_by_the_time_of_arrival() {
    for (date, expected) in [
        (
            "Sunday, 06-Nov-94 08:49:30 GMT",
            "Sunday, 06-Nov-94 08:49:30 GMT",
        ),
        ("yesterday", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        let mut response = fields(&[("cache-control", "max-age=60")]);
        response.insert(DATE, HeaderValue::from_static(date));
        let stored = storable(
            &Method::GET,
            &HeaderMap::new(),
            StatusCode::OK,
            &response,
            &times(),
        );
        assert_eq!(stored.expect("storable").fields[DATE], expected);
    }
}

#[test]
fn unsafe_methods_invalidate_unless_they_fail() {
    let other = |name: &str| Method::from_bytes(name.as_bytes()).expect("a method");
    for (method, status, expected) in [
        (Method::POST, 200, true),
        (Method::PUT, 204, true),
        (Method::DELETE, 303, true),
        (other("PURGE"), 200, true),
        (Method::POST, 404, false),
        (Method::POST, 500, false),
        (Method::POST, 101, false),
        (Method::GET, 200, false),
        (Method::HEAD, 200, false),
        (Method::OPTIONS, 200, false),
        (other("QUERY"), 200, false),
        (other("PROPFIND"), 207, false),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(invalidates(&method, status), expected, "{method} {status}");
    }
}
