//! The end of a worker.

use std::io::Write;

use weir::http::worker::Stop;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::raw_h2::{
    END_HEADERS, END_STREAM, Frame, GET, GOAWAY, HEADERS, PING, Raw, fields, frame,
};
use crate::weir::{Setup, until};

fn slow() -> (Origin, std::sync::mpsc::SyncSender<()>) {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(8);
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            .unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"cd").unwrap();
        Then::KeepOpen
    });
    (origin, go)
}

#[test]
fn a_drain_finishes_what_is_under_way_and_closes_what_is_idle() {
    let (origin, go) = slow();
    let weir = Setup::to(&[origin.address]).start();
    let mut idle = Client::connect(weir.address);
    go.send(()).unwrap();
    assert_eq!(idle.get("/").text(), "abcd");
    let mut busy = Client::connect(weir.address);
    busy.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    until("the request is under way", || origin.requests().len() == 2);
    weir.stop(Stop::Drain);
    assert!(idle.is_closed());
    until("the listener is closed", || {
        std::net::TcpStream::connect(weir.address).is_err()
    });
    go.send(()).unwrap();
    assert_eq!(busy.response().text(), "abcd");
    assert!(busy.is_closed());
    weir.join();
}

#[test]
fn a_connection_accepted_before_the_drain_may_still_ask_once() {
    let (origin, go) = slow();
    let weir = Setup::to(&[origin.address]).start();
    let mut early = Client::connect(weir.address);
    weir.stop(Stop::Drain);
    go.send(()).unwrap();
    let response = early.get("/");
    assert_eq!(response.text(), "abcd");
    assert_eq!(response.field("connection"), Some("close"));
    weir.join();
}

#[test]
fn stop_now_does_not_wait() {
    let (origin, _go) = slow();
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    until("the request is under way", || origin.requests().len() == 1);
    weir.stop(Stop::Now);
    weir.join();
    assert!(client.try_response().is_err());
}

#[test]
fn an_upload_under_way_is_finished_in_the_drain() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    assert_eq!(client.head_response().status(), 100);
    client.send("ab");
    weir.stop(Stop::Drain);
    until("the listener is closed", || {
        std::net::TcpStream::connect(weir.address).is_err()
    });
    client.send("cd");
    let response = client.response();
    assert_eq!((response.status(), response.text()), (200, "ok"));
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.is_closed());
    assert_eq!(origin.requests()[0].text(), "abcd");
    weir.join();
}

#[test]
fn a_drain_of_http_2_first_warns_and_then_says_what_was_the_last_request() {
    let (origin, go) = slow();
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Raw::connect(weir.address);
    let ask = |stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(&GET));
    assert!(client.send(&ask(1)));
    until("the request is under way", || origin.requests().len() == 1);
    weir.stop(Stop::Drain);
    // RFC 9113 §6.8: what is on its way already is still taken.
    let warning = next(&mut client, GOAWAY);
    assert_eq!(warning.content[..8], [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let ping = next(&mut client, PING);
    assert!(client.send(&ask(3)));
    until("the second one is, too", || origin.requests().len() == 2);
    assert!(client.send(&frame(PING, 1, 0, &ping.content)));
    let last = next(&mut client, GOAWAY);
    assert_eq!(last.content[..8], [0, 0, 0, 3, 0, 0, 0, 0]);
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    let ended = client.rest();
    for stream in [1, 3] {
        let is_end = |frame: &Frame| frame.stream == stream && frame.flags & END_STREAM != 0;
        assert!(ended.iter().any(is_end), "{stream}: {ended:?}");
    }
    weir.join();
}

/// The next frame of a kind that says something itself.
fn next(client: &mut Raw, kind: u8) -> Frame {
    loop {
        let frame = client.next().expect("a frame");
        if frame.kind == kind && (kind != PING || frame.flags == 0) {
            return frame;
        }
    }
}
