//! Content codings on the way to the client.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;

use crate::client::{Client, Message};
use crate::origin::{Origin, Then};
use crate::weir::{PATIENCE, Setup, Weir, routes};

fn weir(origin: &Origin, more: &str) -> Weir {
    let text = format!("[[route]]\nupstream = \"app\"\ncompress = true\n{more}");
    Setup::to(&[origin.address])
        .with(|setup| setup.routes = Some(routes(&text)))
        .start()
}

/// 30 kB that get smaller.
fn page() -> String {
    (0..1000).fold(String::new(), |page, number| {
        format!("{page}<p>paragraph number {number}</p>\n")
    })
}

fn serving(fields: &'static str) -> Origin {
    Origin::start(move |request, stream| {
        let page = page();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n{fields}Content-Length: {}\r\n\r\n",
            page.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        if !request.start.starts_with("HEAD") {
            stream.write_all(page.as_bytes()).unwrap();
        }
        Then::KeepOpen
    })
}

fn ask(client: &mut Client, accepted: &str) -> Message {
    client.send(&format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: {accepted}\r\n\r\n"
    ));
    client.response()
}

fn decoded(response: &Message) -> String {
    let content = response.content.as_slice();
    let mut text = String::new();
    match response.field("content-encoding") {
        None => return response.text().to_owned(),
        Some("gzip") => flate2::read::GzDecoder::new(content).read_to_string(&mut text),
        Some("br") => brotli::Decompressor::new(content, 4096).read_to_string(&mut text),
        Some("zstd") => zstd::stream::read::Decoder::new(content)
            .unwrap()
            .read_to_string(&mut text),
        Some(other) => panic!("{other}"),
    }
    .unwrap();
    text
}

#[test]
fn the_client_gets_the_same_content_in_the_coding_that_it_likes_best() {
    let origin = serving("Content-Digest: sha-256=:AA==:\r\n");
    let weir = weir(&origin, "");
    let mut client = Client::connect(weir.address);
    for (accepted, expected) in [
        ("gzip", Some("gzip")),
        ("gzip, br", Some("br")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("br;q=0.1, gzip;q=0.2", Some("gzip")),
        ("identity", None),
    ] {
        let response = ask(&mut client, accepted);
        assert_eq!(response.field("content-encoding"), expected, "{accepted}");
        assert_eq!(response.field("vary"), Some("accept-encoding"));
        assert!(decoded(&response) == page(), "{accepted}");
        if expected.is_some() {
            assert!(response.content.len() < page().len() / 3, "{accepted}");
            assert_eq!(response.field("content-length"), None);
            assert_eq!(response.field("etag"), Some("W/\"v1\""));
            assert_eq!(response.field("accept-ranges"), None);
            assert_eq!(response.field("content-digest"), None);
        } else {
            assert_eq!(response.field("etag"), Some("\"v1\""));
            assert!(response.field("content-length").is_some());
        }
    }
    let seen = origin.requests();
    assert_eq!(seen[1].field("accept-encoding"), Some("gzip, br"));
}

#[test]
fn head_has_the_fields_of_get() {
    let origin = serving("");
    let weir = weir(&origin, "");
    let mut client = Client::connect(weir.address);
    let get = ask(&mut client, "gzip");
    client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n");
    let head = client.head_response();
    for name in ["content-encoding", "etag", "vary", "content-length"] {
        assert_eq!(head.field(name), get.field(name), "{name}");
    }
    assert_eq!(ask(&mut client, "gzip").status(), 200);
}

#[test]
fn what_the_origin_coded_or_forbids_to_transform_is_left_alone() {
    for fields in [
        "Content-Encoding: gzip\r\n",
        "Cache-Control: no-transform\r\n",
    ] {
        let origin = serving(fields);
        let weir = weir(&origin, "");
        let response = ask(&mut Client::connect(weir.address), "br");
        assert_eq!(response.text(), page(), "{fields}");
        assert_ne!(response.field("content-encoding"), Some("br"));
    }
}

#[test]
fn content_that_is_small_or_of_a_type_that_stays_as_large_is_left_alone() {
    let page = page();
    for (content_type, content, expected) in [
        ("text/html", &page[..1024], Some("gzip")),
        ("text/html", &page[..1023], None),
        ("application/problem+json", &page[..], Some("gzip")),
        ("image/png", &page[..], None),
        ("application/octet-stream", &page[..], None),
    ] {
        let length = content.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
        );
        let answer = format!("{head}{content}");
        let origin = Origin::start(move |_, stream| {
            stream.write_all(answer.as_bytes()).unwrap();
            Then::KeepOpen
        });
        let weir = weir(&origin, "");
        let response = ask(&mut Client::connect(weir.address), "gzip");
        let coding = response.field("content-encoding");
        assert_eq!(coding, expected, "{content_type}, {length} bytes");
        assert_eq!(decoded(&response), content, "{content_type}");
    }
}

