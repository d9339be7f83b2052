//! What origins and clients see, as tables.

use super::*;
use http::Version;

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn client(address: &str, scheme: Scheme) -> Client {
    Client::new(address.parse().expect("address"), scheme)
}

fn sent(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut fields = map(lines);
    to_origin(
        &mut fields,
        &client("198.18.0.1", Scheme::Https),
        &HeaderValue::from_static("a.test"),
        Version::HTTP_11,
        HeaderValue::from_static("id"),
    )
    .expect("no loop");
    fields
}

#[test]
fn connection_fields_and_what_they_nominate_end_here() {
    let fields = sent(&[
        ("connection", "close, X-Secret"),
        ("connection", "x-other"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQ"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("te", "gzip"),
        ("x-secret", "1"),
        ("x-other", "1"),
        ("accept", "*/*"),
    ]);
    for gone in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "http2-settings",
    ] {
        assert!(!fields.contains_key(gone), "{gone}");
    }
    for gone in ["transfer-encoding", "expect", "te", "x-secret", "x-other"] {
        assert!(!fields.contains_key(gone), "{gone}");
    }
    assert_eq!(fields["accept"], "*/*");
}

#[test]
fn connection_cannot_take_end_to_end_or_our_own_fields_away() {
    let fields = sent(&[
        (
            "connection",
            "authorization, cookie, host, x-forwarded-for, forwarded, via, content-type",
        ),
        ("authorization", "Basic eA=="),
        ("cookie", "a=b"),
        ("content-type", "text/plain"),
    ]);
    for kept in [
        "authorization",
        "cookie",
        "content-type",
        "host",
        "x-forwarded-for",
        "forwarded",
        "via",
    ] {
        assert!(fields.contains_key(kept), "{kept}");
    }
}

#[test]
fn forged_forwarding_fields_are_replaced() {
    let fields = sent(&[
        ("forwarded", "for=203.0.113.9"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.10"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-prefix", "/admin"),
        ("x-real-ip", "203.0.113.9"),
        ("x_forwarded_for", "203.0.113.9"),
        ("x-original-url", "/admin"),
        ("x-request-id", "forged"),
    ]);
    let all = |name: &str| fields.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(all("x-forwarded-for"), ["198.18.0.1"]);
    assert_eq!(all("x-forwarded-proto"), ["https"]);
    assert_eq!(all("x-forwarded-host"), ["a.test"]);
    assert_eq!(all("forwarded"), ["for=198.18.0.1;proto=https;host=a.test"]);
    assert_eq!(all("x-request-id"), ["id"]);
    for gone in [
        "x-forwarded-prefix",
        "x-real-ip",
        "x_forwarded_for",
        "x-original-url",
    ] {
        assert!(!fields.contains_key(gone), "{gone}");
    }
}

#[test]
fn forwarded_quotes_ipv6_and_ports() {
    let mut fields = HeaderMap::new();
    to_origin(
        &mut fields,
        &client("2001:db8::1", Scheme::Http),
        &HeaderValue::from_static("a.test:8080"),
        Version::HTTP_11,
        HeaderValue::from_static("id"),
    )
    .expect("no loop");
    assert_eq!(
        fields["forwarded"],
        "for=\"[2001:db8::1]\";proto=http;host=\"a.test:8080\""
    );
    assert_eq!(fields["x-forwarded-for"], "2001:db8::1");
}

#[test]
fn te_trailers_goes_on_with_its_nomination() {
    let fields = sent(&[("te", "gzip, Trailers")]);
    assert_eq!(fields["te"], "trailers");
    assert_eq!(fields["connection"], "te");
}

#[test]
fn via_is_appended_and_our_own_is_a_loop() {
    let fields = sent(&[("via", "1.1 edge")]);
    let lines: Vec<_> = fields.get_all("via").iter().cloned().collect();
    assert_eq!(lines[0], "1.1 edge");
    assert!(lines[1].to_str().expect("ascii").starts_with("1.1 weir ("));
    let mut again = fields.clone();
    let outcome = to_origin(
        &mut again,
        &client("198.18.0.1", Scheme::Https),
        &HeaderValue::from_static("a.test"),
        Version::HTTP_11,
        HeaderValue::from_static("id"),
    );
    assert_eq!(outcome, Err(crate::http::fault::Fault::ProxyLoopDetected));
}

#[test]
fn another_weir_in_front_is_no_loop() {
    assert!(sent(&[("via", "2.0 weir (0123456789abcdef)")]).contains_key("via"));
}

#[test]
fn cookie_crumbs_become_one_line() {
    let mut fields = map(&[("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2")]);
    join_cookie_crumbs(&mut fields);
    let lines: Vec<_> = fields.get_all("cookie").iter().cloned().collect();
    assert_eq!(lines, ["a=1; b=2"]);
}

#[test]
fn repeated_fields_keep_their_number_and_order() {
    let fields = sent(&[
        ("accept", "a"),
        ("x-list", "1"),
        ("accept", "b"),
        ("x-list", "2"),
    ]);
    let lines: Vec<_> = fields.get_all("x-list").iter().cloned().collect();
    assert_eq!(lines, ["1", "2"]);
}

