//! Which route a request takes, as the client and the origin see it.

use crate::client::Client;
use crate::origin::Origin;
use crate::weir::{Setup, routes};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FRESH: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn methods_fields_and_expressions_decide_which_requests_reach_the_origin() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.routes = Some(routes(
                r#"
                [[route]]
                path = "/read/"
                methods = ["GET", "HEAD"]
                upstream = "app"
                [[route]]
                path = '~^/v[0-9]+/items$'
                upstream = "app"
                [[route]]
                path = "/tenant"
                headers = { X-Tenant = "a" }
                upstream = "app"
                "#,
            ));
        })
        .start();
    let mut client = Client::connect(weir.address);
    for (request, expected) in [
        ("GET /read/x HTTP/1.1\r\n", 200),
        ("DELETE /read/x HTTP/1.1\r\n", 404),
        ("GET /v12/items HTTP/1.1\r\n", 200),
        ("GET /v12/items/ HTTP/1.1\r\n", 404),
        ("GET /tenant HTTP/1.1\r\nX-Tenant: a\r\n", 200),
        ("GET /tenant HTTP/1.1\r\nX-Tenant: b\r\n", 404),
        ("GET /tenant HTTP/1.1\r\n", 404),
    ] {
        client.send(&format!("{request}Host: a.test\r\n\r\n"));
        assert_eq!(client.response().status(), expected, "{request}");
    }
    let seen: Vec<_> = origin.requests().into_iter().map(|r| r.start).collect();
    assert_eq!(
        seen,
        [
            "GET /read/x HTTP/1.1",
            "GET /v12/items HTTP/1.1",
            "GET /tenant HTTP/1.1"
        ]
    );
}

#[test]
fn what_a_route_for_one_field_stored_is_not_served_by_another() {
    let origin = Origin::answering(FRESH);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.routes = Some(routes(
                r#"
                [[route]]
                headers = { x-tenant = "a" }
                cache = true
                upstream = "app"
                [[route]]
                headers = { x-tenant = "b" }
                cache = true
                upstream = "app"
                [[route]]
                cache = true
                upstream = "app"
                "#,
            ));
        })
        .start();
    let mut client = Client::connect(weir.address);
    for (tenant, hit) in [
        ("a", false),
        ("b", false),
        ("c", false),
        ("a", true),
        ("b", true),
        ("d", true),
    ] {
        client.send(&format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Tenant: {tenant}\r\n\r\n"
        ));
        let response = client.response();
        let status = response.field("cache-status").unwrap();
        assert_eq!(status.contains("hit"), hit, "{tenant}: {status}");
    }
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn a_field_that_led_to_a_route_cannot_be_kept_from_the_origin() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.routes = Some(routes(
                "[[route]]\nheaders = { x-tenant = \"a\" }\nupstream = \"app\"",
            ));
        })
        .start();
    let mut client = Client::connect(weir.address);
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nX-Tenant: a\r\nX-Other: b\r\nConnection: x-tenant, x-other\r\n\r\n",
    );
    assert_eq!(client.response().status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(request.field("x-tenant"), Some("a"));
    assert_eq!(request.field("x-other"), None);
}

/// The content of a request that no origin gets must not become the next request.
#[test]
fn content_of_requests_that_weir_answers_itself_is_never_taken_for_a_request() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.routes = Some(routes(
                r#"
                [[route]]
                path = "/denied"
                deny = ["127.0.0.0/8"]
                upstream = "app"
                [[route]]
                path = "/limited"
                limit = { requests = 1, per = "1day", by = "route" }
                respond = { status = 200 }
                [[route]]
                path = "/elsewhere"
                redirect = { to = "/x" }
                [[route]]
                path = "/app"
                upstream = "app"
                "#,
            ));
        })
        .start();
    Client::connect(weir.address).get("/limited");
    let hidden = "GET /app/hidden HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for (path, status) in [
        ("/denied", 403),
        ("/limited", 429),
        ("/elsewhere", 308),
        ("/nothing", 404),
    ] {
        for framing in [
            format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
            format!(
                "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
                hidden.len()
            ),
        ] {
            let mut client = Client::connect(weir.address);
            client.send(&format!(
                "POST {path} HTTP/1.1\r\nHost: a.test\r\n{framing}"
            ));
            assert_eq!(client.response().status(), status, "{path}");
            // Either the connection ends, or the next response is the next request's.
            let next = "GET /app/next HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
            if client.try_send(next.as_bytes()).is_ok()
                && let Ok(response) = client.try_response()
            {
                assert_eq!(response.status(), 200, "{path}");
            }
        }
    }
    let paths: Vec<_> = origin.requests().into_iter().map(|r| r.start).collect();
    assert!(
        paths.iter().all(|start| start == "GET /app/next HTTP/1.1"),
        "{paths:?}"
    );
}

/// `methods` are a condition like host and fields: whoever does not meet it is not told what else there is. So 404, and not 405
/// (RFC 9110 §15.5.6), which would also have to say in `Allow` what routes for other fields take.
#[test]
fn a_method_that_no_route_takes_is_404_and_another_route_may_take_it() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| {
            setup.routes = Some(routes(
                r#"
                [[route]]
                path = "/read/"
                methods = ["GET", "HEAD"]
                upstream = "app"
                [[route]]
                path = "/both/"
                methods = ["GET"]
                upstream = "app"
                [[route]]
                path = "/both/"
                respond = { status = 405, body = "read only" }
                response_headers = { set = { allow = "GET" } }
                "#,
            ));
        })
        .start();
    let mut client = Client::connect(weir.address);
    for (request, status, allow) in [
        ("GET /read/x", 200, None),
        ("POST /read/x", 404, None),
        ("get /read/x", 404, None),
        ("GETX /read/x", 404, None),
        ("OPTIONS /read/x", 404, None),
        ("GET /both/x", 200, None),
        ("POST /both/x", 405, Some("GET")),
    ] {
        client.send(&format!("{request} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.status(), status, "{request}");
        assert_eq!(response.field("allow"), allow, "{request}");
    }
    assert_eq!(origin.requests().len(), 2);
}
