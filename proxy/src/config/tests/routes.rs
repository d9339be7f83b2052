//! What routes may do, and what clashes in them.

use std::path::PathBuf;
use std::time::Duration;

use super::{BASE, report, valid};
use crate::route::{Action, Credentials, LimitBy, Variable};

/// A route for everything on another host, with `text` in it.
fn route(text: &str) -> String {
    format!("{BASE}[[route]]\nhost = \"a.test\"\n{text}")
}

#[test]
fn a_route_may_do_all_of_this() {
    let settings = valid(&route(
        r#"upstream = "app"
allow = ["192.0.2.0/24"]
deny = ["192.0.2.7"]
rewrite = { from = "^/a", to = "/b" }
strip_prefix = true
request_headers = { set = { x-a = "$client_ip" }, add = { x-b = "1" }, remove = ["x-c"] }
response_headers.set = { x-d = "1" }
timeouts = { response = "5s", stream = "1h" }
max_body = "10MiB"
basic_auth = { file = "/p/users", realm = "back office" }
limit = { requests = 5, per = "1m", by = "header:x-key" }
error_pages = { 502 = "/p/502.html" }
[error_pages]
404 = "/p/404.html"
"#,
    ));
    let route = &settings.routes[1];
    assert_eq!(route.action, Action::Forward(0));
    assert!(route.access.is_some() && route.rewrite.is_some() && route.strip_prefix);
    assert!(route.request_edits.set[0].1.has(Variable::ClientIp));
    assert_eq!(route.request_edits.remove, ["x-c"]);
    assert_eq!(route.response_edits.set[0].0, "x-d");
    assert_eq!(route.timeouts.response, Some(Duration::from_secs(5)));
    assert_eq!(route.timeouts.stream, Some(Duration::from_hours(1)));
    assert_eq!(route.content_bytes_max, Some(10 << 20));
    let auth = route.basic_auth.as_ref().expect("a file of users");
    assert_eq!(
        (auth.realm.as_str(), auth.credentials),
        ("back office", Credentials::Keep)
    );
    let limit = route.limit.as_ref().expect("a limit");
    assert_eq!((limit.requests, limit.burst), (5, 5));
    assert_eq!(limit.per, Duration::from_mins(1));
    assert_eq!(limit.by, LimitBy::Field("x-key".parse().expect("a name")));
    assert_eq!(route.error_pages[0].1, PathBuf::from("/p/502.html"));
    assert_eq!(settings.error_pages[0].0, 404);
}

#[test]
fn what_makes_no_sense_in_a_route_is_told() {
    for (text, expected) in [
        (
            "upstream = \"app\"\nheaders = { x-client-cert-subject = \"CN=a\" }",
            "11: route[1].headers.x-client-cert-subject = \"CN=a\": any client can send this field, and origins never see that \
             (hint: remove it; `client_auth` of a listener asks for certificates)",
        ),
        (
            "upstream = \"app\"\nrequest_headers.set = { X-Client-Cert-Subject = \"CN=a\" }",
            "11: route[1].request_headers.set.X-Client-Cert-Subject = \"CN=a\": origins believe what this field says of a client's \
             certificate, so only a handshake fills it (hint: remove it; `client_auth` of a listener asks for certificates)",
        ),
        (
            "upstream = \"app\"\nredirect = { to = \"/x\" }",
            "11: route[1].redirect: a route does one thing, and route[1].upstream is another (hint: remove one of them)",
        ),
        (
            "redirect = { to = \"/x\" }\ncache = true",
            "11: route[1].cache = true: this route forwards nothing (hint: remove it, or name an upstream)",
        ),
        (
            "redirect = { to = \"/$path\" }",
            "10: route[1].redirect.to = \"/$path\": begins with two slashes, after which comes a host \
             (hint: $path begins with / itself)",
        ),
        (
            "redirect = { to = \"/x\", status = 304 }",
            "10: route[1].redirect.status = 304: not the status of a redirect (hint: write 301, 302, 303, 307 or 308)",
        ),
        (
            "respond = { status = 204, body = \"x\" }",
            "10: route[1].respond.body = \"x\": a response with this status has no content \
             (hint: remove it, or change the status)",
        ),
        (
            "respond = { body = \"x\" }",
            "10: route[1].respond.status: missing (hint: add status = 200)",
        ),
        (
            "upstream = \"app\"\npath = \"=/x\"\nstrip_prefix = true",
            "12: route[1].strip_prefix = true: the path of this route is no prefix (hint: use rewrite)",
        ),
        (
            "upstream = \"app\"\nrewrite = { from = \"^/a$\", to = \"/$1\" }",
            "11: route[1].rewrite.to = \"/$1\": $1 is no group of `from` \
             (hint: write ${1} before letters and digits, $$ for a dollar sign)",
        ),
        (
            "upstream = \"app\"\nrequest_headers = { set = { Content-Length = \"1\" } }",
            "11: route[1].request_headers.set.Content-Length = \"1\": this field is of one connection or delimits messages, \
             so that changing it would break them (hint: remove it)",
        ),
        (
            "upstream = \"app\"\nraw_path = true\nstrip_prefix = true",
            "8: route[1]: the path cannot go on as it came and be changed \
             (hint: remove raw_path, or strip_prefix and rewrite)",
        ),
        (
            "upstream = \"app\"\nerror_pages = { 302 = \"/x\" }",
            "11: route[1].error_pages.302 = \"/x\": not the status of an error \
             (hint: write a status from 400 to 599, such as 502 = \"/etc/weir/502.html\")",
        ),
        (
            "upstream = \"app\"\nlimit = { requests = 1, by = \"cookie\" }",
            "11: route[1].limit.by = \"cookie\": not what requests can be told apart by \
             (hint: write \"client-ip\", \"header:NAME\" or \"route\")",
        ),
        (
            "upstream = \"app\"\nlimit = { requests = 0 }",
            "11: route[1].limit.requests = 0: out of bounds (hint: write a value from 1 to 1000000)",
        ),
        (
            "upstream = \"app\"\nbasic_auth = { file = \"/x\", realm = 'a\\b' }",
            "11: route[1].basic_auth.realm = 'a\\b': not what a browser could show \
             (hint: write at most 64 ASCII characters without quotes and backslashes)",
        ),
        (
            "upstream = \"app\"\nallow = []",
            "11: route[1].allow = []: holds 0 networks (hint: name 1 to 10000 networks, or remove it)",
        ),
    ] {
        let text = route(text);
        assert_eq!(report(&text[BASE.len()..]), expected);
    }
}

#[test]
fn expressions_are_bounded_in_number() {
    let text = |count: usize| {
        (0..count).fold(String::new(), |text, number| {
            format!("{text}[[route]]\npath = \"~^/{number}$\"\nupstream = \"app\"\n")
        })
    };
    assert_eq!(valid(&format!("{BASE}{}", text(1_000))).routes.len(), 1_001);
    assert_eq!(
        report(&text(1_001)),
        "3008: route[1001]: there can be at most 1000 paths that are expressions (hint: use prefixes)"
    );
}
