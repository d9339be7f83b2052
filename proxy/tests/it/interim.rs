//! Interim responses (RFC 9110 §15.2) and content that comes in small parts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use weir::balance::Protocol;

use crate::client::{Client, Content, read_message};
use crate::origin::{Origin, Then};
use crate::origin_h2::{H2Origin, Speaking};
use crate::tls::run;
use crate::weir::{PATIENCE, Setup};

const EXPECT: &str = "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n";

#[test]
fn a_client_that_asks_first_hears_100_only_when_an_origin_takes_the_content() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(&format!("POST / HTTP/1.1\r\nHost: a.test\r\n{EXPECT}"));
    assert_eq!(client.head_response().status(), 100);
    client.send("body");
    assert_eq!(client.response().status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(request.text(), "body");
    assert_eq!(request.field("expect"), None, "weir has answered it");

    // No route, and no origin: nobody takes the content, so it is not asked for.
    client.send(&format!("POST / HTTP/1.1\r\nHost: b.test\r\n{EXPECT}"));
    assert_eq!(client.head_response().status(), 404);
    let weir = Setup::to(&[Origin::refusing()]).start();
    let mut client = Client::connect(weir.address);
    client.send(&format!("POST / HTTP/1.1\r\nHost: a.test\r\n{EXPECT}"));
    assert_eq!(client.head_response().status(), 502);
}

#[test]
fn interim_responses_of_an_origin_never_reach_a_client_as_its_response() {
    let origin = Origin::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
         HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Odd\r\nContent-Length: 7\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!((response.status(), response.text()), (200, "ok"));
        assert_eq!(response.field("link"), None);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn interim_responses_over_http_2_are_passed_over_too() {
    let origin = H2Origin::start(Speaking::default(), |mut exchange| async move {
        for _ in 0..3 {
            let hints = Response::builder().status(103).body(()).unwrap();
            exchange.respond.send_informational(hints).unwrap();
        }
        exchange.answer(200, "ok");
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.transport.protocol = Protocol::H2c)
        .start();
    let mut client = Client::connect(weir.address);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
}

#[test]
fn an_origin_that_sends_nothing_but_interim_responses_is_502() {
    let origin = Origin::start(|_, stream| {
        // Ends when weir closes the connection.
        while stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            .is_ok()
        {}
        Then::Close
    });
    let weir = Setup::to(&[origin.address]).start();
    let response = Client::connect(weir.address).get("/");
    assert_eq!(response.status(), 502);
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=http_protocol_error")
    );
}

#[test]
fn an_event_reaches_the_client_before_the_next_one_is_sent() {
    let (go, wait) = sync_channel::<()>(0);
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        for number in 0..5 {
            write!(stream, "9\r\ndata: {number}\n\n\r\n").unwrap();
            let received = wait.lock().unwrap().recv_timeout(PATIENCE);
            received.expect("the client has the event");
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut stream = std::net::TcpStream::connect(weir.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .unwrap();
    let mut reader = BufReader::new(stream);
    let response = read_message(&mut reader, Content::None).unwrap();
    assert_eq!(response.status(), 200);
    for number in 0..5 {
        // However many chunks it comes in.
        let mut event = String::new();
        while event != format!("data: {number}\n\n") {
            event.push_str(&chunk(&mut reader));
        }
        go.send(()).unwrap();
    }
}

fn chunk(reader: &mut BufReader<std::net::TcpStream>) -> String {
    let mut size = String::new();
    reader.read_line(&mut size).unwrap();
    let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
    let mut data = vec![0; size + 2];
    reader.read_exact(&mut data).unwrap();
    data.truncate(size);
    String::from_utf8(data).unwrap()
}

#[test]
fn events_flow_at_once_over_http_2_on_both_sides() {
    let seen = Arc::new(Semaphore::new(0));
    let go = Arc::clone(&seen);
    let origin = H2Origin::start(Speaking::default(), move |mut exchange| {
        let seen = Arc::clone(&seen);
        async move {
            let response = Response::builder()
                .header("content-type", "text/event-stream")
                .body(())
                .unwrap();
            let mut stream = exchange.respond.send_response(response, false).unwrap();
            for _ in 0..5 {
                stream
                    .send_data(Bytes::from_static(b"data: x\n\n"), false)
                    .unwrap();
                seen.acquire().await.unwrap().forget();
            }
            stream.send_data(Bytes::new(), true).unwrap();
        }
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.transport.protocol = Protocol::H2c)
        .start();
    run(async {
        let stream = TcpStream::connect(weir.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = Request::get("https://a.test/").body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let mut events = response.await.unwrap().into_body();
        for _ in 0..5 {
            let event = events.data().await.unwrap().unwrap();
            assert_eq!(event, "data: x\n\n");
            let _ = events.flow_control().release_capacity(event.len());
            go.add_permits(1);
        }
    });
}
