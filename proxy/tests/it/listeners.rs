//! Listeners that come, go and change while a worker serves.

use std::net::TcpStream;
use std::sync::Arc;

use weir::net::{ListenSettings, Listener, Networks, bind};

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::weir::{Setup, Weir, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What the worker listens on first.
fn first(weir: &Weir) -> Arc<Listener> {
    Arc::clone(&weir.listening.borrow()[0])
}

/// One more, on another port.
fn another(weir: &Weir) -> (Arc<Listener>, std::net::SocketAddr) {
    let settings = ListenSettings::clone(&first(weir).settings());
    let socket = bind(&settings, 1).unwrap().pop().unwrap().listen().unwrap();
    let address = socket.local_addr().unwrap();
    (Arc::new(Listener::new(settings, vec![socket])), address)
}

#[test]
fn a_listener_that_is_added_serves_and_one_that_is_removed_spares_the_other() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut kept = Client::connect(weir.address);
    assert_eq!(kept.get("/").status(), 200);
    let (second, address) = another(&weir);
    weir.listening
        .send_replace(vec![first(&weir), Arc::clone(&second)]);
    let mut on_second = Client::connect(address);
    assert_eq!(on_second.get("/").status(), 200);
    assert_eq!(kept.get("/").status(), 200);

    weir.listening.send_replace(vec![first(&weir)]);
    until("it is closed", || TcpStream::connect(address).is_err());
    assert!(on_second.is_closed(), "idle connections of it go");
    assert_eq!(kept.get("/").status(), 200);
}

#[test]
fn a_request_under_way_on_a_listener_that_is_removed_is_finished() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        std::io::Write::write_all(stream, OK.as_bytes()).unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    until("the request is under way", || origin.requests().len() == 1);
    weir.listening.send_replace(vec![]);
    until("it is closed", || TcpStream::connect(weir.address).is_err());
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "ok");
    assert!(client.is_closed());
}

#[test]
fn changed_settings_hold_for_new_connections_and_end_those_of_another_policy() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let listener = first(&weir);
    let mut settings = ListenSettings::clone(&listener.settings());
    let change = |settings: &ListenSettings| {
        listener.change(settings);
        weir.listening.send_modify(|_| {});
    };
    let mut before = Client::connect(weir.address);
    assert_eq!(before.get("/").status(), 200);

    settings.limits.body_bytes = 1;
    change(&settings);
    until("the new limit holds", || {
        let mut client = Client::connect(weir.address);
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nxx");
        client.response().status() == 413
    });
    assert_eq!(before.get("/").status(), 200, "limits alone end nothing");

    settings.trust_forwarded_from = Networks::new(vec!["127.0.0.0/8".parse().unwrap()]);
    change(&settings);
    assert!(before.is_closed());
    let mut after = Client::connect(weir.address);
    after.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 198.18.0.1\r\n\r\n");
    assert_eq!(after.response().status(), 200);
    let last = origin.requests().pop().unwrap();
    assert_eq!(last.field("x-forwarded-for"), Some("198.18.0.1, 127.0.0.1"));
}
