//! Kernel and host agree on what becomes of the table's frames when they are cut, or bytes of them change.

use weir_common::{Entry, Outcome};
use weir_ebpf::host::Sockets as Script;

use crate::fuzz::random::Random;
use crate::pair::{Comparison, Pair};
use crate::shield::Interface;
use crate::table::{Case, cases_once};
use crate::verdicts::{pair, runnable};

#[test]
fn every_truncation_of_the_table_is_judged_alike() {
    let (mut pair, _sockets) = pair();
    let mut judged = 0;
    for case in &runnable(&pair.shield, cases_once()) {
        let step = case.steps.last().expect("a case has a frame");
        // A frame below the Ethernet header cannot be run; behind 256 bytes there is only data.
        let cuts: Vec<Vec<u8>> = (MIN_FRAME..step.frame.len().min(256))
            .map(|len| step.frame[..len].to_vec())
            .collect();
        judged += cuts.len();
        expect_agreement(&mut pair, case, &cuts, step.split);
    }
    assert!(judged >= 20_000, "{judged} frames");
}

#[test]
fn mutated_frames_of_the_table_are_judged_alike() {
    let (mut pair, _sockets) = pair();
    let mut random = Random::new(0x2545_f491_4f6c_dd1d);
    let mut judged = 0;
    for case in &cases_once() {
        let step = case.steps.last().expect("a case has a frame");
        let mutants: Vec<Vec<u8>> = (0..MUTATIONS)
            .map(|_| mutate(&mut random, &step.frame))
            .collect();
        judged += mutants.len();
        expect_agreement(&mut pair, case, &mutants, None);
    }
    assert!(judged >= 20_000, "{judged} frames");
}

/// All that the pre-tests may do is spare look-ups.
#[test]
fn pre_tests_that_promise_nothing_change_no_verdict() {
    let (mut pair, _sockets) = pair();
    pair.untest_second_array();
    for case in &cases_once() {
        let mut case = case.clone();
        let mut memories = Vec::new();
        for bits in [0, 1] {
            case.plan.settings.bits = bits;
            pair.configure(&case.plan);
            for step in &case.steps {
                pair.run(&step.frame);
            }
            let memory = pair.memory_of_kernel();
            let hits: Vec<u64> = memory.entries.iter().map(Entry::hits).collect();
            memories.push((memory.totals, hits));
        }
        assert!(memories[0] == memories[1], "{}", case.description);
    }
}

/// Every packet there comes from this host.
#[test]
fn on_the_loopback_no_source_is_spoofed() {
    let mut pair = Pair::load_for(Interface::Loopback);
    pair.script(Script::default());
    let mut spoofed = 0;
    for case in &cases_once() {
        if case
            .steps
            .iter()
            .any(|step| step.outcome == Outcome::Spoofed)
        {
            pair.configure(&case.plan);
            pair.run(&case.steps[0].frame);
            let counted = pair.shield.totals().of(Outcome::Spoofed);
            assert_eq!(counted.packets, 0, "{}", case.description);
            is_agreed(&mut pair, case);
            spoofed += 1;
        }
    }
    assert!(spoofed > 20, "{spoofed} spoofed frames");
}

/// The stack looks for sockets as the master's.
#[test]
fn on_a_port_of_another_interface_no_port_is_closed() {
    let mut pair = Pair::load_for(Interface::Port);
    pair.script(Script::default());
    let mut closed = 0;
    for case in &cases_once() {
        if case
            .steps
            .iter()
            .any(|step| step.outcome == Outcome::PortClosed)
        {
            pair.configure(&case.plan);
            pair.run(&case.steps[0].frame);
            let counted = pair.shield.totals().of(Outcome::PortClosed);
            assert_eq!(counted.packets, 0, "{}", case.description);
            is_agreed(&mut pair, case);
            closed += 1;
        }
    }
    assert!(closed > 4, "{closed} frames to closed ports");
}

fn expect_agreement(pair: &mut Pair, case: &Case, frames: &[Vec<u8>], split: Option<usize>) {
    for _ in 0..ATTEMPTS {
        pair.configure(&case.plan);
        for frame in frames {
            match split {
                Some(first_buffer) if first_buffer < frame.len() => {
                    pair.run_split(frame, first_buffer)
                }
                _ => pair.run(frame),
            };
        }
        if is_agreed(pair, case) {
            return;
        }
    }
}

/// A machine so busy that nobody knows the time decides nothing.
fn is_agreed(pair: &mut Pair, case: &Case) -> bool {
    match pair.compare() {
        Comparison::Agree => true,
        Comparison::Undecided => false,
        Comparison::Disagree(difference) => panic!("{}: {difference}", case.description),
    }
}

/// Overwrites up to four bytes, most of them in the headers, and truncates every third frame.
fn mutate(random: &mut Random, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let headers = frame.len().min(128);
    for _ in 0..=random.below(4) {
        let at = random.below(headers);
        frame[at] = random.byte();
    }
    if random.below(3) == 0 {
        let len = MIN_FRAME + random.below(frame.len() - MIN_FRAME + 1);
        frame.truncate(len);
    }
    frame
}

/// How often frames are run of which nobody knows at what time.
const ATTEMPTS: usize = 8;
/// Mutated frames per frame of the table.
const MUTATIONS: u32 = 50;
/// The kernel runs no frame shorter than this (`ETH_HLEN`).
const MIN_FRAME: usize = 14;
