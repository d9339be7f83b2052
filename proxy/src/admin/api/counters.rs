//! `GET /v1/drops` and `GET /v1/sources`: what the kernel counted.

#![allow(clippy::struct_field_names, reason = "field names are the JSON's")]

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::super::network;

/// `GET /v1/drops`; also `weir drops --json`, which leaves `samples` empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// False: what counts as dropped here was let through.
    pub enforcing: bool,
    /// All outcomes that drop.
    pub dropped: Tally,
    /// All outcomes that pass.
    pub passed: Tally,
    /// How much of `dropped` was let through, because the shield did not enforce at the time.
    #[serde(default)]
    pub would_drop: Tally,
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
    /// How much of it was let through, because the shield did not enforce at the time.
    #[serde(default)]
    pub would_drop: Tally,
}

/// What an enforcing shield does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Let it through.
    Pass,
    /// Drop it.
    Drop,
    /// Of a sample: it would have been dropped, but the shield did not enforce.
    WouldDrop,
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
    /// How much of `dropped` was let through.
    #[serde(default)]
    pub would_drop: Tally,
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
    /// `drop`, or `would-drop` if it passed all the same.
    #[serde(default = "dropped")]
    pub verdict: Verdict,
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
    /// Bytes of their frames. Those of packets that hit a block entry of exactly this source are not counted.
    pub bytes: u64,
    /// New connections: TCP segments with SYN and without ACK, QUIC Initials.
    pub syns: u64,
    /// Packets dropped, or that would have been.
    pub dropped: u64,
    /// The same by kind of reason.
    #[serde(default)]
    pub drops: SourceDrops,
    /// How long ago it was first seen.
    pub first_seen_seconds_ago: f64,
    /// How long ago it was last seen.
    pub last_seen_seconds_ago: f64,
}

/// Packets of a source that were dropped, or would have been, by kind of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceDrops {
    /// `blocked`, by an entry for exactly this source or an address in it.
    pub blocked: u64,
    /// `malformed`, `fragment`, `bad-flags`, `amplification`, `icmp-type`, `quic-invalid`, `port-closed`.
    pub sanity: u64,
    /// `rate-packets`, `rate-bytes`, `rate-syn`, `rate-udp`, `rate-icmp`.
    pub rate: u64,
    /// `rate-prefix`
    pub prefix: u64,
    /// `syn-cookie`, `bad-cookie`.
    pub cookie: u64,
}

const fn dropped() -> Verdict {
    Verdict::Drop
}
