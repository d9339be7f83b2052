//! Uploads that their origin server does not take. Over HTTP/2: when the exchange is over, so are they, and their streams
//! are free for others. Over HTTP/1.1: what the server said before it closed is what the client gets.

use std::io::{BufReader, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpStream;
use weir::balance::{Protocol, ProxyProtocol, UpstreamTransport};

use crate::client::{Client, Content, read_message};
use crate::origin::Origin;
use crate::origin_h2::{H2Origin, Speaking, collect};
use crate::tls::{get, h2, run};
use crate::weir::{PATIENCE, Setup, Weir};

/// More than the origin server's window and what is buffered before it.
const UPLOAD_BYTES: usize = 512 << 10;

/// Answers uploads without taking any of them, with `rest` of the response still to come or not. There is one stream of
/// one connection for all.
fn weir(rest: bool, response: Duration) -> (H2Origin, Weir) {
    let speaking = Speaking {
        streams: Some(1),
        ..Speaking::default()
    };
    let origin = H2Origin::start(speaking, move |mut exchange| async move {
        if exchange.request.uri().path() != "/upload" {
            return exchange.answer(200, "ok");
        }
        let head = Response::new(());
        let mut stream = exchange.respond.send_response(head, false).unwrap();
        stream
            .send_data(Bytes::from_static(b"early"), !rest)
            .unwrap();
        // Dropped, it would be reset, and so the upload with it.
        std::future::pending::<()>().await;
    });
    let setup = Setup::to(&[origin.address]).with(|setup| {
        setup.transport = UpstreamTransport {
            protocol: Protocol::H2c,
            send_proxy_protocol: ProxyProtocol::Off,
        };
        setup.connections = 1;
        setup.timeouts.response = response;
    });
    (origin, setup.start())
}

/// Asks until the one stream that there is comes free.
async fn is_served_again(weir: &Weir) {
    let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
    let served = async {
        while sender.send_request(get("/")).await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, served).await;
    outcome.expect("the stream comes free");
}

#[test]
fn an_upload_that_nobody_takes_ends_with_its_client() {
    let (origin, weir) = weir(true, PATIENCE);
    run(async {
        let stream = TcpStream::connect(weir.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::task::spawn_local(connection);
        let request = Request::post("http://a.test/upload").body(()).unwrap();
        let (response, mut upload) = sender.send_request(request, false).unwrap();
        upload
            .send_data(vec![0; UPLOAD_BYTES].into(), true)
            .unwrap();
        let mut response = response.await.unwrap();
        assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "early");
        connection.abort();
        is_served_again(&weir).await;
    });
    assert_eq!(origin.connected(), 1);
}

#[test]
fn an_upload_that_nobody_takes_ends_some_time_after_its_response() {
    let (origin, weir) = weir(false, Duration::from_secs(3));
    run(async {
        let stream = TcpStream::connect(weir.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = Request::post("http://a.test/upload").body(()).unwrap();
        let (response, mut upload) = sender.send_request(request, false).unwrap();
        upload
            .send_data(vec![0; UPLOAD_BYTES].into(), true)
            .unwrap();
        let mut response = response.await.unwrap();
        let (content, _) = collect(response.body_mut()).await.unwrap();
        assert_eq!(content, b"early");
        is_served_again(&weir).await;
    });
    assert_eq!(origin.connected(), 1);
}

/// Refuses every upload with most of it unread, so that its close is a reset (RFC 9112 §9.6).
fn refusing() -> Origin {
    Origin::raw(|mut stream, seen| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        seen(&read_message(&mut reader, Content::None).unwrap());
        // More is here than was read.
        assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            .unwrap();
    })
}

#[test]
fn an_early_refusal_reaches_a_client_that_still_uploads() {
    let origin = refusing();
    let weir = Setup::to(&[origin.address]).start();
    for _ in 0..ROUNDS {
        let mut client = Client::connect(weir.address);
        let mut uploader = client.uploader();
        let upload = std::thread::spawn(move || {
            let head = format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {REFUSED_BYTES}\r\n\r\n"
            );
            uploader.write_all(head.as_bytes()).unwrap();
            let _cut_off = uploader.write_all(&vec![b'u'; REFUSED_BYTES]);
        });
        let response = client.response();
        assert_eq!((response.status(), response.text()), (403, "no"));
        let _closed_before = client.uploader().shutdown(Shutdown::Both);
        upload.join().unwrap();
    }
    assert_eq!(origin.requests().len(), ROUNDS);
}

#[test]
fn an_early_refusal_reaches_a_client_that_still_uploads_over_http_2() {
    let origin = refusing();
    let weir = Setup::to(&[origin.address]).start();
    run(async {
        for _ in 0..ROUNDS {
            let stream = TcpStream::connect(weir.address).await.unwrap();
            let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
            let connection = tokio::task::spawn_local(connection);
            let request = Request::post("http://a.test/").body(()).unwrap();
            let (response, mut upload) = sender.send_request(request, false).unwrap();
            upload
                .send_data(vec![b'u'; REFUSED_BYTES].into(), true)
                .unwrap();
            let mut response = response.await.unwrap();
            assert_eq!(response.status(), 403);
            let (content, _) = collect(response.body_mut()).await.unwrap();
            assert_eq!(content, b"no");
            connection.abort();
        }
    });
    assert_eq!(origin.requests().len(), ROUNDS);
}

/// Enough for the reset to come before, between and after the writes.
const ROUNDS: usize = 20;
const REFUSED_BYTES: usize = 1 << 20;
