//! What the program remembers of a source and of a source's prefix, and what it needs to decide which ones to remember.

use crate::time::{Tick, epoch, epoch_ns, tick};

/// Value of the `SOURCES` map: one source, IPv4 by address, IPv6 by /64. One cache line, shared between CPUs and updated
/// with atomic operations, so that memory does not grow with the number of CPUs.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SourceState {
    /// Theoretical arrival times of the next packet (low 32 bits) and byte (high 32 bits), in ticks: one word, so that one
    /// compare-and-swap charges both.
    pub packets_and_bytes: u64,
    /// Theoretical arrival time of the next new connection.
    pub syn: u32,
    /// Theoretical arrival time of the next UDP datagram.
    pub udp: u32,
    /// Theoretical arrival time of the next ICMP message.
    pub icmp: u32,
    /// New connections seen: TCP segments with SYN and without ACK, QUIC Initials. Wraps.
    pub syns: u32,
    /// Packets seen, dropped ones included; those of blocked sources are counted by their list entry instead.
    pub packets: u64,
    /// Bytes of the frames, dropped ones included.
    pub bytes: u64,
    /// Packets dropped (or, when the shield does not enforce, that would have been), by [`DropClass`]. Wraps.
    pub drops: [u32; DropClass::COUNT],
    /// When the source got its state, in epochs.
    pub first_seen: u32,
    /// When it was last seen, in epochs.
    pub last_seen: u32,
}

/// Classes by which a source's drops are counted.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropClass {
    /// Sanity checks: `malformed`, `fragment`, `bad-flags`, `amplification`, `icmp-type`, `quic-invalid`, `port-closed`.
    Sanity = 0,
    /// Limits of the source: `rate-packets`, `rate-bytes`, `rate-syn`, `rate-udp`, `rate-icmp`.
    Rate = 1,
    /// Limits of its prefix: `rate-prefix`.
    Prefix = 2,
    /// `syn-cookie` and `bad-cookie`.
    Cookie = 3,
}

impl DropClass {
    /// Number of classes.
    pub const COUNT: usize = 4;
}

impl SourceState {
    /// A source first seen at `now_ns`: it owes nothing.
    #[inline(always)]
    pub const fn first_seen_at(now_ns: u64) -> Self {
        let now = tick(now_ns);
        Self {
            packets_and_bytes: both(now),
            syn: now,
            udp: now,
            icmp: now,
            syns: 0,
            packets: 0,
            bytes: 0,
            drops: [0; DropClass::COUNT],
            first_seen: epoch(now_ns),
            last_seen: epoch(now_ns),
        }
    }

    /// All drops.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(|&drops| u64::from(drops)).sum()
    }

    /// When the source got its state, `CLOCK_MONOTONIC`, to 268 ms.
    pub const fn first_seen_ns(&self) -> u64 {
        epoch_ns(self.first_seen)
    }

    /// When it was last seen, `CLOCK_MONOTONIC`, to 268 ms.
    pub const fn last_seen_ns(&self) -> u64 {
        epoch_ns(self.last_seen)
    }
}

/// A state not touched for this many epochs (34 s) owes nothing: no [burst](crate::settings::Limit::BURST_MAX) is longer.
pub const STALE_EPOCHS: u32 = 128;

/// Value of the `PREFIXES` map: theoretical arrival times of a prefix, IPv4 /24 or IPv6 /48, as in [`SourceState`].
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PrefixState {
    /// Next packet and byte.
    pub packets_and_bytes: u64,
    /// Next new connection.
    pub syn: u32,
    /// Next UDP datagram.
    pub udp: u32,
    /// Next ICMP message.
    pub icmp: u32,
    /// When it was last seen, in epochs.
    pub last_seen: u32,
}

impl PrefixState {
    /// A prefix first seen at `now_ns`: it owes nothing.
    #[inline(always)]
    pub const fn first_seen_at(now_ns: u64) -> Self {
        let now = tick(now_ns);
        Self {
            packets_and_bytes: both(now),
            syn: now,
            udp: now,
            icmp: now,
            last_seen: epoch(now_ns),
        }
    }
}

/// The same time in both halves.
#[inline(always)]
const fn both(now: Tick) -> u64 {
    now as u64 | (now as u64) << 32
}

/// Sketch cells of 4 bytes: a row of 2^18 for the sources, a second one, and 2^16 pairs for the prefixes. 2.5 MiB: two
/// lie in an element of the map, as an array takes 8 bytes for one at least.
pub mod sketch {
    /// log2 of the cells of a source row.
    pub const ROW_LOG2: u32 = 18;
    /// First cell of the second row.
    pub const ROW2_AT: u32 = 1 << ROW_LOG2;
    /// First cell of the prefixes, two each: a count, and a mark.
    pub const PREFIX_AT: u32 = 2 << ROW_LOG2;
    /// log2 of the prefixes.
    pub const PREFIX_LOG2: u32 = 16;
    /// All cells.
    pub const CELLS: u32 = PREFIX_AT + (2 << PREFIX_LOG2);
}

/// What one CPU needs between packets: one element of a per-CPU array.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct CpuState {
    /// Epoch that the counts below are of.
    pub epoch: u32,
    /// Packets of sources without a state in this epoch.
    pub strangers: u32,
    /// Packets of sources without a state in the epoch before.
    pub strangers_before: u32,
    /// SYNs seen; wraps.
    pub syns: u32,
    /// Samples tried in this epoch.
    pub samples: u32,
    /// Drops still to come that nobody looks at: neither sampled nor attributed to their source.
    pub pause: u32,
    /// Forged ACKs in this epoch.
    pub forged: u32,
    /// SYNs that could not be answered with a cookie, in this epoch.
    pub unanswerable: u32,
    /// Drops since the last sample that were not sampled.
    pub skipped: u64,
}

/// SYNs of all CPUs: the one element of the `PRESSURE` map.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Pressure {
    /// SYNs by the low two bits of the epoch they came in.
    pub syns: [u32; 4],
    /// Epoch up to which, that one included, SYNs are answered with cookies; 0 = not.
    pub until: u32,
    /// Newest epoch that was judged.
    pub judged: u32,
}

const _: () = assert!(size_of::<SourceState>() == 64);
const _: () = assert!(size_of::<PrefixState>() == 24);
const _: () = assert!(size_of::<CpuState>() == 40);
const _: () = assert!(size_of::<Pressure>() == 24);
