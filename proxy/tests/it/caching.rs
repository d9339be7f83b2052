//! Responses from the store.

use std::io::Write;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::weir::{Setup, routes};

const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"v1\"\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_fresh_response_is_served_from_the_store_with_its_age() {
    let origin = Origin::answering(FRESH);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.cache = true)
        .start();
    let mut client = Client::connect(weir.address);
    let miss = client.get("/x?y");
    assert_eq!(
        miss.field("cache-status"),
        Some("weir; fwd=uri-miss; stored")
    );
    assert_eq!(miss.field("age"), None);
    let hit = client.get("/x?y");
    assert!(
        hit.field("cache-status")
            .unwrap()
            .starts_with("weir; hit; ttl=")
    );
    assert!(hit.field("age").is_some());
    assert_eq!(hit.text(), "hello");
    assert_eq!(hit.all("x-a"), ["1", "2"]);
    assert_eq!(hit.field("content-length"), Some("5"));
    assert_eq!(hit.field("via"), Some("1.1 weir"));
    assert_eq!(origin.requests().len(), 1);
    assert_eq!(
        client.get("/x?z").field("cache-status"),
        Some("weir; fwd=uri-miss; stored")
    );
}

#[test]
fn head_is_served_from_a_stored_get() {
    let origin = Origin::answering(FRESH);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.cache = true)
        .start();
    let mut client = Client::connect(weir.address);
    client.get("/");
    client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let head = client.head_response();
    assert_eq!(head.status(), 200);
    assert_eq!(head.field("content-length"), Some("5"));
    assert!(head.field("cache-status").unwrap().starts_with("weir; hit"));
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_truncated_response_is_not_stored() {
    let origin = Origin::start(|_, stream| {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nhalf",
            )
            .unwrap();
        Then::Close
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.cache = true)
        .start();
    for _ in 0..2 {
        let mut client = Client::connect(weir.address);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert!(client.try_response().is_err());
    }
    assert_eq!(origin.requests().len(), 2);
    assert_eq!(weir.store.stats().responses, 0);
}

#[test]
fn a_response_whose_client_went_away_is_not_stored_in_part() {
    let origin = Origin::start(|_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 500000\r\n\r\n",
        );
        let block = [b'x'; 1000];
        while stream.write_all(&block).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Then::Close
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.cache = true)
        .start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.head_response().status(), 200);
    drop(client);
    crate::weir::until("the connection is gone", || {
        weir.counters
            .open
            .load(std::sync::atomic::Ordering::Relaxed)
            == 0
    });
    assert_eq!(weir.store.stats().responses, 0);
}

#[test]
fn chunked_responses_are_stored_and_get_a_length() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    );
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.cache = true)
        .start();
    let mut client = Client::connect(weir.address);
    assert_eq!(client.get("/").text(), "hello");
    let hit = client.get("/");
    assert_eq!(hit.text(), "hello");
    assert_eq!(hit.field("content-length"), Some("5"));
    assert_eq!(hit.field("transfer-encoding"), None);
}

#[test]
fn an_unsafe_method_invalidates() {
    let origin = Origin::answering(FRESH);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.cache = true)
        .start();
    let mut client = Client::connect(weir.address);
    client.get("/");
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    let post = client.response();
    assert_eq!(post.field("cache-status"), Some("weir; fwd=method"));
    assert_eq!(
        client.get("/").field("cache-status"),
        Some("weir; fwd=uri-miss; stored")
    );
    assert_eq!(origin.requests().len(), 3);
}

/// RFC 9111 §4.4: what changed is the resource, whichever route leads to it.
#[test]
fn an_unsafe_method_invalidates_though_its_own_route_does_not_cache() {
    let origin = Origin::start(|request, stream| {
        let response = match request.start.split(' ').next() {
            Some("PUT") => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
            Some("POST") => "HTTP/1.1 204 No Content\r\n\r\n",
            _ => FRESH,
        };
        stream.write_all(response.as_bytes()).unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.routes = Some(routes(
                "[[route]]\npath = \"/\"\nupstream = \"app\"\ncache = true\nmethods = [\"GET\"]\n\
                 [[route]]\npath = \"/\"\nupstream = \"app\"\n",
            ));
        })
        .start();
    let mut client = Client::connect(weir.address);
    for (method, outcome) in [
        ("PUT", "weir; hit"),
        ("PROPFIND", "weir; hit"),
        ("POST", "weir; fwd=uri-miss; stored"),
    ] {
        client.get("/");
        client.send(&format!(
            "{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(client.response().field("cache-status"), None);
        let response = client.get("/");
        let status = response.field("cache-status").unwrap();
        assert!(status.starts_with(outcome), "{method}: {status}");
    }
}

#[test]
fn routes_that_do_not_cache_say_nothing_of_a_cache() {
    let origin = Origin::answering(FRESH);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    assert_eq!(client.get("/").field("cache-status"), None);
    assert_eq!(client.get("/").field("cache-status"), None);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn faults_of_cached_routes_say_why_the_origin_was_asked() {
    let weir = Setup::to(&[Origin::refusing()])
        .with(|setup| setup.cache = true)
        .start();
    let response = Client::connect(weir.address).get("/");
    assert_eq!(response.status(), 502);
    assert_eq!(response.field("cache-status"), Some("weir; fwd=uri-miss"));
}

#[test]
fn content_that_only_the_end_of_the_connection_delimits_is_not_stored() {
    let origin = Origin::start(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nmaybe whole")
            .unwrap();
        Then::Close
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.cache = true)
        .start();
    for _ in 0..2 {
        let response = Client::connect(weir.address).get("/");
        assert_eq!(response.text(), "maybe whole");
        assert_eq!(response.field("cache-status"), Some("weir; fwd=uri-miss"));
    }
    assert_eq!(weir.store.stats().responses, 0);
}

#[test]
fn what_varies_by_a_field_that_weir_sets_is_not_stored() {
    for response in [
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nVary: X-Forwarded-For\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nVary: Accept\r\nVary: a, forwarded\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let origin = Origin::answering(response);
        let weir = Setup::to(&[origin.address])
            .with(|setup| setup.cache = true)
            .start();
        let mut client = Client::connect(weir.address);
        client.get("/");
        client.get("/");
        assert_eq!(origin.requests().len(), 2);
        assert_eq!(weir.store.stats().responses, 0);
    }
}
