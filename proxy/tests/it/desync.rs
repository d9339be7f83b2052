//! What makes two parties on a connection count its requests differently: content that has no end of its own, is not
//! waited for, or is said to come, and upgrades that do not happen. Each request is followed by one that must be seen as
//! a request of its own or not at all.

use weir::balance::Protocol;

use crate::client::{Client, Message};
use crate::origin::{Origin, Then};
use crate::origin_h2::{H2Origin, Speaking};
use crate::raw_h2::{DATA, END_HEADERS, END_STREAM, HEADERS, Raw, fields, frame};
use crate::weir::{Setup, routes, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\nX-Smuggled: 1\r\n\r\n";

/// None of `requests` is the smuggled one.
fn saw_no_smuggled(requests: &[Message]) {
    let is_smuggled = |request: &Message| request.start.contains("smuggled");
    assert!(!requests.iter().any(is_smuggled), "{requests:?}");
}

/// RFC 9112 §6.3: a request without length or chunks has no content, and none that ends with the connection.
#[test]
fn content_without_length_is_none_in_http_1_0_too() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for connection in ["", "Connection: close\r\n"] {
        let mut client = Client::connect(weir.address);
        client.send(&format!(
            "POST /first HTTP/1.0\r\nHost: a.test\r\n{connection}\r\n{SMUGGLED}"
        ));
        assert_eq!(client.response().status(), 200);
        assert!(client.is_closed());
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    saw_no_smuggled(&requests);
    for request in requests {
        assert_eq!(request.text(), "");
        assert_eq!(request.field("transfer-encoding"), None);
        assert!(matches!(request.field("content-length"), None | Some("0")));
    }
}

/// RFC 9110 §10.1.1: the origin hears of no expectation, whatever it looks like, and of the whole content.
#[test]
fn an_expectation_of_any_spelling_ends_here() {
    for expectation in [
        "Expect: 100-Continue",
        "Expect:100-continue",
        "Expect: 100-continue\r\nExpect: 100-continue",
        "Expect: y 100-continue",
        "Expect: 100-continue, x",
        "Expect: x",
        "Expect:",
        "Connection: expect\r\nExpect: x",
    ] {
        let origin = Origin::answering(OK);
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        let length = SMUGGLED.len();
        client.send(&format!(
            "POST /first HTTP/1.1\r\nHost: a.test\r\n{expectation}\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
        ));
        let mut response = client.head_response();
        if response.status() == 100 {
            response = client.head_response();
        }
        assert!(matches!(response.status(), 200 | 417), "{expectation}");
        let requests = origin.requests();
        saw_no_smuggled(&requests);
        for request in requests {
            assert_eq!(request.text(), SMUGGLED);
            assert_eq!(request.field("expect"), None, "{expectation}");
        }
    }
}

/// Only a 101 makes a tunnel; bytes that came before are a request like all.
#[test]
fn any_answer_but_101_to_an_upgrade_leaves_a_connection_of_requests() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
        (
            "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
            200,
        ),
        (
            "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
            426,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            403,
        ),
    ] {
        let origin = Origin::answering(answer);
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send(&format!(
            "GET /first HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n{SMUGGLED}"
        ));
        for _ in 0..2 {
            assert_eq!(client.response().status(), status, "{answer}");
        }
        let requests = origin.requests();
        assert_eq!(requests.len(), 2);
        // Seen and judged as a request: what passes a tunnel has no such field.
        assert!(requests[1].field("via").is_some());
        until("no tunnel is open", || weir.upgrades.open() == 0);
        assert_eq!(weir.upgrades.total(), 0);
    }
}

/// RFC 9110 §7.8: not in HTTP/1.0, not with content, not without `Connection: upgrade`.
#[test]
fn an_upgrade_that_cannot_be_is_not_asked_for() {
    for request in [
        "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: H2C\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
    ] {
        let origin = Origin::answering(OK);
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send(request);
        assert_eq!(client.response().status(), 200, "{request}");
        let seen = &origin.requests()[0];
        for gone in ["upgrade", "connection"] {
            assert_eq!(seen.field(gone), None, "{request}");
        }
        assert_eq!(weir.upgrades.total(), 0, "{request}");
    }
}

#[test]
fn connect_opens_nothing_in_any_form() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for request in [
        "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
        "CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "CONNECT http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "CONNECT * HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "CONNECT user@a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
        "CONNECT a.test:80 HTTP/1.0\r\n\r\n",
        "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\nContent-Length: 5\r\n\r\n",
    ] {
        let mut client = Client::connect(weir.address);
        client.send(request);
        // Refused by now, perhaps.
        let _ = client.try_send(SMUGGLED.as_bytes());
        let status = client.response().status();
        assert!(matches!(status, 400 | 501), "{status} {request}");
        assert!(client.is_closed(), "{request}");
    }
    assert_eq!(origin.connections(), 0);
}

