//! Which server gets a request, and what happens when it fails it.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use weir::balance::{HashOn, Policy, StickySettings};
use weir::telemetry::AccessTarget;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::weir::{Setup, Weir, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn origins(count: usize) -> Vec<Origin> {
    (0..count).map(|_| Origin::answering(OK)).collect()
}

fn addresses(origins: &[Origin]) -> Vec<SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

/// Requests of each.
fn counts(origins: &[Origin]) -> Vec<usize> {
    origins
        .iter()
        .map(|origin| origin.requests().len())
        .collect()
}

#[test]
fn equal_requests_meet_the_same_server() {
    let origins = origins(8);
    let weir = Setup::to(&addresses(&origins))
        .with(|setup| {
            setup.upstream = |upstream| upstream.balance = Policy::Maglev(HashOn::Uri);
        })
        .start();
    let mut client = Client::connect(weir.address);
    for _ in 0..5 {
        assert_eq!(client.get("/a?b").status(), 200);
    }
    assert_eq!(counts(&origins).into_iter().max(), Some(5));
    for number in 0..64 {
        client.get(&format!("/{number}"));
    }
    let asked = counts(&origins).into_iter().filter(|count| *count > 0);
    assert!(asked.count() >= 6);
}

fn sticky(origins: &[Origin]) -> Weir {
    Setup::to(&addresses(origins))
        .with(|setup| {
            setup.upstream = |upstream| {
                upstream.sticky = Some(StickySettings {
                    cookie: "weir-origin".to_owned(),
                });
            };
        })
        .start()
}

#[test]
fn a_client_keeps_its_server_by_a_cookie_that_tells_nothing() {
    let origins = origins(3);
    let weir = sticky(&origins);
    let mut client = Client::connect(weir.address);
    let first = client.get("/");
    let cookie = first.field("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    assert!(!pair.contains("127.0.0.1"), "{pair}");
    for _ in 0..10 {
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: x=1; {pair}\r\n\r\n");
        client.send(&request);
        assert_eq!(client.response().field("set-cookie"), None);
    }
    assert_eq!(counts(&origins).into_iter().max(), Some(11));
}

#[test]
fn a_broken_or_foreign_cookie_is_replaced() {
    let origins = origins(2);
    let weir = sticky(&origins);
    let mut client = Client::connect(weir.address);
    for value in ["", "1", "0123456789abcdef0123456789abcdef", "\"quoted\""] {
        client.send(&format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nCookie: weir-origin={value}\r\n\r\n"
        ));
        let response = client.response();
        assert_eq!(response.status(), 200);
        assert!(response.field("set-cookie").is_some(), "{value}");
    }
}

#[test]
fn idempotent_content_is_sent_whole_to_the_next_server() {
    let dying = Origin::start(|_, _| Then::Close);
    let other = Origin::answering(OK);
    let weir = Setup::to(&[dying.address, other.address]).start();
    let mut client = Client::connect(weir.address);
    let content = "x".repeat(60_000);
    for (framing, body) in [
        ("Content-Length: 60000", content.clone()),
        (
            "Transfer-Encoding: chunked",
            format!(
                "7530\r\n{}\r\n7530\r\n{}\r\n0\r\n\r\n",
                &content[..30_000],
                &content[30_000..]
            ),
        ),
    ] {
        // In turn, so that one of two comes to the dying one first.
        for _ in 0..2 {
            client.send(&format!(
                "PUT / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n{body}"
            ));
            assert_eq!(client.response().status(), 200, "{framing}");
        }
    }
    assert!(!dying.requests().is_empty());
    assert_eq!(other.requests().len(), 4);
    assert!(
        other
            .requests()
            .iter()
            .all(|request| request.text() == content)
    );
}

#[test]
fn content_that_is_too_large_to_keep_is_sent_once() {
    let dying = Origin::start(|_, _| Then::Close);
    let other = Origin::answering(OK);
    let weir = Setup::to(&[dying.address, other.address]).start();
    let mut client = Client::connect(weir.address);
    let content = "x".repeat(100_000);
    let mut statuses: Vec<_> = (0..2)
        .map(|_| {
            client.send(&format!(
                "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n{content}"
            ));
            client.response().status()
        })
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
    assert_eq!(dying.requests().len() + other.requests().len(), 2);
}

#[test]
fn a_request_is_retried_as_often_as_it_may_be_and_the_log_says_so() {
    let dying: Vec<_> = (0..5).map(|_| Origin::start(|_, _| Then::Close)).collect();
    let path = std::env::temp_dir().join(format!("weir-attempts-{}", std::process::id()));
    let weir = Setup::to(&addresses(&dying))
        .with(|setup| setup.access = AccessTarget::File(path.clone()))
        .start();
    assert_eq!(Client::connect(weir.address).get("/").status(), 502);
    assert_eq!(counts(&dying).into_iter().sum::<usize>(), 3);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    until("the line to be written", || read().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(&read()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(line["attempts"], 3, "{line}");
}

/// An origin that tells when it has a request, and answers when told to.
fn held() -> (Origin, Receiver<()>, std::sync::mpsc::SyncSender<()>) {
    let (entered, enters) = sync_channel(16);
    let (go, goes) = sync_channel::<()>(16);
    let goes = std::sync::Mutex::new(goes);
    let origin = Origin::start(move |_, stream| {
        entered.send(()).unwrap();
        goes.lock().unwrap().recv().unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        Then::KeepOpen
    });
    (origin, enters, go)
}

#[test]
fn a_request_waits_for_a_connection_and_one_more_than_may_wait_is_refused_at_once() {
    let (origin, enters, go) = held();
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.connections = 1;
            setup.timeouts.pending = Duration::from_secs(20);
            setup.upstream = |upstream| upstream.limits.pending = 1;
        })
        .start();
    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut first = Client::connect(weir.address);
    first.send(get);
    enters.recv().unwrap();
    // Of two more, one waits and the other is told at once.
    let mut others = [Client::connect(weir.address), Client::connect(weir.address)];
    for client in &mut others {
        client.send(get);
    }
    let [second, third] = others;
    let (tell, told) = sync_channel(2);
    for mut client in [second, third] {
        let tell = tell.clone();
        std::thread::spawn(move || tell.send(client.response()).unwrap());
    }
    let refused = told.recv().unwrap();
    assert_eq!(refused.status(), 503);
    let why = refused.field("proxy-status");
    assert_eq!(why, Some("weir; error=connection_limit_reached"));
    go.send(()).unwrap();
    assert_eq!(first.response().status(), 200);
    enters.recv().unwrap();
    go.send(()).unwrap();
    assert_eq!(told.recv().unwrap().status(), 200);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn waiting_for_a_connection_ends_in_time() {
    let (origin, enters, _go) = held();
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.connections = 1;
            setup.timeouts.pending = Duration::from_millis(50);
            setup.upstream = |upstream| upstream.limits.pending = 10;
        })
        .start();
    let mut first = Client::connect(weir.address);
    first.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    enters.recv().unwrap();
    assert_eq!(Client::connect(weir.address).get("/").status(), 503);
}

