//! Differential fuzzing: random frames under random settings, judged by the kernel and by the host, which have to agree on
//! every verdict and on everything they remember.

pub(crate) mod packets;
mod plans;
pub(crate) mod random;
mod shrink;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use self::random::Random;
use crate::frames::{OWN4, OWN6, SOURCE4, SOURCE6};
use crate::pair::{Comparison, Pair, Plan};
use crate::sockets::Sockets;
use crate::verdicts::say;

/// `WEIR_FUZZ_PACKETS`, `WEIR_FUZZ_SECONDS` and `WEIR_FUZZ_SEED` say how many, for how long at most, and from where.
#[test]
fn kernel_and_host_agree_on_random_frames() {
    let budget = Budget::from_environment();
    let mut pair = Pair::load();
    pair.untest_second_array();
    let sockets = open_sockets();
    pair.script(sockets.script());
    let splits = pair.shield.can_split();
    let start = Instant::now();
    let (mut packets, mut undecided) = (0, 0);
    let mut generation = 0;
    while packets < budget.packets && start.elapsed() < budget.time {
        let mut random = Random::new(budget.seed.wrapping_add(generation));
        let (plan, frames) = generate(&mut random, splits);
        match judge(&mut pair, &plan, &frames) {
            Comparison::Agree => packets += frames.len() as u64,
            Comparison::Undecided => undecided += frames.len() as u64,
            Comparison::Disagree(difference) => {
                let minimal = shrink::shrink(&mut pair, &plan, &frames);
                let seed = budget.seed.wrapping_add(generation);
                panic!(
                    "{difference}\n{minimal}again: cargo xtask fuzz-shield --seed {seed} --packets {GENERATION}"
                );
            }
        }
        generation += 1;
    }
    pair.forget();
    let left = pair.shield.cells_in_use();
    assert!(
        left.is_empty(),
        "cells that the kernel wrote and the host did not: {left:x?}"
    );
    say(&format!(
        "{packets} packets, 0 disagreements (seed {}, {:.1} s; {undecided} more met too many ticks of the clock)",
        budget.seed,
        start.elapsed().as_secs_f64()
    ));
}

/// One frame, and how it lies in memory.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// Bytes of the first buffer, if the rest is to lie elsewhere.
    pub(crate) split: Option<usize>,
}

/// Configures both, runs the frames and compares; again if that decides nothing.
pub(crate) fn judge(pair: &mut Pair, plan: &Plan, frames: &[Frame]) -> Comparison {
    for _ in 0..ATTEMPTS {
        let comparison = judge_once(pair, plan, frames);
        if comparison != Comparison::Undecided {
            return comparison;
        }
    }
    Comparison::Undecided
}

fn judge_once(pair: &mut Pair, plan: &Plan, frames: &[Frame]) -> Comparison {
    pair.configure(plan);
    for frame in frames {
        match frame.split {
            None => pair.run(&frame.bytes),
            Some(first) => pair.run_split(&frame.bytes, first.min(frame.bytes.len())),
        };
    }
    pair.compare()
}

/// `splits`: some frames' headers lie in several buffers.
fn generate(random: &mut Random, splits: bool) -> (Plan, Vec<Frame>) {
    let plan = plans::plan(random);
    // What an epoch allows a few hundred of is used up by nothing less.
    let flood = random.chance(10).then(|| packets::Flood::any(random));
    let frames = (0..GENERATION)
        .map(|_| {
            let bytes = match flood {
                Some(flood) if random.chance(90) => packets::of_flood(random, flood),
                _ => packets::frame(random),
            };
            let first_buffer = 14 + random.below(bytes.len().min(200) - 13);
            let split = (random.chance(3) && splits).then_some(first_buffer);
            Frame { bytes, split }
        })
        .collect();
    (plan, frames)
}

fn open_sockets() -> Sockets {
    let pairs: [(SocketAddr, IpAddr); 2] = [
        ((SOURCE4, 40_000).into(), OWN4.into()),
        ((SOURCE6, 40_000).into(), OWN6.into()),
    ];
    Sockets::open(443, &pairs)
}

struct Budget {
    packets: u64,
    time: Duration,
    seed: u64,
}

impl Budget {
    /// Without a word from outside a short run from a fixed seed.
    fn from_environment() -> Self {
        let number = |name| {
            let text = std::env::var(name).ok()?;
            Some(
                text.parse()
                    .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
            )
        };
        let (packets, seconds) = (number("WEIR_FUZZ_PACKETS"), number("WEIR_FUZZ_SECONDS"));
        let asked = packets.is_some() || seconds.is_some();
        Self {
            packets: packets.unwrap_or(if asked { u64::MAX } else { SHORT_RUN }),
            time: seconds.map_or(Duration::MAX, Duration::from_secs),
            seed: number("WEIR_FUZZ_SEED").unwrap_or(1),
        }
    }
}

/// Packets between two comparisons.
const GENERATION: u32 = 512;
/// How often a generation in which the clock ticked within a run, and that differs, is run before it counts as undecided.
const ATTEMPTS: usize = 8;
/// Packets of a run that nobody asked for.
const SHORT_RUN: u64 = 50_000;
