//! The end of a worker.

use std::io::Write;

use weir::http::worker::Stop;

use crate::client::Client;
use crate::origin::{Origin, Then};
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