#[test]
fn without_any_server_left_the_answer_is_503() {
    let origins = origins(1);
    let weir = Setup::to(&addresses(&origins)).start();
    let site = weir.site.load_full();
    let now = std::time::Instant::now();
    assert!(site.upstreams[0].drain(0, true, now));
    let mut client = Client::connect(weir.address);
    let refused = client.get("/");
    assert_eq!(refused.status(), 503);
    let why = refused.field("proxy-status");
    assert_eq!(why, Some("weir; error=destination_unavailable"));
    assert!(site.upstreams[0].drain(0, false, now));
    assert_eq!(client.get("/").status(), 200);
}

#[test]
fn what_is_in_flight_is_counted_until_the_response_is_over() {
    let (tell, told) = sync_channel::<()>(1);
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            .unwrap();
        told.lock().unwrap().recv().unwrap();
        stream.write_all(b"cd").unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    let site = weir.site.load_full();
    let in_flight = || site.upstreams[0].servers[0].in_flight();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    until("the head to be passed on", || {
        weir.counters.responses[1].load(std::sync::atomic::Ordering::Relaxed) == 1
    });
    assert_eq!(in_flight(), 1);
    tell.send(()).unwrap();
    assert_eq!(client.response().text(), "abcd");
    until("the request to be over", || in_flight() == 0);

    // A client that goes takes its request along.
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    until("the next request to be under way", || in_flight() == 1);
    client.shutdown();
    until("the client's going to be noticed", || in_flight() == 0);
    tell.send(()).unwrap();
}

#[test]
fn a_connection_that_is_too_old_is_not_used_again() {
    let origins = origins(1);
    let weir = Setup::to(&addresses(&origins))
        .with(|setup| setup.timeouts.max_age = Duration::ZERO)
        .start();
    let mut client = Client::connect(weir.address);
    for _ in 0..3 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(origins[0].connections(), 3);
}