#[test]
fn trailers_lose_framing_routing_and_authentication_fields() {
    let mut trailers = map(&[
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("host", "evil.test"),
        ("authorization", "Basic eA=="),
        ("x-forwarded-for", "203.0.113.9"),
        ("grpc-status", "0"),
        ("etag", "\"x\""),
    ]);
    trailers_to_origin(&mut trailers);
    assert_eq!(trailers, map(&[("grpc-status", "0"), ("etag", "\"x\"")]));
}

mod responses {
    use std::time::Instant;

    use super::*;
    use crate::balance::{
        Scheme as OriginScheme, Secret, ServerSettings, Upstream, UpstreamSettings,
    };

    #[allow(clippy::disallowed_methods, reason = "tests: any instant does")]
    fn upstream() -> Upstream {
        let server = |host: &str, port| ServerSettings {
            scheme: OriginScheme::Http,
            host: host.into(),
            port,
            weight: 1,
        };
        let servers = vec![
            server("10.0.0.1", 8080),
            server("app.internal", 80),
            server("fd00::1", 8080),
            server("secure.internal", 443),
        ];
        let settings = UpstreamSettings::new("app", servers);
        Upstream::new(settings, Secret::new([7; 16]), Instant::now())
    }

    fn received(reveal: bool, lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let upstream = upstream();
        let origin = Origin {
            upstream: &upstream,
            server: 0,
            reveal,
        };
        let mut fields = map(lines);
        let authority = HeaderValue::from_static("a.test:8443");
        to_client(
            &mut fields,
            &origin,
            Scheme::Https,
            &authority,
            Version::HTTP_11,
        );
        fields
    }

    #[test]
    fn references_to_any_server_of_the_upstream_become_references_to_us() {
        for (sent, expected) in [
            ("http://10.0.0.1:8080/x?y#z", "https://a.test:8443/x?y#z"),
            ("HTTP://10.0.0.1:8080", "https://a.test:8443"),
            ("//10.0.0.1:8080/x", "https://a.test:8443/x"),
            ("http://App.Internal/x", "https://a.test:8443/x"),
            ("http://app.internal:80/x", "https://a.test:8443/x"),
            ("http://[fd00::1]:8080/x", "https://a.test:8443/x"),
            ("https://secure.internal/x", "https://a.test:8443/x"),
            ("//secure.internal/x", "https://a.test:8443/x"),
            ("ws://10.0.0.1:8080/x", "wss://a.test:8443/x"),
            ("WSS://secure.internal/x", "wss://a.test:8443/x"),
            // Not ours: another port, another host, a longer name, no host at all.
            ("http://10.0.0.1/x", "http://10.0.0.1/x"),
            ("http://10.0.0.1:80801/x", "http://10.0.0.1:80801/x"),
            ("https://app.internal/x", "https://app.internal/x"),
            ("wss://app.internal/x", "wss://app.internal/x"),
            ("http://app.internal.test/x", "http://app.internal.test/x"),
            ("/x", "/x"),
            ("x", "x"),
        ] {
            for name in ["location", "content-location"] {
                let fields = received(false, &[(name, sent)]);
                assert_eq!(fields[name], expected, "{sent}");
            }
        }
    }

    #[test]
    fn a_revealing_route_changes_no_reference_and_names_the_server() {
        let fields = received(
            true,
            &[("location", "http://10.0.0.1:8080/x"), ("server", "x")],
        );
        assert_eq!(fields["location"], "http://10.0.0.1:8080/x");
        assert_eq!(fields["server"], "x");
        assert_eq!(fields["x-weir-origin"], "app/10.0.0.1:8080");
    }

    #[test]
    fn references_to_an_origin_become_references_to_us_wherever_a_field_holds_them() {
        let server = upstream().servers[0].authority.clone();
        let host = server
            .rsplit_once(':')
            .map_or("", |(host, _)| host)
            .to_owned();
        let line = |text: &str| -> &'static str {
            let text = text.replace("SERVER", &server).replace("HOST", &host);
            Box::leak(text.into_boxed_str())
        };
        for (name, sent, seen) in [
            (
                "link",
                "<http://SERVER/a>; rel=next, </b>",
                "<https://a.test:8443/a>; rel=next, </b>",
            ),
            (
                "link",
                "<https://else.test/a>; rel=next",
                "<https://else.test/a>; rel=next",
            ),
            (
                "refresh",
                "5; URL=http://SERVER/a",
                "5; URL=https://a.test:8443/a",
            ),
            ("refresh", "5", "5"),
            ("set-cookie", "a=1; Domain=.HOST; Path=/", "a=1; Path=/"),
            ("set-cookie", "domain=HOST", "domain=HOST"),
            (
                "set-cookie",
                "a=1; Domain=else.test",
                "a=1; Domain=else.test",
            ),
        ] {
            let fields = received(false, &[(name, line(sent))]);
            assert_eq!(fields[name], line(seen), "{name}: {sent}");
        }
    }

    #[test]
    fn an_origin_cannot_claim_to_be_named_by_us() {
        let fields = received(false, &[("x-weir-origin", "forged")]);
        assert!(!fields.contains_key("x-weir-origin"));
    }
}
