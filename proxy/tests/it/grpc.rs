//! gRPC end to end: messages as its wire format frames them, over HTTP/2 on both sides, and what HTTP/1.1 can have of it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use weir::balance::Protocol;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::origin_h2::{Exchange, H2Origin, Speaking, collect};
use crate::tls::run;
use crate::weir::{Setup, Weir};

/// A service whose four methods cover the four kinds of calls.
fn service() -> H2Origin {
    H2Origin::start(Speaking::default(), |exchange| async move {
        match exchange.request.uri().path() {
            "/calls/Unary" => unary(exchange).await,
            "/calls/ClientStreaming" => client_streaming(exchange).await,
            "/calls/ServerStreaming" => server_streaming(exchange).await,
            "/calls/Bidirectional" => bidirectional(exchange).await,
            _ => unimplemented(exchange),
        }
    })
}

fn weir(origin: &H2Origin) -> Weir {
    Setup::to(&[origin.address])
        .with(|setup| {
            setup.transport.protocol = Protocol::H2c;
        })
        .start()
}

async fn unary(mut exchange: Exchange) {
    assert_eq!(exchange.request.headers()["te"], "trailers");
    assert_eq!(exchange.request.headers()["grpc-timeout"], "5S");
    let mut messages = Messages::of(exchange.request.into_body());
    let asked = messages.next().await.unwrap();
    assert_eq!(messages.next().await, None);
    let mut answers = begin(&mut exchange.respond);
    send(&mut answers, &asked);
    finish(&mut answers);
}

async fn client_streaming(mut exchange: Exchange) {
    let mut messages = Messages::of(exchange.request.into_body());
    let mut all = Vec::new();
    while let Some(message) = messages.next().await {
        all.extend(message);
    }
    let mut answers = begin(&mut exchange.respond);
    send(&mut answers, &all);
    finish(&mut answers);
}

async fn server_streaming(mut exchange: Exchange) {
    let mut messages = Messages::of(exchange.request.into_body());
    let asked = messages.next().await.unwrap();
    let mut answers = begin(&mut exchange.respond);
    for byte in asked {
        send(&mut answers, &[byte]);
    }
    finish(&mut answers);
}

/// Each answer goes out before the next question is read.
async fn bidirectional(mut exchange: Exchange) {
    let mut messages = Messages::of(exchange.request.into_body());
    let mut answers = begin(&mut exchange.respond);
    while let Some(message) = messages.next().await {
        send(&mut answers, &message);
    }
    finish(&mut answers);
}

/// A response of trailers only: the status is in the only block of fields.
fn unimplemented(mut exchange: Exchange) {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "12")
        .body(())
        .unwrap();
    exchange.respond.send_response(response, true).unwrap();
}

fn begin(respond: &mut h2::server::SendResponse<Bytes>) -> SendStream<Bytes> {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    respond.send_response(response, false).unwrap()
}

/// A message in its frame: not compressed, four bytes of length.
fn send(stream: &mut SendStream<Bytes>, message: &[u8]) {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len().try_into().unwrap());
    frame.put_slice(message);
    stream.send_data(frame.freeze(), false).unwrap();
}

fn finish(stream: &mut SendStream<Bytes>) {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("grpc-message", HeaderValue::from_static("done"));
    // What must not come in trailers.
    trailers.insert("content-length", HeaderValue::from_static("7"));
    stream.send_trailers(trailers).unwrap();
}

/// Takes messages out of content.
struct Messages {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Messages {
    fn of(stream: RecvStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((head, rest)) = self.buffer.split_at_checked(5) {
                let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
                if rest.len() >= length {
                    let message = self.buffer.split_to(5 + length);
                    return Some(message[5..].to_vec());
                }
            }
            let data = self.stream.data().await?.unwrap();
            let _ = self.stream.flow_control().release_capacity(data.len());
            self.buffer.put(data);
        }
    }

    async fn trailers(&mut self) -> HeaderMap {
        self.stream.trailers().await.unwrap().unwrap()
    }
}

async fn connect(weir: &Weir) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(weir.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}

fn call(
    sender: &mut SendRequest<Bytes>,
    method: &str,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("http://a.test/calls/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "5S")
        .body(())
        .unwrap();
    sender.send_request(request, false).unwrap()
}

fn check(trailers: &HeaderMap) {
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["grpc-message"], "done");
    assert!(!trailers.contains_key("content-length"));
}

#[test]
fn a_unary_call_has_one_message_each_way_and_its_status_in_trailers() {
    let origin = service();
    let weir = weir(&origin);
    run(async {
        let mut sender = connect(&weir).await;
        for _ in 0..3 {
            let (response, mut questions) = call(&mut sender, "Unary");
            send(&mut questions, b"hello");
            questions.send_data(Bytes::new(), true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.headers()["content-type"], "application/grpc");
            let mut answers = Messages::of(response.into_body());
            assert_eq!(answers.next().await.unwrap(), b"hello");
            assert_eq!(answers.next().await, None);
            check(&answers.trailers().await);
        }
    });
    assert_eq!(origin.connected(), 1);
}

#[test]
fn a_client_streams_many_messages_for_one() {
    let origin = service();
    let weir = weir(&origin);
    run(async {
        let (response, mut questions) = call(&mut connect(&weir).await, "ClientStreaming");
        for byte in b"hello" {
            send(&mut questions, &[*byte]);
        }
        questions.send_data(Bytes::new(), true).unwrap();
        let mut answers = Messages::of(response.await.unwrap().into_body());
        assert_eq!(answers.next().await.unwrap(), b"hello");
        assert_eq!(answers.next().await, None);
        check(&answers.trailers().await);
    });
}

