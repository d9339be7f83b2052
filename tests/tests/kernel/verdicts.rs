//! The kernel judges every frame of the table as it says, and as the same code does on the host.

use weir_common::{Outcome, ShieldSettings};
use weir_ebpf::parse::parse;
use weir_ebpf::verdict::{Decision, decide};

use crate::rules::{HostLists, Rule};
use crate::shield::{Action, Shield, Sources, now_ns, with_lists};
use crate::table::{Case, cases};

#[test]
fn every_frame_of_the_table_gets_its_verdict_and_is_counted_exactly_once() {
    let mut shield = Shield::load();
    let cases = cases();
    assert!(cases.len() >= 90, "{} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            shield.configure(case.settings, &case.rules);
            let failure = check(&shield, case).err()?;
            Some(format!("{}: {failure}", case.description))
        })
        .collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn no_two_frames_of_the_table_share_a_description() {
    let mut descriptions: Vec<_> = cases().iter().map(|case| case.description).collect();
    descriptions.sort_unstable();
    for pair in descriptions.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
}

#[test]
fn the_host_judges_every_frame_of_the_table_like_the_kernel() {
    let mut shield = Shield::load();
    let disagreements: Vec<String> = cases()
        .iter()
        .filter_map(|case| {
            shield.configure(case.settings, &case.rules);
            disagreement(&shield, case.settings, &case.rules, &case.frame)
        })
        .collect();
    assert!(disagreements.is_empty(), "\n{}", disagreements.join("\n"));
}

#[test]
fn the_host_judges_mutated_frames_like_the_kernel() {
    let mut shield = Shield::load();
    let mut random = XorShift(0x2545_f491_4f6c_dd1d);
    let mut disagreements = Vec::new();
    let mut judged = 0;
    for case in cases() {
        shield.configure(case.settings, &case.rules);
        for _ in 0..MUTATIONS {
            let frame = random.mutate(&case.frame);
            disagreements.extend(disagreement(&shield, case.settings, &case.rules, &frame));
            judged += 1;
        }
    }
    assert!(judged >= 5_000, "{judged} frames");
    assert!(
        disagreements.is_empty(),
        "{} of {judged}:\n{}",
        disagreements.len(),
        disagreements.join("\n")
    );
}

#[test]
fn every_truncation_of_the_table_is_judged_alike() {
    let mut shield = Shield::load();
    let mut disagreements = Vec::new();
    for case in cases() {
        shield.configure(case.settings, &case.rules);
        // A frame below the Ethernet header cannot be run; behind 256 bytes there is only data.
        for len in MIN_FRAME..case.frame.len().min(256) {
            let frame = &case.frame[..len];
            disagreements.extend(disagreement(&shield, case.settings, &case.rules, frame));
        }
    }
    assert!(disagreements.is_empty(), "\n{}", disagreements.join("\n"));
}

/// Mutated frames per frame of the table.
const MUTATIONS: u32 = 50;
/// The kernel runs no frame shorter than this (`ETH_HLEN`).
const MIN_FRAME: usize = 14;

fn check(shield: &Shield, case: &Case) -> Result<(), String> {
    let before = Counted::read(shield);
    let action = shield.run(&case.frame);
    let after = Counted::read(shield);

    if action != case.action {
        return Err(format!("{action:?}, expected {:?}", case.action));
    }
    let bytes = case.frame.len() as u64;
    expect_outcome(&before, &after, case.outcome, bytes)?;
    expect_source(&before.sources, &after.sources, case, bytes)
}

/// One frame more under `outcome`, none under any other.
fn expect_outcome(
    before: &Counted,
    after: &Counted,
    outcome: Outcome,
    bytes: u64,
) -> Result<(), String> {
    for (class, (before, after)) in Outcome::ALL
        .into_iter()
        .zip(before.totals.iter().zip(&after.totals))
    {
        let grown = (after.0 - before.0, after.1 - before.1);
        let expected = if class == outcome { (1, bytes) } else { (0, 0) };
        if grown != expected {
            return Err(format!(
                "{} grew by {grown:?} packets and bytes, expected {expected:?}",
                class.as_str()
            ));
        }
    }
    Ok(())
}

/// The expected source's counters grew by this frame; nobody else's changed.
fn expect_source(before: &Sources, after: &Sources, case: &Case, bytes: u64) -> Result<(), String> {
    let changed: Vec<_> = after
        .iter()
        .filter(|(key, counters)| before.get(*key) != Some(counters))
        .collect();
    let Some(key) = &case.source else {
        return if changed.is_empty() {
            Ok(())
        } else {
            Err(format!("no source expected, these changed: {changed:?}"))
        };
    };
    let [(changed_key, now)] = changed[..] else {
        return Err(format!("one source expected, these changed: {changed:?}"));
    };
    let earlier = before.get(key).copied().unwrap_or_default();
    let grown = [
        now.packets - earlier.packets,
        now.bytes - earlier.bytes,
        now.syns - earlier.syns,
        now.dropped - earlier.dropped,
    ];
    let expected = [1, bytes, case.syns, case.dropped];
    if changed_key != key || grown != expected {
        return Err(format!(
            "source {changed_key:?} grew by {grown:?}, expected {key:?} to grow by {expected:?}"
        ));
    }
    if now.first_seen_ns == 0 || now.last_seen_ns < now.first_seen_ns {
        return Err(format!(
            "seen from {} to {}",
            now.first_seen_ns, now.last_seen_ns
        ));
    }
    Ok(())
}

/// Everything the program counted.
struct Counted {
    totals: Vec<(u64, u64)>,
    sources: Sources,
}

impl Counted {
    fn read(shield: &Shield) -> Self {
        let totals = shield.totals();
        Self {
            totals: Outcome::ALL
                .into_iter()
                .map(|outcome| (totals.of(outcome).packets, totals.of(outcome).bytes))
                .collect(),
            sources: shield.sources(),
        }
    }
}

/// Runs the frame in the kernel and judges it on the host: what differs, if anything does.
fn disagreement(
    shield: &Shield,
    settings: ShieldSettings,
    rules: &[Rule],
    frame: &[u8],
) -> Option<String> {
    let now_ns = now_ns();
    let lists = HostLists { rules, now_ns };
    let host = decide(&parse(&frame), &lists, &with_lists(settings, rules), now_ns);
    let host_action = match host {
        Decision::Pass(_) | Decision::Spare(_) => Action::Pass,
        Decision::Drop(_) => Action::Drop,
    };
    let packets = |outcome| shield.totals().of(outcome).packets;
    let before = packets(host.outcome());
    let action = shield.run(frame);
    let counted = packets(host.outcome()) - before;
    (action != host_action || counted != 1).then(|| {
        format!("host {host:?}, kernel {action:?}, counted there {counted} times: {frame:02x?}")
    })
}

/// Marsaglia's xorshift64: the same sequence in every run.
struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a length fits u64");
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }

    /// Overwrites up to four bytes, most of them in the headers, and truncates every third frame.
    fn mutate(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        let headers = frame.len().min(128);
        for _ in 0..=self.below(4) {
            let at = self.below(headers);
            frame[at] = self.next().to_be_bytes()[0];
        }
        if self.below(3) == 0 {
            let len = MIN_FRAME + self.below(frame.len() - MIN_FRAME + 1);
            frame.truncate(len);
        }
        frame
    }
}
