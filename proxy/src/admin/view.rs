//! What lies in the kernel's maps, as the admin API and the command line tell it. Pure: takes `now_ns`.

use std::time::Duration;

use ipnet::IpNet;
use weir_common::entry::{ORIGIN_BYTES, REASON_BYTES};
use weir_common::{DropClass, Outcome, SourceState, Tally, Text, Totals};

use super::{api, network};

/// What the kernel counted of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceCounts {
    /// What the program remembers of it.
    pub state: SourceState,
    /// Packets that hit its block entries, which the state does not count.
    pub blocked: u64,
}

impl SourceCounts {
    /// Packets, dropped ones included.
    pub fn packets(&self) -> u64 {
        self.state.packets + self.blocked
    }

    /// Packets dropped, or that would have been.
    pub fn dropped(&self) -> u64 {
        self.state.dropped() + self.blocked
    }
}

/// What is to be told of an entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListEntry {
    /// When it ends, `CLOCK_MONOTONIC`; 0 = never.
    pub expires_ns: u64,
    /// When it was made, `CLOCK_MONOTONIC`.
    pub added_ns: u64,
    /// Packets that it dropped.
    pub hits: u64,
    /// Who made it.
    pub origin: Text<ORIGIN_BYTES>,
    /// Why.
    pub reason: Text<REASON_BYTES>,
}

/// Totals by outcome, summed and per interface.
pub fn drops(enforcing: bool, totals: &[(String, Totals)]) -> api::Drops {
    let mut sum = Totals::ZERO;
    for (_, interface) in totals {
        sum.add(interface);
    }
    api::Drops {
        enforcing,
        dropped: verdict_tally(&sum, api::Verdict::Drop),
        passed: verdict_tally(&sum, api::Verdict::Pass),
        would_drop: spared(&sum),
        outcomes: outcomes(&sum),
        interfaces: totals
            .iter()
            .map(|(name, totals)| api::InterfaceTally {
                interface: name.clone(),
                dropped: verdict_tally(totals, api::Verdict::Drop),
                passed: verdict_tally(totals, api::Verdict::Pass),
                would_drop: spared(totals),
                outcomes: outcomes(totals),
            })
            .collect(),
        samples: Vec::new(),
    }
}

/// The sources that match `query`, sorted and cut as it says. Ties are in address order, so that output is stable.
pub fn sources(
    rows: impl IntoIterator<Item = (IpNet, SourceCounts)>,
    query: &api::SourcesQuery,
    now_ns: u64,
) -> api::Sources {
    let mut rows: Vec<_> = rows
        .into_iter()
        .filter(|(source, _)| {
            query
                .network
                .is_none_or(|wanted| network::overlap(wanted, *source))
        })
        .collect();
    let total = rows.len();
    let key = |counts: &SourceCounts| match query.sort {
        api::SourceOrder::Packets => counts.packets(),
        api::SourceOrder::Bytes => counts.state.bytes,
        api::SourceOrder::Syns => counts.state.syns.into(),
        api::SourceOrder::Dropped => counts.dropped(),
    };
    rows.sort_unstable_by(|(a_net, a), (b_net, b)| key(b).cmp(&key(a)).then(a_net.cmp(b_net)));
    rows.truncate(query.top);
    let sources = rows
        .into_iter()
        .map(|(network, counts)| source(network, &counts, now_ns))
        .collect();
    api::Sources { total, sources }
}

fn source(source: IpNet, counts: &SourceCounts, now_ns: u64) -> api::Source {
    let state = &counts.state;
    let drops = |class: DropClass| u64::from(state.drops[class as usize]);
    api::Source {
        source,
        packets: counts.packets(),
        bytes: state.bytes,
        syns: state.syns.into(),
        dropped: counts.dropped(),
        drops: api::SourceDrops {
            blocked: counts.blocked,
            sanity: drops(DropClass::Sanity),
            rate: drops(DropClass::Rate),
            prefix: drops(DropClass::Prefix),
            cookie: drops(DropClass::Cookie),
        },
        first_seen_seconds_ago: seconds(now_ns.saturating_sub(state.first_seen_ns())),
        last_seen_seconds_ago: seconds(now_ns.saturating_sub(state.last_seen_ns())),
    }
}

