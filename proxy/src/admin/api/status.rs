//! `GET /v1/status` and `GET /v1/upstreams`: the running weir's state.

#![allow(clippy::struct_field_names, reason = "field names are the JSON's")]

use serde::{Deserialize, Serialize};

/// `GET /v1/status`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of weir.
    pub version: String,
    /// Version of the pinned maps' layout.
    pub abi: u32,
    /// Process id.
    pub pid: u32,
    /// Since the process started.
    pub uptime_seconds: f64,
    /// What weir is doing.
    pub state: State,
    /// Configuration file.
    pub config: String,
    /// Configurations applied since the start, the first included.
    pub generation: u64,
    /// Worker threads.
    pub workers: usize,
    /// The packet filter; `null` when `[shield] interfaces` is empty.
    pub shield: Option<Shield>,
    /// Whether an attack is going on.
    pub attack: Attack,
    /// Listening sockets.
    pub listeners: Vec<Listener>,
    /// Client connections.
    pub connections: Connections,
    /// TLS handshakes.
    pub tls: Tls,
    /// Upgraded connections.
    #[serde(default)]
    pub upgrades: Upgrades,
    /// Responses sent.
    pub responses: Responses,
    /// As in `GET /v1/upstreams`.
    pub upstreams: Vec<Upstream>,
    /// The cache.
    pub cache: Cache,
    /// Detection.
    pub detect: Detect,
}

/// What weir is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not all listeners are up yet.
    Starting,
    /// Serving.
    Serving,
    /// Finishing what is under way.
    Draining,
}

/// The packet filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shield {
    /// False: drops are counted, not carried out.
    pub enforcing: bool,
    /// Where link and maps are pinned.
    pub pin_dir: String,
    /// Guarded interfaces.
    pub interfaces: Vec<Interface>,
    /// Live entries of the blocklist. While the lists have more than 10,000, as of the last sweep.
    pub blocks: usize,
    /// Live entries of the allowlist, likewise.
    pub allows: usize,
    /// Files of networks to block, in file order.
    #[serde(default)]
    pub feeds: Vec<Feed>,
}

/// A file of networks to block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Name; its entries have the origin `feed:<name>`.
    pub name: String,
    /// The file.
    pub file: String,
    /// Entries it has in the blocklist; `null` before it was read for the first time.
    pub entries: Option<usize>,
    /// How long ago the file was last found readable; `null` = never.
    pub read_seconds_ago: Option<f64>,
    /// Lines that name no network that can be blocked, when it was last read.
    pub refused_lines: usize,
    /// Why its entries are not what the file says; `null` when they are.
    pub problem: Option<String>,
}

/// A guarded interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub ifindex: u32,
    /// How the program is attached.
    pub mode: Mode,
    /// Why it is generic although native was tried; `null` otherwise.
    pub fallback: Option<String>,
    /// Kernel id of the program.
    pub program_id: u32,
    /// What is wrong with it now (gone, program lost); `null` when all is well.
    pub problem: Option<String>,
}

/// How the program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
}

/// Whether an attack is going on.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Attack {
    /// Packets are being dropped (or would be) right now.
    pub active: bool,
    /// Packets dropped per second, over the last second.
    pub dropped_per_second: f64,
    /// How long it has been going on; `null` when it is not.
    pub active_seconds: Option<f64>,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `address:port`, as bound.
    pub address: String,
    /// TLS or cleartext.
    pub tls: bool,
    /// `1.1`, `2`.
    pub http: Vec<String>,
}

/// Client connections over all listeners and workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Accepted since the start.
    pub accepted: u64,
    /// Closed at once because of a limit.
    pub refused: u64,
}

/// Upgraded connections (WebSocket and other tunnels) over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Upgrades {
    /// Open now.
    pub open: u64,
    /// Agreed to since the start.
    pub accepted: u64,
    /// Refused for `limits.upgrades`.
    pub refused: u64,
}

/// TLS handshakes over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tls {
    /// Completed.
    pub handshakes: u64,
    /// Failed or timed out.
    pub failed: u64,
}

/// Responses sent, by class of their status (RFC 9110 §15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Responses {
    /// Informational.
    #[serde(rename = "1xx")]
    pub informational: u64,
    /// Successful.
    #[serde(rename = "2xx")]
    pub successful: u64,
    /// Redirection.
    #[serde(rename = "3xx")]
    pub redirection: u64,
    /// Client error.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// Server error.
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// The cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cache {
    /// Bytes it may use.
    pub limit_bytes: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Stored responses.
    pub responses: u64,
    /// Requests answered from it.
    pub hits: u64,
    /// Requests for which it was asked in vain.
    pub misses: u64,
    /// Responses evicted for room.
    pub evicted: u64,
}

/// Detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Detect {
    /// Rules.
    pub rules: usize,
    /// Blocks written since the start.
    pub blocks: u64,
    /// Hits that were not counted because a bound was reached.
    pub lost: u64,
}

/// `GET /v1/upstreams`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Upstreams {
    /// In file order.
    pub upstreams: Vec<Upstream>,
}

/// A group of origin servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// Name.
    pub name: String,
    /// In file order.
    pub servers: Vec<Server>,
}

/// An origin server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// `host:port`.
    pub server: String,
    /// Share of requests relative to the others.
    pub weight: u32,
    /// Whether it gets requests.
    pub health: Health,
    /// How much longer it is left out; `null` unless ejected.
    pub ejected_for_seconds: Option<f64>,
    /// Why health checks fail; `null` unless they do.
    #[serde(default)]
    pub reason: Option<String>,
    /// Requests sent to it.
    pub requests: u64,
    /// Requests that failed there.
    pub failures: u64,
    /// Open connections to it.
    pub connections: u64,
    /// Requests that have not come to the end of their response.
    #[serde(default)]
    pub in_flight: u64,
}

/// Whether a server gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It does.
    Healthy,
    /// It is left out for a while.
    Ejected,
    /// It fails its health checks.
    Unhealthy,
    /// An operator took it out.
    Drained,
}
