//! `[limits]`, `[[certificate]]` and `[[listen]]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::reader::{Node, Table};
use super::unique::Unique;
use super::value::{self, Refusal};
use crate::net::{ClientLimits, HttpVersions, ListenSettings, Networks, Transport};
use crate::tls::{CertificateSettings, ClientAuthMode, ClientAuthSettings, Sni};

/// Keys of `[limits]` that come with a later version.
/// They are looked through one by one.
const NETWORKS_MAX: usize = 256;
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// Shortest timeout towards a client: below it, distance alone makes honest clients fail.
const SHORTEST: Duration = Duration::from_millis(100);

/// `[limits]`
pub(super) struct Limits {
    /// What listeners start from.
    pub(super) client: ClientLimits,
    /// Longest drain.
    pub(super) drain: Duration,
    /// Upgraded connections of the process.
    pub(super) upgrades: usize,
}

/// `[limits]`
pub(super) fn limits(root: &mut Table<'_>) -> Limits {
    let mut table = root.section("limits");
    let limits = Limits {
        client: client_limits(&mut table, &default_limits()),
        drain: table.duration("drain", Duration::from_secs(30), Duration::ZERO..=HOUR),
        upgrades: table.integer("upgrades", 1000, 0..=1_000_000),
    };
    table.finish(&[]);
    limits
}

/// `[[certificate]]`
pub(super) fn certificates(root: &mut Table<'_>) -> Vec<CertificateSettings> {
    let mut chains = Unique::new();
    let mut certificates = Vec::new();
    for mut table in root.sections("certificate") {
        let chain = table.required("chain", "\"/etc/weir/example.pem\"");
        let chain = chain.and_then(|node| {
            let path = node.read(value::absolute_path)?;
            node.accept(chains.insert(path.clone(), node.key(), node.line()))?;
            Some(path)
        });
        let key = table.required("key", "\"/etc/weir/example.key\"");
        let key: Option<PathBuf> = key.and_then(|node| node.read(value::absolute_path));
        let names = table
            .take("names")
            .map_or_else(Vec::new, |node| certificate_names(&node));
        table.finish(&[]);
        certificates.push(CertificateSettings {
            chain: chain.unwrap_or_default(),
            key: key.unwrap_or_default(),
            names,
        });
    }
    certificates
}

/// What a certificate is served for; absent, its own names are.
fn certificate_names(list: &Node<'_>) -> Vec<String> {
    let nodes = list.list();
    if nodes.is_empty() {
        list.refuse(Refusal::invalid(
            "a certificate without a name is served to nobody",
            "write names, or remove the key: they are then the certificate's own",
        ));
    }
    let names = nodes.iter().filter_map(|node| node.read(value::host_name));
    names.collect()
}

/// `[[listen]]`, each with `limits` and what it overrides of them; and the addresses taken.
pub(super) fn listeners(
    root: &mut Table<'_>,
    limits: &ClientLimits,
    certificates: usize,
) -> (Vec<ListenSettings>, Unique<SocketAddr>) {
    let mut addresses = Unique::new();
    let mut listeners = Vec::new();
    for mut table in root.sections("listen") {
        let address = table
            .required("address", "\"[::]:443\"")
            .and_then(|node| address(&node, &mut addresses));
        let tls = table.take("tls");
        let transport = match tls.as_ref().and_then(Node::boolean) {
            Some(true) => Transport::Tls,
            Some(false) | None => Transport::Cleartext,
        };
        if let (Transport::Tls, Some(node), 0) = (transport, &tls, certificates) {
            node.refuse(Refusal::conflict(
                "TLS needs a certificate, and there is none",
                "add a [[certificate]] with chain and key",
            ));
        }
        let http = table.take("http").map_or(
            HttpVersions {
                http1: true,
                http2: true,
            },
            |node| http_versions(&node),
        );
        let limits = own_limits(&mut table, limits);
        let tls_settings = tls_settings(&mut table, transport);
        let proxy_protocol_from = networks(&mut table, "proxy_protocol_from");
        let trust_forwarded_from = networks(&mut table, "trust_forwarded_from");
        table.finish(&[]);
        listeners.push(ListenSettings {
            address: address.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)),
            transport,
            tls: tls_settings,
            proxy_protocol_from,
            trust_forwarded_from,
            http,
            limits,
        });
    }
    (listeners, addresses)
}

fn address(node: &Node<'_>, taken: &mut Unique<SocketAddr>) -> Option<SocketAddr> {
    let address = node.read(value::socket_address)?;
    // [::] is dual-stack, so it has the IPv4 port too.
    let other_stack = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        _ => None,
    };
    let clash = other_stack.and_then(|ip| taken.place(&SocketAddr::new(ip, address.port())));
    if let Some((key, line)) = clash {
        node.refuse(Refusal::conflict(
            format!("clashes with {key} on line {line}: [::] is IPv4 and IPv6"),
            "keep [::] only",
        ));
    }
    node.accept(taken.insert(address, node.key(), node.line()))?;
    Some(address)
}

