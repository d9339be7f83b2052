//! Origin servers that hang or break off, and clients that vanish: whoever is not concerned sees nothing of it, and nothing
//! is left behind.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use weir::balance::OriginServer;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::raw_h2::{END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame};
use crate::weir::{Setup, Weir, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Has the connection reset rather than closed when it is dropped.
fn reset(stream: &TcpStream) {
    SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// What `weir` knows of its only origin.
fn server(weir: &Weir) -> std::sync::Arc<OriginServer> {
    std::sync::Arc::clone(&weir.site.load().upstreams[0].servers[0])
}

/// Waits until `weir` has no connection to or from anybody.
fn is_left_alone(weir: &Weir) {
    until("no client is there", || {
        weir.counters.open.load(Ordering::SeqCst) == 0
    });
    let server = server(weir);
    until("no request is under way", || server.in_flight() == 0);
    until("no connection to the origin is open", || {
        server.connections.load(Ordering::SeqCst) == 0
    });
}

#[test]
fn requests_that_hang_end_at_their_timeout_and_hurt_nobody_else() {
    const HUNG: usize = 50;
    let origin = Origin::start(|request, stream| {
        if !request.start.contains("/hang") {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.timeouts.response = Duration::from_secs(5);
            setup.timeouts.idle = Duration::from_millis(200);
        })
        .start();
    let (ended, address) = (AtomicUsize::new(0), weir.address);
    std::thread::scope(|scope| {
        for _ in 0..HUNG {
            scope.spawn(|| {
                let response = Client::connect(address).get("/hang");
                ended.fetch_add(1, Ordering::SeqCst);
                assert_eq!(response.status(), 504, "{}", response.start);
                let why = response.field("proxy-status").unwrap();
                assert!(why.contains("http_response_timeout"), "{why}");
            });
        }
        until("all hang", || origin.requests().len() >= HUNG);
        let mut client = Client::connect(address);
        for _ in 0..20 {
            assert_eq!(client.get("/").text(), "ok");
            assert_eq!(Client::connect(address).get("/").text(), "ok");
        }
        until("all are told", || ended.load(Ordering::SeqCst) == HUNG);
    });
    is_left_alone(&weir);
}

/// Whole answers, and every way to break off: with and without a reset, within head and content.
fn breaking_off() -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::start(move |request, stream| {
        let path = request.start.split(' ').nth(1).unwrap();
        let content = path.repeat(20);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        );
        let number = asked.fetch_add(1, Ordering::SeqCst);
        let cut = match number % 3 {
            0 => answer.len(),
            _ => number * 7 % answer.len(),
        };
        // The other side may have gone.
        let _ = stream.write_all(&answer.as_bytes()[..cut]);
        if cut == answer.len() {
            return Then::KeepOpen;
        }
        if number.is_multiple_of(2) {
            reset(stream);
        }
        Then::Close
    })
}

#[test]
fn an_origin_that_breaks_off_again_and_again_never_makes_a_wrong_answer() {
    let origin = breaking_off();
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.timeouts.idle = Duration::from_millis(200))
        .start();
    let (whole, address) = (AtomicUsize::new(0), weir.address);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let whole = &whole;
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for number in 0..100 {
                    let path = format!("/{thread}/{number}");
                    client.send(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
                    match client.try_response() {
                        Ok(response) if response.status() == 200 => {
                            assert_eq!(response.text(), path.repeat(20));
                            whole.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(response) => {
                            let status = response.status();
                            assert!(matches!(status, 502 | 503), "{}", response.start);
                        }
                        // Broken off for the client, too.
                        Err(_) => client = Client::connect(address),
                    }
                }
            });
        }
    });
    assert!(whole.load(Ordering::SeqCst) > 0, "some come whole");
    is_left_alone(&weir);
}

/// What a client may say, to be cut anywhere.
fn conversations() -> Vec<Vec<u8>> {
    let get = b"GET /large HTTP/1.1\r\nHost: a.test\r\nCookie: a=b\r\n\r\n";
    let post = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 40\r\n\r\n0123456789012345678901234567890123456789";
    let chunked = b"PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n3;x=y\r\nabc\r\n0\r\n\r\n";
    let mut http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    http2.extend(frame(SETTINGS, 0, 0, &[]));
    // :method GET, :scheme http, :path /, :authority a.test; the second with content that never comes.
    let head = b"\x82\x86\x84\x41\x06a.test";
    http2.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, head));
    http2.extend(frame(HEADERS, END_HEADERS, 3, head));
    vec![get.to_vec(), post.to_vec(), chunked.to_vec(), http2]
}

/// Says the first `length` bytes of `conversation` and vanishes; if that is all of it, in the middle of the answer.
fn vanish(address: SocketAddr, conversation: &[u8], length: usize, number: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&conversation[..length]).unwrap();
    if length == conversation.len() {
        let mut some = [0; 10];
        let _ = stream.read(&mut some).unwrap();
    }
    if number.is_multiple_of(2) {
        reset(&stream);
    }
}

#[test]
fn clients_that_vanish_at_any_byte_leave_nothing_behind() {
    let origin = Origin::start(|request, stream| {
        let length = if request.start.contains("/large") {
            4 << 20
        } else {
            2
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        // The other side may go.
        let sent = stream.write_all(head.as_bytes());
        match sent.and_then(|()| stream.write_all(&vec![b'x'; length])) {
            Ok(()) => Then::KeepOpen,
            Err(_) => Then::Close,
        }
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.timeouts.idle = Duration::from_millis(200);
            setup.limits.connections = 2_000;
            setup.limits.connections_per_source = 2_000;
        })
        .start();
    let (gone, address) = (AtomicBool::new(false), weir.address);
    std::thread::scope(|scope| {
        // Somebody who stays.
        scope.spawn(|| {
            let mut client = Client::connect(address);
            while !gone.load(Ordering::SeqCst) {
                assert_eq!(client.get("/").text(), "xx");
            }
        });
        for conversation in conversations() {
            for length in 0..=conversation.len() {
                vanish(address, &conversation, length, length);
            }
            for number in 0..10 {
                vanish(address, &conversation, conversation.len(), number);
            }
        }
        gone.store(true, Ordering::SeqCst);
    });
    is_left_alone(&weir);
    assert_eq!(Client::connect(weir.address).get("/").text(), "xx");
}
