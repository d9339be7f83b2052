//! HTTP/2: over TLS with a certificate made for the test, and over cleartext with prior knowledge.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use weir::http::worker::Stop;
use weir::net::HttpVersions;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::tls::{Certificate, exchange, get, h2, run, text};
use crate::weir::{Setup, Weir, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A weir that speaks TLS.
fn secure(origin: &Origin, certificate: &Certificate) -> Setup {
    Setup::to(&[origin.address]).with(|setup| setup.credentials = Some(certificate.server()))
}

/// A weir that speaks HTTP/2 in cleartext.
fn cleartext(origin: &Origin) -> Weir {
    Setup::to(&[origin.address]).start()
}

#[test]
fn alpn_chooses_the_protocol_and_both_reach_the_origin() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    run(async {
        let stream = certificate
            .connect(weir.address, &[b"h2", b"http/1.1"])
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = h2(stream).await;
        let request = Request::get("https://a.test/two")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(text(response).await, "ok");

        let stream = certificate
            .connect(weir.address, &[b"http/1.1"])
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    });
    let request = &origin.requests()[0];
    assert_eq!(request.start, "GET /two HTTP/1.1");
    assert_eq!(request.field("host"), Some("a.test"));
    assert_eq!(request.field("cookie"), Some("a=1; b=2"));
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    assert!(request.field("via").unwrap().starts_with("2.0 weir ("));
    until("both handshakes are counted", || {
        weir.counters.handshakes.load(Ordering::Relaxed) == 2
    });
}

/// As curl with `--http1.0` does.
#[test]
fn a_client_that_offers_http_1_0_alone_is_answered() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    run(async {
        let mut stream = certificate
            .connect(weir.address, &[b"http/1.0"])
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.0"[..]));
        let answer = exchange(&mut stream, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
            .await
            .unwrap();
        assert!(answer.contains(" 200 OK\r\n"), "{answer}");
        let newer = certificate
            .connect(weir.address, &[b"http/1.0", b"http/1.1"])
            .await
            .unwrap();
        assert_eq!(newer.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    });
}

#[test]
fn a_listener_offers_only_its_own_protocols() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate)
        .with(|setup| {
            setup.versions = HttpVersions {
                http1: true,
                http2: false,
            };
        })
        .start();
    run(async {
        let both = certificate
            .connect(weir.address, &[b"h2", b"http/1.1"])
            .await
            .unwrap();
        assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(certificate.connect(weir.address, &[b"h2"]).await.is_err());
    });
    until("the failed handshake is counted", || {
        weir.counters.handshakes_failed.load(Ordering::Relaxed) == 1
    });
}

#[test]
fn a_client_that_does_not_finish_its_handshake_is_closed() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate)
        .with(|setup| setup.limits.handshake_timeout = Duration::from_millis(50))
        .start();
    assert!(Client::connect(weir.address).is_closed());
    until("the failed handshake is counted", || {
        weir.counters.handshakes_failed.load(Ordering::Relaxed) == 1
    });
}

#[test]
fn cleartext_serves_either_version_by_the_first_bytes() {
    let origin = Origin::answering(OK);
    let weir = cleartext(&origin);
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        for _ in 0..3 {
            let response = sender.send_request(get("/")).await.unwrap();
            assert_eq!(text(response).await, "ok");
        }
    });
    assert_eq!(Client::connect(weir.address).get("/").text(), "ok");
    // One that begins like the preface and is not.
    let mut client = Client::connect(weir.address);
    client.send("PR");
    client.send("OPFIND / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.requests()[4].start, "PROPFIND / HTTP/1.1");
}

#[test]
fn many_streams_share_a_connection() {
    let origin = Origin::start(|request, stream| {
        let path = request.start.split(' ').nth(1).unwrap();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        )
        .unwrap();
        Then::KeepOpen
    });
    let weir = cleartext(&origin);
    run(async {
        let sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let mut all = tokio::task::JoinSet::new();
        for number in 0..50 {
            let mut sender: SendRequest<Empty<Bytes>> = sender.clone();
            all.spawn_local(async move {
                let path = format!("/{number}");
                let response = sender.send_request(get(&path)).await.unwrap();
                assert_eq!(text(response).await, path);
            });
        }
        while let Some(outcome) = all.join_next().await {
            outcome.unwrap();
        }
    });
    assert_eq!(weir.counters.accepted.load(Ordering::Relaxed), 1);
}