#[test]
fn http_1_0_gets_content_of_known_length() {
    let origin = serving("");
    let weir = weir(&origin, "");
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n");
    let response = client.response();
    assert_eq!(response.field("content-encoding"), None);
    assert_eq!(response.text(), page());
}

#[test]
fn what_is_stored_is_not_coded_and_serves_every_client() {
    let origin = serving("Cache-Control: max-age=60\r\n");
    let weir = weir(&origin, "cache = true");
    let mut client = Client::connect(weir.address);
    for (accepted, expected) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("identity", None),
        ("zstd", Some("zstd")),
    ] {
        let response = ask(&mut client, accepted);
        assert_eq!(response.field("content-encoding"), expected);
        assert!(decoded(&response) == page(), "{accepted}");
    }
    let [request] = &origin.requests()[..] else {
        panic!("the origin is asked once");
    };
    assert_eq!(request.field("accept-encoding"), Some("identity"));
}

#[test]
fn coded_content_that_breaks_off_does_not_end_like_a_whole_one() {
    let origin = Origin::start(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(page().as_bytes()).unwrap();
        Then::Close
    });
    let weir = weir(&origin, "");
    for coding in ["gzip", "br", "zstd"] {
        let mut client = Client::connect(weir.address);
        client.send(&format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: {coding}\r\n\r\n"
        ));
        assert!(client.try_response().is_err(), "{coding}");
    }
}

/// The origin sends its second event only after the client has the first.
#[test]
fn events_are_not_held_back() {
    let (got_first, first_is_there) = sync_channel::<()>(1);
    let first_is_there = Mutex::new(first_is_there);
    let origin = Origin::start(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
        stream.write_all(head.as_bytes()).unwrap();
        let wait = first_is_there.lock().unwrap();
        wait.recv_timeout(PATIENCE).unwrap();
        stream.write_all(b"data: 2\n\n").unwrap();
        Then::Close
    });
    let weir = weir(&origin, "");
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: gzip\r\n\r\n");
    let mut stream = client.uploader();
    let mut received = Vec::new();
    let mut told = false;
    loop {
        let text = so_far(&received);
        if text == "data: 1\n\ndata: 2\n\n" {
            break;
        }
        if text == "data: 1\n\n" && !told {
            got_first.send(()).unwrap();
            told = true;
        }
        let mut part = [0; 4096];
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "ended after {text:?}");
        received.extend_from_slice(&part[..length]);
    }
    assert!(told);
}

/// What a decoder makes of the chunks that have come.
fn so_far(received: &[u8]) -> String {
    let Some(head) = received.windows(4).position(|end| end == b"\r\n\r\n") else {
        return String::new();
    };
    let mut rest = &received[head + 4..];
    let mut coded = Vec::new();
    while let Some(line) = rest.windows(2).position(|end| end == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = rest.get(line + 2..line + 2 + size) else {
            break;
        };
        coded.extend_from_slice(chunk);
        rest = rest.get(line + 4 + size..).unwrap_or_default();
    }
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    decoder.write_all(&coded).unwrap();
    // What is there, whether or not more is to come.
    let _ = decoder.flush();
    String::from_utf8(decoder.get_ref().clone()).unwrap()
}
