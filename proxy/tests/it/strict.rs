//! Every way to write a request that two parties may read differently: refused, the connection closed, and the origin
//! sees nothing of it, or nothing whole.

use weir::detect::Count;

use crate::client::Client;
use crate::origin::Origin;
use crate::weir::{Setup, counting};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Each request is followed by one that an origin which lost count might see.
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Instead of a status when the connection goes on.
const OPEN: u16 = 999;

/// Sends `request` and [`NEXT`]; the status that is answered before the connection is closed, 0 if there is none.
fn status(weir: &crate::weir::Weir, request: &[u8]) -> u16 {
    let mut client = Client::connect(weir.address);
    // Closed by now, perhaps.
    let _ = client.try_send(&[request, NEXT.as_bytes()].concat());
    let answered = client.try_response();
    let status = answered.map_or(0, |response| response.status());
    if client.is_closed() { status } else { OPEN }
}

/// All of `requests` are answered with one of `statuses`, and the origin sees none.
fn refused<'a>(statuses: &[u16], requests: impl IntoIterator<Item = &'a [u8]>) {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut wrong = Vec::new();
    for request in requests {
        let status = status(&weir, request);
        if !statuses.contains(&status) {
            let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
            wrong.push((status, shown));
        }
    }
    assert!(wrong.is_empty(), "not {statuses:?}: {wrong:#?}");
    let seen = origin.requests();
    assert!(seen.is_empty(), "the origin saw {seen:?}");
}

fn refused_lines(lines: &[&str]) {
    let requests: Vec<_> = lines
        .iter()
        .map(|lines| format!("POST / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n"))
        .collect();
    refused(&[400], requests.iter().map(String::as_bytes));
}

#[test]
fn lengths_that_are_not_one_plain_number_are_refused() {
    refused_lines(&[
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nX: 1\r\ncontent-length: 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5_0\r\n",
        "Content-Length: 5 0\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 5e1\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length:\r\n",
        "Content-Length: \r\n",
        "Content-Length: five\r\n",
        "Content-Length: \u{665}\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 5;x=y\r\n",
    ]);
}

#[test]
fn transfer_codings_other_than_chunked_once_are_refused() {
    refused_lines(&[
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunk ed\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: 'chunked'\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding: chunked\u{b}\r\n",
        "Transfer-Encoding: \u{a0}chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: 1\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 5\r\ntRANSFER-eNCODING: chunked\r\n",
        "Transfer\0-Encoding: chunked\r\n",
    ]);
    let old = [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
    ]
    .map(|line| format!("POST / HTTP/1.0\r\nHost: a.test\r\n{line}\r\n"));
    refused(&[400], old.iter().map(String::as_bytes));
}

/// `Transfer_Encoding` is no coding to us and might be one to an origin that reads `_` as `-`: it does not go on.
#[test]
fn a_coding_by_an_alias_is_not_passed_on() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer_Encoding: chunked\r\nContent_Length: 9\r\n\
         Content-Length: 2\r\n\r\nhi",
    );
    assert_eq!(client.response().status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(request.field("transfer_encoding"), None);
    assert_eq!(request.field("content_length"), None);
    assert_eq!(request.text(), "hi");
}

#[test]
fn chunks_that_are_not_plain_are_refused_and_never_end_for_the_origin() {
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300));
    let longer_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000));
    let zeros = format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(16));
    let more_zeros = format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(1_000));
    let requests: Vec<_> = [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
        "5;x\ry\r\nhello\r\n0\r\n\r\n",
        &long_extension,
        &longer_extension,
        &zeros,
        &more_zeros,
        // Extensions that others end elsewhere.
        "5;x=\"\r\nhello\r\n0\r\n\r\n",
        "5;x=\"a\r\nb\"\r\nhello\r\n0\r\n\r\n",
        "5;x=\"\r\n\r\nabc\r\n0\r\n\r\n",
        "5;x=\"a\\\r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;;x\r\nhello\r\n0\r\n\r\n",
        "5;=x\r\nhello\r\n0\r\n\r\n",
        "5;x=\r\nhello\r\n0\r\n\r\n",
        "5;x y\r\nhello\r\n0\r\n\r\n",
        "5;x\0\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0;x=\"\r\n\r\n",
        "5\r\nhello\r\n0 \r\n\r\n",
        "5\r\nhello\r\n+0\r\n\r\n",
        "5\r\nhello\r\n0x0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
        "5\r\nhello\r\n0\r\n X: 1\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX: 1\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\nY: 2\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\r\n\n",
        "5\r\nhello\r\n0\r\nX: 1\rY: 2\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n",
        "5\r\nhello\r\n0\r\n: 1\r\n\r\n",
    ]
    .iter()
    .map(|content| {
        format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{content}")
    })
    .collect();
    refused(&[400], requests.iter().map(String::as_bytes));
}