#[test]
fn a_response_cut_short_resets_the_stream_and_spares_the_others() {
    let origin = Origin::start(|request, stream| {
        if request.start.contains("/cut") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                .unwrap();
            return Then::Close;
        }
        stream.write_all(OK.as_bytes()).unwrap();
        Then::KeepOpen
    });
    let weir = cleartext(&origin);
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let response = sender.send_request(get("/cut")).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
        let response = sender.send_request(get("/")).await.unwrap();
        assert_eq!(text(response).await, "ok");
    });
}

#[test]
fn content_and_trailers_pass_between_versions() {
    let origin = Origin::start(|request, stream| {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .unwrap();
        write!(
            stream,
            "{:x}\r\n{}\r\n0\r\nGrpc-Status: 0\r\n\r\n",
            request.content.len(),
            request.text()
        )
        .unwrap();
        Then::KeepOpen
    });
    let weir = cleartext(&origin);
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let request = Request::post("https://a.test/")
            .header("te", "trailers")
            .body(Full::new(Bytes::from_static(b"hello")))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let content = response.into_body().collect().await.unwrap();
        assert_eq!(content.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(content.to_bytes(), "hello");
    });
    let request = &origin.requests()[0];
    assert_eq!(request.field("content-length"), Some("5"));
    assert_eq!(request.field("te"), Some("trailers"));
}

#[test]
fn host_and_authority_must_agree() {
    let origin = Origin::answering(OK);
    let weir = cleartext(&origin);
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let mut request = get("/");
        request
            .headers_mut()
            .insert("host", "b.test".parse().unwrap());
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 400);
    });
    assert!(origin.requests().is_empty());
}

#[test]
fn too_many_fields_are_431_and_cookie_crumbs_count() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.header_fields = 20)
        .start();
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let mut request = get("/");
        for _ in 0..21 {
            request
                .headers_mut()
                .append("cookie", "a=b".parse().unwrap());
        }
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 431);
    });
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.idle_timeout = Duration::from_millis(50))
        .start();
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let response = sender.send_request(get("/")).await.unwrap();
        assert_eq!(text(response).await, "ok");
        while sender.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_client_that_keeps_its_window_shut_is_closed() {
    let origin = Origin::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        let _ = stream.write_all(&vec![b'x'; 1_000_000]);
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.write_timeout = Duration::from_millis(100))
        .start();
    run(async {
        let stream = TcpStream::connect(weir.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(1000)
                .handshake(TokioIo::new(stream))
                .await
                .unwrap();
        tokio::task::spawn_local(connection);
        let response = sender.send_request(get("/")).await.unwrap();
        // Kept, but never read.
        while !sender.is_closed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(response);
    });
    until("the connection is gone", || {
        weir.counters.open.load(Ordering::Relaxed) == 0
    });
}

#[test]
fn a_drain_finishes_streams_and_tells_the_client_to_go() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        Then::KeepOpen
    });
    let weir = cleartext(&origin);
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let under_way = sender.send_request(get("/"));
        let finish = async {
            while origin.requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            weir.stop(Stop::Drain);
            go.send(()).unwrap();
        };
        let (response, ()) = tokio::join!(under_way, finish);
        assert_eq!(text(response.unwrap()).await, "ok");
        while sender.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    weir.join();
}

#[test]
fn certificates_are_replaced_for_new_connections() {
    let origin = Origin::answering(OK);
    let (old, new) = (Certificate::new(), Certificate::new());
    let weir = secure(&origin, &old).start();
    run(async {
        let mut kept = h2(old.connect(weir.address, &[b"h2"]).await.unwrap()).await;
        weir.credentials.store(Arc::new(new.server()));
        assert!(old.connect(weir.address, &[b"h2"]).await.is_err());
        assert!(new.connect(weir.address, &[b"h2"]).await.is_ok());
        let response = kept.send_request(get("/")).await.unwrap();
        assert_eq!(text(response).await, "ok");
    });
}
