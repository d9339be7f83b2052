//! Drops by reason and by interface.

use std::io;

use super::super::output::Out;
use super::super::table::{Align, Table};
use super::super::units;
use super::{dropped_heading, explain_mode};
use crate::admin::api::{Drops, InterfaceTally, OutcomeTally, Tally, Verdict};

/// Reasons that happened, the largest first, their sum, and what passed.
pub(super) fn by_reason(drops: &Drops, top: usize, out: &mut Out) -> io::Result<()> {
    explain_mode(drops.enforcing, out)?;
    if drops.would_drop.packets > 0 && drops.would_drop != drops.dropped {
        return by_reason_and_verdict(drops, top, out);
    }
    let mut table = Table::new([
        ("REASON", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
        ("SHARE", Align::Right),
    ]);
    let of = |verdict| drops.outcomes.iter().filter(move |o| o.verdict == verdict);
    let mut reasons: Vec<_> = of(Verdict::Drop).filter(|o| o.packets > 0).collect();
    reasons.sort_by_key(|outcome| std::cmp::Reverse(outcome.packets));
    for outcome in reasons.into_iter().take(top) {
        table.row([
            outcome.reason.clone(),
            units::count(outcome.packets),
            units::bytes(outcome.bytes),
            units::share(outcome.packets, drops.dropped.packets),
        ]);
    }
    let all = if drops.enforcing {
        "all dropped"
    } else {
        "all that would be dropped"
    };
    table.row([
        all.to_owned(),
        units::count(drops.dropped.packets),
        units::bytes(drops.dropped.bytes),
        units::share(drops.dropped.packets, drops.dropped.packets),
    ]);
    for outcome in of(Verdict::Pass) {
        table.row([
            outcome.reason.clone(),
            units::count(outcome.packets),
            units::bytes(outcome.bytes),
            String::new(),
        ]);
    }
    table.write(out)
}

/// As [`by_reason`], for a shield that enforced at times only: what was dropped and what passed all the same apart.
fn by_reason_and_verdict(drops: &Drops, top: usize, out: &mut Out) -> io::Result<()> {
    let mut table = Table::new([
        ("REASON", Align::Left),
        ("VERDICT", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
        ("SHARE", Align::Right),
    ]);
    let carried_out = |all: Tally, would_drop: Tally| Tally {
        packets: all.packets.saturating_sub(would_drop.packets),
        bytes: all.bytes.saturating_sub(would_drop.bytes),
    };
    let mut rows: Vec<(&str, &str, Tally)> = Vec::new();
    for outcome in &drops.outcomes {
        if outcome.verdict == Verdict::Drop {
            let all = tally(outcome);
            let done = carried_out(all, outcome.would_drop);
            rows.push((&outcome.reason, "drop", done));
            rows.push((&outcome.reason, "would-drop", outcome.would_drop));
        }
    }
    rows.retain(|(_, _, tally)| tally.packets > 0);
    rows.sort_by_key(|(_, _, tally)| std::cmp::Reverse(tally.packets));
    rows.truncate(top);
    let done = carried_out(drops.dropped, drops.would_drop);
    rows.push(("all", "drop", done));
    rows.push(("all", "would-drop", drops.would_drop));
    let passed = drops.outcomes.iter().filter(|o| o.verdict == Verdict::Pass);
    rows.extend(passed.map(|outcome| (outcome.reason.as_str(), "pass", tally(outcome))));
    for (reason, verdict, tally) in rows {
        let share = match verdict {
            "pass" => String::new(),
            _ => units::share(tally.packets, drops.dropped.packets),
        };
        table.row([
            reason.to_owned(),
            verdict.to_owned(),
            units::count(tally.packets),
            units::bytes(tally.bytes),
            share,
        ]);
    }
    table.write(out)
}

fn tally(outcome: &OutcomeTally) -> Tally {
    Tally {
        packets: outcome.packets,
        bytes: outcome.bytes,
    }
}

/// Each interface's drops, the largest first.
pub(super) fn by_interface(drops: &Drops, top: usize, out: &mut Out) -> io::Result<()> {
    explain_mode(drops.enforcing, out)?;
    let mut table = Table::new([
        ("INTERFACE", Align::Left),
        (dropped_heading(drops.enforcing), Align::Right),
        ("BYTES", Align::Right),
        ("SHARE", Align::Right),
        ("PASSED", Align::Right),
        ("BYTES", Align::Right),
    ]);
    let mut interfaces: Vec<_> = drops.interfaces.iter().collect();
    interfaces.sort_by_key(|interface| std::cmp::Reverse(interface.dropped.packets));
    for interface in interfaces.into_iter().take(top) {
        table.row([
            interface.interface.clone(),
            units::count(interface.dropped.packets),
            units::bytes(interface.dropped.bytes),
            units::share(interface.dropped.packets, drops.dropped.packets),
            units::count(interface.passed.packets),
            units::bytes(interface.passed.bytes),
        ]);
    }
    table.write(out)
}

/// What was added since `before`. Counters only grow; one that shrank was made anew.
pub(super) fn since(now: &Drops, before: &Drops) -> Drops {
    let interfaces = now.interfaces.iter().map(|interface| {
        let earlier = before
            .interfaces
            .iter()
            .find(|i| i.interface == interface.interface);
        earlier.map_or_else(
            || interface.clone(),
            |earlier| interface_since(interface, earlier),
        )
    });
    Drops {
        enforcing: now.enforcing,
        dropped: tally_since(now.dropped, before.dropped),
        passed: tally_since(now.passed, before.passed),
        would_drop: tally_since(now.would_drop, before.would_drop),
        outcomes: outcomes_since(&now.outcomes, &before.outcomes),
        interfaces: interfaces.collect(),
        samples: Vec::new(),
    }
}

fn interface_since(now: &InterfaceTally, before: &InterfaceTally) -> InterfaceTally {
    InterfaceTally {
        interface: now.interface.clone(),
        dropped: tally_since(now.dropped, before.dropped),
        passed: tally_since(now.passed, before.passed),
        would_drop: tally_since(now.would_drop, before.would_drop),
        outcomes: outcomes_since(&now.outcomes, &before.outcomes),
    }
}

/// Both list every outcome in the kernel's order.
fn outcomes_since(now: &[OutcomeTally], before: &[OutcomeTally]) -> Vec<OutcomeTally> {
    now.iter()
        .zip(before)
        .map(|(now, before)| OutcomeTally {
            packets: grown(now.packets, before.packets),
            bytes: grown(now.bytes, before.bytes),
            would_drop: tally_since(now.would_drop, before.would_drop),
            ..now.clone()
        })
        .collect()
}

fn tally_since(now: Tally, before: Tally) -> Tally {
    Tally {
        packets: grown(now.packets, before.packets),
        bytes: grown(now.bytes, before.bytes),
    }
}

/// How much a counter grew; all of it when it started anew in between.
pub(super) fn grown(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use weir_common::{Outcome, Totals};

    use super::*;
    use crate::admin::view;

    fn totals(blocked: u64, malformed: u64, passed: u64) -> Totals {
        let mut totals = Totals::ZERO;
        totals.place(Outcome::Blocked as usize).packets = blocked;
        totals.place(Outcome::Blocked as usize).bytes = blocked * 64;
        totals.place(Outcome::Malformed as usize).packets = malformed;
        totals.place(Outcome::Passed as usize).packets = passed;
        totals
    }

    fn text(write: impl FnOnce(&mut Out) -> io::Result<()>) -> String {
        let (mut out, captured) = Out::capture();
        write(&mut out).expect("writes");
        captured.text()
    }

    #[test]
    fn reasons_come_largest_first_with_sum_shares_and_what_passed() {
        let drops = view::drops(true, &[("eth0".into(), totals(1_000, 3_000, 7))]);
        assert_eq!(
            text(|out| by_reason(&drops, 20, out)),
            "REASON       PACKETS     BYTES   SHARE\n\
             malformed      3,000       0 B   75.0%\n\
             blocked        1,000  62.5 KiB   25.0%\n\
             all dropped    4,000  62.5 KiB  100.0%\n\
             allowed            0       0 B\n\
             passed             7       0 B\n\
             non-ip             0       0 B\n"
        );
    }

    #[test]
    fn what_was_dropped_and_what_only_would_have_been_stand_apart() {
        let mut both = totals(10, 0, 1);
        both.place(Totals::SLOTS + Outcome::Blocked as usize)
            .packets = 30;
        let drops = view::drops(true, &[("eth0".into(), both)]);
        assert_eq!(
            text(|out| by_reason(&drops, 20, out)),
            "REASON   VERDICT     PACKETS  BYTES  SHARE\n\
             blocked  would-drop       30    0 B  75.0%\n\
             blocked  drop             10  640 B  25.0%\n\
             all      drop             10  640 B  25.0%\n\
             all      would-drop       30    0 B  75.0%\n\
             allowed  pass              0    0 B\n\
             passed   pass              1    0 B\n\
             non-ip   pass              0    0 B\n"
        );
    }

    #[test]
    fn without_enforcement_the_words_say_would() {
        let drops = view::drops(false, &[("eth0".into(), totals(1, 0, 0))]);
        let by_reason = text(|out| by_reason(&drops, 20, out));
        assert!(
            by_reason.starts_with("not enforcing: this would be dropped"),
            "{by_reason}"
        );
        assert!(
            by_reason.contains("all that would be dropped"),
            "{by_reason}"
        );
        let by_interface = text(|out| by_interface(&drops, 20, out));
        assert!(by_interface.contains("WOULD DROP"), "{by_interface}");
    }

    #[test]
    fn interfaces_come_largest_first_and_are_cut() {
        let both = [
            ("eth0".into(), totals(1, 0, 5)),
            ("eth1".into(), totals(3, 0, 0)),
        ];
        let shown = text(|out| by_interface(&view::drops(true, &both), 1, out));
        assert_eq!(
            shown,
            "INTERFACE  DROPPED  BYTES  SHARE  PASSED  BYTES\n\
             eth1             3  192 B  75.0%       0    0 B\n"
        );
    }

    #[test]
    fn a_difference_counts_what_was_added_also_for_a_new_interface() {
        let before = view::drops(true, &[("eth0".into(), totals(10, 1, 2))]);
        let now = [
            ("eth0".into(), totals(15, 1, 4)),
            ("eth1".into(), totals(2, 0, 0)),
        ];
        let added = since(&view::drops(true, &now), &before);
        assert_eq!(added.dropped.packets, 7);
        assert_eq!(added.passed.packets, 2);
        let by_interface: Vec<_> = added.interfaces.iter().map(|i| i.dropped.packets).collect();
        assert_eq!(by_interface, [5, 2]);
    }

    #[test]
    fn a_counter_that_started_anew_counts_from_zero() {
        assert_eq!(grown(7, 5), 2);
        assert_eq!(grown(3, 5), 3);
    }
}
