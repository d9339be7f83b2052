//! Requests that mean two things, and heads over their limits: refused, closed, and never seen by the origin.

use crate::client::Client;
use crate::origin::Origin;
use crate::weir::Setup;

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
