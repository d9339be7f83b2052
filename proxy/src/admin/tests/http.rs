//! Requests and answers, byte by byte.

use super::super::api;
use super::super::routes::{Access, resolve};
use super::super::socket::{self, Listener};
use super::running::{Running, over_unix, request, talk, unix};

#[test]
fn every_route_answers_with_its_status_and_json() {
    let (dir, _running) = unix();
    for (line, content, status, part) in [
        ("GET /v1/status", "", "200", r#""version":"1.2.3""#),
        ("GET /v1/drops", "", "200", r#""seconds_ago":0.25"#),
        ("GET /v1/sources", "", "200", r#""total":20"#),
        ("GET /v1/sources?top=7&sort=syns", "", "200", r#""total":7"#),
        ("GET /v1/sources?network=192.0.2.0%2F24", "", "200", "total"),
        ("GET /v1/blocks", "", "200", r#""entries":[]"#),
        ("GET /v1/allows", "", "503", r#""hint":"set one""#),
        ("GET /v1/upstreams", "", "200", r#""upstreams":[]"#),
        ("GET /v1/certs", "", "200", r#""certificates":[]"#),
        (
            "POST /v1/drain",
            r#"{"upstream":"app","server":"a:80"}"#,
            "200",
            r#""drained":true"#,
        ),
        ("POST /v1/drain", r#"{"upstream":"app"}"#, "400", "server"),
        (
            "DELETE /v1/drain?upstream=app&server=%5B::1%5D:80",
            "",
            "200",
            r#""server":"[::1]:80","drained":false"#,
        ),
        ("DELETE /v1/drain?upstream=app", "", "400", "missing"),
        (
            "DELETE /v1/drain?upstream=none&server=a",
            "",
            "404",
            "no upstream",
        ),
        (
            "POST /v1/allows",
            r#"{"networks":["192.0.2.7"]}"#,
            "403",
            "EPERM",
        ),
        ("DELETE /v1/allows?network=192.0.2.7", "", "500", "broken"),
        ("POST /v1/reload", "", "422", "listen[0].address"),
        ("GET /healthz", "", "200", "true"),
        ("GET /readyz", "", "503", "not ready"),
    ] {
        let answer = over_unix(&dir.socket(), &request(line, content));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {answer}"
        );
        assert!(
            answer.contains("content-type: application/json"),
            "{line}: {answer}"
        );
        assert!(answer.contains(part), "{line}: {answer}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_an_error_and_a_hint() {
    let (dir, _running) = unix();
    let long = format!(
        r#"{{"networks":["192.0.2.7"],"reason":"{}"}}"#,
        "x".repeat(200)
    );
    let huge = format!(
        r#"{{"networks":["192.0.2.7"],"reason":"{}"}}"#,
        "x".repeat(70_000)
    );
    for (line, content, status, part) in [
        ("GET /v1/nothing", "", "404", "/v1/nothing"),
        ("GET /v1/status/", "", "404", "there is no"),
        (
            "PUT /v1/blocks",
            "",
            "405",
            "allow: GET, POST, DELETE, HEAD",
        ),
        ("GET /v1/reload", "", "405", "allow: POST\r\n"),
        ("GET /v1/sources?top=0", "", "400", "1 to 10000"),
        ("GET /v1/sources?top=10001", "", "400", "1 to 10000"),
        ("GET /v1/sources?sort=age", "", "400", "`age`"),
        ("GET /v1/sources?order=syns", "", "400", "`order`"),
        ("GET /v1/sources?network=%zz", "", "400", "percent-encoded"),
        ("GET /v1/sources?network=%2", "", "400", "percent-encoded"),
        ("DELETE /v1/blocks", "", "400", "no network"),
        ("DELETE /v1/blocks?network=::/0", "", "400", "every address"),
        ("POST /v1/blocks", "{}", "400", "networks"),
        ("POST /v1/blocks", r#"{"networks":[]}"#, "400", "no network"),
        ("POST /v1/blocks", r#"{"networks":["x"]}"#, "400", "`x`"),
        (
            "POST /v1/blocks",
            r#"{"networks":["0.0.0.0/0"]}"#,
            "400",
            "every address",
        ),
        (
            "POST /v1/blocks",
            r#"{"networks":["192.0.2.7"],"for":1}"#,
            "400",
            "`for`",
        ),
        (
            "POST /v1/blocks",
            r#"{"networks":["192.0.2.7"],"seconds":0}"#,
            "400",
            "1s to 365d",
        ),
        ("POST /v1/blocks", &long, "400", "200 bytes"),
        ("POST /v1/blocks", &huge, "413", "64 KiB"),
    ] {
        let answer = over_unix(&dir.socket(), &request(line, content));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {answer}"
        );
        assert!(answer.contains(part), "{line}: {answer}");
        let json = answer.split("\r\n\r\n").nth(1).expect("content");
        let error: api::Error = serde_json::from_str(json).expect(json);
        assert!(
            !error.error.is_empty() && !error.hint.is_empty(),
            "{line}: {answer}"
        );
    }
}

#[test]
fn http_1_1_without_host_is_refused() {
    let (dir, _running) = unix();
    let answer = over_unix(
        &dir.socket(),
        "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_peer_without_permission_gets_403_for_anything() {
    for path in ["/v1/status", "/healthz", "/nothing"] {
        let refusal = resolve(Access::Refused, &http::Method::GET, path).expect_err(path);
        assert_eq!(refusal.status, http::StatusCode::FORBIDDEN, "{path}");
    }
    let own = nix::unistd::geteuid().as_raw();
    assert!(socket::permits(0, 0) && socket::permits(own, 4_000_000_000));
    assert!(!socket::permits(4_000_000_000, 4_000_000_000));
}

#[test]
fn the_tcp_listener_reads_and_refuses_to_write() {
    let listener = Listener::tcp("127.0.0.1:0".parse().expect("an address")).expect("binds");
    let Listener::Tcp(bound) = &listener else {
        panic!("not TCP: {listener:?}");
    };
    let address = bound.local_addr().expect("bound");
    let _running = Running::start(listener);
    for (line, status, part) in [
        ("GET /v1/status", "200", "1.2.3"),
        ("HEAD /v1/status", "200", "content-length: "),
        ("POST /v1/blocks", "405", "allow: GET, HEAD\r\n"),
        ("DELETE /v1/blocks?network=192.0.2.7", "405", "read-only"),
        ("POST /v1/reload", "405", "read-only"),
    ] {
        let stream = std::net::TcpStream::connect(address).expect("connects");
        let answer = talk(stream, &request(line, ""));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {answer}"
        );
        assert!(answer.contains(part), "{line}: {answer}");
    }
}
