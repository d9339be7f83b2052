//! What makes work or holds memory a little at a time. Each ends, is reported, reaches no origin as a whole, and leaves
//! others alone.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use weir::detect::Count;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::raw_h2::{
    DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, fields, frame, get, post,
};
use crate::tls::Certificate;
use crate::weir::{Setup, Weir, counting, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// A limit that is soon over.
const SHORT: Duration = Duration::from_millis(500);
/// The same for handshakes, which take a slow machine longer.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Between two bytes of a client that is slow but never silent.
const STEP: Duration = Duration::from_millis(20);
/// So many steps are far more time than any limit here.
const STEPS: usize = 2_000;

fn watched(origin: &Origin, count: Count) -> Setup {
    Setup::to(&[origin.address]).with(|setup| setup.rules = vec![counting(count)])
}

/// An origin that answers `/honest` and never anything else.
fn reticent() -> Origin {
    Origin::start(|request, stream| {
        if request.start.starts_with("GET /honest ") {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        Then::KeepOpen
    })
}

/// Another client gets its answer, and then only that client is left.
fn is_gone_and_others_are_served(weir: &Weir) {
    assert_eq!(Client::connect(weir.address).get("/honest").status(), 200);
    until("the connection is gone", || {
        weir.counters.open.load(Ordering::Relaxed) == 0
    });
}

/// Requests of the origin that are not of the honest client.
fn others(origin: &Origin) -> usize {
    let requests = origin.requests();
    let others = requests
        .iter()
        .filter(|request| !request.start.starts_with("GET /honest "));
    others.count()
}

#[test]
fn handshakes_a_byte_at_a_time_are_ended_and_reported() {
    let origin = reticent();
    let certificate = Certificate::new();
    let weir = watched(&origin, Count::TlsFailures)
        .with(|setup| {
            setup.credentials = Some(certificate.server());
            setup.limits.handshake_timeout = HANDSHAKE;
        })
        .start();
    let mut client = Client::connect(weir.address);
    // The beginning of a record that holds a ClientHello of 4 KiB, in as many records as bytes.
    let hello = [&[1, 0, 0x10, 0][..], &[0; 4096]].concat();
    let closed = hello.iter().any(|byte| {
        std::thread::sleep(STEP);
        client.try_send(&[22, 3, 1, 0, 1, *byte]).is_err()
    });
    assert!(closed);
    assert_eq!(weir.reported().to_string(), "127.0.0.1/32");
    until("the connection is gone", || {
        weir.counters.open.load(Ordering::Relaxed) == 0
    });
    crate::tls::run(async {
        certificate.connect(weir.address, &[]).await.unwrap();
    });
}

#[test]
fn hellos_that_are_too_large_or_broken_are_ended_and_reported() {
    let origin = reticent();
    let certificate = Certificate::new();
    let large = {
        // A ClientHello of 16 MiB, as its length has it, in records as large as they may be.
        let record = [&[22, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
        let first = [&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff][..], &record].concat();
        [first, record.repeat(64)].concat()
    };
    for (what, bytes) in [
        ("too large", large),
        ("empty records", [22, 3, 1, 0, 0].repeat(5_000)),
        ("alerts", [21, 3, 1, 0, 2, 1, 90].repeat(5_000)),
        ("a record too large", vec![22, 3, 1, 0xff, 0xff]),
        ("content before the handshake", vec![23, 3, 3, 0, 1, 0]),
        (
            "a hello that says nothing",
            vec![22, 3, 1, 0, 4, 1, 0, 0, 0],
        ),
    ] {
        let weir = watched(&origin, Count::TlsFailures)
            .with(|setup| {
                setup.credentials = Some(certificate.server());
                setup.limits.handshake_timeout = HANDSHAKE;
            })
            .start();
        let mut client = Client::connect(weir.address);
        // Closed in the middle of it, or not.
        let _ = client.try_send(&bytes);
        assert_eq!(weir.reported().to_string(), "127.0.0.1/32", "{what}");
        until(what, || weir.counters.open.load(Ordering::Relaxed) == 0);
        crate::tls::run(async {
            certificate.connect(weir.address, &[]).await.unwrap();
        });
    }
}

/// Never silent for longer than a moment, and never done.
#[test]
fn heads_contents_chunks_extensions_and_trailers_that_dribble_are_ended_and_reported() {
    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let origin = reticent();
    for (what, begin, more) in [
        (
            "head",
            "GET / HTTP/1.1\r\nHost: a.test\r\nX: ".to_owned(),
            "x",
        ),
        (
            "fields",
            "GET / HTTP/1.1\r\nHost: a.test\r\n".to_owned(),
            "X: y\r\n",
        ),
        ("chunk size", CHUNKED.to_owned() + "0", "0"),
        ("extension", CHUNKED.to_owned() + "1;", "x"),
        ("trailer", CHUNKED.to_owned() + "0\r\nX: ", "x"),
    ] {
        let weir = watched(&origin, Count::SlowRequests)
            .with(|setup| {
                setup.limits.header_timeout = SHORT;
                setup.limits.body_timeout = SHORT;
            })
            .start();
        let mut client = Client::connect(weir.address);
        client.send(&begin);
        let closed = (0..STEPS).any(|_| {
            std::thread::sleep(STEP);
            client.try_send(more.as_bytes()).is_err()
        });
        assert!(closed, "{what}");
        assert_eq!(weir.reported().to_string(), "127.0.0.1/32", "{what}");
        is_gone_and_others_are_served(&weir);
    }
}

/// Content that keeps coming is judged by its rate; the grace is five seconds.
#[test]
fn contents_a_byte_at_a_time_are_ended_and_reported_in_either_version() {
    let origin = reticent();
    let weir = watched(&origin, Count::SlowRequests)
        .with(|setup| setup.limits.min_body_rate = 500)
        .start();
    let mut client = Client::connect(weir.address);
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n");
    let mut other = Raw::connect(weir.address);
    other.send(&post(1));
    let mut closed = [false; 2];
    for _ in 0..STEPS {
        std::thread::sleep(STEP);
        closed[0] |= client.try_send(b"x").is_err();
        // DATA on a stream that is gone is answered with GOAWAY or not at all; the report is what tells.
        closed[1] |= !other.send(&frame(DATA, 0, 1, b"x"));
        if closed[0] && weir.counters.responses[3].load(Ordering::Relaxed) >= 2 {
            break;
        }
    }
    assert!(closed[0]);
    assert_eq!(other.outcome(1).unwrap().kind, HEADERS);
    weir.reported();
    drop(other);
    is_gone_and_others_are_served(&weir);
}

/// What is sent time after time, by number of a stream.
type Flood = Box<dyn Fn(u32) -> Vec<u8>>;

#[test]
fn streams_that_are_reset_for_what_they_send_are_ended_and_reported() {
    let origin = reticent();
    let upper = fields(&[&GET[..], &[("X-Upper", "y")]].concat());
    let twice = fields(&[&GET[..], &[(":path", "/")]].concat());
    let connection = fields(&[&GET[..], &[("connection", "x")]].concat());
    let malformed =
        |section: Vec<u8>| move |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &section);
    let floods: [(&str, Flood); 5] = [
        ("upper case", Box::new(malformed(upper))),
        ("a pseudo-field twice", Box::new(malformed(twice))),
        ("a connection field", Box::new(malformed(connection))),
        (
            "content after the end",
            Box::new(|stream| [get(stream), frame(DATA, 0, stream, b"x")].concat()),
        ),
        (
            "resets of a stream that is closed",
            Box::new(|_| frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
        ),
    ];
    for (what, flood) in floods {
        let weir = watched(&origin, Count::ProtocolErrors).start();
        let mut client = Raw::connect(weir.address);
        client.send(&[get(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat());
        assert!(
            client.is_closed_within(5_000, |time| flood(2 * time + 3)),
            "{what}"
        );
        assert_eq!(weir.reported().to_string(), "127.0.0.1/32", "{what}");
        is_gone_and_others_are_served(&weir);
    }
}

/// Thousands of fields from a few kilobytes: entries count, not bytes alone.
#[test]
fn bombs_of_many_small_fields_are_refused_before_they_are_large() {
    let origin = reticent();
    for name in ["x", "cookie", "host"] {
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Raw::connect(weir.address);
        // One small entry in the dynamic table (RFC 7541 §6.2.1), named 4,000 times.
        let mut section = fields(&GET);
        section.extend([0x40, u8::try_from(name.len()).unwrap()]);
        section.extend(name.as_bytes());
        section.extend([1, b'v']);
        section.extend([0xbe; 4_000]);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &section));
        let outcome = client.outcome(1).expect("an answer");
        if outcome.kind == HEADERS {
            // RFC 7541, appendix A: `:status: 200` is one byte.
            assert_ne!(outcome.content[0], 0x88, "{name}");
        }
        drop(client);
        is_gone_and_others_are_served(&weir);
    }
    assert_eq!(others(&origin), 0);
}

/// Settings that move the windows of all open streams, and back.
#[test]
fn a_window_that_walks_under_open_streams_is_ended_and_reported() {
    let origin = reticent();
    let weir = watched(&origin, Count::ProtocolErrors).start();
    let mut client = Raw::connect(weir.address);
    let open: Vec<u8> = (0..50).flat_map(|number| get(2 * number + 1)).collect();
    client.send(&open);
    let closed = client.is_closed_within(20_000, |time| {
        let window = if time % 2 == 0 { 0x7f } else { 0 };
        frame(SETTINGS, 0, 0, &[0, 4, window, 0xff, 0xff, 0xff])
    });
    assert!(closed);
    weir.reported();
    is_gone_and_others_are_served(&weir);
}

/// What stands because its window is shut is not fetched from the origin, either.
#[test]
fn streams_that_stand_hold_little_each() {
    const STREAMS: u32 = 15;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let origin = Origin::start(move |request, stream| {
        if request.start.starts_with("GET /honest ") {
            stream.write_all(OK.as_bytes()).unwrap();
            return Then::KeepOpen;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let block = vec![b'x'; 16 << 10];
        while stream.write_all(&block).is_ok() {
            counted.fetch_add(block.len(), Ordering::Relaxed);
        }
        Then::Close
    });
    let weir = watched(&origin, Count::SlowRequests)
        .with(|setup| setup.limits.write_timeout = Duration::from_secs(3))
        .start();
    let mut client = Raw::with_settings(weir.address, &[0, 4, 0, 0, 0, 0]);
    let open: Vec<u8> = (0..STREAMS)
        .flat_map(|number| get(2 * number + 1))
        .collect();
    client.send(&open);
    until("all are asked for", || others(&origin) == STREAMS as usize);
    assert_eq!(Client::connect(weir.address).get("/honest").status(), 200);
    weir.reported();
    client.rest();
    is_gone_and_others_are_served(&weir);
    // Sockets' buffers on both sides of a loopback connection, and 64 KiB of ours: 100 MB each were on offer.
    let each = taken.load(Ordering::Relaxed) / STREAMS as usize;
    assert!(each < 16 << 20, "{each}");
}

#[test]
fn a_window_that_opens_a_byte_at_a_time_is_ended_and_reported() {
    let origin = Origin::start(|request, stream| {
        if request.start.starts_with("GET /honest ") {
            stream.write_all(OK.as_bytes()).unwrap();
            return Then::KeepOpen;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let block = vec![b'x'; 16 << 10];
        while stream.write_all(&block).is_ok() {}
        Then::Close
    });
    let weir = watched(&origin, Count::SlowRequests)
        .with(|setup| setup.limits.write_timeout = SHORT)
        .start();
    let mut client = Raw::with_settings(weir.address, &[0, 4, 0, 0, 0, 0]);
    client.send(&get(1));
    let closed = (0..STEPS).any(|_| {
        std::thread::sleep(STEP);
        !client.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]))
    });
    assert!(closed);
    weir.reported();
    is_gone_and_others_are_served(&weir);
}

#[test]
fn a_head_in_frames_that_never_ends_and_is_silent_is_closed() {
    let origin = reticent();
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.idle_timeout = SHORT)
        .start();
    let mut client = Raw::connect(weir.address);
    client.send(&frame(HEADERS, END_STREAM, 1, &fields(&GET[..2])));
    client.rest();
    is_gone_and_others_are_served(&weir);
    assert_eq!(others(&origin), 0);
}

#[test]
fn the_last_stream_is_served_and_none_comes_after_it() {
    let origin = Origin::answering(OK);
    let weir = watched(&origin, Count::ProtocolErrors).start();
    let mut client = Raw::connect(weir.address);
    client.send(&get(0x7fff_ffff));
    assert_eq!(client.outcome(0x7fff_ffff).unwrap().kind, HEADERS);
    client.send(&get(5));
    let last = client.rest();
    assert!(last.iter().any(|frame| frame.kind == GOAWAY), "{last:?}");
    weir.reported();
    is_gone_and_others_are_served(&weir);
    assert_eq!(others(&origin), 1);
}

/// A client that says that it goes and does not: what it asked is answered, and nothing keeps the connection after that.
#[test]
fn a_client_that_says_that_it_goes_and_stays_is_closed() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.idle_timeout = SHORT)
        .start();
    let mut client = Raw::connect(weir.address);
    client.send(&[get(1), frame(GOAWAY, 0, 0, &[0; 8])].concat());
    assert_eq!(client.outcome(1).unwrap().kind, HEADERS);
    while client.send(&frame(PING, 0, 0, &[0; 8])) {
        std::thread::sleep(STEP);
    }
    is_gone_and_others_are_served(&weir);
}
