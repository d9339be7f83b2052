//! Requests in HTTP/2 that would be another, or two, in HTTP/1: refused, and the origin sees nothing of them.

use crate::origin::Origin;
use crate::raw_h2::{DATA, END_HEADERS, END_STREAM, GET, HEADERS, Raw, fields, frame};
use crate::weir::{Setup, Weir};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// `true` if the request got an answer other than an error.
fn passes(weir: &Weir, section: &[u8], content: Option<&[u8]>) -> bool {
    let mut client = Raw::connect(weir.address);
    let flags = END_HEADERS | if content.is_none() { END_STREAM } else { 0 };
    let mut bytes = frame(HEADERS, flags, 1, section);
    if let Some(content) = content {
        bytes.extend(frame(DATA, END_STREAM, 1, content));
    }
    client.send(&bytes);
    let outcome = client.outcome(1).expect("an answer");
    // RFC 7541, appendix A: `:status: 200` is one byte.
    outcome.kind == HEADERS && outcome.content.first() == Some(&0x88)
}

fn with(changed: &[(&'static str, &'static str)], more: &[(&str, &str)]) -> Vec<u8> {
    let mut lines = GET.to_vec();
    for (name, value) in changed {
        let line = lines.iter_mut().find(|(known, _)| known == name).unwrap();
        line.1 = value;
    }
    fields(&[&lines[..], more].concat())
}

#[test]
fn an_ordinary_request_passes() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    assert!(passes(&weir, &fields(&GET), None));
    let length = with(&[(":method", "POST")], &[("content-length", "2")]);
    assert!(passes(&weir, &length, Some(b"hi")));
    assert_eq!(origin.requests().len(), 2);
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn what_cannot_be_said_in_http_1_is_refused() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let without = |name: &str| {
        let lines: Vec<_> = GET
            .into_iter()
            .filter(|(known, _)| *known != name)
            .collect();
        fields(&lines)
    };
    let sections = [
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("no authority and no host", without(":authority")),
        ("two methods", with(&[], &[(":method", "GET")])),
        (
            "two paths",
            fields(&[&[(":path", "/a")], &GET[..]].concat()),
        ),
        (
            "two authorities",
            fields(&[&[(":authority", "b.test")], &GET[..]].concat()),
        ),
        (
            "a pseudo-field after fields",
            fields(&[&GET[..3], &[("x", "y")], &GET[3..]].concat()),
        ),
        (
            "an unknown pseudo-field",
            fields(&[&GET[..], &[(":x", "y")]].concat()),
        ),
        (
            "a response's pseudo-field",
            fields(&[&[(":status", "200")], &GET[..]].concat()),
        ),
        ("two schemes", with(&[], &[(":scheme", "http")])),
        (
            "a protocol without CONNECT",
            with(&[], &[(":protocol", "websocket")]),
        ),
        ("an empty path", with(&[(":path", "")], &[])),
        ("`*` with GET", with(&[(":path", "*")], &[])),
        ("a path with a backslash", with(&[(":path", "/a\\b")], &[])),
        ("a path with NUL", with(&[(":path", "/a\0b")], &[])),
        ("a path in UTF-8", with(&[(":path", "/\u{e9}")], &[])),
        ("an encoded slash", with(&[(":path", "/a%2fb")], &[])),
        (
            "an authority-form path",
            with(&[(":path", "a.test:80")], &[]),
        ),
        ("an empty authority", with(&[(":authority", "")], &[])),
        (
            "an empty authority beside a host of two",
            with(&[(":authority", "")], &[("host", "a.test, b.test")]),
        ),
        ("a port of none", with(&[(":authority", "a.test:")], &[])),
        ("an empty host", with(&[], &[("host", "")])),
        (
            "a host with userinfo",
            with(&[], &[("host", "user@a.test")]),
        ),
        (
            "an upper-case pseudo-field",
            fields(&[&GET[..], &[(":Path", "/x")]].concat()),
        ),
        ("TE in a list", with(&[], &[("te", "trailers, chunked")])),
        (
            "http2-settings",
            with(&[], &[("upgrade", "h2c"), ("http2-settings", "x")]),
        ),
        (
            "a cookie with a line",
            with(&[], &[("cookie", "a=b\r\nX: y")]),
        ),
        ("a path without slash", with(&[(":path", "a")], &[])),
        (
            "a path with a space",
            with(&[(":path", "/a HTTP/1.1")], &[]),
        ),
        (
            "a path with a line end",
            with(&[(":path", "/ HTTP/1.1\r\nX: y\r\n\r\nGET /")], &[]),
        ),
        ("another path", with(&[(":path", "http://b.test/")], &[])),
        (
            "a method with a space",
            with(&[(":method", "GET / HTTP/1.1\r\nX: ")], &[]),
        ),
        ("an empty method", with(&[(":method", "")], &[])),
        ("another scheme", with(&[(":scheme", "ftp")], &[])),
        ("userinfo", with(&[(":authority", "user@a.test")], &[])),
        (
            "an authority with a line end",
            with(&[(":authority", "a.test\r\nX: y")], &[]),
        ),
        (
            "an authority with a path",
            with(&[(":authority", "a.test/x")], &[]),
        ),
        (
            "two hosts in one",
            with(&[(":authority", "a.test,b.test")], &[]),
        ),
        ("another host", with(&[], &[("host", "b.test")])),
        (
            "a host twice",
            with(&[], &[("host", "a.test"), ("host", "a.test")]),
        ),
        ("an empty name", with(&[], &[("", "x")])),
        ("upper case", with(&[], &[("X-Upper", "y")])),
        ("a name with a colon", with(&[], &[("x:y", "z")])),
        ("a name with a space", with(&[], &[("x y", "z")])),
        ("a name with a line end", with(&[], &[("x\r\ny", "z")])),
        ("a value with CR", with(&[], &[("x", "a\rb")])),
        ("a value with LF", with(&[], &[("x", "a\nb")])),
        (
            "a value with a line",
            with(&[], &[("x", "a\r\nTransfer-Encoding: chunked")]),
        ),
        ("a value with NUL", with(&[], &[("x", "a\0b")])),
        ("connection", with(&[], &[("connection", "close")])),
        ("keep-alive", with(&[], &[("keep-alive", "5")])),
        ("proxy-connection", with(&[], &[("proxy-connection", "x")])),
        ("upgrade", with(&[], &[("upgrade", "h2c")])),
        (
            "transfer-encoding",
            with(&[], &[("transfer-encoding", "chunked")]),
        ),
        ("te other than trailers", with(&[], &[("te", "chunked")])),
        (
            "CONNECT",
            fields(&[(":method", "CONNECT"), (":authority", "a.test:80")]),
        ),
        ("CONNECT with a path", with(&[(":method", "CONNECT")], &[])),
        (
            "a length without content",
            with(&[], &[("content-length", "5")]),
        ),
        (
            "two lengths",
            with(&[], &[("content-length", "0"), ("content-length", "1")]),
        ),
        (
            "a length that is no number",
            with(&[], &[("content-length", "x")]),
        ),
        ("a signed length", with(&[], &[("content-length", "+0")])),
        (
            "a path above the root",
            with(&[(":path", "/a/../../b")], &[]),
        ),
    ];
    let passed: Vec<_> = sections
        .iter()
        .filter(|(_, section)| passes(&weir, section, None))
        .map(|(what, _)| what)
        .collect();
    assert_eq!(passed, [&""; 0]);
    let seen = origin.requests();
    assert!(seen.is_empty(), "the origin saw {seen:?}");
}