/// `/0` is fine here: a listener that only balancers reach may trust everybody.
fn networks(listener: &mut Table<'_>, key: &'static str) -> Networks {
    let nodes = listener.list(key);
    if let Some(extra) = nodes.get(NETWORKS_MAX) {
        extra.refuse(Refusal::invalid(
            format!("there can be at most {NETWORKS_MAX} networks here"),
            "name wider ones",
        ));
    }
    let networks = nodes.iter().filter_map(|node| node.read(value::network));
    Networks::new(networks.collect())
}

/// Keys that mean something with TLS only.
fn tls_settings(listener: &mut Table<'_>, transport: Transport) -> crate::tls::ListenerSettings {
    if transport == Transport::Cleartext {
        for key in ["sni", "client_auth"] {
            if let Some(node) = listener.take(key) {
                node.refuse(Refusal::conflict(
                    "this listener does not speak TLS",
                    "add tls = true, or remove it",
                ));
            }
        }
    }
    let sni = listener.choice(
        "sni",
        Sni::Default,
        &[("default", Sni::Default), ("strict", Sni::Strict)],
        &[],
    );
    crate::tls::ListenerSettings {
        sni,
        client_auth: listener
            .take("client_auth")
            .and_then(|node| node.table())
            .map(client_auth),
    }
}

fn client_auth(mut table: Table<'_>) -> ClientAuthSettings {
    let ca = table
        .required("ca", "\"/etc/weir/clients.pem\"")
        .and_then(|node| node.read(value::absolute_path));
    let mode = table.required("mode", "\"required\"").and_then(|node| {
        node.choice(
            &[
                ("required", ClientAuthMode::Required),
                ("optional", ClientAuthMode::Optional),
            ],
            &[],
        )
    });
    table.finish(&[]);
    ClientAuthSettings {
        ca: ca.unwrap_or_default(),
        mode: mode.unwrap_or(ClientAuthMode::Required),
    }
}

fn http_versions(node: &Node<'_>) -> HttpVersions {
    let mut versions = HttpVersions {
        http1: false,
        http2: false,
    };
    let elements = node.list();
    if elements.is_empty() {
        node.refuse(Refusal::invalid(
            "a listener needs at least one HTTP version",
            "write [\"1.1\", \"2\"]",
        ));
    }
    for element in elements {
        let choice = element.choice(&[("1.1", 1), ("2", 2)], &["3"]);
        match choice {
            Some(1) => versions.http1 = true,
            Some(_) => versions.http2 = true,
            None => {}
        }
    }
    versions
}

fn own_limits(listener: &mut Table<'_>, base: &ClientLimits) -> ClientLimits {
    let mut table = listener.section("limits");
    let limits = client_limits(&mut table, base);
    for key in ["drain", "upgrades"] {
        if let Some(node) = table.take(key) {
            node.refuse(Refusal::invalid(
                format!("{key} is for the whole process"),
                "move it to [limits]",
            ));
        }
    }
    table.finish(&[]);
    limits
}

/// Bounds are wide: they keep out slips such as a missing unit, not tastes.
fn client_limits(table: &mut Table<'_>, base: &ClientLimits) -> ClientLimits {
    ClientLimits {
        handshake_timeout: table.duration(
            "handshake_timeout",
            base.handshake_timeout,
            SHORTEST..=5 * MINUTE,
        ),
        header_timeout: table.duration(
            "header_timeout",
            base.header_timeout,
            SHORTEST..=5 * MINUTE,
        ),
        body_timeout: table.duration("body_timeout", base.body_timeout, SHORTEST..=HOUR),
        min_body_rate: table.integer("min_body_rate", base.min_body_rate, 0..=1 << 30),
        write_timeout: table.duration("write_timeout", base.write_timeout, SHORTEST..=HOUR),
        idle_timeout: table.duration("idle_timeout", base.idle_timeout, SHORTEST..=24 * HOUR),
        upgrade_idle_timeout: table.duration(
            "upgrade_idle_timeout",
            base.upgrade_idle_timeout,
            SHORTEST..=24 * HOUR,
        ),
        // 8 KiB is the least that RFC 9112 §3 wants for the request line alone, and hyper's smallest buffer.
        header_bytes: usize_of(table.size(
            "header_bytes",
            base.header_bytes as u64,
            8 << 10..=1 << 20,
        )),
        header_fields: table.integer("header_fields", base.header_fields, 10..=10_000),
        body_bytes: table.size("body_bytes", base.body_bytes, 0..=1 << 40),
        streams: table.integer("streams", base.streams, 1..=10_000),
        connections: table.integer("connections", base.connections, 1..=1_000_000),
        connections_per_source: table.integer(
            "connections_per_source",
            base.connections_per_source,
            1..=1_000_000,
        ),
        handshakes: table.integer("handshakes", base.handshakes, 1..=1_000_000),
    }
}

fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn default_limits() -> ClientLimits {
    ClientLimits {
        handshake_timeout: Duration::from_secs(10),
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(30),
        min_body_rate: 500,
        write_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_mins(1),
        upgrade_idle_timeout: Duration::from_mins(10),
        header_bytes: 32 << 10,
        header_fields: 100,
        body_bytes: 100 << 20,
        streams: 100,
        connections: 10_000,
        connections_per_source: 1_000,
        handshakes: 1_000,
    }
}
