//! `[[upstream]]`

use std::time::Duration;

use super::origin;
use super::reader::{Node, Table};
use super::transport::transport;
use super::unique::Unique;
use super::value::Refusal;
use crate::balance::{
    EjectSettings, ServerSettings, UpstreamLimits, UpstreamSettings, UpstreamTimeouts,
};
use crate::tls::OriginTlsSettings;

/// Servers an upstream can have: the balancer keeps those a request has tried in 64 bits.
const SERVERS_MAX: usize = 64;
/// Longest name of an upstream, in bytes: it is a metric label and part of `X-Weir-Origin`.
const NAME_MAX: usize = 64;
const HOUR: Duration = Duration::from_hours(1);

/// `[[upstream]]`; an element for each table, so that indices are those of the file.
/// And TLS towards the servers of each.
pub(super) fn upstreams(
    root: &mut Table<'_>,
) -> (Vec<UpstreamSettings>, Vec<Option<OriginTlsSettings>>) {
    let mut names = Unique::new();
    root.sections("upstream")
        .into_iter()
        .map(|table| upstream(table, &mut names))
        .unzip()
}

fn upstream<'a>(
    mut table: Table<'a>,
    names: &mut Unique<&'a str>,
) -> (UpstreamSettings, Option<OriginTlsSettings>) {
    let name = table.required("name", "\"app\"").and_then(|node| {
        let name = node.read(name)?;
        node.accept(names.insert(name, node.key(), node.line()))?;
        Some(name.to_owned())
    });
    let servers = table
        .required("servers", "[\"http://10.0.0.11:8080\"]")
        .map_or_else(Vec::new, |node| servers(&node));
    let (transport, tls) = transport(&mut table, &servers);
    table.choice(
        "balance",
        (),
        &[("round-robin", ())],
        &["least-requests", "peak-ewma", "random", "maglev"],
    );
    let settings = UpstreamSettings {
        name: name.unwrap_or_default(),
        servers,
        transport,
        eject: eject(&mut table),
        limits: limits(&mut table),
        timeouts: timeouts(&mut table),
    };
    table.finish(&["hash_on", "sticky", "health", "retry"]);
    (settings, tls)
}

fn name(name: &str) -> Result<&str, Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(Refusal::invalid(
            "not a name for an upstream",
            format!("write 1 to {NAME_MAX} letters, digits, '-', '_' or '.'"),
        ))
    }
}

fn servers(list: &Node<'_>) -> Vec<ServerSettings> {
    let nodes = list.list();
    if nodes.is_empty() {
        list.refuse(Refusal::invalid(
            "an upstream needs at least one server",
            "write [\"http://10.0.0.11:8080\"]",
        ));
    }
    if let Some(extra) = nodes.get(SERVERS_MAX) {
        extra.refuse(Refusal::invalid(
            format!("an upstream has at most {SERVERS_MAX} servers"),
            "remove some, or put a load balancer in between",
        ));
    }
    let mut seen = Unique::new();
    nodes
        .into_iter()
        .filter_map(|node| {
            let (url, weight) = server(&node)?;
            let (scheme, host, port) = url.read(origin::origin_url)?;
            url.accept(seen.insert((host.clone(), port), url.key(), url.line()))?;
            Some(ServerSettings {
                scheme,
                host,
                port,
                weight,
            })
        })
        .collect()
}

/// `"http://…"` or `{ url = "http://…", weight = 3 }`.
fn server<'a>(node: &Node<'a>) -> Option<(Node<'a>, u32)> {
    if let Some(mut table) = node.inline_table() {
        let url = table.required("url", "\"http://10.0.0.11:8080\"");
        let weight = table.integer("weight", 1, 1..=256);
        table.finish(&[]);
        return Some((url?, weight));
    }
    if node.text().is_none() {
        node.wrong_type(
            "a URL or a table",
            "write \"http://10.0.0.11:8080\" or { url = \"http://10.0.0.11:8080\", weight = 3 }",
        );
        return None;
    }
    Some((node.clone(), 1))
}

fn eject(upstream: &mut Table<'_>) -> EjectSettings {
    let mut table = upstream.section("eject");
    let settings = EjectSettings {
        failures: table.integer("failures", 5, 1..=1000),
        duration: table.duration(
            "for",
            Duration::from_secs(30),
            Duration::from_millis(100)..=24 * HOUR,
        ),
        max_percent: table.integer("max_percent", 50, 0..=100),
    };
    table.finish(&[]);
    settings
}

fn limits(upstream: &mut Table<'_>) -> UpstreamLimits {
    let mut table = upstream.section("limits");
    let settings = UpstreamLimits {
        connections: table.integer("connections", 1000, 1..=1_000_000),
    };
    table.finish(&["pending"]);
    settings
}

fn timeouts(upstream: &mut Table<'_>) -> UpstreamTimeouts {
    let mut table = upstream.section("timeouts");
    let settings = UpstreamTimeouts {
        connect: table.duration(
            "connect",
            Duration::from_secs(1),
            Duration::from_millis(10)..=Duration::from_mins(5),
        ),
        response: table.duration(
            "response",
            Duration::from_secs(30),
            Duration::from_millis(10)..=24 * HOUR,
        ),
        idle: table.duration(
            "idle",
            Duration::from_mins(1),
            Duration::from_millis(100)..=HOUR,
        ),
    };
    table.finish(&[]);
    settings
}
