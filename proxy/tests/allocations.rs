//! How often a request makes a worker allocate. A process of its own, because everything in it is counted: the client and
//! the origin here write bytes that they have and read into buffers that they have.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "tests: a panic is a failure, and deadlines of the harness read the clock"
)]

#[allow(dead_code, reason = "shared with the tests of the request path")]
#[path = "it/weir.rs"]
mod weir;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use ::weir::telemetry::AccessTarget;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::weir::{PATIENCE, Setup};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// As a browser or `curl` would ask.
const REQUEST: &[u8] =
    b"GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\n\
    Content-Type: text/plain\r\nCache-Control: max-age=3600\r\nContent-Length: 16\r\n\r\n0123456789abcdef";
const CONTENT: &[u8] = b"0123456789abcdef";

/// One after the other over one connection, so that the figure is the same on each machine. Whoever needs more says why
/// in the commit that raises it.
#[test]
fn a_request_makes_no_more_allocations_than_it_did() {
    for (cache, allowed) in [(false, PROXIED), (true, HIT)] {
        let log = std::env::temp_dir().join(format!("weir-allocations-{}", std::process::id()));
        let weir = Setup::to(&[origin()])
            .with(|setup| {
                setup.cache = cache;
                setup.access = AccessTarget::File(log.clone());
            })
            .start();
        let mut client = TcpStream::connect(weir.address).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        // Connections, buffers and tables have their size then.
        let head = ask(&mut client, 200);
        assert_eq!(head.contains("weir; hit"), cache, "{head}");
        assert!(weir.access.flush(PATIENCE));
        let region = Region::new(ALLOCATOR);
        ask(&mut client, REQUESTS);
        assert!(weir.access.flush(PATIENCE));
        let allocations = region.change().allocations / REQUESTS;
        std::fs::remove_file(&log).unwrap();
        assert!(
            allocations <= allowed,
            "cache {cache}: {allocations} allocations a request, allowed are {allowed}"
        );
    }
}

/// Returns the last response.
fn ask(client: &mut TcpStream, requests: usize) -> String {
    let mut buffer = [0; 4096];
    let mut length = 0;
    for _ in 0..requests {
        client.write_all(REQUEST).unwrap();
        length = 0;
        while !buffer[..length].ends_with(CONTENT) {
            let read = client.read(&mut buffer[length..]).unwrap();
            assert!(read > 0, "closed");
            length += read;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200 "));
    }
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// Answers every request alike.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut length = 0;
                while let Ok(read @ 1..) = stream.read(&mut buffer[length..]) {
                    length += read;
                    if buffer[..length].ends_with(b"\r\n\r\n") {
                        length = 0;
                        if stream.write_all(RESPONSE).is_err() {
                            break;
                        }
                    }
                }
            });
        }
    });
    address
}

/// What was counted, and two for the next versions of libraries.
const PROXIED: usize = 21;
const HIT: usize = 18;
const REQUESTS: usize = 1000;
