//! How an upstream chooses and watches its servers.

use std::time::Duration;

use http::HeaderName;

use super::{BASE, invalid, valid};
use crate::balance::{
    Expect, HashOn, HealthSettings, Policy, ProbeKind, StickySettings, UpstreamSettings,
};

fn upstream(lines: &str) -> String {
    format!("{BASE}[[upstream]]\nname = \"b\"\nservers = [\"http://b\"]\n{lines}")
}

fn settings(lines: &str) -> UpstreamSettings {
    valid(&upstream(lines)).upstreams.remove(1)
}

#[test]
fn every_policy_has_its_word() {
    for (word, policy) in [
        ("round-robin", Policy::RoundRobin),
        ("least-requests", Policy::LeastRequests),
        ("peak-ewma", Policy::PeakEwma),
        ("random", Policy::Random),
        ("maglev", Policy::Maglev(HashOn::ClientIp)),
    ] {
        let line = format!("balance = \"{word}\"");
        assert_eq!(settings(&line).balance, policy, "{word}");
    }
}

#[test]
fn services_stand_among_servers() {
    let text = format!(
        "{BASE}[[upstream]]\nname = \"b\"\nservers = [\"srv+http://_http._tcp.b\", \"http://b\"]"
    );
    let upstream = valid(&text).upstreams.remove(1);
    assert_eq!(upstream.services[0].name, "_http._tcp.b");
    assert_eq!(upstream.servers.len(), 1);
    let alone = text.replace(", \"http://b\"", "");
    assert_eq!(valid(&alone).upstreams[1].servers, []);
    let twice = text.replace("http://b\"", "srv+http://_http._tcp.b\"");
    assert_eq!(invalid(&twice).problems[0].key, "upstream[1].servers[1]");
}

#[test]
fn what_is_hashed_is_named_by_a_word_or_a_word_and_a_name() {
    let tenant = HeaderName::from_static("x-tenant");
    for (text, hash_on) in [
        ("client-ip", Some(HashOn::ClientIp)),
        ("uri", Some(HashOn::Uri)),
        ("header:X-Tenant", Some(HashOn::Header(tenant))),
        ("cookie:session", Some(HashOn::Cookie("session".to_owned()))),
        ("header:", None),
        ("header:a b", None),
        ("cookie:", None),
        ("cookie:a;b", None),
        ("uri:x", None),
        ("", None),
    ] {
        let lines = format!("balance = \"maglev\"\nhash_on = \"{text}\"");
        if let Some(hash_on) = hash_on {
            assert_eq!(settings(&lines).balance, Policy::Maglev(hash_on));
        } else {
            let told = invalid(&upstream(&lines));
            assert_eq!(told.problems[0].key, "upstream[1].hash_on", "{text}");
        }
    }
}

#[test]
fn a_sticky_cookie_needs_a_name_that_is_one() {
    let sticky = settings("sticky = { cookie = \"weir-origin\" }").sticky;
    let cookie = "weir-origin".to_owned();
    assert_eq!(sticky, Some(StickySettings { cookie }));
    for line in [
        "sticky = {}",
        "sticky = { cookie = \"\" }",
        "sticky = { cookie = \"a=b\" }",
    ] {
        let told = invalid(&upstream(line));
        assert_eq!(told.problems[0].key, "upstream[1].sticky.cookie", "{line}");
    }
}

#[test]
fn a_check_with_a_path_is_a_request_and_one_without_connects() {
    assert_eq!(settings("").health, None);
    assert_eq!(
        settings("health = {}").health,
        Some(HealthSettings::default())
    );
    let health = settings(
        "health = { path = \"/healthz?full\", host = \"app.internal\", expect = [204, \"300-399\"], \
         interval = \"5s\", timeout = \"2s\", rise = 1, fall = 4 }",
    );
    let expected = HealthSettings {
        probe: ProbeKind::Http {
            path: "/healthz?full".to_owned(),
            host: Some("app.internal".to_owned()),
            expect: Expect(vec![204..=204, 300..=399]),
        },
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        rise: 1,
        fall: 4,
    };
    assert_eq!(health.health, Some(expected));
}

#[test]
fn a_check_that_could_not_be_sent_or_pass_is_refused() {
    for (health, key) in [
        ("path = \"healthz\"", "path"),
        ("path = \"/a b\"", "path"),
        ("path = \"/\", host = \"a b\"", "host"),
        ("path = \"/\", host = \"user@a\"", "host"),
        ("path = \"/\", expect = []", "expect"),
        ("path = \"/\", expect = [\"399-200\"]", "expect[0]"),
        ("path = \"/\", expect = [\"2xx\"]", "expect[0]"),
        ("path = \"/\", expect = [\"+20-299\"]", "expect[0]"),
    ] {
        let told = invalid(&upstream(&format!("health = {{ {health} }}")));
        let expected = format!("upstream[1].health.{key}");
        assert_eq!(told.problems[0].key, expected, "{health}");
    }
}
