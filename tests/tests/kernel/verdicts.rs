//! The kernel judges every frame of the table as it says, and as the same code does on the host.

use std::collections::HashSet;

use weir_common::time::epoch;
use weir_common::{DropClass, Entry, Outcome, Totals, Verdict};

use crate::frames::{
    ARP, IPV4, IPV6, OWN4, OWN6, PPPOE_DISCOVERY, PPPOE_SESSION, SOURCE4, SOURCE6,
};
use crate::pair::{Comparison, Memory, Pair};
use crate::shield::{Shield, coarse_clock_ns};
use crate::sockets::Sockets;
use crate::table::{Case, Step, cases};

#[test]
fn every_frame_of_the_table_gets_its_verdict_and_is_counted_exactly_once() {
    let (mut pair, _sockets) = pair();
    let cases = runnable(&pair.shield, cases());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let failure = retried(&mut pair, case).err()?;
            Some(format!("{}: {failure}", case.description))
        })
        .collect();
    let count = failures.len();
    assert!(failures.is_empty(), "{count}:\n{}", failures.join("\n"));
}

#[test]
fn the_table_shows_every_outcome_of_both_ip_versions_done_and_spared() {
    let cases = cases();
    assert!(cases.len() >= 1_000, "{} cases", cases.len());
    let mut shown = HashSet::new();
    for step in cases.iter().flat_map(|case| &case.steps) {
        shown.insert((step.outcome, ethertype(&step.frame), step.spared));
    }
    for outcome in Outcome::ALL {
        let ethertypes = match outcome {
            Outcome::NonIp => [ARP, PPPOE_SESSION],
            Outcome::Ethertype => [PPPOE_SESSION, PPPOE_DISCOVERY],
            _ => [IPV4, IPV6],
        };
        for ethertype in ethertypes {
            for spared in [false, true] {
                let can_be = !spared || outcome.verdict() == Verdict::Drop;
                assert!(
                    !can_be || shown.contains(&(outcome, ethertype, spared)),
                    "no {} of {ethertype:#06x}, spared: {spared}",
                    outcome.as_str()
                );
            }
        }
    }
}

