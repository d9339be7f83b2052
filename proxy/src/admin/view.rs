//! What lies in the kernel's maps, as the admin API and the command line tell it. Pure: takes `now_ns`.

use ipnet::IpNet;
use weir_common::{Outcome, SourceCounters, Totals};

use super::{api, network};

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
        outcomes: outcomes(&sum),
        interfaces: totals
            .iter()
            .map(|(name, totals)| api::InterfaceTally {
                interface: name.clone(),
                dropped: verdict_tally(totals, api::Verdict::Drop),
                passed: verdict_tally(totals, api::Verdict::Pass),
                outcomes: outcomes(totals),
            })
            .collect(),
        samples: Vec::new(),
    }
}

/// The sources that match `query`, sorted and cut as it says. Ties are in address order, so that output is stable.
pub fn sources(
    rows: impl IntoIterator<Item = (IpNet, SourceCounters)>,
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
    let key = |counters: &SourceCounters| match query.sort {
        api::SourceOrder::Packets => counters.packets,
        api::SourceOrder::Bytes => counters.bytes,
        api::SourceOrder::Syns => counters.syns,
        api::SourceOrder::Dropped => counters.dropped,
    };
    rows.sort_unstable_by(|(a_net, a), (b_net, b)| key(b).cmp(&key(a)).then(a_net.cmp(b_net)));
    rows.truncate(query.top);
    let sources = rows
        .into_iter()
        .map(|(source, counters)| api::Source {
            source,
            packets: counters.packets,
            bytes: counters.bytes,
            syns: counters.syns,
            dropped: counters.dropped,
            first_seen_seconds_ago: seconds(now_ns.saturating_sub(counters.first_seen_ns)),
            last_seen_seconds_ago: seconds(now_ns.saturating_sub(counters.last_seen_ns)),
        })
        .collect();
    api::Sources { total, sources }
}

/// An entry of a list.
pub fn entry(
    list: api::List,
    network: IpNet,
    entry: &weir_common::Entry,
    now_ns: u64,
) -> api::Entry {
    api::Entry {
        list,
        network,
        expires_in_seconds: (entry.expires_ns != 0)
            .then(|| seconds(entry.expires_ns.saturating_sub(now_ns))),
        added_seconds_ago: seconds(now_ns.saturating_sub(entry.added_ns)),
        origin: entry.origin.as_str().to_owned(),
        reason: entry.reason.as_str().to_owned(),
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
            }
        })
        .collect()
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

    fn counters(packets: u64, dropped: u64) -> SourceCounters {
        SourceCounters {
            packets,
            dropped,
            first_seen_ns: 1_000_000_000,
            last_seen_ns: 2_500_000_000,
            ..SourceCounters::default()
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
        eth0.of_mut(Outcome::Blocked).packets = 3;
        eth0.of_mut(Outcome::NonIp).packets = 5;
        let mut eth1 = Totals::ZERO;
        eth1.of_mut(Outcome::Blocked).packets = 4;
        eth1.of_mut(Outcome::Malformed).bytes = 60;
        let drops = drops(true, &[("eth0".into(), eth0), ("eth1".into(), eth1)]);
        assert_eq!(
            drops.dropped,
            api::Tally {
                packets: 7,
                bytes: 60
            }
        );
        assert_eq!(drops.passed.packets, 5);
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
        let late = sources(rows, &all, 4_000_000_000);
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
            reserved: [0; 5],
            head: [0xee; 96],
        };
        raw.head[0] = 0x0a;
        assert_eq!(sample("eth0", Outcome::Malformed, &raw, 0).head, "0aee");
    }
}
