//! The admin API's JSON, as the server writes and the client reads it. Names here are stable: scripts rely on them.
//!
//! Fields are only added, never renamed or removed. Durations are seconds with milliseconds, sizes bytes, and enums
//! the words of the contract. The kernel's clock is monotonic, so times are told relative to the answer.

#![allow(clippy::struct_field_names, reason = "field names are the JSON's")]

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::network;

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
    /// Live entries of the blocklist.
    pub blocks: usize,
    /// Live entries of the allowlist.
    pub allows: usize,
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
    /// How much longer it is left out; `null` when healthy.
    pub ejected_for_seconds: Option<f64>,
    /// Requests sent to it.
    pub requests: u64,
    /// Requests that failed there.
    pub failures: u64,
    /// Open connections to it.
    pub connections: u64,
}

/// Whether a server gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It does.
    Healthy,
    /// It is left out for a while.
    Ejected,
}

/// `GET /v1/drops`; also `weir drops --json`, which leaves `samples` empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// False: what counts as dropped here was let through.
    pub enforcing: bool,
    /// All outcomes that drop.
    pub dropped: Tally,
    /// All outcomes that pass.
    pub passed: Tally,
    /// Every outcome, in the kernel's order, also those that never happened.
    pub outcomes: Vec<OutcomeTally>,
    /// The same for each interface.
    pub interfaces: Vec<InterfaceTally>,
    /// The latest sampled drops, newest first, at most 100.
    #[serde(default)]
    pub samples: Vec<Sample>,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// What was counted under one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeTally {
    /// The word of the contract: `blocked`, `passed`, …
    pub reason: String,
    /// What an enforcing shield does.
    pub verdict: Verdict,
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// What an enforcing shield does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Let it through.
    Pass,
    /// Drop it.
    Drop,
}

/// One interface's totals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceTally {
    /// Name.
    pub interface: String,
    /// All outcomes that drop.
    pub dropped: Tally,
    /// All outcomes that pass.
    pub passed: Tally,
    /// Every outcome, in the kernel's order.
    pub outcomes: Vec<OutcomeTally>,
}

/// A sampled drop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// How long ago it was dropped.
    pub seconds_ago: f64,
    /// Interface name.
    pub interface: String,
    /// The word of the contract.
    pub reason: String,
    /// Length of the frame in bytes.
    pub frame_bytes: u32,
    /// Drops on the same CPU since the sample before that were not sampled.
    pub skipped: u64,
    /// The start of the frame, at most 96 bytes, in lower-case hexadecimal.
    pub head: String,
}

/// `GET /v1/sources?network=…&top=…&sort=…`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcesQuery {
    /// Only sources that overlap this network (an IPv6 address finds its /64); `None` = all.
    pub network: Option<IpNet>,
    /// Most rows. 1 to 10,000, default 20.
    pub top: usize,
    /// Descending order. Default packets.
    pub sort: SourceOrder,
}

/// What sources are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SourceOrder {
    /// Packets seen.
    #[default]
    Packets,
    /// Bytes seen.
    Bytes,
    /// TCP SYNs seen.
    Syns,
    /// Packets dropped.
    Dropped,
}

/// Per-source counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sources {
    /// Sources that match, of which `sources` holds the first.
    pub total: usize,
    /// Sorted as asked.
    pub sources: Vec<Source>,
}

/// What one source sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// IPv4 /32 or IPv6 /64.
    #[serde(with = "network::text")]
    pub source: IpNet,
    /// Packets, dropped ones included.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// TCP segments with SYN and without ACK.
    pub syns: u64,
    /// Packets dropped, or that would have been.
    pub dropped: u64,
    /// How long ago it was first seen.
    pub first_seen_seconds_ago: f64,
    /// How long ago it was last seen.
    pub last_seen_seconds_ago: f64,
}

/// `GET /v1/blocks`, `GET /v1/allows`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entries {
    /// Sorted by network.
    pub entries: Vec<Entry>,
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Which list.
    pub list: List,
    /// Address or prefix.
    #[serde(with = "network::text")]
    pub network: IpNet,
    /// When it ends; `null` = never.
    pub expires_in_seconds: Option<f64>,
    /// How long ago it was made.
    pub added_seconds_ago: f64,
    /// `config`, `cli`, `detect:<rule>`.
    pub origin: String,
    /// Why, in the words of whoever made it.
    pub reason: String,
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum List {
    /// Beats the blocklist.
    Allow,
    /// Dropped.
    Block,
}

/// `POST /v1/blocks`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRequest {
    /// Addresses or prefixes; at least one.
    #[serde(with = "network::texts")]
    pub networks: Vec<IpNet>,
    /// 1 to 31,536,000 (365 days); absent = `[shield] block_for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// At most 47 bytes; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/allows`; `DELETE /v1/blocks?network=…&network=…` and `DELETE /v1/allows` say the same in the query, since
/// content of a DELETE has no defined meaning (RFC 9110 §9.3.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworksRequest {
    /// Addresses or prefixes; at least one.
    #[serde(with = "network::texts")]
    pub networks: Vec<IpNet>,
}

/// Answer to edits of a list: one change per network, in the order of the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// One per network.
    pub changes: Vec<Change>,
}

/// What became of one network of an edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Address or prefix.
    #[serde(with = "network::text")]
    pub network: IpNet,
    /// What was done.
    pub change: ChangeKind,
    /// When the entry ends; `null` = never, or it was removed.
    pub expires_in_seconds: Option<f64>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// The entry is there now; one it replaced is gone.
    Added,
    /// The entry is gone.
    Removed,
    /// There was no such entry.
    Absent,
}

/// `POST /v1/reload`, done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Configuration file.
    pub config: String,
    /// Generation in use from now on.
    pub generation: u64,
    /// Routes in use.
    pub routes: usize,
    /// Upstreams in use.
    pub upstreams: usize,
    /// Key paths that differ from what runs and take effect only at the next start.
    pub needs_restart: Vec<String>,
}

/// `POST /v1/reload`, refused (422 when `problems` says why, else 500): nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct ReloadFailed {
    /// One sentence, without its full stop.
    pub error: String,
    /// What to do about it; empty if there is nothing to add.
    pub hint: String,
    /// What is wrong with the configuration file.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// One thing wrong with a configuration file. Also in `weir check --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// From 1; 0 = the file as a whole.
    pub line: usize,
    /// Key path.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Any answer with status 4xx or 5xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// One sentence, without its full stop.
    pub error: String,
    /// What to do about it; empty if there is nothing to add.
    pub hint: String,
}
