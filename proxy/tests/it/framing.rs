//! Requests that mean two things, and heads over their limits: refused, closed, and never seen by the origin.

use std::sync::atomic::Ordering;
use std::time::Duration;

use weir::telemetry::AccessTarget;

use crate::client::Client;
use crate::origin::Origin;
use crate::weir::{Setup, rule, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn ambiguous_requests_are_refused_and_the_connection_closed() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for (what, request) in [
        ("no Host", "GET / HTTP/1.1\r\n\r\n"),
        (
            "two Hosts",
            "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        ),
        (
            "Host with a path",
            "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        ),
        (
            "another host in the target",
            "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        (
            "parent segment",
            "GET /../b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        (
            "a transfer coding under chunked",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        ),
        ("fragment", "GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        (
            "length and chunked",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked and length",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        ),
        (
            "signed length",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +5\r\n\r\nhello",
        ),
        (
            "unknown coding",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked in 1.0",
            "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "space before colon",
            "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n",
        ),
        (
            "folded line",
            "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n",
        ),
        ("bare line feeds", "GET / HTTP/1.1\nHost: a.test\n\n"),
        ("NUL", "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n"),
    ] {
        let mut client = Client::connect(weir.address);
        client.send(request);
        assert_eq!(client.response().status(), 400, "{what}");
        assert!(client.is_closed(), "{what}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_second_request_on_a_connection_is_watched_like_the_first() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for first in [
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;x=\"y\"\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    ] {
        let mut client = Client::connect(weir.address);
        client.send(&format!(
            "{first}POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ));
        assert_eq!(client.response().status(), 200);
        assert_eq!(client.response().status(), 400);
        assert!(client.is_closed());
    }
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn content_that_looks_like_an_ambiguous_head_is_content() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let content = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = Client::connect(weir.address);
    for _ in 0..2 {
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        ));
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn heads_over_a_limit_are_431() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.limits.header_bytes = 4096;
            setup.limits.header_fields = 20;
        })
        .start();
    let large = format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n",
        "a".repeat(4096)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n",
        "X: 1\r\n".repeat(20)
    );
    for request in [large, many] {
        let mut client = Client::connect(weir.address);
        client.send(&request);
        assert_eq!(client.response().status(), 431);
        assert!(client.is_closed());
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn methods_that_are_not_for_proxies_are_refused() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for (request, status) in [
        ("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
        (
            "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
            501,
        ),
    ] {
        let mut client = Client::connect(weir.address);
        client.send(request);
        assert_eq!(client.response().status(), status);
        assert!(client.is_closed());
    }
    assert!(origin.requests().is_empty());
}

/// hyper answers these itself, so there is no `Proxy-Status`, and nothing is known of the request.
#[test]
fn heads_that_cannot_be_read_are_counted_logged_and_reported_like_requests() {
    let path = std::env::temp_dir().join(format!("weir-it-unread-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.access = AccessTarget::File(path.clone());
            setup.limits.header_timeout = Duration::from_millis(100);
            setup.rules = vec![rule(400)];
        })
        .start();
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    for (head, status) in [
        ("\0\r\n\r\n", 400),
        (&large, 431),
        ("GET / HTTP/1.1\r\nHost: a.t", 408),
    ] {
        let mut client = Client::connect(weir.address);
        client.send(head);
        assert_eq!(client.response().status(), status);
        assert!(client.is_closed());
    }
    assert_eq!(weir.reported().to_string(), "127.0.0.1/32");
    until("all are counted", || {
        weir.counters.responses[3].load(Ordering::Relaxed) == 3
    });
    let text = || {
        assert!(weir.access.flush(Duration::from_secs(20)));
        std::fs::read_to_string(&path).unwrap_or_default()
    };
    until("all are logged", || text().lines().count() == 3);
    for (line, status) in text().lines().zip([400, 431, 408]) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["status"], status);
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(line["error"], "http_request_error");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(origin.requests().is_empty());
}
