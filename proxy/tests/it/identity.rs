//! What only weir may say: fields that origins believe, lines of the log, and pages of its own. Whatever a client sends,
//! it says nothing in weir's name.

use std::time::Duration;

use weir::telemetry::{AccessTarget, Format};

use crate::client::Client;
use crate::origin::{Origin, Then};
use crate::raw_h2::{DATA, END_HEADERS, END_STREAM, GET, HEADERS, Raw, fields, frame};
use crate::weir::{Setup, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// They change who the client seems to be, or which resource or method is meant after the routes have judged it.
const FORGED: [&str; 40] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-request-id",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "proxy",
    "x-client-cert-subject",
    "x-client-cert-san",
    "x-client-cert-fingerprint",
    "client-cert",
    "client-cert-chain",
    "ssl-client-cert",
    "ssl-client-verify",
    "ssl-client-subject-dn",
    "x-client-cert",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "x-ssl-client-cert",
    "x-ssl-client-dn",
    "x-ssl-client-verify",
    "proxy-authorization",
    "http2-settings",
    // The same to origins that read `_` as `-`.
    "x_forwarded_for",
    "x_forwarded-proto",
    "x_original_url",
    "x_http_method_override",
    "content_length",
    "x_client_cert_subject",
];

#[test]
fn fields_that_origins_believe_are_never_a_clients() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let lines: Vec<_> = FORGED
        .iter()
        .map(|name| {
            format!(
                "{name}: forged\r\n{}: forged\r\n",
                name.to_ascii_uppercase()
            )
        })
        .collect();
    let lines = lines.concat();
    let mut client = Client::connect(weir.address);
    client.send(&format!("GET /x HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n"));
    assert_eq!(client.response().status(), 200);

    let mut http2 = Raw::connect(weir.address);
    let mut all = GET.to_vec();
    // Connection fields are refused there as a whole.
    let names = FORGED.iter().filter(|name| **name != "http2-settings");
    all.extend(names.map(|name| (*name, "forged")));
    http2.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&all)));
    assert_eq!(http2.outcome(1).expect("an answer").kind, HEADERS);

    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let forged = request
            .fields
            .iter()
            .find(|(_, value)| value.contains("forged"));
        assert_eq!(forged, None);
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(request.field("x-forwarded-proto"), Some("http"));
        assert_eq!(request.field("x-forwarded-host"), Some("a.test"));
    }
}

/// RFC 9110 §6.5.1: what decides about a request stands before its content.
#[test]
fn trailers_bring_nothing_that_frames_routes_or_identifies() {
    const MORE: [&str; 9] = [
        "authorization",
        "cookie",
        "host",
        "content-length",
        "transfer-encoding",
        "content-type",
        "te",
        "connection",
        "via",
    ];
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let names: Vec<_> = FORGED.into_iter().chain(MORE).collect();
    let lines: Vec<_> = names
        .iter()
        .map(|name| format!("{name}: forged\r\n"))
        .collect();
    let lines = lines.concat();
    let mut client = Client::connect(weir.address);
    client.send(&format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nTrailer: x-ok, {}\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Ok: 1\r\n{lines}\r\n",
        names.join(", ")
    ));
    assert_eq!(client.response().status(), 200);

    let mut http2 = Raw::connect(weir.address);
    let mut head = GET.to_vec();
    head[0].1 = "POST";
    let announced = "x-ok, authorization, cookie, x-forwarded-for, x-original-url";
    head.push(("trailer", announced));
    http2.send(&frame(HEADERS, END_HEADERS, 1, &fields(&head)));
    http2.send(&frame(DATA, 0, 1, b"hi"));
    // Connection fields are refused there as a whole.
    let connection = ["transfer-encoding", "te", "connection", "http2-settings"];
    let names = names.iter().filter(|name| !connection.contains(name));
    let mut trailers = vec![("x-ok", "1")];
    trailers.extend(names.map(|name| (*name, "forged")));
    http2.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &fields(&trailers),
    ));
    assert_eq!(http2.outcome(1).expect("an answer").kind, HEADERS);

    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.text(), "hi");
        assert_eq!(request.trailers, [("x-ok".to_owned(), "1".to_owned())]);
        let forged = request.fields.iter().find(|(_, value)| value == "forged");
        assert_eq!(forged, None, "merged into the head");
    }
}

