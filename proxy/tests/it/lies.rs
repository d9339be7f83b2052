//! Origins that do not keep to the protocol: the client sees an error or a reset, never a part as the whole, and never
//! what was meant for another request.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, Content, read_message};
use crate::origin::{Origin, Then};
use crate::weir::{Setup, Weir};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// An origin that answers its first request with `lie` and all others with their number.
fn lying(lie: &[u8]) -> Origin {
    let lie = lie.to_vec();
    let count = AtomicUsize::new(0);
    Origin::start(move |_, stream| {
        // The connection may be closed by then.
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let _ = stream.write_all(&lie);
            }
            number => {
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
                );
            }
        }
        Then::KeepOpen
    })
}

/// The next requests get their own answers.
fn recovers(weir: &Weir) {
    for number in ["1", "2"] {
        let response = Client::connect(weir.address).get("/");
        assert_eq!((response.status(), response.text()), (200, number));
    }
}

#[test]
fn heads_that_make_no_sense_are_502_and_the_connection_is_not_used_again() {
    let giant = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(2_000));
    for lie in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        &giant,
        &many,
    ] {
        let origin = lying(lie.as_bytes());
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send(GET);
        let response = client.response();
        let shown = &lie[..lie.len().min(80)];
        assert_eq!(response.status(), 502, "{shown}");
        assert!(response.field("proxy-status").is_some(), "{shown}");
        recovers(&weir);
    }
}

/// RFC 9110 §8.6. Nothing is framed by it, and clients believe it.
#[test]
fn the_length_in_an_answer_to_head_is_one_plain_number_or_the_answer_is_502() {
    for (lines, length) in [
        ("Content-Length: 5\r\n", Some("5")),
        ("Content-Length: 5, 5\r\n", Some("5")),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Some("5")),
        ("Content-Length: 0005\r\n", Some("5")),
        ("Content-Length: 5, 6\r\n", None),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", None),
        ("Content-Length: 5,\r\n", None),
        ("Content-Length: +5\r\n", None),
        ("Content-Length: -5\r\n", None),
        ("Content-Length: 0x5\r\n", None),
        ("Content-Length: x\r\n", None),
        ("Content-Length:\r\n", None),
        ("Content-Length: 18446744073709551616\r\n", None),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
    ] {
        let origin = lying(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes());
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = client.head_response();
        match length {
            Some(_) => assert_eq!(response.field("content-length"), length, "{lines}"),
            None => assert_eq!(response.status(), 502, "{lines}"),
        }
        recovers(&weir);
    }
}

#[test]
fn bytes_after_a_response_are_nobodys_answer() {
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    for first in [
        OK,
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let origin = lying([first, forged].concat().as_bytes());
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send(GET);
        let response = client.response();
        assert!(!response.text().contains("forged"), "{first}");
        recovers(&weir);
    }
}

#[test]
fn content_where_there_must_be_none_is_dropped_with_its_connection() {
    for (request, lie) in [
        (
            "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        ),
        (
            "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nforged\r\n0\r\n\r\n",
        ),
        (
            GET,
            "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nforged",
        ),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nforged",
        ),
        (
            GET,
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nforged\r\n0\r\n\r\n",
        ),
    ] {
        let origin = lying(lie.as_bytes());
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send(request);
        let response = client.head_response();
        assert!(matches!(response.status(), 200 | 204 | 304 | 502), "{lie}");
        // What comes next on this connection is the answer to the next request.
        client.send(GET);
        if let Ok(next) = client.try_response() {
            assert_eq!((next.status(), next.text()), (200, "1"), "{lie}");
        }
        let third = Client::connect(weir.address).get("/");
        assert_ne!(third.text(), "forged", "{lie}");
    }
}

#[test]
fn content_shorter_than_said_or_broken_chunks_never_look_whole() {
    for lie in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfway\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nFFFFFFFFFFFFFFFFF\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX",
    ] {
        let origin = Origin::start(move |_, stream| {
            stream.write_all(lie.as_bytes()).unwrap();
            Then::Close
        });
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send(GET);
        let outcome = client.try_response();
        assert!(outcome.is_err(), "{lie}: {outcome:?}");
    }
}

#[test]
fn endless_interim_responses_end() {
    let origin = Origin::start(|_, stream| {
        while stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            .is_ok()
        {}
        Then::Close
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.timeouts.response = std::time::Duration::from_millis(300))
        .start();
    let mut client = Client::connect(weir.address);
    client.send(GET);
    let mut response = client.head_response();
    // Hints may be passed on.
    while response.status() == 103 {
        response = client.head_response();
    }
    assert!(matches!(response.status(), 502 | 504), "{}", response.start);
}

#[test]
fn an_answer_before_the_content_is_paired_with_nothing_else() {
    let origin = Origin::raw(|mut stream, seen| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        // Answers after the head, and takes the content for a request.
        while let Ok(request) = read_message(&mut reader, Content::None) {
            seen(&request);
            let path = request.start.split(' ').nth(1).unwrap();
            let length = path.len();
            if write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}"
            )
            .is_err()
            {
                break;
            }
        }
    });
    let weir = Setup::to(&[origin.address]).start();
    let content = "GET /forged HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut client = Client::connect(weir.address);
    client.send(&format!(
        "POST /first HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
        content.len()
    ));
    assert_eq!(client.response().text(), "/first");
    // The content comes late.
    let _ = client.try_send(content.as_bytes());
    for path in ["/1", "/2", "/3"] {
        assert_eq!(Client::connect(weir.address).get(path).text(), path);
    }
    // If the connection is still there, it is in step.
    if client
        .try_send(b"GET /last HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .is_ok()
        && let Ok(response) = client.try_response()
    {
        assert_eq!(response.text(), "/last");
    }
}
