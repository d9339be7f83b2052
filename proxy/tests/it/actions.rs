//! What routes do beside forwarding, as the client and the origin see it.

use std::time::Duration;

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::weir::{Setup, Weir, routes};

const OK: &str = "HTTP/1.1 200 OK\r\nServer: secret\r\nX-Origin: 1\r\nContent-Length: 2\r\n\r\nok";

fn weir(origin: &Origin, text: &str) -> Weir {
    Setup::to(&[origin.address])
        .with(|setup| setup.routes = Some(routes(text)))
        .start()
}

fn start_lines(origin: &Origin) -> Vec<String> {
    origin.requests().into_iter().map(|r| r.start).collect()
}

#[test]
fn redirects_and_fixed_responses_ask_no_origin() {
    let origin = Origin::answering(OK);
    let weir = weir(
        &origin,
        r#"
        [[route]]
        path = "/to/"
        redirect = { to = "https://$host$path$query" }
        [[route]]
        path = "/old/"
        rewrite = { from = "^/old/(.*)$", to = "/new/$1" }
        redirect = { to = "$path", status = 301 }
        [[route]]
        path = "=/robots.txt"
        respond = { status = 200, body = "User-agent: *\n" }
        [[route]]
        path = "/gone"
        respond = { status = 410 }
        response_headers = { set = { x-why = "$path of $host" } }
        "#,
    );
    let mut client = Client::connect(weir.address);
    let moved = client.get("/to//x?y=%2F");
    assert_eq!(moved.status(), 308);
    assert_eq!(moved.field("location"), Some("https://a.test/to/x?y=%2F"));
    let moved = client.get("/old/a/b");
    assert_eq!(moved.status(), 301);
    assert_eq!(moved.field("location"), Some("/new/a/b"));
    let robots = client.get("/robots.txt");
    assert_eq!((robots.status(), robots.text()), (200, "User-agent: *\n"));
    assert_eq!(
        robots.field("content-type"),
        Some("text/plain; charset=utf-8")
    );
    client.send("HEAD /robots.txt HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let head = client.head_response();
    assert_eq!(head.field("content-length"), Some("14"));
    let gone = client.get("/gone/x");
    assert_eq!((gone.status(), gone.text()), (410, ""));
    assert_eq!(gone.field("x-why"), Some("/gone/x of a.test"));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_host_of_the_client_cannot_break_out_of_a_redirect() {
    let origin = Origin::answering(OK);
    let weir = weir(
        &origin,
        "[[route]]\nredirect = { to = \"https://$host$path$query\" }",
    );
    for (request, expected) in [
        ("GET // HTTP/1.1\r\nHost: evil.test/\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@evil.test\r\n", 400),
        ("GET / HTTP/1.0\r\n", 400),
    ] {
        let mut client = Client::connect(weir.address);
        client.send(&format!("{request}\r\n"));
        let response = client.response();
        assert_eq!(response.status(), expected, "{request}");
        assert_eq!(response.field("location"), None);
    }
    let response = Client::connect(weir.address).get("//evil.test/..//x");
    assert_eq!(response.field("location"), Some("https://a.test/x"));
}

#[test]
fn the_origin_gets_the_path_without_prefix_and_rewritten() {
    let origin = Origin::answering(OK);
    let weir = weir(
        &origin,
        r#"
        [[route]]
        path = "/app/"
        strip_prefix = true
        upstream = "app"
        [[route]]
        path = "/old/"
        rewrite = { from = "^/old/([a-z]+)(.*)$", to = "/${1}s$2" }
        upstream = "app"
        "#,
    );
    let mut client = Client::connect(weir.address);
    for (sent, expected) in [
        ("/app/", "GET / HTTP/1.1"),
        ("/app//x/../y?q=/app/", "GET /y?q=/app/ HTTP/1.1"),
        ("/app/../app/z", "GET /z HTTP/1.1"),
        ("/old/item/7?q", "GET /items/7?q HTTP/1.1"),
        ("/old/7", "GET /old/7 HTTP/1.1"),
    ] {
        assert_eq!(client.get(sent).status(), 200, "{sent}");
        assert_eq!(start_lines(&origin).last().unwrap(), expected, "{sent}");
    }
    let requests = origin.requests();
    assert_eq!(requests[0].field("x-forwarded-prefix"), Some("/app"));
    assert_eq!(requests[3].field("x-forwarded-prefix"), None);
}

#[test]
fn fields_are_edited_on_their_way_to_the_origin_and_back() {
    let origin = Origin::answering(OK);
    let weir = weir(
        &origin,
        r#"
        [[route]]
        upstream = "app"
        request_headers = { set = { x-real-ip = "$client_ip", x-who = "weir" }, add = { x-many = "2" }, remove = ["cookie"] }
        response_headers = { set = { x-frame-options = "DENY" }, add = { x-many = "$path" }, remove = ["x-origin"] }
        "#,
    );
    let mut client = Client::connect(weir.address);
    client.send(
        "GET /p HTTP/1.1\r\nHost: a.test\r\nX-Real-IP: 203.0.113.9\r\nX-Who: me\r\nX-Many: 1\r\nCookie: a=b\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.field("x-frame-options"), Some("DENY"));
    assert_eq!(response.field("x-many"), Some("/p"));
    assert_eq!(response.field("x-origin"), None);
    let request = &origin.requests()[0];
    assert_eq!(request.field("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(request.field("x-who"), Some("weir"));
    assert_eq!(request.all("x-many"), ["1", "2"]);
    assert_eq!(request.field("cookie"), None);
}

#[test]
fn what_is_stored_is_stored_before_it_is_edited() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX-Origin: 1\r\nContent-Length: 2\r\n\r\nok",
    );
    let weir = weir(
        &origin,
        r#"
        [[route]]
        upstream = "app"
        cache = true
        response_headers = { add = { x-many = "1" }, remove = ["x-origin"] }
        "#,
    );
    let mut client = Client::connect(weir.address);
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(response.all("x-many"), ["1"]);
        assert_eq!(response.field("x-origin"), None);
    }
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn clients_of_other_networks_are_refused_before_an_origin_is_asked() {
    let origin = Origin::answering(OK);
    let weir = weir(
        &origin,
        r#"
        [[route]]
        path = "/denied"
        deny = ["127.0.0.0/8"]
        upstream = "app"
        [[route]]
        path = "/others"
        allow = ["192.0.2.0/24"]
        upstream = "app"
        [[route]]
        path = "/us"
        allow = ["127.0.0.1"]
        deny = ["127.0.0.0/8"]
        upstream = "app"
        "#,
    );
    let mut client = Client::connect(weir.address);
    for (path, expected) in [("/denied", 403), ("/others", 403), ("/us", 200)] {
        let response = client.get(path);
        assert_eq!(response.status(), expected, "{path}");
        if expected == 403 {
            assert_eq!(
                response.field("proxy-status"),
                Some("weir; error=http_request_denied")
            );
        }
    }
    assert_eq!(start_lines(&origin), ["GET /us HTTP/1.1"]);
}

#[test]
fn a_route_has_limits_of_its_own_for_content_and_time() {
    let origin = Origin::start(|request, stream| {
        if request.start.contains("/slow") {
            return Then::KeepOpen;
        }
        std::io::Write::write_all(stream, OK.as_bytes()).unwrap();
        Then::KeepOpen
    });
    let weir = weir(
        &origin,
        r#"
        [[route]]
        path = "/small"
        max_body = 4
        upstream = "app"
        [[route]]
        path = "/large"
        max_body = "4MiB"
        upstream = "app"
        [[route]]
        path = "/slow"
        timeouts = { response = "50ms" }
        upstream = "app"
        "#,
    );
    let post = |path: &str, length: usize| {
        let mut client = Client::connect(weir.address);
        client.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n"
        ));
        // A refusal may come before all of it is sent.
        let _ = client.try_send(&vec![b'x'; length]);
        client.response().status()
    };
    assert_eq!(post("/small", 4), 200);
    assert_eq!(post("/small", 5), 413);
    // The listener takes 1 MiB.
    assert_eq!(post("/large", 2 << 20), 200);
    assert_eq!(Client::connect(weir.address).get("/slow").status(), 504);
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn weirs_own_errors_show_the_pages_of_the_route_or_of_the_file() {
    let dir = std::env::temp_dir().join(format!("weir-pages-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (own, all) = (dir.join("own.html"), dir.join("all.json"));
    std::fs::write(&own, "<p>own</p>").unwrap();
    std::fs::write(&all, "{}").unwrap();
    let text = format!(
        "[[route]]\npath = \"/own\"\nupstream = \"app\"\nerror_pages = {{ 502 = \"{}\" }}\n[[route]]\npath = \"/x\"\nupstream = \"app\"",
        own.display()
    );
    let weir = Setup::to(&[Origin::refusing()])
        .with(|setup| {
            setup.routes = Some(routes(&text));
            let status = |code| http::StatusCode::from_u16(code).unwrap();
            setup.error_pages = vec![(status(502), all.clone()), (status(404), all)];
            setup.timeouts.connect = Duration::from_secs(5);
        })
        .start();
    let mut client = Client::connect(weir.address);
    for (path, status, content_type, text) in [
        ("/own", 502, "text/html; charset=utf-8", "<p>own</p>"),
        ("/x", 502, "application/json", "{}"),
        ("/nothing", 404, "application/json", "{}"),
        (
            "/../x",
            400,
            "text/plain; charset=utf-8",
            "invalid request target\n",
        ),
    ] {
        let response = client.get(path);
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.field("content-type"), Some(content_type), "{path}");
        assert_eq!(response.text(), text, "{path}");
        assert!(response.field("proxy-status").is_some(), "{path}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}
