//! HTTP/2 towards origin servers: one connection for many requests, and what ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use weir::balance::{Protocol, ProxyProtocol, UpstreamTransport};

use crate::client::Client;
use crate::origin::Origin;
use crate::origin_h2::{H2Origin, Speaking, collect};
use crate::tls::{get, h2, run, text};
use crate::weir::{Setup, Weir, until};

const H2C: UpstreamTransport = UpstreamTransport {
    protocol: Protocol::H2c,
    send_proxy_protocol: ProxyProtocol::Off,
};

fn weir(origin: &H2Origin) -> Weir {
    setup(origin).start()
}

fn setup(origin: &H2Origin) -> Setup {
    Setup::to(&[origin.address]).with(|setup| setup.transport = H2C)
}

#[test]
fn requests_share_one_connection_and_keep_their_meaning() {
    let origin = H2Origin::ok(Speaking::default());
    let weir = weir(&origin);
    let mut client = Client::connect(weir.address);
    for _ in 0..3 {
        let response = client.get("/path?query");
        assert_eq!((response.status(), response.text()), (200, "ok"));
        assert!(response.field("via").unwrap().starts_with("2.0 weir"));
    }
    client.send("POST / HTTP/1.1\r\nHost: a.test:81\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.connected(), 1);
    let requests = origin.requests();
    let first = &requests[0];
    assert_eq!(first.uri.to_string(), "http://a.test/path?query");
    assert_eq!(first.version, Version::HTTP_2);
    for name in [
        "host",
        "connection",
        "te",
        "transfer-encoding",
        "keep-alive",
    ] {
        assert!(!first.headers.contains_key(name), "{name}");
    }
    assert_eq!(first.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(requests[3].uri.authority().unwrap(), "a.test:81");
    assert_eq!(requests[3].headers["content-length"], "4");
}

#[test]
fn requests_that_come_together_wait_for_one_connection() {
    let origin = H2Origin::ok(Speaking::default());
    let weir = weir(&origin);
    run(async {
        let sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let requests = (0..20).map(|_| {
            let mut sender = sender.clone();
            async move { text(sender.send_request(get("/")).await.unwrap()).await }
        });
        for answer in futures(requests).await {
            assert_eq!(answer, "ok");
        }
    });
    assert_eq!(origin.connected(), 1);
}

/// Runs all beside each other.
async fn futures<T: 'static>(
    all: impl Iterator<Item = impl Future<Output = T> + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = all.map(tokio::task::spawn_local).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

#[test]
fn an_origin_gets_no_more_streams_than_it_allows() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let speaking = Speaking {
        streams: Some(2),
        ..Speaking::default()
    };
    let origin = H2Origin::connections(speaking, move |mut connection, noted| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            let on_this = Arc::new(AtomicUsize::new(0));
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                noted(&request);
                let count = on_this.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                let all = now.fetch_add(1, Ordering::SeqCst) + 1;
                let (on_this, now) = (Arc::clone(&on_this), Arc::clone(&now));
                tokio::task::spawn_local(async move {
                    // Nobody is answered before five are here, whatever connections they came over.
                    let mut all = all;
                    while all < 5 && now.load(Ordering::SeqCst) < 5 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        all = now.load(Ordering::SeqCst);
                    }
                    on_this.fetch_sub(1, Ordering::SeqCst);
                    respond.send_response(Response::new(()), true).unwrap();
                });
            }
        }
    });
    let weir = weir(&origin);
    run(async {
        let sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let requests = (0..5).map(|_| {
            let mut sender = sender.clone();
            async move { sender.send_request(get("/")).await.unwrap().status() }
        });
        for status in futures(requests).await {
            assert_eq!(status, 200);
        }
    });
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    assert_eq!(origin.connected(), 3);
}

#[test]
fn an_origin_that_never_sends_its_settings_is_a_timeout() {
    let silent = Origin::raw(|stream, _| {
        std::thread::sleep(Duration::from_secs(1));
        drop(stream);
    });
    let weir = Setup::to(&[silent.address])
        .with(|setup| {
            setup.transport = H2C;
            setup.timeouts.connect = Duration::from_millis(100);
        })
        .start();
    let response = Client::connect(weir.address).get("/");
    assert_eq!(response.status(), 504);
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=connection_timeout")
    );
}

#[test]
fn nobody_waits_longer_for_a_hung_handshake_than_for_one_of_their_own() {
    let silent = Origin::raw(|mut stream, _| {
        let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    });
    let origin = H2Origin::ok(Speaking::default());
    let weir = Setup::to(&[silent.address, origin.address])
        .with(|setup| {
            setup.transport = H2C;
            setup.timeouts.connect = Duration::from_millis(200);
        })
        .start();
    run(async {
        let sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let requests = (0..20).map(|_| {
            let mut sender = sender.clone();
            async move { text(sender.send_request(get("/")).await.unwrap()).await }
        });
        for answer in futures(requests).await {
            assert_eq!(answer, "ok", "the other server is asked");
        }
    });
    assert!(silent.connections() < 10, "they did not make one each");
}