/// Whoever answers: a stored response, a filter, a limit, no route, a method, a size.
#[test]
fn content_of_a_request_that_reaches_no_origin_is_never_the_next_request() {
    let origin = Origin::start(|_, stream| {
        let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";
        let _ = std::io::Write::write_all(stream, answer.as_bytes());
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.routes = Some(routes(
                r#"
                [[route]]
                path = "/stored"
                cache = true
                upstream = "app"
                [[route]]
                path = "/denied"
                deny = ["127.0.0.0/8"]
                upstream = "app"
                [[route]]
                path = "/limited"
                limit = { requests = 1, per = "1day", by = "client-ip" }
                upstream = "app"
                [[route]]
                path = "/small"
                max_body = "1B"
                upstream = "app"
                "#,
            ));
        })
        .start();
    Client::connect(weir.address).get("/stored");
    Client::connect(weir.address).get("/limited");
    let before = origin.requests().len();
    for line in [
        "GET /stored",
        "HEAD /stored",
        "GET /denied",
        "POST /limited",
        "POST /small",
        "POST /nowhere",
        "TRACE /stored",
    ] {
        for framing in [
            format!("Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
            format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n",
                SMUGGLED.len()
            ),
        ] {
            let mut client = Client::connect(weir.address);
            client.send(&format!("{line} HTTP/1.1\r\nHost: a.test\r\n{framing}"));
            // The end of the connection, which comes with or without the next answer.
            let _ =
                client.try_send(b"GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
            let mut rest = Vec::new();
            let _ = std::io::Read::read_to_end(&mut client.uploader(), &mut rest);
            let text = String::from_utf8_lossy(&rest);
            let answers = text.matches("HTTP/1.1 ").count();
            assert!((1..=2).contains(&answers), "{line}: {text}");
        }
    }
    saw_no_smuggled(&origin.requests()[before..]);
}

/// Names of HTTP/2's pseudo-fields are no names in HTTP/1, so none can stand in for ours (towards HTTP/2 origins).
#[test]
fn pseudo_fields_in_http_1_are_refused_before_an_origin_of_http_2() {
    let origin = H2Origin::ok(Speaking::default());
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.transport.protocol = Protocol::H2c)
        .start();
    for line in [
        ":path: /admin",
        ":authority: b.test",
        ":method: DELETE",
        ":: x",
        "x:path\0: y",
    ] {
        let mut client = Client::connect(weir.address);
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n"));
        assert_eq!(client.response().status(), 400, "{line}");
        assert!(client.is_closed(), "{line}");
    }
    assert_eq!(origin.connected(), 0);
}

/// The origin's stream is reset, and its content is never ended, whichever way the client's breaks off.
#[test]
fn content_that_breaks_off_is_never_ended_towards_an_origin_of_http_2() {
    let (ended, endings) = std::sync::mpsc::sync_channel(8);
    let origin = H2Origin::start(Speaking::default(), move |mut exchange| {
        let ended = ended.clone();
        async move {
            let whole = exchange.content().await.is_ok();
            ended.send(whole).unwrap();
        }
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.transport.protocol = Protocol::H2c)
        .start();
    for content in [
        "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0;x=\"\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nX: 1\n\r\n",
        "Content-Length: 9\r\n\r\npart",
    ] {
        let before = origin.requests().len();
        let (head, rest) = content.split_at(content.find("part").unwrap() + 4);
        let mut client = Client::connect(weir.address);
        client.send(&format!("POST / HTTP/1.1\r\nHost: a.test\r\n{head}"));
        until("the origin has the head", || {
            origin.requests().len() > before
        });
        client.send(rest);
        client
            .uploader()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        let whole = endings.recv_timeout(crate::weir::PATIENCE).unwrap();
        assert!(!whole, "{content}");
    }
    // From HTTP/2 to HTTP/2: unlike its length, and reset.
    for content in [
        frame(DATA, END_STREAM, 1, b"short"),
        frame(DATA, END_STREAM, 1, b"far too long"),
        frame(crate::raw_h2::RST_STREAM, 0, 1, &[0, 0, 0, 8]),
    ] {
        let before = origin.requests().len();
        let mut client = Raw::connect(weir.address);
        let mut lines = crate::raw_h2::GET.to_vec();
        lines[0].1 = "POST";
        lines.push(("content-length", "9"));
        client.send(&frame(HEADERS, END_HEADERS, 1, &fields(&lines)));
        until("the origin has the head", || {
            origin.requests().len() > before
        });
        client.send(&content);
        let whole = endings.recv_timeout(crate::weir::PATIENCE).unwrap();
        assert!(!whole, "{content:?}");
    }
}
