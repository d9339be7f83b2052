//! `protocol`, `send_proxy_protocol` and `tls` of an `[[upstream]]`: what is spoken with its servers.

use std::net::IpAddr;

use super::origin::is_host_name;
use super::reader::{Node, Table};
use super::value::{self, Refusal};
use crate::balance::{
    Protocol, ProxyProtocol, Scheme, ServerSettings, ServiceSettings, UpstreamTransport,
};
use crate::tls::{CertificateSettings, Offer, OriginTlsSettings, Verify};

/// How the servers are spoken with, and TLS when one of them speaks it.
pub(super) fn transport(
    upstream: &mut Table<'_>,
    servers: &[ServerSettings],
    services: &[ServiceSettings],
) -> (UpstreamTransport, Option<OriginTlsSettings>) {
    let found = services.iter().map(|service| service.scheme);
    let listed = servers.iter().map(|server| server.scheme);
    let schemes = Schemes {
        listed: listed.collect(),
        found: found.collect(),
    };
    let protocol = upstream
        .take("protocol")
        .and_then(|node| protocol(&node, &schemes))
        .unwrap_or_default();
    let send_proxy_protocol = send_proxy_protocol(upstream, protocol);
    let transport = UpstreamTransport {
        protocol,
        send_proxy_protocol,
    };
    (transport, tls(upstream, &schemes, transport))
}

/// Schemes of an upstream's servers.
struct Schemes {
    /// Of those that are written.
    listed: Vec<Scheme>,
    /// Of those that records name.
    found: Vec<Scheme>,
}

impl Schemes {
    fn has(&self, scheme: Scheme) -> bool {
        self.listed.contains(&scheme) || self.found.contains(&scheme)
    }

    fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.found.is_empty()
    }
}

fn send_proxy_protocol(upstream: &mut Table<'_>, protocol: Protocol) -> ProxyProtocol {
    let Some(node) = upstream.take("send_proxy_protocol") else {
        return ProxyProtocol::Off;
    };
    let choices = [
        ("off", ProxyProtocol::Off),
        ("v1", ProxyProtocol::V1),
        ("v2", ProxyProtocol::V2),
    ];
    let chosen = node.choice(&choices, &[]).unwrap_or_default();
    let is_shared = matches!(protocol, Protocol::H2 | Protocol::H2c);
    if is_shared && chosen != ProxyProtocol::Off {
        node.refuse(Refusal::conflict(
            "HTTP/2 connections carry requests of many clients",
            "write protocol = \"http/1.1\", or leave it to the Forwarded field",
        ));
    }
    chosen
}

fn protocol(node: &Node<'_>, schemes: &Schemes) -> Option<Protocol> {
    let protocol = node.choice(
        &[
            ("auto", Protocol::Auto),
            ("http/1.1", Protocol::Http1),
            ("h2", Protocol::H2),
            ("h2c", Protocol::H2c),
        ],
        &[],
    )?;
    let (wrong, message, hint) = match protocol {
        Protocol::Auto | Protocol::Http1 => return Some(protocol),
        Protocol::H2 => (
            Scheme::Http,
            "h2 is HTTP/2 over TLS, and a server is http://",
            "write \"h2c\", or https:// servers",
        ),
        Protocol::H2c => (
            Scheme::Https,
            "h2c is HTTP/2 without TLS, and a server is https://",
            "write \"h2\", or http:// servers",
        ),
    };
    if schemes.has(wrong) {
        node.refuse(Refusal::conflict(message, hint));
    }
    Some(protocol)
}

fn tls(
    upstream: &mut Table<'_>,
    schemes: &Schemes,
    transport: UpstreamTransport,
) -> Option<OriginTlsSettings> {
    let is_used = schemes.has(Scheme::Https);
    let is_written = upstream.has("tls");
    let mut table = upstream.section("tls");
    if is_written && !is_used && !schemes.is_empty() {
        table.refuse(Refusal::conflict(
            "no server of this upstream speaks TLS",
            "write https:// in `servers`, or remove it",
        ));
    }
    let ca = table
        .take("ca")
        .and_then(|node| node.read(value::absolute_path));
    let server_name = table
        .take("server_name")
        .and_then(|node| node.read(server_name));
    let certificate = certificate(&mut table);
    let verify = if table.boolean("verify", true) {
        Verify::Certificate
    } else {
        Verify::Nothing
    };
    if schemes.found.contains(&Scheme::Https)
        && server_name.is_none()
        && verify == Verify::Certificate
    {
        // RFC 9525 §6.1: no reference identifier from a look-up that anybody could answer.
        table.refuse(Refusal::conflict(
            "a server's certificate cannot be verified by the name that an SRV record gives it, which may be forged",
            "name what the certificates of all servers say, such as server_name = \"app.internal\"",
        ));
    }
    table.finish(&[]);
    let offer = match (transport.protocol, transport.send_proxy_protocol) {
        (Protocol::Auto, ProxyProtocol::Off) => Offer::Either,
        (Protocol::Auto | Protocol::Http1 | Protocol::H2c, _) => Offer::Http1,
        (Protocol::H2, _) => Offer::Http2,
    };
    is_used.then_some(OriginTlsSettings {
        ca,
        server_name,
        certificate,
        verify,
        offer,
    })
}

/// `cert` and `key`: both or neither.
fn certificate(table: &mut Table<'_>) -> Option<CertificateSettings> {
    let path = |node: &Node<'_>| node.read(value::absolute_path);
    if !table.has("cert") && !table.has("key") {
        // Known all the same, for "did you mean".
        let _absent = (table.take("cert"), table.take("key"));
        return None;
    }
    let chain = table.required("cert", "\"/etc/weir/client.pem\"");
    let key = table.required("key", "\"/etc/weir/client.key\"");
    Some(CertificateSettings {
        chain: path(&chain?)?,
        key: path(&key?)?,
        names: Vec::new(),
    })
}

fn server_name(text: &str) -> Result<String, Refusal> {
    if is_host_name(text) || text.parse::<IpAddr>().is_ok() {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Refusal::invalid(
            "not a name that a certificate can have",
            "write a host name or an address, such as \"app.internal\"",
        ))
    }
}
