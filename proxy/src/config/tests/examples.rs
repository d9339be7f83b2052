//! The shipped examples, defaults, and where values end up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_common::Policy;
use weir_common::settings::CookieMode;

use super::{BASE, invalid, valid};
use crate::balance::UpstreamSettings;
use crate::config::load;
use crate::net::{Networks, Transport};
use crate::route::{Action, HostPattern, PathPattern};
use crate::tls::{ClientAuthMode, Sni};
use crate::xdp::{Feed, Limits, Rate, Sanity};

#[test]
fn every_shipped_example_is_valid() {
    let files = examples();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        if let Err(invalid) = load(&file) {
            panic!("{}", invalid.report());
        }
    }
}

#[test]
fn the_first_configuration_in_the_readme_is_valid() {
    let readme = include_str!("../../../../README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("a configuration");
    let (text, _) = rest.split_once("```").expect("its end");
    assert_eq!(valid(text).shield.interfaces, ["eth0"]);
}

/// Taking the line of a key out changes nothing if what it says is the default, and something if it is not.
#[test]
fn the_reference_says_default_exactly_where_it_shows_the_default() {
    let text = example("weir.toml");
    let whole = valid(&text);
    let mut compared = 0;
    for (index, line) in text.lines().enumerate() {
        let Some((_, comment)) = line.split_once("# ") else {
            continue;
        };
        let key_is_alone =
            line.contains(" = ") && !line.starts_with('#') && !line.contains("= [   ");
        if !key_is_alone || !comment.starts_with("default") {
            continue;
        }
        let without: Vec<&str> = text
            .lines()
            .enumerate()
            .map(|(at, line)| if at == index { "" } else { line })
            .collect();
        let same = valid(&without.join("\n")) == whole;
        // "default: []": the default is another than what is shown.
        let shows_another = [
            "default: []",
            "default: none",
            "default: any",
            "default: all",
            "default: \"/\"",
        ]
        .iter()
        .chain(&[
            "default: false",
            "default: what [limits]",
            "default: shield.block_for",
        ])
        .any(|other| comment.starts_with(other));
        assert_eq!(same, !shows_another, "line {}: {line}", index + 1);
        compared += 1;
    }
    assert!(compared > 65, "only {compared} lines claim a default");
}

#[test]
fn what_is_said_of_clients_arrives_at_the_listener() {
    let settings = valid(
        r#"
        [limits]
        min_body_rate = 7
        handshakes = 8
        [[listen]]
        address = "[::]:443"
        tls = true
        sni = "strict"
        client_auth = { ca = "/ca.pem", mode = "optional" }
        proxy_protocol_from = ["192.0.2.0/24"]
        trust_forwarded_from = ["2001:db8::/32", "192.0.2.7"]
        [[certificate]]
        chain = "/c.pem"
        key = "/k.pem"
        names = ["Example.com", "*.example.com"]
        [[upstream]]
        name = "app"
        servers = ["http://10.0.0.1"]
        [[route]]
        upstream = "app"
        "#,
    );
    let listen = &settings.listen[0];
    assert_eq!(
        (listen.limits.min_body_rate, listen.limits.handshakes),
        (7, 8)
    );
    assert_eq!(listen.tls.sni, Sni::Strict);
    let auth = listen.tls.client_auth.as_ref().expect("asked for");
    assert_eq!(auth.ca, Path::new("/ca.pem"));
    assert_eq!(auth.mode, ClientAuthMode::Optional);
    let holds = |networks: &Networks, address: &str| {
        networks.contains(address.parse().expect("an address"))
    };
    assert!(holds(&listen.proxy_protocol_from, "192.0.2.9"));
    assert!(!holds(&listen.trust_forwarded_from, "192.0.2.9"));
    assert!(holds(&listen.trust_forwarded_from, "::ffff:192.0.2.7"));
    let names = &settings.certificates[0].names;
    assert_eq!(*names, ["example.com", "*.example.com"]);
}

/// `… ; 100ms to 5m` in a key's comment is what the key's refusal names.
#[test]
fn the_reference_says_each_bound_as_it_is() {
    let text = example("weir.toml");
    let mut compared = 0;
    for (index, line) in text.lines().enumerate() {
        let Some((key, least, most)) = claimed_bounds(line) else {
            continue;
        };
        let beyond = if least.ends_with(['s', 'm', 'h']) {
            "\"1000000days\""
        } else {
            "0x0fff_ffff_ffff_ffff"
        };
        let mut lines: Vec<&str> = text.lines().collect();
        let changed = format!("{key} = {beyond}");
        lines[index] = &changed;
        let told = invalid(&lines.join("\n"));
        assert_eq!(told.problems.len(), 1, "{}", told.report());
        assert_eq!(told.problems[0].line, index + 1);
        assert_eq!(
            told.problems[0].hint,
            format!("write a value from {least} to {most}"),
            "{line}"
        );
        compared += 1;
    }
    assert!(compared > 20, "only {compared} lines claim bounds");
}

/// Key and both bounds of a line such as `drain = "30s"   # default: …; 0s to 1h`.
fn claimed_bounds(line: &str) -> Option<(&str, String, String)> {
    let (setting, comment) = line.split_once("# ")?;
    let (key, value) = setting.split_once(" = ")?;
    if value.starts_with(['{', '[']) {
        return None;
    }
    let (before, after) = comment.rsplit_once(" to ")?;
    let bound = |word: &str| word.trim_end_matches([';', '.', ')']).replace(',', "");
    let least = bound(before.split_whitespace().last()?);
    let most = bound(after.split_whitespace().next()?);
    let numeric = |bound: &str| bound.starts_with(|c: char| c.is_ascii_digit());
    (numeric(&least) && numeric(&most)).then_some((key.trim(), least, most))
}

const SANITY: Sanity = Sanity {
    malformed: Policy::Drop,
    fragments: Policy::Drop,
    bad_flags: Policy::Drop,
    spoofed: Policy::Drop,
    amplification: Policy::Drop,
    icmp: Policy::Drop,
    quic: Policy::Drop,
    closed_ports: Policy::Pass,
    non_ip: Policy::Pass,
    pppoe: Policy::Pass,
    inner_headers: false,
};

const LIMITS: Limits = Limits {
    packets: Some(rate(50_000, 100_000)),
    syn: Some(rate(200, 400)),
    udp: Some(rate(2_000, 4_000)),
    icmp: Some(rate(50, 100)),
    bytes: Some(rate(125 << 20, 250 << 20)),
    prefix_factor: 16,
};

const fn rate(rate: u64, burst: u64) -> Rate {
    Rate { rate, burst }
}

#[test]
fn the_minimal_file_gets_the_documented_defaults() {
    let settings = valid(&example("minimal.toml"));
    assert_eq!(settings.process.run_dir, Path::new("/run/weir"));
    assert_eq!(settings.process.state_dir, Path::new("/var/lib/weir"));
    assert!(settings.process.workers >= 1);
    assert_eq!(settings.shield.interfaces, [""; 0]);
    assert!(settings.shield.enforce);
    assert_eq!(settings.shield.pin_dir, Path::new("/sys/fs/bpf/weir"));
    assert_eq!(settings.shield.block_for, Duration::from_hours(1));
    assert_eq!(settings.shield.feeds, []);
    assert_eq!(
        settings.shield.amplification_ports,
        [53, 123, 161, 389, 1900, 11211]
    );
    assert_eq!(settings.shield.failsafe_ports, [22]);
    assert_eq!(settings.shield.quic_ports, [443]);
    assert!(!settings.shield.manage_sysctls);
    assert_eq!(settings.shield.sanity, SANITY);
    assert_eq!(settings.shield.limits, LIMITS);
    assert_eq!(settings.shield.syn_cookies.mode, CookieMode::Auto);
    assert_eq!(settings.shield.syn_cookies.start, 5_000);
    assert_eq!(settings.shield.tables.sources, 1_000_000);
    assert_eq!(settings.shield.tables.blocks, 1_000_000);
    assert_eq!(settings.shield.tables.prefixes, 65_536);
    let listen = &settings.listen[0];
    assert_eq!(listen.transport, Transport::Cleartext);
    assert!(listen.http.http1 && listen.http.http2);
    assert_eq!(listen.limits.header_bytes, 32_768);
    assert_eq!(listen.limits.body_bytes, 104_857_600);
    assert_eq!(listen.limits.idle_timeout, Duration::from_mins(1));
    assert_eq!(settings.drain, Duration::from_secs(30));
    let upstream = &settings.upstreams[0];
    assert_eq!(upstream.servers[0].weight, 1);
    let UpstreamSettings { name, servers, .. } = upstream.clone();
    assert_eq!(*upstream, UpstreamSettings::new(name, servers));
    assert_eq!(upstream.eject.failures, 5);
    assert_eq!(upstream.limits.connections, 1000);
    assert_eq!(upstream.timeouts.connect, Duration::from_secs(1));
    assert_eq!(upstream.timeouts.stream, Duration::from_mins(5));
    assert_eq!(settings.routes[0].pattern.host, HostPattern::Any);
    assert_eq!(
        settings.routes[0].pattern.path,
        PathPattern::Prefix("/".into())
    );
    assert!(!settings.routes[0].cache);
    assert_eq!(settings.cache.memory, 256 << 20);
    assert_eq!(settings.cache.max_object, 64 << 20);
    assert_eq!(settings.admin.listen, None);
    assert_eq!(settings.log.access, crate::telemetry::AccessTarget::Stdout);
}

#[test]
fn values_arrive_where_they_belong() {
    let settings = valid(
        r#"
        [process]
        workers = 3
        [shield]
        interfaces = ["eth0", "eth1.100"]
        mode = "generic"
        enforce = false
        allow = ["10.0.0.0/8", "10.0.0.0/8"]
        block = ["203.0.113.7", "2001:db8::/32"]
        block_for = "2days"
        fragments = "count"
        sanity = { malformed = "pass", quic = "count", closed_ports = "drop", inner_headers = true }
        tables = { sources = 0x800, blocks = 2048, prefixes = 128 }
        [limits]
        streams = 50
        header_fields = 60
        header_bytes = 16384
        drain = "0s"
        [[listen]]
        address = "127.0.0.1:8443"
        tls = true
        http = ["2"]
        limits = { streams = 7 }
        [[certificate]]
        chain = "/a.pem"
        key = "/a.key"
        [[upstream]]
        name = "first"
        servers = ["http://a:1"]
        [[upstream]]
        name = "second"
        servers = ["http://b:1", { url = "http://[::1]:2", weight = 9 }]
        protocol = "http/1.1"
        eject.for = "5s"
        [[route]]
        host = "*.Example.com"
        path = "=/x"
        upstream = "second"
        cache = true
        reveal_origin = true
        [cache]
        memory = "32MiB"
        [[detect]]
        name = "r1"
        count = "responses"
        where.status = [401]
        limit = 5
        window = "10s"
        [log]
        access = "/var/log/weir.log"
        "#,
    );
    assert_eq!(settings.process.workers, 3);
    let shield = &settings.shield;
    assert_eq!(shield.interfaces, ["eth0", "eth1.100"]);
    assert_eq!(shield.mode, crate::xdp::Mode::Generic);
    assert!(!shield.enforce);
    assert_eq!(
        shield.allow,
        ["10.0.0.0/8".parse().expect("prefix")],
        "repeated entries are one"
    );
    assert_eq!(shield.block.len(), 2);
    assert_eq!(
        shield.sanity,
        Sanity {
            malformed: Policy::Pass,
            fragments: Policy::Count,
            quic: Policy::Count,
            closed_ports: Policy::Drop,
            inner_headers: true,
            ..SANITY
        }
    );
    assert_eq!(shield.tables.sources, 2048);
    assert_eq!(settings.drain, Duration::ZERO);
    let listen = &settings.listen[0];
    assert_eq!(listen.transport, Transport::Tls);
    assert!(!listen.http.http1 && listen.http.http2);
    assert_eq!(listen.limits.streams, 7, "the listener's own limit wins");
    assert_eq!(
        listen.limits.header_fields, 60,
        "the rest comes from [limits]"
    );
    assert_eq!(
        listen.limits.header_bytes, 16_384,
        "a plain number is bytes"
    );
    let server = &settings.upstreams[1].servers[1];
    assert_eq!(
        (server.host.as_str(), server.port, server.weight),
        ("::1", 2, 9)
    );
    assert_eq!(settings.upstreams[1].eject.duration, Duration::from_secs(5));
    let route = &settings.routes[0];
    assert_eq!(route.pattern.host, HostPattern::Below("example.com".into()));
    assert_eq!(route.pattern.path, PathPattern::Exact("/x".into()));
    assert_eq!(route.action, Action::Forward(1));
    assert!(route.cache && route.reveal_origin);
    assert_eq!(
        settings.cache.max_object,
        32 << 20,
        "the default is at most `memory`"
    );
    let rule = &settings.detect[0];
    assert_eq!(rule.filter.status, [401]);
    assert_eq!(
        rule.block_for,
        Duration::from_hours(48),
        "default: shield.block_for"
    );
    assert_eq!(
        rule.block_max,
        Duration::from_hours(48),
        "never shorter than block_for"
    );
    assert_eq!(
        settings.log.access,
        crate::telemetry::AccessTarget::File("/var/log/weir.log".into())
    );
}

#[test]
fn limits_cookies_ports_and_feeds_arrive_in_the_shield() {
    let shield = valid(&format!(
        r#"{BASE}
        [shield]
        feeds = [{{ name = "Spamhaus.v4", file = "/etc/weir/drop.txt", refresh = "90s" }}]
        amplification_ports = []
        failsafe_ports = [2222, 22, 2_222]
        quic_ports = []
        manage_sysctls = true
        syn_cookies = {{ mode = "always", start = 7 }}
        [[listen]]
        address = "[::]:81"
        [shield.limits]
        packets = "off"
        syn = {{ rate = 0x64, burst = 3_000 }}
        bytes = {{ rate = 1_000_000, burst = "2MB" }}
        prefix_factor = 1
        [shield.limits.icmp]
        rate = 1
        burst = 30
        "#
    ))
    .shield;
    assert_eq!(
        shield.feeds,
        [Feed {
            name: "Spamhaus.v4".into(),
            file: "/etc/weir/drop.txt".into(),
            refresh: Duration::from_secs(90),
        }]
    );
    assert_eq!(shield.amplification_ports, [0; 0]);
    assert_eq!(shield.failsafe_ports, [2222, 22], "repeated ports are one");
    assert_eq!(shield.quic_ports, [0; 0]);
    assert!(shield.manage_sysctls);
    assert_eq!(shield.syn_cookies.mode, CookieMode::Always);
    assert_eq!(shield.syn_cookies.start, 7);
    assert_eq!(
        shield.limits,
        Limits {
            packets: None,
            syn: Some(rate(100, 3_000)),
            icmp: Some(rate(1, 30)),
            bytes: Some(rate(1_000_000, 2_000_000)),
            prefix_factor: 1,
            ..LIMITS
        }
    );
}

#[test]
fn every_policy_can_be_each_of_the_three() {
    for (name, policy) in [
        ("drop", Policy::Drop),
        ("count", Policy::Count),
        ("pass", Policy::Pass),
    ] {
        let keys = "malformed bad_flags spoofed amplification icmp quic closed_ports non_ip pppoe";
        let lines: Vec<String> = keys
            .split(' ')
            .map(|key| format!("{key} = \"{name}\"\n"))
            .collect();
        let shield = valid(&format!(
            "{BASE}[shield]\nfragments = \"{name}\"\n[shield.sanity]\n{}",
            lines.concat()
        ))
        .shield;
        let expected = Sanity {
            malformed: policy,
            fragments: policy,
            bad_flags: policy,
            spoofed: policy,
            amplification: policy,
            icmp: policy,
            quic: policy,
            closed_ports: policy,
            non_ip: policy,
            pppoe: policy,
            inner_headers: false,
        };
        assert_eq!(shield.sanity, expected);
    }
}

#[test]
fn every_limit_can_be_switched_off() {
    let off: Vec<String> = ["packets", "syn", "udp", "icmp", "bytes"]
        .iter()
        .map(|key| format!("{key} = \"off\"\n"))
        .collect();
    let limits = valid(&format!("{BASE}[shield.limits]\n{}", off.concat()))
        .shield
        .limits;
    let expected = Limits {
        packets: None,
        syn: None,
        udp: None,
        icmp: None,
        bytes: None,
        prefix_factor: 16,
    };
    assert_eq!(limits, expected);
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the workspace has config/")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

fn example(name: &str) -> String {
    let path = examples()
        .into_iter()
        .find(|path| path.ends_with(name))
        .expect("the example");
    std::fs::read_to_string(path).expect("readable")
}
