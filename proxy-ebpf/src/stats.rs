//! What is counted for a judged frame: its outcome, on this interface, and its source.

use weir_common::{Outcome, SourceCounters};
use weir_ebpf::parse::Parsed;
use weir_ebpf::verdict::Decision;

use crate::maps;

/// Counts the frame under its outcome.
#[inline(always)]
pub(crate) fn count_total(outcome: Outcome, frame_len: usize) {
    if let Some(tally) = maps::tally(outcome) {
        tally.packets += 1;
        tally.bytes += frame_len as u64;
    }
}

/// Counts the frame for its source, if it has one.
#[inline(always)]
pub(crate) fn count_source(parsed: &Parsed, decision: Decision, frame_len: usize, now_ns: u64) {
    let (source, is_syn) = match parsed {
        Parsed::NonIp | Parsed::Malformed(None) => return,
        Parsed::Malformed(Some(source)) => (*source, false),
        Parsed::Ip(facts) => (facts.source, facts.is_syn()),
    };
    maps::count_source(
        source,
        &SourceCounters {
            packets: 1,
            bytes: frame_len as u64,
            syns: u64::from(is_syn),
            dropped: u64::from(decision.counts_as_dropped()),
            first_seen_ns: now_ns,
            last_seen_ns: now_ns,
        },
    );
}
