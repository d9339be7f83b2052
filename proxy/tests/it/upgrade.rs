//! WebSocket and other upgrades: who agrees, what passes when, and what ends a tunnel.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request, Response};
use weir::balance;
use weir::http::worker::Stop;

use crate::client::{Client, Content, Message, read_message};
use crate::origin::{Origin, Then};
use crate::origin_h2::{H2Origin, Speaking};
use crate::tls::run;
use crate::weir::{PATIENCE, Setup, until};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nServer: origin\r\n\r\n";

/// An origin that agrees to every upgrade and hands its connections over.
fn agreeing() -> (Origin, Receiver<(Message, BufReader<TcpStream>)>) {
    let (hand_over, connections) = sync_channel(16);
    let origin = Origin::raw(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        let Ok(request) = read_message(&mut reader, Content::Framed) else {
            return;
        };
        seen(&request);
        reader.get_mut().write_all(AGREE.as_bytes()).unwrap();
        let _ = hand_over.send((request, reader));
    });
    (origin, connections)
}

/// The client's side of a tunnel, after the response to `ask`.
fn upgraded(client: &mut Client, ask: &str) -> Message {
    client.send(ask);
    let response = client.head_response();
    assert_eq!(response.status(), 101, "{response:?}");
    response
}

/// A raw connection whose response has been read.
fn tunnel(weir: std::net::SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(weir).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    reader.get_mut().write_all(ASK.as_bytes()).unwrap();
    let response = read_message(&mut reader, Content::None).unwrap();
    assert_eq!(response.status(), 101);
    reader
}

fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line
}

fn is_closed(reader: &mut BufReader<TcpStream>) -> bool {
    match reader.read_to_end(&mut Vec::new()) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn an_upgrade_passes_bytes_both_ways_after_the_origins_101() {
    let (origin, connections) = agreeing();
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    // What is sent early waits, and arrives first.
    let response = upgraded(&mut client, &format!("{ASK}early\n"));
    assert_eq!(response.field("connection"), Some("upgrade"));
    assert_eq!(response.field("upgrade"), Some("WebSocket"));
    let accept = response.field("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(response.field("server"), None);
    assert_eq!(response.field("content-length"), None);

    let (request, mut server) = connections.recv_timeout(PATIENCE).unwrap();
    assert_eq!(request.field("connection"), Some("upgrade"));
    assert_eq!(request.field("upgrade"), Some("WebSocket"));
    assert_eq!(request.field("sec-websocket-version"), Some("13"));
    assert!(request.field("via").is_some());
    assert_eq!(line(&mut server), "early\n");
    let mut reader = BufReader::new(client.uploader());
    for number in 0..100 {
        client.send(&format!("question {number}\n"));
        assert_eq!(line(&mut server), format!("question {number}\n"));
        let answer = format!("answer {number}\n");
        server.get_mut().write_all(answer.as_bytes()).unwrap();
        assert_eq!(line(&mut reader), answer);
    }
    assert_eq!((weir.upgrades.open(), weir.upgrades.total()), (1, 1));
}

#[test]
fn a_large_transfer_passes_whole_in_both_directions() {
    let (origin, connections) = agreeing();
    let weir = Setup::to(&[origin.address]).start();
    let mut client = tunnel(weir.address);
    let (_, mut server) = connections.recv_timeout(PATIENCE).unwrap();
    let echo = std::thread::spawn(move || {
        let mut content = Vec::new();
        server.read_to_end(&mut content).unwrap();
        server.get_mut().write_all(&content).unwrap();
    });
    let sent: Vec<u8> = (0..3_u32 << 20).map(|byte| byte.to_le_bytes()[1]).collect();
    client.get_mut().write_all(&sent).unwrap();
    // The end of one direction is passed on, and the other goes on.
    client.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(sent == received);
    echo.join().unwrap();
    until("its place is free", || weir.upgrades.open() == 0);
}

#[test]
fn what_follows_a_refused_upgrade_is_a_request_like_all() {
    let origin = Origin::start(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            .unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(&format!("{ASK}GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    for _ in 0..2 {
        let response = client.response();
        assert_eq!((response.status(), response.text()), (403, "no"));
    }
    let requests = origin.requests();
    assert_eq!(requests[1].start, "GET /next HTTP/1.1");
    assert!(requests[1].field("via").is_some(), "it was not tunnelled");
    assert_eq!(requests[1].field("upgrade"), None);
    assert_eq!((weir.upgrades.open(), weir.upgrades.total()), (0, 0));
}

#[test]
fn a_101_to_another_protocol_is_502() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
    ] {
        let origin = Origin::answering(answer);
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send(ASK);
        let response = client.response();
        assert_eq!(response.status(), 502, "{answer}");
        assert_eq!(
            response.field("proxy-status"),
            Some("weir; error=http_upgrade_failed")
        );
        until("its place is free", || weir.upgrades.open() == 0);
    }
}

#[test]
fn an_upgrade_to_http_2_is_answered_as_if_not_asked_for() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.response().status(), 200);
    let request = &origin.requests()[0];
    for name in ["connection", "upgrade", "http2-settings"] {
        assert_eq!(request.field(name), None, "{name}");
    }
}

