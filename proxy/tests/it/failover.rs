//! What becomes of a request when origins fail.

use std::io::Write;
use std::time::Duration;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::weir::Setup;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn the_next_server_is_asked_when_one_refuses() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[Origin::refusing(), origin.address]).start();
    let mut client = Client::connect(weir.address);
    for _ in 0..10 {
        assert_eq!(client.get("/").status(), 200);
    }
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.requests()[10].text(), "body");
}

#[test]
fn faults_have_their_status_and_proxy_status() {
    let silent = Origin::start(|_, _| Then::KeepOpen);
    let dying = Origin::start(|_, _| Then::Close);
    let babbling = Origin::answering("this is not HTTP\r\n\r\n");
    let upgrading = Origin::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    let twice = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    let coded = Origin::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx");
    for (origin, status, error) in [
        (Origin::refusing(), 502, "connection_refused"),
        (silent.address, 504, "http_response_timeout"),
        (dying.address, 502, "http_response_incomplete"),
        (babbling.address, 502, "http_protocol_error"),
        (upgrading.address, 502, "http_protocol_error"),
        (twice.address, 502, "http_protocol_error"),
        (coded.address, 502, "http_protocol_error"),
    ] {
        let weir = Setup::to(&[origin])
            .with(|setup| setup.timeouts.response = Duration::from_millis(100))
            .start();
        let mut client = Client::connect(weir.address);
        let response = client.get("/");
        assert_eq!(response.status(), status, "{error}");
        let expected = format!("weir; error={error}");
        assert_eq!(response.field("proxy-status"), Some(expected.as_str()));
        assert!(response.field("date").is_some());
        assert!(!response.text().contains(&origin.port().to_string()));
        // The client is not to blame and keeps its connection.
        assert_eq!(client.get("/").status(), status, "{error}");
    }
}

#[test]
fn a_server_at_its_connection_limit_is_503() {
    let (entered, wait) = std::sync::mpsc::sync_channel(1);
    let origin = Origin::start(move |_, _| {
        entered.send(()).unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.connections = 1)
        .start();
    let mut first = Client::connect(weir.address);
    first.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    wait.recv().unwrap();
    let response = Client::connect(weir.address).get("/");
    assert_eq!(response.status(), 503);
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=connection_limit_reached")
    );
}

#[test]
fn an_unknown_host_is_404() {
    let weir = Setup::to(&[Origin::refusing()]).start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status(), 404);
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=destination_not_found")
    );
}

#[test]
fn a_request_with_content_is_not_sent_twice() {
    let dying = Origin::start(|_, _| Then::Close);
    let other = Origin::answering(OK);
    let weir = Setup::to(&[dying.address, other.address]).start();
    let mut client = Client::connect(weir.address);
    let mut failed = 0;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
        failed += u32::from(client.response().status() == 502);
    }
    assert_eq!(failed, 1);
    assert_eq!(dying.requests().len() + other.requests().len(), 2);
}

#[test]
fn an_idempotent_request_is_sent_to_the_next_server() {
    let dying = Origin::start(|_, _| Then::Close);
    let other = Origin::answering(OK);
    let weir = Setup::to(&[dying.address, other.address]).start();
    let mut client = Client::connect(weir.address);
    for _ in 0..4 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert!(!dying.requests().is_empty());
}

#[test]
fn reload_takes_effect_with_the_next_request() {
    let first = Origin::answering(OK);
    let second = Origin::start(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
            .unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[first.address]).start();
    let mut client = Client::connect(weir.address);
    assert_eq!(client.get("/").text(), "ok");
    weir.site
        .store(std::sync::Arc::new(Setup::to(&[second.address]).site(2)));
    assert_eq!(client.get("/").text(), "new");
}
