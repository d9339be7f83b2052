//! Drops by source and by prefix, from the per-source counters.

use std::collections::BTreeMap;
use std::io;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Serialize, Serializer};
use weir_common::SourceState;

use super::super::args::DropsBy;
use super::super::output::Out;
use super::super::sources::more;
use super::super::table::{Align, Table};
use super::super::units;
use super::totals::grown;
use super::{dropped_heading, explain_mode};
use crate::admin::network;
use crate::admin::view::SourceCounts;

/// Who was dropped most. With `--json` this is what is written.
#[derive(Debug, Serialize)]
pub(super) struct Droppers {
    enforcing: bool,
    /// What `rows` are: `source` or `prefix`.
    by: &'static str,
    /// Packets dropped over all sources.
    dropped: u64,
    /// Networks with drops, of which `rows` holds the first.
    total: usize,
    rows: Vec<Dropper>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Dropper {
    #[serde(serialize_with = "as_text")]
    network: IpNet,
    /// Sources in it that had drops. Those that a blocked prefix stopped nobody counted: they are one.
    sources: u64,
    /// Packets seen, dropped ones included.
    packets: u64,
    /// Bytes of their frames.
    bytes: u64,
    dropped: u64,
}

impl Droppers {
    /// Adds `rows` up by source or prefix, keeps those with drops, sorts by drops and cuts.
    pub(super) fn new(
        enforcing: bool,
        by: DropsBy,
        rows: &[(IpNet, SourceCounts)],
        top: usize,
    ) -> Self {
        let mut sums = BTreeMap::new();
        let mut dropped = 0;
        for (source, counts) in rows.iter().filter(|(_, counts)| counts.dropped() > 0) {
            let network = if by == DropsBy::Prefix {
                prefix(*source)
            } else {
                *source
            };
            let sum = sums.entry(network).or_insert(Dropper {
                network,
                sources: 0,
                packets: 0,
                bytes: 0,
                dropped: 0,
            });
            sum.sources += 1;
            sum.packets += counts.packets();
            sum.bytes += counts.state.bytes;
            sum.dropped += counts.dropped();
            dropped += counts.dropped();
        }
        let total = sums.len();
        let mut rows: Vec<_> = sums.into_values().collect();
        // Stable: ties stay in address order.
        rows.sort_by_key(|row| std::cmp::Reverse(row.dropped));
        rows.truncate(top);
        Self {
            enforcing,
            by: if by == DropsBy::Prefix {
                "prefix"
            } else {
                "source"
            },
            dropped,
            total,
            rows,
        }
    }

    /// As a table.
    pub(super) fn write(&self, out: &mut Out) -> io::Result<()> {
        explain_mode(self.enforcing, out)?;
        if self.rows.is_empty() {
            return out.line("no drops");
        }
        if self.by == "prefix" {
            self.prefixes().write(out)?;
        } else {
            self.sources().write(out)?;
        }
        more(self.total, self.rows.len(), out)
    }

    fn sources(&self) -> Table<4> {
        let mut table = Table::new([
            ("SOURCE", Align::Left),
            (dropped_heading(self.enforcing), Align::Right),
            ("SHARE", Align::Right),
            ("OF PACKETS", Align::Right),
        ]);
        for row in &self.rows {
            table.row([
                network::display(row.network),
                units::count(row.dropped),
                units::share(row.dropped, self.dropped),
                units::count(row.packets),
            ]);
        }
        table
    }