/// An entry of a list.
pub fn entry(list: api::List, network: IpNet, entry: &ListEntry, now_ns: u64) -> api::Entry {
    api::Entry {
        list,
        network,
        expires_in_seconds: expires_in(entry.expires_ns, now_ns),
        added_seconds_ago: seconds(now_ns.saturating_sub(entry.added_ns)),
        hits: entry.hits,
        origin: entry.origin.as_str().to_owned(),
        reason: entry.reason.as_str().to_owned(),
    }
}

/// An entry was made, for `duration`; `None` = for ever.
pub fn added(network: IpNet, duration: Option<Duration>) -> api::Change {
    api::Change {
        network,
        change: api::ChangeKind::Added,
        expires_in_seconds: duration.map(|duration| duration.as_secs_f64()),
        origin: None,
    }
}

/// The entry of another origin stays, which ends at `expires_ns`; 0 = never.
pub fn kept(
    network: IpNet,
    expires_ns: u64,
    origin: &Text<ORIGIN_BYTES>,
    now_ns: u64,
) -> api::Change {
    api::Change {
        network,
        change: api::ChangeKind::Kept,
        expires_in_seconds: expires_in(expires_ns, now_ns),
        origin: Some(origin.as_str().to_owned()),
    }
}

/// An entry was removed, or there was none.
pub fn removed(network: IpNet, there: bool) -> api::Change {
    api::Change {
        network,
        change: if there {
            api::ChangeKind::Removed
        } else {
            api::ChangeKind::Absent
        },
        expires_in_seconds: None,
        origin: None,
    }
}

/// A sampled drop.
pub fn sample(
    interface: &str,
    outcome: Outcome,
    sample: &weir_common::Sample,
    now_ns: u64,
) -> api::Sample {
    let head = &sample.head[..usize::from(sample.head_len).min(sample.head.len())];
    api::Sample {
        seconds_ago: seconds(now_ns.saturating_sub(sample.when_ns)),
        interface: interface.to_owned(),
        reason: outcome.as_str().to_owned(),
        verdict: if sample.spared == 0 {
            api::Verdict::Drop
        } else {
            api::Verdict::WouldDrop
        },
        frame_bytes: sample.frame_len,
        skipped: sample.skipped,
        head: hex(head),
    }
}

/// Seconds, rounded to milliseconds.
#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds stay exact in an f64 for 285,000 years"
)]
pub fn seconds(ns: u64) -> f64 {
    (ns / 1_000_000) as f64 / 1000.0
}

/// `None` = never.
fn expires_in(expires_ns: u64, now_ns: u64) -> Option<f64> {
    (expires_ns != 0).then(|| seconds(expires_ns.saturating_sub(now_ns)))
}

fn outcomes(totals: &Totals) -> Vec<api::OutcomeTally> {
    Outcome::ALL
        .into_iter()
        .map(|outcome| {
            let tally = totals.of(outcome);
            api::OutcomeTally {
                reason: outcome.as_str().to_owned(),
                verdict: verdict(outcome),
                packets: tally.packets,
                bytes: tally.bytes,
                would_drop: told(totals.spared(outcome)),
            }
        })
        .collect()
}

/// What would have been dropped, but passed.
fn spared(totals: &Totals) -> api::Tally {
    let mut sum = api::Tally::default();
    for outcome in Outcome::ALL {
        let tally = totals.spared(outcome);
        sum.packets += tally.packets;
        sum.bytes += tally.bytes;
    }
    sum
}

fn told(tally: Tally) -> api::Tally {
    api::Tally {
        packets: tally.packets,
        bytes: tally.bytes,
    }
}

fn verdict_tally(totals: &Totals, wanted: api::Verdict) -> api::Tally {
    let mut sum = api::Tally::default();
    for outcome in Outcome::ALL {
        if verdict(outcome) == wanted {
            sum.packets += totals.of(outcome).packets;
            sum.bytes += totals.of(outcome).bytes;
        }
    }
    sum
}