#[test]
fn an_origin_that_speaks_no_http_2_is_502() {
    let origin = Origin::answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.transport = H2C)
        .start();
    assert_eq!(Client::connect(weir.address).get("/").status(), 502);
}

#[test]
fn a_refused_stream_is_tried_once_more() {
    let count = Arc::new(AtomicUsize::new(0));
    let origin = H2Origin::start(Speaking::default(), move |mut exchange| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if number == 0 {
                exchange.respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                exchange.answer(200, "ok");
            }
        }
    });
    let weir = weir(&origin);
    let mut client = Client::connect(weir.address);
    // Not idempotent, but without content, and the origin says that it did not act on it.
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a_refused_stream_whose_content_is_gone_is_502() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        let _part = exchange.request.body_mut().data().await;
        exchange.respond.send_reset(h2::Reason::REFUSED_STREAM);
    });
    let weir = weir(&origin);
    let mut client = Client::connect(weir.address);
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.response().status(), 502);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_new_connection_takes_over_when_the_origin_leaves() {
    let origin = H2Origin::connections(Speaking::default(), |mut connection, noted| async move {
        // One request a connection, then GOAWAY.
        if let Some(Ok((request, mut respond))) = connection.accept().await {
            noted(&request);
            connection.graceful_shutdown();
            respond.send_response(Response::new(()), true).unwrap();
        }
        while let Some(Ok(_)) = connection.accept().await {}
    });
    let weir = weir(&origin);
    let mut client = Client::connect(weir.address);
    for _ in 0..10 {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!(origin.requests().len(), 10);
    assert_eq!(origin.connected(), 10);
}

#[test]
fn a_client_that_goes_resets_its_stream_and_hurts_nobody_else() {
    let (ended, mut endings) = mpsc::channel(4);
    let origin = H2Origin::start(Speaking::default(), move |mut exchange| {
        let ended = ended.clone();
        async move {
            if exchange.request.uri().path() == "/wait" {
                let reason = std::future::poll_fn(|context| exchange.respond.poll_reset(context));
                ended.send(reason.await.unwrap()).await.unwrap();
            } else {
                exchange.answer(200, "ok");
            }
        }
    });
    let weir = weir(&origin);
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let mut other = sender.clone();
        let waiting = tokio::task::spawn_local(async move {
            let _never = sender.send_request(get("/wait")).await;
        });
        while origin.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        waiting.abort();
        assert_eq!(endings.recv().await.unwrap(), h2::Reason::CANCEL);
        assert_eq!(
            text(other.send_request(get("/")).await.unwrap()).await,
            "ok"
        );
        let mut http1 = tokio::task::spawn_blocking({
            let address = weir.address;
            move || {
                let mut client = Client::connect(address);
                client.send("GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n");
                client
            }
        })
        .await
        .unwrap();
        while origin.requests().len() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        http1.shutdown();
        assert_eq!(endings.recv().await.unwrap(), h2::Reason::CANCEL);
    });
    assert_eq!(origin.connected(), 1);
}

#[test]
fn a_cut_upload_is_reset_and_never_ended() {
    let (ended, mut endings) = mpsc::channel(1);
    let origin = H2Origin::start(Speaking::default(), move |mut exchange| {
        let ended = ended.clone();
        async move {
            let outcome = exchange.content().await;
            ended.send(outcome.unwrap_err().reason()).await.unwrap();
        }
    });
    let weir = weir(&origin);
    let mut client = Client::connect(weir.address);
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\npart");
    until("the origin has the head", || !origin.requests().is_empty());
    client.shutdown();
    assert_eq!(endings.blocking_recv().unwrap(), Some(h2::Reason::CANCEL));
}

#[test]
fn a_response_that_breaks_off_is_reset_for_the_client_too() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        let mut stream = exchange
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        stream
            .send_data(Bytes::from_static(b"part"), false)
            .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.send_reset(h2::Reason::ENHANCE_YOUR_CALM);
    });
    let weir = weir(&origin);
    run(async {
        let stream = TcpStream::connect(weir.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = Request::get("https://a.test/").body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let mut response = response.await.unwrap();
        let error = collect(response.body_mut()).await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    });
    let mut http1 = Client::connect(weir.address);
    http1.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(http1.try_response().is_err(), "never a silent truncation");
}

