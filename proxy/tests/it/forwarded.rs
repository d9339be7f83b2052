//! What a hop in front says of a client, believed or not.

use weir::net::Networks;

use crate::client::{Client, Message};
use crate::origin::Origin;
use crate::weir::{PATIENCE, Setup, Weir, routes, rule};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn weir(origin: &Origin, trusted: &[&str]) -> Weir {
    let trusted = trusted.iter().map(|network| network.parse().unwrap());
    Setup::to(&[origin.address])
        .with(|setup| {
            setup.trust_forwarded_from = Networks::new(trusted.collect());
            setup.rules = vec![rule(200)];
        })
        .start()
}

/// Sends a request with `lines` and returns the response.
fn ask(weir: &Weir, lines: &str) -> Message {
    let mut client = Client::connect(weir.address);
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n"));
    client.response()
}

const FORGED: &str = "Forwarded: for=198.18.0.1;proto=https;host=b.test\r\n\
    X-Forwarded-For: 198.18.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.test\r\n\
    X-Request-Id: forged\r\n";

#[test]
fn nothing_that_a_stranger_says_is_believed() {
    let origin = Origin::answering(OK);
    let weir = weir(&origin, &["192.0.2.0/24"]);
    assert_eq!(ask(&weir, FORGED).status(), 200);
    assert_eq!(ask(&weir, "X-Forwarded-For: garbage\r\n").status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(
        request.field("forwarded"),
        Some("for=127.0.0.1;proto=http;host=a.test")
    );
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-forwarded-host"), Some("a.test"));
    assert_ne!(request.field("x-request-id"), Some("forged"));
    let report = weir.reports.recv_timeout(PATIENCE).unwrap();
    assert_eq!(report.hits[0].1.network().to_string(), "127.0.0.1/32");
}

#[test]
fn a_trusted_hop_names_the_client_for_origins_and_detection() {
    let origin = Origin::answering(OK);
    let weir = weir(&origin, &["127.0.0.1/32"]);
    assert_eq!(ask(&weir, FORGED).status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(
        request.field("forwarded"),
        Some("for=198.18.0.1;proto=https;host=\"b.test\", for=127.0.0.1;proto=http;host=a.test")
    );
    assert_eq!(
        request.field("x-forwarded-for"),
        Some("198.18.0.1, 127.0.0.1")
    );
    assert_eq!(request.field("x-forwarded-proto"), Some("https"));
    assert_eq!(request.field("x-forwarded-host"), Some("b.test"));
    assert_eq!(request.field("x-request-id"), Some("forged"));
    assert_eq!(request.field("host"), Some("a.test"));
    let report = weir.reports.recv_timeout(PATIENCE).unwrap();
    assert_eq!(report.hits[0].1.network().to_string(), "198.18.0.1/32");
}

/// The hop itself is not in the route's network, and all its clients share a connection.
#[test]
fn a_route_judges_the_client_that_a_trusted_hop_names() {
    let origin = Origin::answering(OK);
    let text = r#"
        [[route]]
        upstream = "app"
        allow = ["198.18.0.0/15"]
        limit = { requests = 1, per = "1day", by = "client-ip" }
        request_headers = { set = { x-seen = "$client_ip $scheme" } }
        response_headers = { set = { x-seen = "$client_ip" } }
        "#;
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.trust_forwarded_from = Networks::new(vec!["127.0.0.1/32".parse().unwrap()]);
            setup.routes = Some(routes(text));
        })
        .start();
    let mut hop = Client::connect(weir.address);
    for (client, status) in [
        ("198.18.0.1", 200),
        ("198.18.0.1", 429),
        ("198.18.0.2", 200),
        ("192.0.2.1", 403),
    ] {
        hop.send(&format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nForwarded: for={client};proto=https\r\n\r\n"
        ));
        let response = hop.response();
        assert_eq!(response.status(), status, "{client}");
        assert_eq!(response.field("x-seen"), Some(client));
    }
    assert_eq!(ask(&weir, "").status(), 403);
    let requests = origin.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|r| r.field("x-seen").unwrap())
        .collect();
    assert_eq!(seen, ["198.18.0.1 https", "198.18.0.2 https"]);
}

/// A route keeps the fields that it was found by, even if `Connection` nominates them.
#[test]
fn a_route_that_asks_for_a_forged_field_does_not_pass_it_on() {
    let origin = Origin::answering(OK);
    let text = r#"
        [[route]]
        upstream = "app"
        headers = { x-forwarded-for = "198.18.0.1", x-real-ip = "198.18.0.1", x-a = "1" }
        "#;
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.routes = Some(routes(text)))
        .start();
    let lines = "X-Forwarded-For: 198.18.0.1\r\nX-Real-Ip: 198.18.0.1\r\nX-A: 1\r\n\
        Connection: x-forwarded-for, x-real-ip, x-a\r\n";
    assert_eq!(ask(&weir, lines).status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-real-ip"), None);
    assert_eq!(request.field("x-a"), Some("1"));
}

/// A block of the hop would shut all its clients out.
#[test]
fn what_a_trusted_hop_does_itself_is_not_held_against_it() {
    let origin = Origin::answering(OK);
    let weir = weir(&origin, &["127.0.0.1/32"]);
    assert_eq!(ask(&weir, "").status(), 200);
    assert_eq!(ask(&weir, "X-Forwarded-For: garbage\r\n").status(), 400);
    assert_eq!(ask(&weir, FORGED).status(), 200);
    let report = weir.reports.recv_timeout(PATIENCE).unwrap();
    let told: Vec<_> = report
        .hits
        .iter()
        .map(|(_, source, _)| source.network().to_string())
        .collect();
    assert_eq!(told, ["198.18.0.1/32"]);
}

#[test]
fn what_stands_left_of_the_client_is_dropped() {
    let origin = Origin::answering(OK);
    let weir = weir(&origin, &["127.0.0.1/32", "192.0.2.0/24"]);
    let lines = "X-Forwarded-For: 10.0.0.1, 198.18.0.1\r\nX-Forwarded-For: 192.0.2.7\r\n";
    assert_eq!(ask(&weir, lines).status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(
        request.field("x-forwarded-for"),
        Some("198.18.0.1, 192.0.2.7, 127.0.0.1")
    );
    assert_eq!(
        request.field("forwarded"),
        Some("for=198.18.0.1, for=192.0.2.7, for=127.0.0.1;proto=http;host=a.test")
    );
}

#[test]
fn a_trusted_hop_that_contradicts_itself_or_makes_no_sense_is_refused() {
    let origin = Origin::answering(OK);
    let weir = weir(&origin, &["127.0.0.1/32"]);
    for lines in [
        "X-Forwarded-For: garbage\r\n",
        "Forwarded: for=\"198.18.0.1\r\n",
        "Forwarded: for=198.18.0.1\r\nX-Forwarded-For: 198.18.0.2\r\n",
        "X-Forwarded-For: 198.18.0.1\r\nX-Forwarded-Proto: x\r\n",
    ] {
        let response = ask(&weir, lines);
        assert_eq!(response.status(), 400, "{lines}");
        assert_eq!(response.text(), "invalid forwarding fields\n");
    }
    assert!(origin.requests().is_empty());
}