fn verdict(outcome: Outcome) -> api::Verdict {
    match outcome.verdict() {
        weir_common::Verdict::Pass => api::Verdict::Pass,
        weir_common::Verdict::Drop => api::Verdict::Drop,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for digit in [byte >> 4, byte & 0xf] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('?'));
            }
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        network::parse(text).expect(text).network
    }

    fn query(network: Option<&str>, top: usize, sort: api::SourceOrder) -> api::SourcesQuery {
        api::SourcesQuery {
            network: network.map(net),
            top,
            sort,
        }
    }

    /// Seen first and last 4 and 10 epochs after the start.
    fn counters(packets: u64, dropped: u32) -> SourceCounts {
        SourceCounts {
            state: SourceState {
                packets,
                drops: [dropped, 0, 0, 0],
                first_seen: 4,
                last_seen: 10,
                ..SourceState::default()
            },
            blocked: 0,
        }
    }

    fn named(sources: &api::Sources) -> Vec<String> {
        sources
            .sources
            .iter()
            .map(|s| network::display(s.source))
            .collect()
    }

    #[test]
    fn drops_sum_outcomes_over_interfaces_and_split_them_by_verdict() {
        let mut eth0 = Totals::ZERO;
        eth0.place(Outcome::Blocked as usize).packets = 3;
        eth0.place(Outcome::NonIp as usize).packets = 5;
        let mut eth1 = Totals::ZERO;
        eth1.place(Totals::SLOTS + Outcome::Blocked as usize)
            .packets = 4;
        eth1.place(Outcome::Malformed as usize).bytes = 60;
        let drops = drops(true, &[("eth0".into(), eth0), ("eth1".into(), eth1)]);
        assert_eq!(
            drops.dropped,
            api::Tally {
                packets: 7,
                bytes: 60
            }
        );
        assert_eq!(drops.passed.packets, 5);
        assert_eq!(drops.would_drop.packets, 4);
        assert_eq!(
            drops.outcomes[Outcome::Blocked as usize].would_drop.packets,
            4
        );
        assert_eq!(drops.interfaces[1].dropped.packets, 4);
        assert_eq!(drops.outcomes.len(), Outcome::COUNT);
    }

    #[test]
    fn sources_are_sorted_descending_with_ties_in_address_order_and_cut() {
        let rows = [
            (net("192.0.2.9"), counters(5, 1)),
            (net("192.0.2.1"), counters(5, 9)),
            (net("2001:db8::/64"), counters(7, 0)),
        ];
        let by_packets = sources(rows, &query(None, 2, api::SourceOrder::Packets), 0);
        assert_eq!(named(&by_packets), ["2001:db8::/64", "192.0.2.1"]);
        assert_eq!(by_packets.total, 3);
        let by_drops = sources(rows, &query(None, 1, api::SourceOrder::Dropped), 0);
        assert_eq!(named(&by_drops), ["192.0.2.1"]);
    }

    #[test]
    fn packets_that_a_block_entry_stopped_count_as_packets_and_as_drops() {
        let blocked = SourceCounts {
            blocked: 100,
            ..counters(5, 1)
        };
        let rows = [(net("192.0.2.1"), blocked)];
        let told = sources(rows, &query(None, 1, api::SourceOrder::Packets), 0);
        let source = &told.sources[0];
        assert_eq!((source.packets, source.dropped), (105, 101));
        assert_eq!((source.drops.blocked, source.drops.sanity), (100, 1));
    }

    #[test]
    fn an_ipv6_address_finds_the_source_that_holds_it() {
        let rows = [
            (net("2001:db8:0:1::/64"), counters(1, 0)),
            (net("2001:db8:0:2::/64"), counters(1, 0)),
        ];
        let wanted = query(Some("2001:db8:0:2::77"), 9, api::SourceOrder::Packets);
        assert_eq!(named(&sources(rows, &wanted, 0)), ["2001:db8:0:2::/64"]);
    }

    #[test]
    fn times_are_told_relative_to_now_and_never_negative() {
        let rows = [(net("192.0.2.1"), counters(1, 0))];
        let all = query(None, 1, api::SourceOrder::Packets);
        let late = sources(rows, &all, (10 << 28) + 1_500_000_000);
        assert!((late.sources[0].last_seen_seconds_ago - 1.5).abs() < 1e-9);
        let early = sources(rows, &all, 0);
        assert!(early.sources[0].first_seen_seconds_ago.abs() < 1e-9);
    }

    #[test]
    fn a_sample_shows_only_the_bytes_the_frame_had() {
        let mut raw = weir_common::Sample {
            when_ns: 0,
            skipped: 0,
            slot: 0,
            frame_len: 2,
            head_len: 2,
            outcome: Outcome::Malformed as u8,
            spared: 1,
            reserved: [0; 4],
            head: [0xee; 96],
        };
        raw.head[0] = 0x0a;
        let told = sample("eth0", Outcome::Malformed, &raw, 0);
        assert_eq!(
            (told.head.as_str(), told.verdict),
            ("0aee", api::Verdict::WouldDrop)
        );
    }
}
