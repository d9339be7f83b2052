//! `[[upstream]]`

mod health;
mod policy;

use std::time::Duration;

use super::origin;
use super::reader::{Node, Table};
use super::transport::transport;
use super::unique::Unique;
use super::value::Refusal;
use crate::balance::{
    EjectSettings, RetrySettings, SERVERS_MAX, ServerSettings, ServiceSettings, UpstreamLimits,
    UpstreamSettings, UpstreamTimeouts,
};
use crate::tls::OriginTlsSettings;

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
    let list = table.required("servers", "[\"http://10.0.0.11:8080\"]");
    let services = list.as_ref().map_or_else(Vec::new, services);
    let servers = list.map_or_else(Vec::new, |node| servers(&node));
    let (transport, tls) = transport(&mut table, &servers, &services);
    let defaults = UpstreamSettings::new("", Vec::new());
    let settings = UpstreamSettings {
        name: name.unwrap_or_default(),
        servers,
        transport,
        services,
        balance: policy::policy(&mut table),
        sticky: policy::sticky(&mut table),
        health: health::health(&mut table),
        eject: eject(&mut table),
        panic_percent: table.integer("panic_percent", defaults.panic_percent, 0..=100),
        slow_start: table.duration("slow_start", defaults.slow_start, Duration::ZERO..=HOUR),
        retry: retry(&mut table),
        limits: limits(&mut table),
        timeouts: timeouts(&mut table),
    };
    table.finish(&[]);
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
        .filter(|node| !is_service(node))
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

/// `"srv+http://_http._tcp.example.com"`: servers named by SRV records.
fn services(list: &Node<'_>) -> Vec<ServiceSettings> {
    let Some(nodes) = list.elements_if_list() else {
        return Vec::new();
    };
    let mut seen = Unique::new();
    nodes
        .filter(is_service)
        .filter_map(|node| {
            let service = node.read(origin::service)?;
            node.accept(seen.insert(service.name.clone(), node.key(), node.line()))?;
            Some(service)
        })
        .collect()
}

fn is_service(node: &Node<'_>) -> bool {
    node.text()
        .is_some_and(|text| text.starts_with(origin::SERVICE))
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
    let defaults = EjectSettings::default();
    let longest = Duration::from_millis(100)..=24 * HOUR;
    let mut table = upstream.section("eject");
    let settings = EjectSettings {
        failures: table.integer("failures", defaults.failures, 1..=1000),
        error_percent: table.integer("error_percent", defaults.error_percent, 0..=100),
        window: table.duration("window", defaults.window, Duration::from_secs(1)..=HOUR),
        min_requests: table.integer("min_requests", defaults.min_requests, 1..=1_000_000),
        duration: table.duration("for", defaults.duration, longest.clone()),
        duration_max: table.duration("for_max", defaults.duration_max, longest),
        max_percent: table.integer("max_percent", defaults.max_percent, 0..=100),
    };
    table.finish(&[]);
    settings
}

fn retry(upstream: &mut Table<'_>) -> RetrySettings {
    let defaults = RetrySettings::default();
    let mut table = upstream.section("retry");
    let settings = RetrySettings {
        attempts: table.integer("attempts", defaults.attempts, 0..=10),
        budget_percent: table.integer("budget_percent", defaults.budget_percent, 0..=100),
    };
    table.finish(&[]);
    settings
}

fn limits(upstream: &mut Table<'_>) -> UpstreamLimits {
    let defaults = UpstreamLimits::default();
    let mut table = upstream.section("limits");
    let settings = UpstreamLimits {
        connections: table.integer("connections", defaults.connections, 1..=1_000_000),
        pending: table.integer("pending", defaults.pending, 0..=1_000_000),
    };
    table.finish(&[]);
    settings
}

fn timeouts(upstream: &mut Table<'_>) -> UpstreamTimeouts {
    let short = Duration::from_millis(10)..=Duration::from_mins(5);
    let defaults = UpstreamTimeouts::default();
    let mut table = upstream.section("timeouts");
    let settings = UpstreamTimeouts {
        connect: table.duration("connect", defaults.connect, short.clone()),
        pending: table.duration("pending", defaults.pending, short),
        response: table.duration(
            "response",
            defaults.response,
            Duration::from_millis(10)..=24 * HOUR,
        ),
        stream: table.duration(
            "stream",
            defaults.stream,
            Duration::from_millis(10)..=24 * HOUR,
        ),
        idle: table.duration("idle", defaults.idle, Duration::from_millis(100)..=HOUR),
        max_age: table.duration(
            "max_age",
            defaults.max_age,
            Duration::from_secs(1)..=24 * HOUR,
        ),
    };
    table.finish(&[]);
    settings
}