#[test]
fn tunnels_are_bounded_in_number() {
    let (origin, connections) = agreeing();
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.upgrades = 1)
        .start();
    let first = tunnel(weir.address);
    let mut second = Client::connect(weir.address);
    second.send(ASK);
    let response = second.response();
    assert_eq!(response.status(), 503);
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=connection_limit_reached")
    );
    assert_eq!(origin.requests().len(), 1, "the origin was not asked");
    assert_eq!(weir.upgrades.refused(), 1);
    drop((first, connections.recv_timeout(PATIENCE).unwrap()));
    until("its place is free", || weir.upgrades.open() == 0);
    tunnel(weir.address);
}

#[test]
fn a_tunnel_over_which_nothing_moves_is_closed_on_both_sides() {
    let (origin, connections) = agreeing();
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.upgrade_idle_timeout = Duration::from_millis(100))
        .start();
    let mut client = tunnel(weir.address);
    let (_, mut server) = connections.recv_timeout(PATIENCE).unwrap();
    assert!(is_closed(&mut client));
    assert!(is_closed(&mut server));
    until("its place is free", || weir.upgrades.open() == 0);
}

#[test]
fn either_side_that_goes_takes_the_other_along() {
    let (origin, connections) = agreeing();
    let weir = Setup::to(&[origin.address]).start();
    let mut client = tunnel(weir.address);
    let (_, server) = connections.recv_timeout(PATIENCE).unwrap();
    drop(server);
    assert!(is_closed(&mut client));
    drop(client);
    let client = tunnel(weir.address);
    let (_, mut server) = connections.recv_timeout(PATIENCE).unwrap();
    drop(client);
    assert!(is_closed(&mut server));
    drop(server);
    until("their places are free", || weir.upgrades.open() == 0);
}

#[test]
fn a_tunnel_outlives_a_reload_and_a_drain_and_ends_with_the_worker() {
    let (origin, connections) = agreeing();
    let weir = Setup::to(&[origin.address]).start();
    let mut client = tunnel(weir.address);
    let (_, mut server) = connections.recv_timeout(PATIENCE).unwrap();
    let other = Origin::refusing();
    weir.site.store(Arc::new(Setup::to(&[other]).site(2)));
    let mut next = Client::connect(weir.address);
    assert_eq!(next.get("/").status(), 502, "the new site serves");
    let mut exchange = |text: &str| {
        client.get_mut().write_all(text.as_bytes()).unwrap();
        assert_eq!(line(&mut server), text);
        server.get_mut().write_all(text.as_bytes()).unwrap();
        assert_eq!(line(&mut client), text);
    };
    exchange("after the reload\n");
    weir.stop(Stop::Drain);
    until("the drain has begun", || {
        TcpStream::connect(weir.address).is_err()
    });
    exchange("in the drain\n");
    weir.stop(Stop::Now);
    assert!(is_closed(&mut client));
    assert!(is_closed(&mut server));
    weir.join();
}

#[test]
fn an_upstream_of_http_2_only_cannot_be_upgraded() {
    let origin = H2Origin::ok(Speaking::default());
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.transport.protocol = balance::Protocol::H2c)
        .start();
    let mut client = Client::connect(weir.address);
    client.send(ASK);
    assert_eq!(client.response().status(), 501);
    assert!(origin.requests().is_empty());
}

/// An origin that speaks WebSocket as far as its opening, and answers `status` otherwise.
fn accepting(status: &'static str) -> (Origin, Receiver<BufReader<TcpStream>>) {
    let (hand_over, connections) = sync_channel(16);
    let origin = Origin::raw(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        let Ok(request) = read_message(&mut reader, Content::Framed) else {
            return;
        };
        seen(&request);
        let key = request.field("sec-websocket-key").unwrap();
        let accept = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let hash = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
            accept.as_bytes(),
        );
        let accept = base64::engine::general_purpose::STANDARD.encode(hash);
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        );
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
        let _ = hand_over.send(reader);
    });
    (origin, connections)
}