#[test]
fn no_two_frames_of_the_table_share_a_description() {
    let mut descriptions: Vec<_> = cases().into_iter().map(|case| case.description).collect();
    descriptions.sort_unstable();
    for pair in descriptions.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

/// The cases that this kernel's test runs can run; says how many they cannot.
pub(crate) fn runnable(shield: &Shield, mut cases: Vec<Case>) -> Vec<Case> {
    if !shield.can_split() {
        let all = cases.len();
        cases.retain(|case| case.steps.iter().all(|step| step.split.is_none()));
        say(&format!(
            "notice: this kernel's test runs cannot put headers beyond a frame's first buffer: {} cases NOT run",
            all - cases.len()
        ));
    }
    cases
}

/// Past the test harness, which keeps what a passing test prints to itself.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn ethertype(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}

/// Both shields, and the sockets that the table speaks of.
pub(crate) fn pair() -> (Pair, Sockets) {
    let mut pair = Pair::load();
    let sockets = Sockets::open(
        443,
        &[
            ((SOURCE4, 40_000).into(), OWN4.into()),
            ((SOURCE6, 40_000).into(), OWN6.into()),
        ],
    );
    pair.script(sockets.script());
    (pair, sockets)
}

/// A machine so busy that nobody knows the time is given another chance; so is a case that an epoch ended in.
fn retried(pair: &mut Pair, case: &Case) -> Result<(), String> {
    for _ in 0..20 {
        pair.configure(&case.plan);
        let began = epoch(coarse_clock_ns());
        let checked = check(pair, case);
        if epoch(coarse_clock_ns()) != began {
            continue;
        }
        checked?;
        match pair.compare() {
            Comparison::Agree => return Ok(()),
            Comparison::Disagree(difference) => return Err(difference),
            Comparison::Undecided => {}
        }
    }
    Err("the machine is too busy".to_owned())
}

fn check(pair: &mut Pair, case: &Case) -> Result<(), String> {
    for (number, step) in case.steps.iter().enumerate() {
        for time in 0..step.times {
            let action = match step.split {
                None => pair.run(&step.frame),
                Some(first_buffer) => pair.run_split(&step.frame, first_buffer),
            };
            if action != step.action {
                return Err(format!(
                    "step {number}, time {time}: {action:?}, expected {:?} ({:?})",
                    step.action,
                    pair.compare()
                ));
            }
        }
    }
    let kernel = pair.memory_of_kernel();
    expect_totals(&kernel.totals, &case.steps)?;
    expect_sources(&kernel, case)?;
    expect_hits(&kernel, case)
}

/// Every step under its outcome, and nothing else.
fn expect_totals(totals: &Totals, steps: &[Step]) -> Result<(), String> {
    for outcome in Outcome::ALL {
        for spared in [false, true] {
            let counted = if spared {
                totals.spared(outcome)
            } else {
                totals.done(outcome)
            };
            let expected = steps
                .iter()
                .filter(|step| (step.outcome, step.spared) == (outcome, spared));
            let packets: u64 = expected.clone().map(|step| u64::from(step.times)).sum();
            let bytes: u64 = expected.map(bytes).sum();
            if (counted.packets, counted.bytes) != (packets, bytes) {
                return Err(format!(
                    "{} (spared: {spared}): {counted:?}, expected {packets} packets, {bytes} bytes",
                    outcome.as_str()
                ));
            }
        }
    }
    Ok(())
}

/// The expected source has a state that counts these frames; nobody else has one.
fn expect_sources(kernel: &Memory, case: &Case) -> Result<(), String> {
    let Some(key) = case.source else {
        // Strangers of a prefix and several sources are compared with the host only.
        return match kernel.sources.as_slice() {
            [] => Ok(()),
            _ if case.steps.len() > 1 => Ok(()),
            some => Err(format!("nobody's state expected: {some:x?}")),
        };
    };
    let [(source, state)] = kernel.sources.as_slice() else {
        return Err(format!("one source expected: {:x?}", kernel.sources));
    };
    let counting = || case.steps.iter().filter(|step| step.counts);
    let packets: u64 = counting().map(|step| u64::from(step.times)).sum();
    let mut drops = [0; DropClass::COUNT];
    for step in counting() {
        if let Some(class) = step.drop {
            drops[class as usize] += step.times;
        }
    }
    let syns = case.syns.unwrap_or(if case.syn { packets } else { 0 });
    let expected = (key, packets, counting().map(bytes).sum(), syns, drops);
    let found = (
        *source,
        state.packets,
        state.bytes,
        u64::from(state.syns),
        state.drops,
    );
    if found != expected {
        return Err(format!("source {found:x?}, expected {expected:x?}"));
    }
    if state.first_seen == 0 || state.last_seen < state.first_seen {
        return Err(format!(
            "seen from {} to {}",
            state.first_seen, state.last_seen
        ));
    }
    Ok(())
}

fn expect_hits(kernel: &Memory, case: &Case) -> Result<(), String> {
    let hits: Vec<u64> = kernel.entries.iter().map(Entry::hits).collect();
    let blocked = case
        .steps
        .iter()
        .any(|step| step.outcome == Outcome::Blocked);
    // Where the table says nothing, one entry was hit, or none.
    let expected = if case.hits.is_empty() {
        hits.iter().sum::<u64>() == u64::from(blocked)
    } else {
        hits == case.hits
    };
    if expected {
        Ok(())
    } else {
        Err(format!("hits {hits:?}, expected {:?}", case.hits))
    }
}

fn bytes(step: &Step) -> u64 {
    u64::from(step.times) * step.frame.len() as u64
}
