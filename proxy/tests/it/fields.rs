//! What the origin and the client see of each other's fields.

use crate::client::Client;
use crate::origin::Origin;
use crate::weir::Setup;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn the_origin_sees_no_connection_fields_and_true_forwarding_ones() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    Client::connect(weir.address).get("/warm");
    let mut client = Client::connect(weir.address);
    client.send(
        "GET /p?q HTTP/1.1\r\nHost: A.test:80\r\nConnection: x-hop, x-forwarded-for, cookie\r\n\
         X-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: websocket\r\nX-Forwarded-For: 203.0.113.9\r\n\
         Forwarded: for=203.0.113.9\r\nCookie: a=b\r\nX-Many: 1\r\nX-Many: 2\r\n\r\n",
    );
    assert_eq!(client.response().status(), 200);
    let request = &origin.requests()[1];
    assert_eq!(request.start, "GET /p?q HTTP/1.1");
    assert_eq!(request.field("host"), Some("A.test:80"));
    assert_eq!(request.field("cookie"), Some("a=b"));
    assert_eq!(request.all("x-many"), ["1", "2"]);
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-forwarded-host"), Some("A.test:80"));
    assert_eq!(
        request.field("forwarded"),
        Some("for=127.0.0.1;proto=http;host=\"A.test:80\"")
    );
    assert!(request.field("via").unwrap().starts_with("1.1 weir ("));
    assert_eq!(request.field("x-request-id").unwrap().len(), 32);
    for gone in [
        "connection",
        "x-hop",
        "keep-alive",
        "upgrade",
        "transfer-encoding",
        "content-length",
    ] {
        assert_eq!(request.field(gone), None, "{gone}");
    }
}

#[test]
fn every_request_has_its_own_id() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.get("/1");
    client.get("/2");
    let requests = origin.requests();
    assert_ne!(
        requests[0].field("x-request-id"),
        requests[1].field("x-request-id")
    );
}

fn naming_origin(origin: &str) -> String {
    format!(
        "HTTP/1.1 201 Created\r\nServer: secret/1\r\nX-Powered-By: PHP\r\nConnection: x-hop\r\n\
         X-Hop: 1\r\nAlt-Svc: h3=\":1\"\r\nLocation: http://{origin}/new?x\r\n\
         Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    )
}

fn answering_with_its_name() -> Origin {
    Origin::start(|_, stream| {
        let text = naming_origin(&stream.local_addr().unwrap().to_string());
        std::io::Write::write_all(stream, text.as_bytes()).unwrap();
        crate::origin::Then::KeepOpen
    })
}

#[test]
fn the_client_learns_nothing_of_the_origin() {
    let origin = answering_with_its_name();
    let weir = Setup::to(&[origin.address]).start();
    let response = Client::connect(weir.address).get("/");
    for gone in [
        "server",
        "x-powered-by",
        "connection",
        "x-hop",
        "alt-svc",
        "x-weir-origin",
    ] {
        assert_eq!(response.field(gone), None, "{gone}");
    }
    assert_eq!(response.field("location"), Some("http://a.test/new?x"));
    assert_eq!(response.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.field("via"), Some("1.1 weir"));
    assert!(response.field("date").is_some());
}

#[test]
fn a_route_may_reveal_its_origin() {
    let origin = answering_with_its_name();
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.reveal_origin = true)
        .start();
    let response = Client::connect(weir.address).get("/");
    assert_eq!(response.field("server"), Some("secret/1"));
    let name = format!("app/{}", origin.address);
    assert_eq!(response.field("x-weir-origin"), Some(name.as_str()));
}

#[test]
fn a_request_that_came_through_here_is_a_loop() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.get("/");
    let via = origin.requests()[0].field("via").unwrap().to_owned();
    client.send(&format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.0 other, {via}\r\n\r\n"
    ));
    let response = client.response();
    assert_eq!(response.status(), 502);
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=proxy_loop_detected")
    );
}

#[test]
fn head_no_content_and_not_modified_keep_their_fields_and_have_no_content() {
    let origin = Origin::start(|request, stream| {
        let text: &[u8] = match request.start.split(' ').nth(1).unwrap() {
            "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            "/204" => b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
            _ => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
        };
        std::io::Write::write_all(stream, text).unwrap();
        crate::origin::Then::KeepOpen
    });
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send("HEAD /head HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let head = client.head_response();
    assert_eq!(head.field("content-length"), Some("1234"));
    assert_eq!(head.field("transfer-encoding"), None);
    assert_eq!(client.get("/204").field("x-a"), Some("1"));
    assert_eq!(client.get("/304").field("etag"), Some("\"x\""));
    assert_eq!(origin.connections(), 1);
}
