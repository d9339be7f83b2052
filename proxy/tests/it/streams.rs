//! Streams of events, which are quiet until something happens.

use std::io::Write as _;
use std::time::Duration;

use crate::client::{Client, Message};
use crate::origin::{Origin, Then};
use crate::weir::{Setup, Weir};

/// Longer than an origin on a slow machine takes for a head.
const SHORT: Duration = Duration::from_secs(2);
/// Longer than what is short, so that it would have run out. On a slow machine it only gets longer.
const QUIET: Duration = Duration::from_secs(5);

/// An origin that is quiet in the middle of content of this type.
fn pausing(content_type: &'static str) -> Origin {
    Origin::start(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n");
        let _ = write!(stream, "{head}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        std::thread::sleep(QUIET);
        let _ = stream.write_all(b"1\r\nb\r\n0\r\n\r\n");
        Then::KeepOpen
    })
}

/// A weir that waits for ordinary responses for a short while, and so long for streams.
fn weir(origin: &Origin, stream: Duration) -> Weir {
    Setup::to(&[origin.address])
        .with(|setup| {
            setup.timeouts.response = SHORT;
            setup.timeouts.stream = stream;
        })
        .start()
}

#[test]
fn events_may_pause_longer_than_other_responses() {
    for (content_type, whole) in [
        ("text/event-stream", true),
        ("application/grpc-web+proto", true),
        ("text/plain", false),
    ] {
        let origin = pausing(content_type);
        let weir = weir(&origin, crate::weir::PATIENCE);
        let mut client = Client::connect(weir.address);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = client.try_response();
        let status = response.as_ref().ok().map(Message::status);
        assert_eq!(status, whole.then_some(200), "{content_type}");
    }
}

#[test]
fn a_stream_that_is_quiet_for_too_long_is_cut_short() {
    let origin = pausing("text/event-stream");
    let weir = weir(&origin, SHORT);
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(client.try_response().is_err());
}

#[test]
fn a_route_says_how_long_its_streams_may_be_quiet() {
    let origin = pausing("text/event-stream");
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.timeouts.response = SHORT;
            setup.timeouts.stream = SHORT;
            setup.routes = Some(crate::weir::routes(
                "[[route]]\npath = \"/events\"\nupstream = \"app\"\ntimeouts.stream = \"20s\"\n\
                 [[route]]\npath = \"/\"\nupstream = \"app\"\n",
            ));
        })
        .start();
    for (path, whole) in [("/events", true), ("/", false)] {
        let mut client = Client::connect(weir.address);
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let status = client.try_response().ok().map(|response| response.status());
        assert_eq!(status, whole.then_some(200), "{path}");
    }
}
