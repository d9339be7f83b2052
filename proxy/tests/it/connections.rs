//! Connections on either side: reuse, limits, deadlines.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::weir::{PATIENCE, Setup, rule, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn one_origin_connection_serves_many_requests_of_many_clients() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for _ in 0..3 {
        let mut client = Client::connect(weir.address);
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "ok");
        }
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.requests().len(), 9);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|request, stream| {
        let path = request.start.split(' ').nth(1).unwrap();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        )
        .unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.send(&(request("/1") + &request("/2") + &request("/3")));
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.response().text(), path);
    }
}

#[test]
fn a_pooled_connection_that_died_is_replaced_without_the_client_noticing() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(OK.as_bytes()).unwrap();
        Then::Close
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 200);
    }
}

#[test]
fn a_slow_head_is_refused_and_closed() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.header_timeout = Duration::from_millis(50))
        .start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.t");
    let response = client.response();
    assert_eq!(response.status(), 408);
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn a_slow_second_head_is_closed_too() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.header_timeout = Duration::from_millis(50))
        .start();
    let mut client = Client::connect(weir.address);
    assert_eq!(client.get("/").status(), 200);
    client.send("GET /");
    assert_eq!(client.response().status(), 408);
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.idle_timeout = Duration::from_millis(50))
        .start();
    let mut fresh = Client::connect(weir.address);
    let mut used = Client::connect(weir.address);
    assert_eq!(used.get("/").status(), 200);
    assert!(used.is_closed());
    assert!(fresh.is_closed());
}

#[test]
fn a_request_under_way_is_not_idle() {
    let origin = Origin::start(|_, stream| {
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(OK.as_bytes()).unwrap();
        Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.idle_timeout = Duration::from_millis(50))
        .start();
    assert_eq!(Client::connect(weir.address).get("/").text(), "ok");
}

#[test]
fn connections_of_one_source_are_limited() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.connections_per_source = 1)
        .start();
    let mut first = Client::connect(weir.address);
    assert_eq!(first.get("/").status(), 200);
    let mut second = Client::connect(weir.address);
    assert!(second.is_closed());
    drop(first);
    until("the closed connection makes room", || {
        let mut client = Client::connect(weir.address);
        client
            .try_send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .is_ok()
            && client.try_response().is_ok()
    });
    assert!(weir.counters.refused.load(Ordering::Relaxed) >= 1);
}

#[test]
fn a_client_that_reads_nothing_is_closed() {
    let origin = Origin::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let block = vec![b'x'; 65536];
        while stream.write_all(&block).is_ok() {}
        Then::Close
    });
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.limits.write_timeout = Duration::from_millis(100))
        .start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    until("the connection is given up", || {
        weir.counters.accepted.load(Ordering::Relaxed) == 1
            && weir.counters.open.load(Ordering::Relaxed) == 0
    });
}

#[test]
fn a_client_that_goes_takes_the_origin_exchange_with_it() {
    let (gone, wait) = std::sync::mpsc::sync_channel(1);
    let origin = Origin::start(move |_, stream| {
        let mut rest = [0; 1];
        let read = std::io::Read::read(stream, &mut rest);
        let _ = gone.send(matches!(read, Ok(0)) || read.is_err());
        Then::Close
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    until("the origin has the request", || {
        origin.requests().len() == 1
    });
    client.shutdown();
    assert!(wait.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn detection_hears_of_what_its_rules_want() {
    let origin = Origin::answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.rules = vec![rule(404), rule(401)])
        .start();
    let mut client = Client::connect(weir.address);
    for _ in 0..3 {
        assert_eq!(client.get("/").status(), 401);
    }
    let mut hits = 0;
    while hits < 3 {
        let report = weir.reports.recv_timeout(PATIENCE).unwrap();
        assert_eq!(report.generation, 1);
        for (rule, source, count) in report.hits {
            assert_eq!(rule, 1);
            assert_eq!(source.network().to_string(), "127.0.0.1/32");
            hits += count;
        }
    }
    assert_eq!(hits, 3);
}

#[test]
fn the_access_log_has_one_line_a_request() {
    let path = std::env::temp_dir().join(format!("weir-it-access-{}", std::process::id()));
    let origin = Origin::answering(OK);
    let target = weir::telemetry::AccessTarget::File(path.clone());
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.access = target)
        .start();
    let mut client = Client::connect(weir.address);
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\"\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    let lines = || {
        assert!(weir.access.flush(Duration::from_secs(10)));
        std::fs::read_to_string(&path).unwrap_or_default()
    };
    until("the line is written", || lines().lines().count() == 1);
    let line: serde_json::Value = serde_json::from_str(&lines()).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(line["status"], 200);
    assert_eq!(line["target"], "/x");
    assert_eq!(line["bytes"], 2);
    assert_eq!(line["complete"], true);
    assert_eq!(line["user_agent"], "t\"");
    assert_eq!(line["origin"], format!("app/{}", origin.address));
}

#[test]
fn an_origin_that_takes_no_more_of_a_request_is_let_go() {
    // One never answers, the other answers at once; both hold the connection and read nothing more.
    for (answer, status) in [
        (&b""[..], 504),
        (
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            401,
        ),
    ] {
        let origin = Origin::raw(move |mut stream, _| {
            // The head is there; what of the content came with it does not matter.
            std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
            stream.write_all(answer).unwrap();
            // Holds the connection until weir lets go of it, and reads nothing.
            while stream.take_error().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let weir = Setup::to(&[origin.address])
            .with(|setup| {
                setup.limits.body_bytes = 1 << 30;
                setup.timeouts.response = Duration::from_millis(100);
                setup.timeouts.idle = Duration::from_millis(100);
            })
            .start();
        let mut client = Client::connect(weir.address);
        client.send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n");
        // Until nobody takes any more: more than all buffers on the way hold.
        let mut uploader = client.uploader();
        let upload = std::thread::spawn(move || while uploader.write_all(&[0; 8192]).is_ok() {});
        assert_eq!(client.response().status(), status);
        let site = weir.site.load_full();
        until("the connection to the origin is closed", || {
            site.upstreams[0].servers[0]
                .connections
                .load(Ordering::Relaxed)
                == 0
        });
        drop(weir);
        upload.join().unwrap();
    }
}
