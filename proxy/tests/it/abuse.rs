//! Clients that cost work or time: each ends with a closed connection and a word to detection.

use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir::detect::Count;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::raw_h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, fields, frame, get, post,
};
use crate::tls::Certificate;
use crate::weir::{Setup, Weir, counting, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A weir that reports what `count` says.
fn watched(origin: &Origin, count: Count) -> Setup {
    Setup::to(&[origin.address]).with(|setup| setup.rules = vec![counting(count)])
}

fn is_gone(weir: &Weir) {
    until("the connection is gone", || {
        weir.counters.accepted.load(Ordering::Relaxed) > 0
            && weir.counters.open.load(Ordering::Relaxed) == 0
    });
}

#[test]
fn floods_of_frames_that_carry_nothing_are_ended_and_reported() {
    let origin = Origin::answering(OK);
    let open = [post(1)].concat();
    for (what, before, flood) in [
        ("PING", vec![], frame(PING, 0, 0, &[7; 8])),
        ("PING's answer", vec![], frame(PING, 1, 0, &[7; 8])),
        ("SETTINGS", vec![], frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", vec![], frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9])),
        (
            "WINDOW_UPDATE",
            vec![],
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ),
        ("empty DATA", open, frame(DATA, 0, 1, &[])),
        ("unknown", vec![], frame(0xee, 0, 0, &[1])),
        (
            "CONTINUATION",
            frame(HEADERS, END_STREAM, 1, &fields(&[(":method", "GET")])),
            frame(CONTINUATION, 0, 1, &fields(&[("x", "y")])),
        ),
        (
            "empty CONTINUATION",
            frame(HEADERS, END_STREAM, 1, &fields(&[(":method", "GET")])),
            frame(CONTINUATION, 0, 1, &[]),
        ),
    ] {
        let weir = watched(&origin, Count::ProtocolErrors).start();
        let mut client = Raw::connect(weir.address);
        assert!(client.send(&before), "{what}");
        assert!(client.is_closed_within(20_000, |_| flood.clone()), "{what}");
        assert_eq!(weir.reported().to_string(), "127.0.0.1/32", "{what}");
        is_gone(&weir);
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn rapid_resets_are_ended_and_reported() {
    let origin = Origin::start(|_, _| Then::KeepOpen);
    let weir = watched(&origin, Count::ProtocolErrors).start();
    let mut client = Raw::connect(weir.address);
    let closed = client.is_closed_within(20_000, |time| {
        let stream = 2 * time + 1;
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        [get(stream), reset].concat()
    });
    assert!(closed);
    weir.reported();
    is_gone(&weir);
}

#[test]
fn streams_that_the_clients_errors_have_reset_are_ended_and_reported() {
    let origin = Origin::start(|_, _| Then::KeepOpen);
    for error in [
        // RFC 9113 §6.9: an increment of 0, and one too many.
        &[0, 0, 0, 0][..],
        &[0x7f, 0xff, 0xff, 0xff],
    ] {
        let weir = watched(&origin, Count::ProtocolErrors).start();
        let mut client = Raw::connect(weir.address);
        let closed = client.is_closed_within(5_000, |time| {
            let stream = 2 * time + 1;
            [post(stream), frame(WINDOW_UPDATE, 0, stream, error)].concat()
        });
        assert!(closed, "{error:?}");
        weir.reported();
        is_gone(&weir);
    }
}

/// More at a time than `SETTINGS_MAX_CONCURRENT_STREAMS` says: each is refused, and that has an end, too.
#[test]
fn streams_beyond_the_limit_are_ended() {
    let origin = Origin::start(|_, _| Then::KeepOpen);
    let weir = watched(&origin, Count::ProtocolErrors)
        .with(|setup| setup.limits.streams = 5)
        .start();
    let mut client = Raw::connect(weir.address);
    assert!(client.is_closed_within(20_000, |time| get(2 * time + 1)));
    weir.reported();
    is_gone(&weir);
    assert!(origin.requests().len() <= 5);
}

#[test]
fn broken_frames_end_the_connection_and_are_reported() {
    let origin = Origin::answering(OK);
    for (what, bytes) in [
        ("DATA on no stream", frame(DATA, 0, 0, b"x")),
        ("HEADERS on no stream", frame(HEADERS, 5, 0, &fields(&[]))),
        (
            "HEADERS on the server's stream",
            frame(HEADERS, 5, 2, &fields(&[])),
        ),
        ("DATA on an idle stream", frame(DATA, 0, 9, b"x")),
        ("a PING of 7 bytes", frame(PING, 0, 0, &[0; 7])),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        ("CONTINUATION of nothing", frame(CONTINUATION, 4, 1, &[])),
        ("a frame too large", frame(DATA, 0, 1, &vec![0; 20_000])),
        (
            "a window beyond its end",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        (
            "broken compression",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
        ),
        (
            "an index that is not",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xfe]),
        ),
    ] {
        let weir = watched(&origin, Count::ProtocolErrors).start();
        let mut client = Raw::connect(weir.address);
        client.send(&bytes);
        client.rest();
        assert_eq!(weir.reported().to_string(), "127.0.0.1/32", "{what}");
        is_gone(&weir);
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_compression_bomb_is_refused_before_it_is_large() {
    let origin = Origin::answering(OK);
    let weir = watched(&origin, Count::ProtocolErrors).start();
    let mut client = Raw::connect(weir.address);
    // One entry of 3,000 bytes in the dynamic table (RFC 7541 §6.2.1), named 4,000 times.
    let mut section = fields(&crate::raw_h2::GET);
    section.extend([0x40, 1, b'x', 0x7f, 0xb9, 0x16]);
    section.extend([b'v'; 3_000]);
    section.extend([0xbe; 4_000]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &section));
    let outcome = client.outcome(1).expect("an answer");
    if outcome.kind == HEADERS {
        // RFC 7541, appendix A: `:status: 200` is one byte.
        assert_ne!(outcome.content[0], 0x88);
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn broken_requests_are_reported() {
    let origin = Origin::answering(OK);
    for request in [
        "\0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n",
        "GET / HTTP/1.1\nHost: a.test\n\n",
    ] {
        let weir = watched(&origin, Count::ProtocolErrors).start();
        let mut client = Client::connect(weir.address);
        client.send(request);
        assert_eq!(client.response().status(), 400, "{request:?}");
        assert_eq!(weir.reported().to_string(), "127.0.0.1/32", "{request:?}");
    }
}

#[test]
fn failed_and_unfinished_handshakes_are_reported() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = watched(&origin, Count::TlsFailures)
        .with(|setup| {
            setup.credentials = Some(certificate.server());
            setup.limits.handshake_timeout = Duration::from_millis(50);
        })
        .start();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", b"\x16\x03\x01"] {
        let mut client = Client::connect(weir.address);
        client.try_send(bytes).unwrap();
        weir.reported();
        is_gone(&weir);
    }
    assert_eq!(weir.counters.handshakes_failed.load(Ordering::Relaxed), 3);
}

#[test]
fn handshakes_under_way_are_bounded() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.credentials = Some(certificate.server());
            setup.limits.handshakes = 1;
        })
        .start();
    let slow = Client::connect(weir.address);
    until("it is accepted", || {
        weir.counters.open.load(Ordering::Relaxed) == 1
    });
    assert!(Client::connect(weir.address).is_closed());
    drop(slow);
    crate::tls::run(async {
        while certificate.connect(weir.address, &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn slow_heads_contents_and_readers_are_reported() {
    let big = Origin::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let block = vec![b'x'; 65536];
        while stream.write_all(&block).is_ok() {}
        Then::Close
    });
    let short = Duration::from_millis(100);
    for request in [
        "GET / HTTP/1.1\r\nHost: a.t",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nab",
        // Its answer is not read.
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let weir = watched(&big, Count::SlowRequests)
            .with(|setup| {
                setup.limits.header_timeout = short;
                setup.limits.body_timeout = short;
                setup.limits.write_timeout = short;
            })
            .start();
        let mut client = Client::connect(weir.address);
        client.send(request);
        assert_eq!(weir.reported().to_string(), "127.0.0.1/32", "{request:?}");
        is_gone(&weir);
    }
}

#[test]
fn a_reader_that_keeps_its_windows_shut_is_reported_though_it_pings() {
    let origin = Origin::answering(OK);
    let weir = watched(&origin, Count::SlowRequests)
        .with(|setup| setup.limits.write_timeout = Duration::from_millis(200))
        .start();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let mut client = Raw::with_settings(weir.address, &[0, 4, 0, 0, 0, 0]);
    client.send(&get(1));
    while client.send(&frame(PING, 0, 0, &[0; 8])) {
        std::thread::sleep(Duration::from_millis(20));
    }
    weir.reported();
    is_gone(&weir);
}

/// The stream is reset, its connection lives on with the others.
#[test]
fn a_stream_that_stands_beside_one_that_moves_is_reset_and_reported() {
    const MORE: u32 = 200_000;
    let origin = Origin::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let block = vec![b'x'; 65536];
        while stream.write_all(&block).is_ok() {}
        Then::Close
    });
    let weir = watched(&origin, Count::SlowRequests)
        .with(|setup| setup.limits.write_timeout = Duration::from_secs(3))
        .start();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let mut client = Raw::with_settings(weir.address, &[0, 4, 0, 0, 0, 0]);
    client.send(&[get(1), get(3)].concat());
    let mut reset = None;
    let mut moved_after = 0;
    while moved_after < 1_000_000 {
        // The other stream, and the connection.
        for stream in [3, 0] {
            assert!(client.send(&frame(WINDOW_UPDATE, 0, stream, &MORE.to_be_bytes())));
        }
        let mut left = MORE as usize;
        while left > 0 {
            let next = client.next().expect("the connection lives on");
            assert!(next.kind != DATA || next.stream == 3, "{next:?}");
            if next.kind == DATA {
                left -= next.content.len();
                moved_after += if reset.is_some() {
                    next.content.len()
                } else {
                    0
                };
            } else if next.kind == RST_STREAM {
                assert_eq!(next.stream, 1);
                assert_eq!(reset.replace(next), None);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // CANCEL
    assert_eq!(reset.expect("a reset").content, [0, 0, 0, 8]);
    assert_eq!(weir.reported().to_string(), "127.0.0.1/32");
    assert_eq!(weir.counters.open.load(Ordering::Relaxed), 1);
}

#[test]
fn connections_are_counted_for_detection() {
    let origin = Origin::answering(OK);
    let weir = watched(&origin, Count::Connections).start();
    let _client = Client::connect(weir.address);
    assert_eq!(weir.reported().to_string(), "127.0.0.1/32");
}

/// A closed socket would answer the content that still comes with a reset, and the client might lose the answer over it.
#[test]
fn a_client_that_is_refused_in_the_middle_of_its_content_is_listened_to_for_a_while() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.body_bytes = 10)
        .start();
    let mut client = Client::connect(weir.address);
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500000\r\n\r\n");
    assert_eq!(client.response().status(), 413);
    // The answer is whole; a client that does not look yet goes on sending.
    assert!(client.is_closed());
    for _ in 0..20 {
        client.try_send(&[b'x'; 5_000]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    client.shutdown();
    is_gone(&weir);
    assert!(origin.requests().is_empty());
}