    fn prefixes(&self) -> Table<5> {
        let mut table = Table::new([
            ("PREFIX", Align::Left),
            ("SOURCES", Align::Right),
            (dropped_heading(self.enforcing), Align::Right),
            ("SHARE", Align::Right),
            ("OF PACKETS", Align::Right),
        ]);
        for row in &self.rows {
            table.row([
                network::display(row.network),
                units::count(row.sources),
                units::count(row.dropped),
                units::share(row.dropped, self.dropped),
                units::count(row.packets),
            ]);
        }
        table
    }
}

/// What was added since `before`. A source whose counters shrank had been evicted in between and counts anew.
pub(super) fn since(
    now: &[(IpNet, SourceCounts)],
    before: &[(IpNet, SourceCounts)],
) -> Vec<(IpNet, SourceCounts)> {
    let earlier: BTreeMap<_, _> = before.iter().copied().collect();
    now.iter()
        .map(|(network, counts)| {
            let before = earlier.get(network).copied().unwrap_or_default();
            let added = SourceCounts {
                state: state_since(&counts.state, &before.state),
                blocked: grown(counts.blocked, before.blocked),
            };
            (*network, added)
        })
        .collect()
}

/// Counters of 32 bits wrap; those of 64 tell whether the state is the same one.
fn state_since(now: &SourceState, before: &SourceState) -> SourceState {
    if now.packets < before.packets || now.first_seen != before.first_seen {
        return *now;
    }
    let mut drops = now.drops;
    for (now, before) in drops.iter_mut().zip(before.drops) {
        *now = now.wrapping_sub(before);
    }
    SourceState {
        packets: now.packets - before.packets,
        bytes: grown(now.bytes, before.bytes),
        syns: now.syns.wrapping_sub(before.syns),
        drops,
        ..*now
    }
}

/// IPv4 /24, IPv6 /48: about what one site holds. A blocked prefix that is wider stands for itself.
fn prefix(source: IpNet) -> IpNet {
    let wider = match source {
        IpNet::V4(v4) => Ipv4Net::new(v4.addr(), v4.prefix_len().min(24)).map(IpNet::V4),
        IpNet::V6(v6) => Ipv6Net::new(v6.addr(), v6.prefix_len().min(48)).map(IpNet::V6),
    };
    wider.map_or(source, |network| network.trunc())
}

fn as_text<S: Serializer>(network: &IpNet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&network::display(*network))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source: &str, packets: u64, dropped: u32) -> (IpNet, SourceCounts) {
        let state = SourceState {
            packets,
            drops: [0, dropped, 0, 0],
            ..SourceState::default()
        };
        let counts = SourceCounts { state, blocked: 0 };
        (network::parse(source).expect(source).network, counts)
    }

    fn rows() -> Vec<(IpNet, SourceCounts)> {
        vec![
            row("198.18.0.1", 10, 4),
            row("198.18.0.200", 10, 3),
            row("198.18.1.1", 10, 6),
            row("198.18.1.2", 10, 0),
            row("2001:db8:0:1::/64", 5, 1),
            row("2001:db8:0:2::/64", 5, 1),
        ]
    }

    fn listed(found: &Droppers) -> Vec<(String, u64, u64)> {
        let rows = found.rows.iter();
        rows.map(|row| (network::display(row.network), row.sources, row.dropped))
            .collect()
    }

    #[test]
    fn sources_with_drops_come_largest_first() {
        let found = Droppers::new(true, DropsBy::Source, &rows(), 2);
        assert_eq!(
            listed(&found),
            [("198.18.1.1".into(), 1, 6), ("198.18.0.1".into(), 1, 4)]
        );
        assert_eq!((found.total, found.dropped), (5, 15));
    }

    #[test]
    fn prefixes_add_up_24_bits_of_ipv4_and_48_of_ipv6() {
        let found = Droppers::new(true, DropsBy::Prefix, &rows(), 20);
        assert_eq!(
            listed(&found),
            [
                ("198.18.0.0/24".into(), 2, 7),
                ("198.18.1.0/24".into(), 1, 6),
                ("2001:db8::/48".into(), 2, 2),
            ]
        );
    }

    #[test]
    fn a_blocked_prefix_stands_for_itself_if_it_is_wider_than_a_site() {
        let mut rows = rows();
        rows.push(row("198.18.1.128/25", 2, 2));
        rows.push(row("198.16.0.0/15", 9, 9));
        let found = Droppers::new(true, DropsBy::Prefix, &rows, 2);
        assert_eq!(
            listed(&found),
            [
                ("198.16.0.0/15".into(), 1, 9),
                ("198.18.1.0/24".into(), 2, 8)
            ]
        );
    }

    #[test]
    fn the_table_says_how_many_rows_were_left_out() {
        let (mut out, captured) = Out::capture();
        Droppers::new(true, DropsBy::Prefix, &rows(), 1)
            .write(&mut out)
            .expect("writes");
        assert_eq!(
            captured.text(),
            "PREFIX         SOURCES  DROPPED  SHARE  OF PACKETS\n\
             198.18.0.0/24        2        7  46.7%          20\n\
             … and 2 more; --top N shows more\n"
        );
    }

    #[test]
    fn a_counter_of_32_bits_that_wrapped_still_grew() {
        let before = [row("198.18.0.1", 10, u32::MAX)];
        let now = [row("198.18.0.1", 15, 4)];
        assert_eq!(since(&now, &before)[0].1.dropped(), 5);
    }

    #[test]
    fn a_difference_takes_new_and_evicted_sources_whole() {
        let before = [row("198.18.0.1", 10, 4), row("198.18.0.2", 90, 80)];
        let now = [
            row("198.18.0.1", 15, 6),
            row("198.18.0.2", 3, 2),
            row("198.18.0.3", 1, 1),
        ];
        let dropped: Vec<_> = since(&now, &before)
            .iter()
            .map(|(_, counts)| counts.dropped())
            .collect();
        assert_eq!(dropped, [2, 2, 1]);
    }
}
