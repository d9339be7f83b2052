//! Content both ways: whole or visibly not.

use std::io::Write;
use std::time::Duration;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::weir::Setup;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn closing(response: &'static [u8]) -> Origin {
    Origin::start(move |_, stream| {
        stream.write_all(response).unwrap();
        Then::Close
    })
}

#[test]
fn a_response_cut_short_is_cut_short_for_the_client_too() {
    for cut in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        let origin = closing(cut);
        let weir = Setup::to(&[origin.address]).start();
        let mut client = Client::connect(weir.address);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let outcome = client.try_response();
        assert!(
            outcome.is_err(),
            "{:?} became {outcome:?}",
            String::from_utf8_lossy(cut)
        );
    }
}

#[test]
fn an_http_1_0_client_sees_a_reset_where_a_response_breaks_off() {
    let origin = closing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let error = client.try_response().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn an_http_1_0_client_gets_content_without_length_until_the_end() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n",
    );
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let response = client.response();
    assert_eq!(response.text(), "half");
    assert_eq!(response.field("transfer-encoding"), None);
}

#[test]
fn a_response_that_stalls_is_cut_short() {
    let origin = Origin::start(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.timeouts.response = Duration::from_millis(100))
        .start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert!(client.try_response().is_err());
}

#[test]
fn a_response_without_length_becomes_chunked() {
    let origin = closing(b"HTTP/1.1 200 OK\r\n\r\nuntil the end");
    let weir = Setup::to(&[origin.address]).start();
    let response = Client::connect(weir.address).get("/");
    assert_eq!(response.field("transfer-encoding"), Some("chunked"));
    assert_eq!(response.text(), "until the end");
}

#[test]
fn large_contents_pass_unchanged_both_ways() {
    let origin = Origin::start(|request, stream| {
        let length = request.content.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(&request.content).unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    let content: Vec<u8> = (0..1_000_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let mut client = Client::connect(weir.address);
    client.send(&format!(
        "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
        content.len()
    ));
    client.try_send(&content).unwrap();
    assert!(client.response().content == content);
}

#[test]
fn chunks_go_on_as_chunks_and_lengths_as_lengths() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    client.response();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
    client.response();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    client.response();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    client.response();
    let requests = origin.requests();
    assert_eq!(requests[0].field("transfer-encoding"), Some("chunked"));
    assert_eq!(requests[0].text(), "abc");
    assert_eq!(requests[1].field("content-length"), Some("3"));
    assert_eq!(requests[1].field("transfer-encoding"), None);
    assert_eq!(requests[2].field("content-length"), Some("0"));
    assert_eq!(requests[3].text(), "abc");
}

#[test]
fn content_over_the_limit_is_413() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.body_bytes = 10)
        .start();
    let mut declared = Client::connect(weir.address);
    declared.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\n");
    let response = declared.response();
    assert_eq!(response.status(), 413);
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=http_request_error")
    );
    assert!(origin.requests().is_empty());

    let mut chunked = Client::connect(weir.address);
    chunked.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunked.send("8\r\n12345678\r\n");
    chunked.send("8\r\n12345678\r\n");
    assert_eq!(chunked.response().status(), 413);
    assert!(
        origin.requests().is_empty(),
        "the origin took a part for the whole"
    );
}

#[test]
fn a_client_that_stops_sending_is_408() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.body_timeout = Duration::from_millis(100))
        .start();
    let mut client = Client::connect(weir.address);
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(client.response().status(), 408);
    assert!(origin.requests().is_empty());
}

#[test]
fn a_client_that_breaks_off_leaves_the_origin_with_nothing_whole() {
    let (ended, wait) = std::sync::mpsc::sync_channel(1);
    let origin = Origin::raw(move |mut stream, _| {
        let mut all = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut all);
        ended.send(String::from_utf8(all).unwrap()).unwrap();
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client
        .send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    crate::weir::until("the origin is asked", || origin.connections() == 1);
    client.shutdown();
    let seen = wait.recv_timeout(crate::weir::PATIENCE).unwrap();
    assert!(!seen.contains("\r\n0\r\n"), "{seen}");
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on_only_if_its_content_is_wanted() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.body_bytes = 10)
        .start();
    let mut client = Client::connect(weir.address);
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(client.head_response().status(), 100);
    client.send("abc");
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.requests()[0].field("expect"), None);
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 30\r\n\r\n",
    );
    assert_eq!(client.response().status(), 413);
}

#[test]
fn trailers_pass_both_ways_without_what_is_forbidden_there() {
    let origin = Origin::start(|_, stream| {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nTrailer: x-sum, content-length\r\nTransfer-Encoding: chunked\r\n\r\n\
                  2\r\nok\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n",
            )
            .unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\nTrailer: x-in, host\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-In: 1\r\nHost: b.test\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.text(), "ok");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let request = &origin.requests()[0];
    assert_eq!(request.field("te"), Some("trailers"));
    assert_eq!(request.trailers, [("x-in".to_owned(), "1".to_owned())]);
}

#[test]
fn an_early_answer_does_not_turn_content_into_a_request() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    // Answered by weir without reading the content, which looks like a request.
    client.send(
        "POST / HTTP/1.1\r\nHost: nowhere.test\r\nContent-Length: 39\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
    );
    assert_eq!(client.response().status(), 404);
    client
        .try_send(b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .ok();
    let _ = client.try_response();
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| !request.start.contains("smuggled"))
    );
}