#[test]
fn a_server_streams_many_messages_for_one() {
    let origin = service();
    let weir = weir(&origin);
    run(async {
        let (response, mut questions) = call(&mut connect(&weir).await, "ServerStreaming");
        send(&mut questions, b"hello");
        questions.send_data(Bytes::new(), true).unwrap();
        let mut answers = Messages::of(response.await.unwrap().into_body());
        for byte in b"hello" {
            assert_eq!(answers.next().await.unwrap(), [*byte]);
        }
        assert_eq!(answers.next().await, None);
        check(&answers.trailers().await);
    });
}

#[test]
fn both_sides_stream_and_answers_come_before_the_next_question() {
    let origin = service();
    let weir = weir(&origin);
    run(async {
        let (response, mut questions) = call(&mut connect(&weir).await, "Bidirectional");
        let mut answers = Messages::of(response.await.unwrap().into_body());
        for number in 0..20_u8 {
            send(&mut questions, &[number; 40]);
            assert_eq!(answers.next().await.unwrap(), [number; 40]);
        }
        questions.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answers.next().await, None);
        check(&answers.trailers().await);
    });
}

/// Neither `body_timeout`, nor `min_body_rate`, nor `timeouts.response` is for a call in which nobody has anything to say.
#[test]
fn a_call_may_be_quiet_in_both_directions() {
    let origin = service();
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.transport.protocol = Protocol::H2c;
            setup.limits.body_timeout = Duration::from_millis(50);
            setup.limits.min_body_rate = 1 << 30;
            setup.timeouts.response = Duration::from_millis(200);
        })
        .start();
    run(async {
        let (response, mut questions) = call(&mut connect(&weir).await, "Bidirectional");
        let mut answers = Messages::of(response.await.unwrap().into_body());
        for number in 0..3_u8 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            send(&mut questions, &[number]);
            assert_eq!(answers.next().await.unwrap(), [number]);
        }
        questions.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answers.next().await, None);
        check(&answers.trailers().await);
    });
}

/// Saying that it is a call buys no time where it cannot be one.
#[test]
fn content_for_an_http_1_origin_has_to_come_whatever_it_says_it_is() {
    let origin = Origin::start(|_, _| Then::KeepOpen);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.body_timeout = Duration::from_millis(50))
        .start();
    run(async {
        let (response, _questions) = call(&mut connect(&weir).await, "Bidirectional");
        assert_eq!(response.await.unwrap().status(), 408);
    });
}

#[test]
fn a_call_that_is_quiet_for_too_long_is_reset() {
    let origin = service();
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.transport.protocol = Protocol::H2c;
            setup.timeouts.response = Duration::from_secs(1);
            setup.timeouts.stream = Duration::from_secs(2);
        })
        .start();
    run(async {
        let (response, _questions) = call(&mut connect(&weir).await, "Bidirectional");
        let mut answers = response.await.unwrap().into_body();
        assert!(answers.data().await.unwrap().is_err());
    });
}

#[test]
fn a_response_of_trailers_only_stays_one() {
    let origin = service();
    let weir = weir(&origin);
    run(async {
        let (response, mut questions) = call(&mut connect(&weir).await, "Unknown");
        send(&mut questions, b"hello");
        let response = response.await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.body().is_end_stream());
    });
}

#[test]
fn trailers_of_a_request_reach_the_origin() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        let (content, trailers) = exchange.content().await.unwrap();
        let mut answer = begin(&mut exchange.respond);
        answer.send_data(content.into(), false).unwrap();
        answer.send_trailers(trailers.unwrap()).unwrap();
    });
    let weir = weir(&origin);
    run(async {
        let (response, mut upload) = call(&mut connect(&weir).await, "any");
        upload
            .send_data(Bytes::from_static(b"content"), false)
            .unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("5"));
        trailers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
        upload.send_trailers(trailers).unwrap();
        let mut response = response.await.unwrap().into_body();
        let (content, trailers) = collect(&mut response).await.unwrap();
        assert_eq!(content, b"content");
        let trailers = trailers.unwrap();
        assert_eq!(trailers["checksum"], "5");
        assert!(!trailers.contains_key("x-forwarded-for"));
    });
}

#[test]
fn an_http_1_client_that_takes_trailers_gets_the_status() {
    let origin = service();
    let weir = weir(&origin);
    let mut client = Client::connect(weir.address);
    client.send(
        "POST /calls/Unary HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\n\
         Grpc-Timeout: 5S\r\nContent-Length: 7\r\n\r\n\0\0\0\0\x02hi",
    );
    let response = client.response();
    assert_eq!(response.content, b"\0\0\0\0\x02hi");
    assert_eq!(
        response.field("trailer"),
        Some("grpc-status, grpc-message, grpc-status-details-bin")
    );
    let mut trailers = response.trailers;
    trailers.sort();
    let expected = [("grpc-message", "done"), ("grpc-status", "0")];
    assert_eq!(
        trailers,
        expected.map(|(name, value)| (name.into(), value.into()))
    );
}

#[test]
fn trailers_of_an_http_1_origin_reach_an_http_2_client() {
    let origin = Origin::start(|request, stream| {
        use std::io::Write as _;
        assert_eq!(request.field("te"), Some("trailers"));
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
                  2\r\nok\r\n0\r\nGrpc-Status: 0\r\nTransfer-Encoding: x\r\n\r\n",
            )
            .unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    run(async {
        let (response, mut upload) = call(&mut connect(&weir).await, "any");
        upload.send_data(Bytes::from_static(b"x"), true).unwrap();
        let mut response = response.await.unwrap().into_body();
        let (content, trailers) = collect(&mut response).await.unwrap();
        assert_eq!(content, b"ok");
        let trailers = trailers.unwrap();
        assert_eq!(trailers.len(), 1);
        assert_eq!(trailers["grpc-status"], "0");
    });
}