#[test]
fn content_unlike_its_length_never_reaches_the_origin_whole() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for (length, content) in [
        ("5", &b"hi"[..]),
        ("1", b"hi"),
        ("0", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("18446744073709551616", b"hi"),
        ("2, 2", b"hi"),
    ] {
        let section = with(&[(":method", "POST")], &[("content-length", length)]);
        assert!(!passes(&weir, &section, Some(content)), "{length}");
    }
    let seen = origin.requests();
    assert!(seen.is_empty(), "the origin saw {seen:?}");
}

#[test]
fn framing_fields_in_trailers_do_not_go_on() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Raw::connect(weir.address);
    let section = with(
        &[(":method", "POST")],
        &[("trailer", "x-ok, content-length, host")],
    );
    let trailers = fields(&[("content-length", "9"), ("host", "b.test"), ("x-ok", "1")]);
    client.send(&frame(HEADERS, END_HEADERS, 1, &section));
    client.send(&frame(DATA, 0, 1, b"hi"));
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
    assert_eq!(client.outcome(1).expect("an answer").kind, HEADERS);
    let request = &origin.requests()[0];
    assert_eq!(request.text(), "hi");
    let forbidden = |name: &str| request.trailers.iter().any(|(known, _)| known == name);
    assert!(
        !forbidden("content-length") && !forbidden("host"),
        "{:?}",
        request.trailers
    );
    // Pseudo-fields are no fields there.
    client.send(&frame(HEADERS, END_HEADERS, 3, &section));
    let trailers = fields(&[(":path", "/x"), ("x-ok", "1")]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &trailers));
    client.outcome(3).expect("an answer");
    for request in origin.requests() {
        assert_eq!(request.start, "POST / HTTP/1.1");
        assert!(request.trailers.iter().all(|(name, _)| name == "x-ok"));
    }
}

#[test]
fn a_fragment_is_left_out_for_routes_and_origins_alike() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    assert!(passes(&weir, &with(&[(":path", "/a?b#/../c")], &[]), None));
    assert_eq!(origin.requests()[0].start, "GET /a?b HTTP/1.1");
}
