//! What was counted of sources, in their states and by the block entries that they hit.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use weir_common::SourceState;
use weir_common::time::epoch;

use super::super::ShieldError;
use super::Maps;
use super::keys::{self, Table, canonical};

/// Counters of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRow {
    /// IPv4 /32 or IPv6 /64; of [`Maps::blocked_prefixes`] the prefix.
    pub network: IpNet,
    /// What the program remembers of it. A source that was blocked from its first packet on has no state; then only the
    /// times are set, to when its entry was made.
    pub state: SourceState,
    /// Packets that hit the block entries of exactly this source, or of addresses in it.
    pub blocked: u64,
}

impl Maps {
    /// Every source that has counters or hit a block entry of its own, unsorted. Walks both: up to a second.
    pub fn sources(&self) -> Result<Vec<SourceRow>, ShieldError> {
        let mut rows: HashMap<IpNet, SourceRow> = self
            .counters
            .sources()?
            .into_iter()
            .map(|(network, state)| (network, SourceRow::new(network, state)))
            .collect();
        for (network, hits, added_ns) in self.lists.lock().hits(EXACT)? {
            let source = keys::source(network.addr());
            rows.entry(source)
                .or_insert_with(|| SourceRow::without_state(source, added_ns))
                .blocked += hits;
        }
        Ok(rows.into_values().collect())
    }

    /// Blocked prefixes that were hit. Whose packets those were nobody counted: a source that a prefix blocks has no
    /// state.
    pub fn blocked_prefixes(&self) -> Result<Vec<SourceRow>, ShieldError> {
        let hits = self.lists.lock().hits(PREFIXES)?;
        let rows = hits.into_iter().map(|(network, hits, added_ns)| SourceRow {
            blocked: hits,
            ..SourceRow::without_state(network, added_ns)
        });
        Ok(rows.collect())
    }

    /// Counters of the source that `address` belongs to; of an IPv6 source, hits of the entries of `address` itself and
    /// of its /64.
    pub fn source(&self, address: IpAddr) -> Result<Option<SourceRow>, ShieldError> {
        let source = keys::source(address);
        let state = self.counters.source(&source)?;
        let mut row = state.map(|state| SourceRow::new(source, state));
        let mut lists = self.lists.lock();
        let exact = canonical(IpNet::from(address));
        for network in [Some(exact), (exact != source).then_some(source)] {
            let Some(network) = network else { continue };
            let Some(entry) = lists.block_of(&network)? else {
                continue;
            };
            if entry.hits() > 0 {
                row.get_or_insert_with(|| SourceRow::without_state(source, entry.added_ns()))
                    .blocked += entry.hits();
            }
        }
        Ok(row)
    }
}

impl SourceRow {
    fn new(network: IpNet, state: SourceState) -> Self {
        Self {
            network,
            state,
            blocked: 0,
        }
    }

    fn without_state(network: IpNet, added_ns: u64) -> Self {
        let epoch = epoch(added_ns);
        let state = SourceState {
            first_seen: epoch,
            last_seen: epoch,
            ..SourceState::default()
        };
        Self::new(network, state)
    }
}

/// Block entries of one source.
const EXACT: [Table; 2] = [Table::Block4, Table::Block6];
/// Block entries of many, mostly.
const PREFIXES: [Table; 2] = [Table::BlockLpm4, Table::BlockLpm6];