async fn http2(weir: std::net::SocketAddr) -> h2::client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(weir).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::task::spawn_local(connection);
    let mut sender = sender.ready().await.unwrap();
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
        sender = sender.ready().await.unwrap();
    }
    sender
}

fn extended_connect(protocol: &'static str) -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .uri("http://a.test/chat")
        .extension(Protocol::from_static(protocol))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap()
}

#[test]
fn a_stream_of_http_2_becomes_a_websocket_of_http_1_1() {
    let (origin, connections) = accepting("101 Switching Protocols");
    let weir = Setup::to(&[origin.address]).start();
    run(async {
        let mut sender = http2(weir.address).await;
        let (response, mut upload) = sender
            .send_request(extended_connect("websocket"), false)
            .unwrap();
        let response: Response<h2::RecvStream> = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let fields = response.headers();
        assert_eq!(fields["sec-websocket-protocol"], "chat");
        for name in [
            "sec-websocket-accept",
            "upgrade",
            "connection",
            "content-length",
        ] {
            assert!(!fields.contains_key(name), "{name}");
        }
        let mut download = response.into_body();
        let mut server = connections.recv_timeout(PATIENCE).unwrap();
        for number in 0..10 {
            let text = format!("question {number}\n");
            upload.send_data(text.clone().into(), false).unwrap();
            server = tokio::task::spawn_blocking(move || {
                assert_eq!(line(&mut server), text);
                server.get_mut().write_all(text.as_bytes()).unwrap();
                server
            })
            .await
            .unwrap();
            let data = download.data().await.unwrap().unwrap();
            assert_eq!(data, format!("question {number}\n"));
            let _ = download.flow_control().release_capacity(data.len());
        }
        // The client's end is the origin's, and the other way round.
        upload.send_data(Bytes::new(), true).unwrap();
        tokio::task::spawn_blocking(move || assert!(is_closed(&mut server)))
            .await
            .unwrap();
        assert!(
            download
                .data()
                .await
                .is_none_or(|data| data.unwrap().is_empty())
        );
    });
    let request = &origin.requests()[0];
    assert_eq!(request.start, "GET /chat HTTP/1.1");
    assert_eq!(request.field("host"), Some("a.test"));
    assert_eq!(request.field("upgrade"), Some("websocket"));
    assert_eq!(request.field("sec-websocket-version"), Some("13"));
    until("its place is free", || weir.upgrades.open() == 0);
}

#[test]
fn a_reset_stream_closes_its_tunnel_and_no_other() {
    let (origin, connections) = accepting("101 Switching Protocols");
    let weir = Setup::to(&[origin.address]).start();
    run(async {
        let mut sender = http2(weir.address).await;
        let mut tunnels = Vec::new();
        for _ in 0..2 {
            let (response, upload) = sender
                .send_request(extended_connect("websocket"), false)
                .unwrap();
            let download = response.await.unwrap().into_body();
            tunnels.push((
                upload,
                download,
                connections.recv_timeout(PATIENCE).unwrap(),
            ));
        }
        let (mut kept, _download, mut kept_server) = tunnels.pop().unwrap();
        let (mut reset, _, mut reset_server) = tunnels.pop().unwrap();
        reset.send_reset(h2::Reason::CANCEL);
        tokio::task::spawn_blocking(move || assert!(is_closed(&mut reset_server)))
            .await
            .unwrap();
        kept.send_data(Bytes::from_static(b"still here\n"), false)
            .unwrap();
        tokio::task::spawn_blocking(move || assert_eq!(line(&mut kept_server), "still here\n"))
            .await
            .unwrap();
    });
}

#[test]
fn an_origin_that_does_not_switch_answers_extended_connect_only_with_a_refusal() {
    for (status, expected) in [("403 Forbidden", 403), ("200 OK", 502)] {
        let (origin, _connections) = accepting(status);
        let weir = Setup::to(&[origin.address]).start();
        run(async {
            let mut sender = http2(weir.address).await;
            let (response, _) = sender
                .send_request(extended_connect("websocket"), false)
                .unwrap();
            assert_eq!(response.await.unwrap().status(), expected);
        });
        until("its place is free", || weir.upgrades.open() == 0);
    }
}