#[test]
fn connection_takes_away_nothing_that_is_meant_for_the_origin_or_said_by_weir() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\n\
         Connection: host, authorization, cookie, content-length, content-type, content-encoding\r\n\
         Connection: forwarded, x-forwarded-for, x-forwarded-host, x-forwarded-proto, x-request-id, via\r\n\
         Connection: cache-control, x-client-cert-subject, connection, x-hop\r\n\
         Authorization: Basic eDp5\r\nCookie: a=b\r\nContent-Type: text/plain\r\nContent-Encoding: x\r\n\
         Cache-Control: no-cache\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert_eq!(client.response().status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(request.text(), "hi");
    for (name, value) in [
        ("host", "a.test"),
        ("authorization", "Basic eDp5"),
        ("cookie", "a=b"),
        ("content-type", "text/plain"),
        ("content-encoding", "x"),
        ("cache-control", "no-cache"),
        ("content-length", "2"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "a.test"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=127.0.0.1;proto=http;host=a.test"),
    ] {
        assert_eq!(request.field(name), Some(value));
    }
    assert!(request.field("via").is_some() && request.field("x-request-id").is_some());
    assert_eq!(request.field("x-hop"), None);
    assert_eq!(request.field("connection"), None);
}

#[test]
fn an_origins_connection_takes_away_nothing_that_is_meant_for_the_client() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nConnection: set-cookie, cache-control, content-length, content-type, vary, date, etag\r\n\
         Connection: x-hop, via\r\nSet-Cookie: a=b\r\nCache-Control: private\r\nContent-Type: text/plain\r\n\
         Vary: cookie\r\nETag: \"x\"\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok",
    );
    let weir = Setup::to(&[origin.address]).start();
    let response = Client::connect(weir.address).get("/");
    for (name, value) in [
        ("set-cookie", "a=b"),
        ("cache-control", "private"),
        ("content-type", "text/plain"),
        ("content-length", "2"),
        ("vary", "cookie"),
        ("etag", "\"x\""),
        ("via", "1.1 weir"),
    ] {
        assert_eq!(response.field(name), Some(value));
    }
    assert_eq!(response.field("x-hop"), None);
}

/// Lines, quotes, escapes of terminals, and bytes that are no UTF-8, in every text that a client chooses.
#[test]
fn a_client_writes_one_line_of_the_log_and_only_its_own_texts_in_it() {
    const TEXT: &str = "\" 200 9 \\ \u{85}\u{9b}2J\u{2028}\tend";
    for format in [Format::Text, Format::Json] {
        let name = format!("weir-it-log-{format:?}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let origin = Origin::answering(OK);
        let weir = Setup::to(&[origin.address])
            .with(|setup| {
                setup.access = AccessTarget::File(path.clone());
                setup.access_format = format;
            })
            .start();
        let mut client = Client::connect(weir.address);
        client.send(&format!(
            "GET /a%22?q=%0d%0a%22 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: {TEXT}\r\nReferer: {TEXT}\r\n\
             X-Request-Id: {TEXT}\r\n\r\n"
        ));
        assert_eq!(client.response().status(), 200);
        let mut client = Client::connect(weir.address);
        let broken = [
            &b"GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: "[..],
            b"\xff\x9b\"\r\n\r\n",
        ]
        .concat();
        client.try_send(&broken).unwrap();
        // Not UTF-8, which this origin does not read.
        assert!(matches!(client.response().status(), 200 | 502));
        let text = || {
            assert!(weir.access.flush(Duration::from_secs(20)));
            std::fs::read_to_string(&path).unwrap_or_default()
        };
        until("both lines are written", || text().lines().count() >= 2);
        let text = text();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.split('\n').count(), 3, "{text:?}");
        let is_plain = |byte: char| byte == '\n' || !byte.is_control();
        assert!(text.chars().all(is_plain), "{text:?}");
        match format {
            Format::Text => assert!(text.contains(r#"\" 200 9 \\ "#), "{text:?}"),
            Format::Json => {
                for line in text.lines() {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert_eq!(line["method"], "GET");
                }
            }
        }
    }
}

#[test]
fn pages_of_weirs_own_repeat_nothing_of_the_request() {
    let origin = Origin::start(|_, stream| {
        let _ = std::io::Write::write_all(stream, b"nonsense <secret>\r\n\r\n");
        Then::Close
    });
    let weir = Setup::to(&[origin.address]).start();
    for request in [
        "GET /?<script> HTTP/1.1\r\nHost: a.test\r\nX: <script>\r\n\r\n",
        "GET /?<script> HTTP/1.1\r\nHost: script.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: <script>\r\n\r\n",
        "GET /#<script> HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "SCRIPT<> / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "TRACE /?<script> HTTP/1.1\r\nHost: a.test\r\nX: <script>\r\n\r\n",
    ] {
        let mut client = Client::connect(weir.address);
        client.send(request);
        let response = client.response();
        assert!(response.status() >= 400, "{request}");
        let said = format!("{:?} {}", response.fields, response.text());
        assert!(!said.to_ascii_lowercase().contains("script"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}
