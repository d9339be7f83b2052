//! Real frames between namespaces: what a core can drop, and what it can answer.
//!
//! ```text
//! attacker  out0 ──── in0  ┐
//!           spare0 ─ spare1│ server   (spare0: see `generator`)
//! client    eth0 ──── pub0 ┘
//! ```
//!
//! The client has a link of its own: a veth ring holds 256 frames, and a flood would push the client's out. Nothing has a
//! route out.

mod drops;
mod generator;
mod honest;
mod nft;
mod syns;

use anyhow::{Context as _, Result};
use weir_lab::Namespace;
use weir_lab::cleanup::PREFIX;

pub(crate) use self::generator::FLOODED;
use crate::reference::References;
use crate::report::Report;

/// Measures everything.
pub(crate) fn run(references: &References, report: &Report) -> Result<()> {
    report.group("live: 65,536 blocked sources dropped by one core, 60-byte SYNs")?;
    drops::run(report)?;
    report.group("live: SYNs made and answered by one core, while a client connects")?;
    syns::run(references, report)
}

/// The namespaces and the links between them.
pub(crate) struct Links {
    // Dropped in this order.
    pub(crate) client: Namespace,
    pub(crate) attacker: Namespace,
    pub(crate) server: Namespace,
}

impl Links {
    /// Makes them.
    pub(crate) fn new() -> Result<Self> {
        let links = Self {
            client: namespace("client")?,
            attacker: namespace("attacker")?,
            server: namespace("server")?,
        };
        answer_with_cookies(&links.server)?;
        for namespace in [&links.server, &links.attacker] {
            // A packet that the kernel sends by itself, on any core, would make that core the one that polls the link for as
            // long as the flood keeps it busy.
            namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
            namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        }
        links.server.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        links
            .server
            .sysctl("net/ipv4/conf/default/rp_filter", "0")?;
        let (attacker, client) = (links.attacker.name(), links.client.name());
        links.server.ip(&format!(
            "link add in0 address {SERVER_MAC} type veth peer name out0 netns {attacker} address {PEER_MAC}
link add pub0 type veth peer name eth0 netns {client}
addr add 10.77.8.1/24 dev in0
addr add 10.77.9.1/24 dev pub0
link set in0 up
link set pub0 up
neigh replace 10.77.8.2 lladdr {PEER_MAC} dev in0 nud permanent
route add 198.18.0.0/15 via 10.77.8.2 dev in0
"
        ))?;
        links
            .attacker
            .ip("link add spare0 type veth peer name spare1
addr add 10.77.8.2/24 dev out0
link set spare0 up
link set out0 up
")?;
        links
            .client
            .ip("addr add 10.77.9.2/24 dev eth0\nlink set eth0 up\n")?;
        Ok(links)
    }
}

/// A namespace of this bench.
pub(crate) fn namespace(label: &str) -> Result<Namespace> {
    Namespace::create(format!("{PREFIX}{}-bench-{label}", std::process::id()))
}

/// Has the kernel accept cookies that it did not make itself, options in their timestamps included, and offer
/// [`WINDOW_SCALE`].
pub(crate) fn answer_with_cookies(server: &Namespace) -> Result<()> {
    server.sysctl("net/ipv4/tcp_syncookies", "2")?;
    server.sysctl("net/ipv4/tcp_timestamps", "2")?;
    server
        .sysctl("net/ipv4/tcp_rmem", "4096 131072 33554432")
        .context("fixing the window scale")
}

/// What the kernel offers with a receive buffer of at most 32 MiB: 15 bits of window and this many more.
pub(crate) const WINDOW_SCALE: u8 = 10;
const SERVER_MAC: &str = "02:77:00:00:08:01";
const PEER_MAC: &str = "02:77:00:00:08:02";
