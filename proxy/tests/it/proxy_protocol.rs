//! Connections that begin with a PROXY protocol header, and those that should.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use weir::net::Networks;

use crate::client::Client;
use crate::origin::Origin;
use crate::tls::{Certificate, exchange, run};
use crate::weir::{Setup, Weir, rule, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const HEADER: &str = "PROXY TCP4 198.18.0.7 192.0.2.1 12345 80\r\n";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn behind_balancer(origin: &Origin) -> Setup {
    Setup::to(&[origin.address]).with(|setup| {
        setup.proxy_protocol_from = Networks::new(vec!["127.0.0.0/8".parse().unwrap()]);
    })
}

fn is_closed_without_an_answer(weir: &Weir, bytes: &[u8]) -> bool {
    let mut client = Client::connect(weir.address);
    // Closed by now, perhaps.
    let _ = client.try_send(bytes);
    client.is_closed()
}

#[test]
fn the_client_in_the_header_is_the_one_that_origins_and_detection_hear_of() {
    let origin = Origin::answering(OK);
    let weir = behind_balancer(&origin)
        .with(|setup| setup.rules = vec![rule(200)])
        .start();
    let mut client = Client::connect(weir.address);
    client.send(&format!("{HEADER}{REQUEST}"));
    assert_eq!(client.response().status(), 200);
    // Once a connection, not once a request.
    assert_eq!(client.get("/").status(), 200);
    for request in origin.requests() {
        assert_eq!(request.field("x-forwarded-for"), Some("198.18.0.7"));
    }
    let report = weir.reports.recv_timeout(crate::weir::PATIENCE).unwrap();
    assert_eq!(report.hits[0].1.network().to_string(), "198.18.0.7/32");
}

#[test]
fn a_listed_peer_that_sends_no_header_is_closed() {
    let origin = Origin::answering(OK);
    let weir = behind_balancer(&origin).start();
    for bytes in [
        REQUEST.as_bytes(),
        b"PROXY TCP4 198.18.0.7 192.0.2.1 1\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        assert!(is_closed_without_an_answer(&weir, bytes), "{bytes:?}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_header_that_does_not_end_is_waited_for_no_longer_than_a_handshake() {
    let origin = Origin::answering(OK);
    let weir = behind_balancer(&origin)
        .with(|setup| setup.limits.handshake_timeout = Duration::from_millis(50))
        .start();
    assert!(is_closed_without_an_answer(
        &weir,
        b"PROXY TCP4 198.18.0.7 "
    ));
    assert!(is_closed_without_an_answer(&weir, b""));
}

#[test]
fn a_stranger_that_sends_a_header_is_refused() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.proxy_protocol_from = Networks::new(vec!["192.0.2.0/24".parse().unwrap()]);
        })
        .start();
    let mut client = Client::connect(weir.address);
    client.send(&format!("{HEADER}{REQUEST}"));
    assert_eq!(client.response().status(), 400);
    assert!(client.is_closed());
    assert!(origin.requests().is_empty());
}

#[test]
fn a_balancers_own_connection_is_its_own() {
    let origin = Origin::answering(OK);
    let weir = behind_balancer(&origin).start();
    for header in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
    ] {
        let mut client = Client::connect(weir.address);
        client.try_send(header).unwrap();
        assert_eq!(client.get("/").status(), 200);
    }
    for request in origin.requests() {
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    }
}

#[test]
fn a_second_header_is_no_request() {
    let origin = Origin::answering(OK);
    let weir = behind_balancer(&origin).start();
    let mut client = Client::connect(weir.address);
    client.send(&format!("{HEADER}{HEADER}{REQUEST}"));
    assert_eq!(client.response().status(), 400);
    assert!(client.is_closed());
    assert!(origin.requests().is_empty());
}

#[test]
fn the_header_comes_before_tls() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = behind_balancer(&origin)
        .with(|setup| setup.credentials = Some(certificate.server()))
        .start();
    run(async {
        let mut stream = TcpStream::connect(weir.address).await.unwrap();
        stream.write_all(HEADER.as_bytes()).await.unwrap();
        let name = "a.test".try_into().unwrap();
        let mut stream = certificate.client(&[]).connect(name, stream).await.unwrap();
        let request = REQUEST.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let response = exchange(&mut stream, &request).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    });
    assert_eq!(
        origin.requests()[0].field("x-forwarded-for"),
        Some("198.18.0.7")
    );
}

#[test]
fn connections_count_for_the_client_and_not_for_the_balancer() {
    let origin = Origin::answering(OK);
    let weir = behind_balancer(&origin)
        .with(|setup| setup.limits.connections_per_source = 1)
        .start();
    let connect = |client: &str| {
        let header = HEADER.replace("198.18.0.7", client);
        let mut client = Client::connect(weir.address);
        client.send(&header);
        client
    };
    let (mut one, mut two) = (connect("198.18.0.1"), connect("198.18.0.2"));
    assert_eq!(one.get("/").status(), 200);
    assert_eq!(two.get("/").status(), 200);
    assert!(connect("198.18.0.1").is_closed());
    until("the refusal is counted", || {
        weir.counters.refused.load(Ordering::Relaxed) == 1
    });
}