/// In parts as at once, and whatever came before it on the connection.
#[test]
fn a_chunk_that_is_not_plain_is_refused_wherever_it_is_split() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.rules = vec![counting(Count::ProtocolErrors)])
        .start();
    let chunked = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole = format!("{chunked}5\r\nhello\r\n0\r\n\r\n");
    for parts in [
        &["5\r\nhello\r\n", "0;x=\"\r\n\r\n"][..],
        &["5\r\nhello\r\n0;x", "=\"\r\n", "\r\n"],
        &["5\r\nhello\r\n0\r\nX: 1", "\n", "\r\n"],
        &["5\r\nhello\r\n000000000", "00000000\r\n\r\n"],
        &["5\r\nhello", "\n", "0\r\n\r\n"],
    ] {
        let before = origin.requests().len();
        let mut client = Client::connect(weir.address);
        client.send(&format!("{whole}{chunked}"));
        assert_eq!(client.response().status(), 200);
        for part in parts {
            // Refused by now, perhaps.
            let _ = client.try_send(part.as_bytes());
        }
        let _ = client.try_send(NEXT.as_bytes());
        let response = client.response();
        assert_eq!(response.status(), 400, "{parts:?}");
        assert_eq!(
            response.field("proxy-status"),
            Some("weir; error=http_request_error")
        );
        assert!(client.is_closed(), "{parts:?}");
        assert_eq!(origin.requests().len(), before + 1, "{parts:?}");
        assert_eq!(weir.reported().to_string(), "127.0.0.1/32", "{parts:?}");
    }
}

/// They mean one thing only, and origins get chunks that are written anew.
#[test]
fn zeros_before_a_chunk_size_and_well_formed_extensions_change_nothing() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    for size in ["0000000000000005", "5;a;b=c;d=\"e;\\\"f\"", "5 ; a = b"] {
        let mut client = Client::connect(weir.address);
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             {size}\r\nhello\r\n0\r\n\r\n{NEXT}"
        ));
        assert_eq!(client.response().status(), 200, "{size}");
        assert_eq!(client.response().status(), 200, "{size}");
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), 6);
    assert!(
        requests
            .iter()
            .step_by(2)
            .all(|request| request.text() == "hello")
    );
}