#[test]
fn content_goes_both_ways_while_neither_is_complete() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        let mut stream = exchange
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        let content = exchange.request.body_mut();
        while let Some(Ok(data)) = content.data().await {
            let _ = content.flow_control().release_capacity(data.len());
            stream.send_data(data, false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let weir = weir(&origin);
    run(async {
        let stream = TcpStream::connect(weir.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = Request::post("https://a.test/").body(()).unwrap();
        let (response, mut upload) = sender.send_request(request, false).unwrap();
        let mut response = response.await.unwrap().into_body();
        for number in 0..50_u8 {
            upload
                .send_data(Bytes::from(vec![number; 100]), false)
                .unwrap();
            let mut echoed = 0;
            while echoed < 100 {
                let data = response.data().await.unwrap().unwrap();
                assert!(data.iter().all(|byte| *byte == number));
                let _ = response.flow_control().release_capacity(data.len());
                echoed += data.len();
            }
        }
        upload.send_data(Bytes::new(), true).unwrap();
        assert_eq!(collect(&mut response).await.unwrap(), (Vec::new(), None));
    });
}

#[test]
fn one_client_that_does_not_read_does_not_hold_up_another() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        let large = exchange.request.uri().path() == "/large";
        let mut stream = exchange
            .respond
            .send_response(Response::new(()), false)
            .unwrap();
        let parts = if large { 64 } else { 1 };
        for _ in 0..parts {
            // 4 MiB in all: far more than one stream's window.
            let _ = stream.send_data(Bytes::from(vec![0; 64 << 10]), false);
        }
        let _ = stream.send_data(Bytes::new(), true);
        std::future::pending::<()>().await;
    });
    let weir = weir(&origin);
    let mut slow: Vec<Client> = (0..20).map(|_| Client::connect(weir.address)).collect();
    for client in &mut slow {
        client.send("GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    until("all are under way", || origin.requests().len() == 20);
    let mut quick = Client::connect(weir.address);
    for _ in 0..5 {
        assert_eq!(quick.get("/small").content.len(), 64 << 10);
    }
    assert_eq!(origin.connected(), 1);
    for client in &mut slow {
        assert_eq!(client.response().content.len(), 4 << 20);
    }
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let gone = Arc::new(Notify::new());
    let closed = Arc::clone(&gone);
    let origin = H2Origin::connections(Speaking::default(), move |mut connection, noted| {
        let closed = Arc::clone(&closed);
        async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                noted(&request);
                respond.send_response(Response::new(()), true).unwrap();
            }
            closed.notify_one();
        }
    });
    let weir = setup(&origin)
        .with(|setup| setup.timeouts.idle = Duration::from_millis(100))
        .start();
    assert_eq!(Client::connect(weir.address).get("/").status(), 200);
    run(gone.notified());
    assert_eq!(Client::connect(weir.address).get("/").status(), 200);
    assert_eq!(origin.connected(), 2);
}

#[test]
fn content_and_its_length_arrive_whole() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        let (content, _) = exchange.content().await.unwrap();
        assert!(content.iter().all(|byte| *byte == b'x'));
        let response = Response::builder()
            .header("content-length", content.len())
            .body(())
            .unwrap();
        let mut stream = exchange.respond.send_response(response, false).unwrap();
        stream.send_data(content.into(), true).unwrap();
    });
    let weir = weir(&origin);
    run(async {
        let mut sender = h2(TcpStream::connect(weir.address).await.unwrap()).await;
        let content = Bytes::from(vec![b'x'; 900 << 10]);
        let request = Request::post("https://a.test/")
            .body(Full::new(content))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.headers()["content-length"], "921600");
        assert_eq!(text(response).await.len(), 900 << 10);
    });
}

#[test]
fn responses_without_content_have_none_and_keep_the_length_of_head() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        let status = match exchange.request.uri().path() {
            "/none" => 204,
            "/same" => 304,
            _ => 200,
        };
        let mut response = Response::builder().status(status).body(()).unwrap();
        if status != 204 {
            let fields = response.headers_mut();
            fields.insert("content-length", http::HeaderValue::from_static("7"));
        }
        exchange.respond.send_response(response, true).unwrap();
    });
    let weir = weir(&origin);
    let mut client = Client::connect(weir.address);
    for (request, status, length) in [
        ("HEAD /", 200, Some("7")),
        // hyper leaves it out, which RFC 9110 §8.6 lets everybody do.
        ("GET /same", 304, None),
        ("GET /none", 204, None),
        ("HEAD /", 200, Some("7")),
    ] {
        client.send(&format!("{request} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let response = client.head_response();
        assert_eq!(response.status(), status, "{request}");
        assert_eq!(response.field("content-length"), length, "{request}");
    }
}

#[test]
fn content_of_another_length_than_declared_is_an_error_for_the_client() {
    for (declared, content) in [("9", "short"), ("2", "too long")] {
        let origin = H2Origin::start(Speaking::default(), move |mut exchange| async move {
            let response = Response::builder()
                .header("content-length", declared)
                .body(())
                .unwrap();
            let mut stream = exchange.respond.send_response(response, false).unwrap();
            let _ = stream.send_data(Bytes::from_static(content.as_bytes()), true);
        });
        let weir = weir(&origin);
        let mut client = Client::connect(weir.address);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let whole = client
            .try_response()
            .is_ok_and(|response| response.status() == 200);
        assert!(!whole, "{content}");
    }
}