#[test]
fn an_origin_that_proves_nothing_is_no_websocket() {
    let origin = Origin::answering(AGREE);
    let weir = Setup::to(&[origin.address]).start();
    run(async {
        let mut sender = http2(weir.address).await;
        let (response, _) = sender
            .send_request(extended_connect("websocket"), false)
            .unwrap();
        // Its Sec-WebSocket-Accept is the answer to another key.
        assert_eq!(response.await.unwrap().status(), 502);
        let (response, _) = sender
            .send_request(extended_connect("connect-udp"), false)
            .unwrap();
        assert_eq!(response.await.unwrap().status(), 501);
    });
}

#[test]
fn the_access_log_has_a_tunnel_when_it_ends_with_what_it_carried() {
    let path = std::env::temp_dir().join(format!("weir-it-tunnel-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let (origin, connections) = agreeing();
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.access = weir::telemetry::AccessTarget::File(path.clone()))
        .start();
    let mut client = tunnel(weir.address);
    let (_, mut server) = connections.recv_timeout(PATIENCE).unwrap();
    server.get_mut().write_all(b"answer\n").unwrap();
    assert_eq!(line(&mut client), "answer\n");
    assert!(weir.access.flush(Duration::from_secs(10)));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "it is open");
    drop((client, server));
    until("the line is written", || {
        assert!(weir.access.flush(Duration::from_secs(10)));
        !std::fs::read_to_string(&path).unwrap().is_empty()
    });
    let text = std::fs::read_to_string(&path).unwrap();
    let _ = std::fs::remove_file(&path);
    assert!(
        text.contains("\"status\":101") && text.contains("\"bytes\":7"),
        "{text}"
    );
}

#[test]
fn an_upgrade_that_is_agreed_to_in_the_drain_is_one_all_the_same() {
    let (go, wait) = sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::raw(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        let Ok(request) = read_message(&mut reader, Content::Framed) else {
            return;
        };
        seen(&request);
        wait.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        reader.get_mut().write_all(AGREE.as_bytes()).unwrap();
        let asked = line(&mut reader);
        reader.get_mut().write_all(asked.as_bytes()).unwrap();
    });
    let weir = Setup::to(&[origin.address]).start();
    let stream = TcpStream::connect(weir.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = BufReader::new(stream);
    client.get_mut().write_all(ASK.as_bytes()).unwrap();
    until("the origin is asked", || !origin.requests().is_empty());
    weir.stop(Stop::Drain);
    until("the drain has begun", || {
        TcpStream::connect(weir.address).is_err()
    });
    go.send(()).unwrap();
    let response = read_message(&mut client, Content::None).unwrap();
    assert_eq!(response.status(), 101);
    assert!(response.field("connection").unwrap().contains("upgrade"));
    client.get_mut().write_all(b"hello\n").unwrap();
    assert_eq!(line(&mut client), "hello\n");
    assert!(is_closed(&mut client));
    // Only half of the tunnel is closed until the client goes, too.
    drop(client);
    weir.join();
}

#[test]
fn what_an_origin_sends_with_its_101_is_the_tunnels() {
    let origin = Origin::raw(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        if let Ok(request) = read_message(&mut reader, Content::Framed) {
            seen(&request);
            let both = format!("{AGREE}first\n");
            reader.get_mut().write_all(both.as_bytes()).unwrap();
            assert_eq!(line(&mut reader), "second\n");
        }
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = tunnel(weir.address);
    assert_eq!(line(&mut client), "first\n");
    client.get_mut().write_all(b"second\n").unwrap();
    assert!(is_closed(&mut client));
}

#[test]
fn a_client_that_ends_its_direction_over_tls_still_hears_the_other() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (origin, connections) = agreeing();
    let certificate = crate::tls::Certificate::new();
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.credentials = Some(certificate.server()))
        .start();
    let echo = std::thread::spawn(move || {
        let (_, mut server) = connections.recv_timeout(PATIENCE).unwrap();
        let mut content = Vec::new();
        server.read_to_end(&mut content).unwrap();
        server.get_mut().write_all(&content).unwrap();
    });
    run(async {
        let mut client = certificate.connect(weir.address, &[]).await.unwrap();
        client.write_all(ASK.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        client.write_all(b"question").await.unwrap();
        // close_notify (RFC 8446 §6.1): this direction only.
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "question");
    });
    echo.join().unwrap();
    until("its place is free", || weir.upgrades.open() == 0);
}