#[test]
fn lines_that_others_end_or_split_elsewhere_are_refused() {
    refused(
        &[400],
        [
            &b"GET / HTTP/1.1\nHost: a.test\n\n"[..],
            b"GET / HTTP/1.1\r\nHost: a.test\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\n\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\rX: a\r\n\r\n",
            b"GET /\r HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n\tb\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost\t: a.test\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX\0: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\x01b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\x7fb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\x0bb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\n: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX Y: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\nX(Y: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a.test\r\n\xe9: a\r\n\r\n",
            b"\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b" GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"\0GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ],
    );
}

#[test]
fn request_lines_that_are_not_plain_are_refused() {
    refused(
        &[400],
        [
            &b"GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..],
            b"GET /  HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET / x HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET\t/\tHTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /\x0bHTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n",
            b"GET / http/1.1\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/1.2\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/1.10\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/01.1\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/0.9\r\nHost: a.test\r\n\r\n",
            b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n",
            b"GET / HTTPS/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /\r\nHost: a.test\r\n\r\n",
            b"GET /\r\n",
            b"GET\r\nHost: a.test\r\n\r\n",
            b"G(T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"G\0T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /a\\b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /a\0b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /../b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /a/%2e%2e/%2E./b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /a%2fb HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET a HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET //b.test/ HTTP/1.1\r\nHost: c.test/\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"POST * HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET ?x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ],
    );
}

#[test]
fn hosts_that_are_not_one_plain_name_are_refused() {
    let long = "a".repeat(300);
    let hosts = [
        "",
        " ",
        "a.test,b.test",
        "a.test b.test",
        "a.test, a.test",
        "user@a.test",
        "user:x@a.test",
        "a.test/",
        "a.test/x",
        "a.test?x",
        "a.test#x",
        "a.test\\x",
        "a.test:",
        "a.test:0",
        "a.test:65536",
        "a.test:80x",
        "a.test:-1",
        "a.test:+80",
        "a.test:80:80",
        ":80",
        "[::1",
        "::1",
        "[::1]x",
        "[x]",
        "a..test",
        ".a.test",
        "http://a.test",
        "a%2etest",
        "a.test\u{e9}",
        &long,
    ];
    let mut requests: Vec<_> = hosts
        .iter()
        .map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        .collect();
    for lines in [
        "",
        "Host: a.test\r\nHost: a.test\r\n",
        "Host: a.test\r\nX: 1\r\nhost: b.test\r\n",
    ] {
        requests.push(format!("GET / HTTP/1.1\r\n{lines}\r\n"));
    }
    for (target, host) in [
        ("http://b.test/", "a.test"),
        ("http://a.test:81/", "a.test"),
        ("http://a.test/", "a.test:81"),
        ("http://user@a.test/", "a.test"),
        ("ftp://a.test/", "a.test"),
        ("http:///", "a.test"),
        ("http:/a.test/", "a.test"),
        ("javascript:x", "a.test"),
    ] {
        requests.push(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    // HTTP/1.0 may name none, but not two.
    requests.push("GET / HTTP/1.0\r\nHost: a.test\r\nHost: b.test\r\n\r\n".to_owned());
    refused(&[400], requests.iter().map(String::as_bytes));
}

#[test]
fn absolute_form_goes_on_as_origin_form_with_its_host() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send("GET http://A.test:80/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    client.send("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(
        client.response().status(),
        404,
        "no route for the server as a whole"
    );
    let request = &origin.requests()[0];
    assert_eq!(request.start, "GET /x?y HTTP/1.1");
    assert_eq!(request.field("host"), Some("A.test:80"));
}

#[test]
fn what_is_too_large_has_a_status_of_its_own() {
    let head = "HTTP/1.1\r\nHost: a.test\r\n";
    let long_target = format!("GET /{} {head}\r\n", "x".repeat(17_000));
    let long_query = format!("GET /?{} {head}\r\n", "x".repeat(17_000));
    refused(&[414], [long_target.as_bytes(), long_query.as_bytes()]);
    let endless_line = format!("GET /{}", "x".repeat(40_000));
    let long_field = format!("GET / {head}X: {}\r\n\r\n", "x".repeat(33_000));
    let long_name = format!("GET / {head}{}: x\r\n\r\n", "x".repeat(33_000));
    let many = format!("GET / {head}{}\r\n", "X: 1\r\n".repeat(100));
    let crumbs = format!("GET / {head}{}\r\n", "Cookie: a=b\r\n".repeat(100));
    let whole = format!(
        "GET / {head}{}\r\n",
        format!("X: {}\r\n", "x".repeat(400)).repeat(90)
    );
    refused(
        &[431],
        [endless_line, long_field, long_name, many, crumbs, whole]
            .iter()
            .map(String::as_bytes),
    );
    let large = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1048577\r\n\r\n";
    refused(&[413], [large.as_bytes()]);
}

#[test]
fn an_upgrade_to_h2c_and_what_is_sent_with_it_are_not_passed_on() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.response().status(), 200);
    let request = &origin.requests()[0];
    for gone in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(request.field(gone), None, "{gone}");
    }
}
