//! Rates: what GCRA admits, at any time of a clock that wraps, and by several CPUs at once.

use core::sync::atomic::{AtomicU64, Ordering};

use weir_common::settings::{Limit, Limits};
use weir_common::time::TICK_SHIFT;
use weir_common::{PrefixState, SourceState};

use super::*;
use crate::shared::racing::Racing;
use crate::verdict::account::Load;
use crate::verdict::limits::{Class, prefix, source};

/// How long 32 bits of ticks last.
const WRAP_NS: u64 = 1 << (32 + TICK_SHIFT);
/// Within the first, in the second half, and shortly before the end of it.
const PHASES_NS: [u64; 4] = [
    WRAP_NS * 3 + 20 * SECOND_NS,
    WRAP_NS * 3 + WRAP_NS / 2 + 20 * SECOND_NS,
    WRAP_NS * 4 - 5 * SECOND_NS,
    WRAP_NS * 4 - SECOND_NS / 100,
];

fn limited(limits: Limits) -> (HostWorld, Box<ShieldSettings>) {
    let (world, mut settings) = listing(&[]);
    settings.limits = limits;
    (world, settings)
}

/// Packets admitted of a source that sends one every `step_ns` for `time_ns`.
fn admitted(limits: Limits, frame: &[u8], begin_ns: u64, step_ns: u64, time_ns: u64) -> u64 {
    let (world, settings) = limited(limits);
    let mut now_ns = begin_ns;
    let mut admitted = 0;
    while now_ns < begin_ns + time_ns {
        let decision = world.judge(frame, &settings, now_ns);
        admitted += u64::from(decision.action == Action::Pass);
        now_ns += step_ns;
    }
    admitted
}

fn expect_near(admitted: u64, expected: u64, what: &str) {
    let slack = expected / 20 + 1;
    assert!(
        admitted.abs_diff(expected) <= slack,
        "{what}: {admitted} admitted, expected {expected}"
    );
}

/// Limits of one kind.
type Make = fn(Limit) -> Limits;

#[test]
fn a_source_gets_its_burst_and_its_rate_whenever_it_begins() {
    let udp_frame = frame4(SOURCE4, UDP, &udp(b"data"));
    let ping = frame4(SOURCE4, ICMP, &icmp(8, 0));
    let kinds: [(&str, Vec<u8>, Make); 4] = [
        ("packets", ack4(), |packets| Limits {
            packets,
            ..Limits::NONE
        }),
        ("SYNs", syn6(), |syn| Limits {
            syn,
            ..Limits::NONE
        }),
        ("datagrams", udp_frame, |udp| Limits {
            udp,
            ..Limits::NONE
        }),
        ("pings", ping, |icmp| Limits {
            icmp,
            ..Limits::NONE
        }),
    ];
    for (what, frame, limits) in kinds {
        for begin_ns in PHASES_NS {
            for (rate, burst) in [(10, 20), (1_000, 50), (50_000, 5_000)] {
                // Three times too many, for a second.
                let admitted = admitted(
                    limits(Limit::per_second(rate, burst)),
                    &frame,
                    begin_ns,
                    SECOND_NS / (3 * rate),
                    SECOND_NS,
                );
                let most = burst + rate;
                expect_near(
                    admitted,
                    most.min(3 * rate),
                    &format!("{rate} {what} a second"),
                );
            }
        }
    }
}

#[test]
fn who_keeps_to_its_rate_is_hardly_ever_refused() {
    for begin_ns in PHASES_NS {
        for rate in [7, 1_000, 30_000] {
            let limits = Limits {
                packets: Limit::per_second(rate, 2),
                ..Limits::NONE
            };
            let step_ns = SECOND_NS / rate + 1;
            let sent = SECOND_NS.div_ceil(step_ns);
            // Costs are whole ticks of 64 ns.
            let refused = sent - admitted(limits, &ack4(), begin_ns, step_ns, SECOND_NS);
            assert!(refused <= sent / 1_000, "{refused} of {sent} at {rate}/s");
        }
    }
}

/// Packets a second that a source gets which always has one more, after its burst.
fn sustained(limits: &Limits, class: Class, rate: u64) -> u64 {
    const TICK_NS: u64 = 1 << TICK_SHIFT;
    // Enough packets, and ticks, for an error of a few in either to show.
    let packets = if rate < 50_000 { 1_000 } else { 100_000 };
    let time_ns = (SECOND_NS * packets / rate / TICK_NS).max(100) * TICK_NS;
    let state = Racing::new(SourceState::first_seen_at(NOW_NS));
    let load = Load::new(class, true, 100);
    let (mut salt, mut counted) = (0, 0);
    let steps = (time_ns / TICK_NS).min(500);
    for step in 0..=steps {
        let now_ns = NOW_NS + time_ns * step / steps;
        loop {
            salt += 1;
            if source(state.share(), limits, load, salt, now_ns).is_err() {
                break;
            }
            // The first step takes the burst.
            counted += u64::from(step > 0);
        }
    }
    u64::try_from(u128::from(counted) * u128::from(SECOND_NS) / u128::from(time_ns)).unwrap()
}

#[test]
fn every_rate_is_held_from_the_least_to_the_most() {
    let log2 = 6..=40;
    let rates = log2.flat_map(|log2| [4, 5, 6, 7].map(|quarters| (quarters << log2) / 4));
    for rate in rates.filter(|rate| *rate <= Limit::RATE_MAX) {
        // Several steps of [`sustained`], and several ticks.
        let burst = if rate < 50_000 { 8 } else { 1_000 };
        let limit = Limit::per_second(rate, burst.max(rate >> 21));
        for (class, limits) in [
            (
                Class::Other,
                Limits {
                    packets: limit,
                    ..Limits::NONE
                },
            ),
            (
                Class::Syn,
                Limits {
                    syn: limit,
                    ..Limits::NONE
                },
            ),
        ] {
            let held = sustained(&limits, class, rate);
            expect_near(held, rate, &format!("{class:?} at {rate} a second"));
        }
    }
}

/// The rates of bytes that interfaces have; a small frame then costs a fraction of a tick or a few.
#[test]
fn bytes_are_held_to_their_rate_in_frames_of_any_size() {
    for data in [0, 26, 460, 1_400] {
        let frame = frame4(SOURCE4, UDP, &udp(&vec![0; data]));
        let len = frame.len() as u64;
        for rate in [100_000, 12_500_000, 125_000_000, 1_250_000_000] {
            let limits = Limits {
                bytes: Limit::per_second(rate, rate / 10),
                ..Limits::NONE
            };
            // Twice too many frames, or at most 400,000 of them.
            let step_ns = (SECOND_NS * len / (2 * rate)).max(1);
            let time_ns = SECOND_NS.min(step_ns * 400_000);
            let admitted = admitted(limits, &frame, NOW_NS, step_ns, time_ns);
            let most = rate / 10 + rate * time_ns / SECOND_NS;
            let sent = time_ns.div_ceil(step_ns);
            let what = format!("{rate} bytes a second in frames of {len}");
            expect_near(admitted, (most / len).min(sent), &what);
        }
    }
}

#[test]
fn random_traffic_is_never_admitted_beyond_burst_and_rate() {
    let mut random = Random(11);
    for round in 0..100 {
        let rate = 1 + random.below(20_000);
        let burst = 1 + random.below(rate.min(2_000));
        let begin_ns = PHASES_NS[usize::try_from(random.below(4)).unwrap()];
        let (world, settings) = limited(Limits {
            packets: Limit::per_second(rate, burst),
            ..Limits::NONE
        });
        let (mut now_ns, mut admitted) = (begin_ns, 0);
        for _ in 0..5_000 {
            // Volleys, and pauses of up to two of its intervals.
            if random.below(3) == 0 {
                now_ns += random.below(2 * SECOND_NS / rate);
            }
            let decision = world.judge(&ack4(), &settings, now_ns);
            admitted += u64::from(decision.action == Action::Pass);
        }
        let most = burst + rate * (now_ns - begin_ns) / SECOND_NS;
        assert!(
            admitted <= most + most / 20 + 1,
            "round {round}: {admitted} of at most {most}, {rate}/s with {burst}"
        );
    }
}

/// What is charged seldom lies far in the past, where 32 bits of ticks cannot tell it from the future.
#[test]
fn the_first_datagram_of_a_source_known_for_long_is_not_refused() {
    for begin_ns in PHASES_NS {
        for quiet in [1, 30, 60, 136, 138, 200, 260, 274, 276, 400] {
            let (world, settings) = limited(Limits {
                packets: Limit::per_second(1_000, 100),
                udp: Limit::per_second(10, 20),
                icmp: Limit::per_second(10, 20),
                ..Limits::NONE
            });
            let datagram = frame4(SOURCE4, UDP, &udp(b"x"));
            let ping = frame4(SOURCE4, ICMP, &icmp(8, 0));
            world.judge(&datagram, &settings, begin_ns);
            // A segment each 200 ms, so that the source is seen in every epoch.
            for n in 0..quiet * 5 {
                let now_ns = begin_ns + n * SECOND_NS / 5;
                let decision = world.judge(&ack4(), &settings, now_ns);
                assert_eq!(decision.outcome, Outcome::Passed);
            }
            let now_ns = begin_ns + quiet * SECOND_NS;
            for frame in [&datagram, &ping] {
                let decision = world.judge(frame, &settings, now_ns);
                assert_eq!(decision.outcome, Outcome::Passed, "after {quiet} s");
            }
        }
    }
}

#[test]
fn a_source_that_was_away_owes_nothing_however_long_it_was() {
    for begin_ns in PHASES_NS {
        for away in [35, 100, 137, 138, 200, 274, 275, 300, 100_000] {
            let (world, settings) = limited(Limits {
                packets: Limit::per_second(1, 30),
                ..Limits::NONE
            });
            for _ in 0..40 {
                world.judge(&ack4(), &settings, begin_ns);
            }
            let now_ns = begin_ns + away * SECOND_NS;
            for n in 0..30 {
                let decision = world.judge(&ack4(), &settings, now_ns);
                assert_eq!(decision.outcome, Outcome::Passed, "{n} after {away} s");
            }
            let decision = world.judge(&ack4(), &settings, now_ns);
            assert_eq!(decision.outcome, Outcome::RatePackets);
        }
    }
}

/// Free packets, and those that a check drops, neither cost anything nor hide that nothing is owed.
#[test]
fn what_is_not_limited_costs_nothing() {
    for begin_ns in PHASES_NS {
        let (world, mut settings) = limited(Limits {
            packets: Limit::per_second(1, 1),
            ..Limits::NONE
        });
        settings.failsafe_ports = ports(&[443]);
        let null = frame4(SOURCE4, TCP, &tcp(0));
        for frame in [&ack4(), &null, &ack4()] {
            world.judge(frame, &settings, begin_ns);
        }
        settings.failsafe_ports = Ports::EMPTY;
        let outcomes = [0, 1].map(|_| world.judge(&ack4(), &settings, begin_ns).outcome);
        assert_eq!(outcomes, [Outcome::Passed, Outcome::RatePackets]);
    }
}

#[test]
fn a_prefix_shares_its_limit_between_strangers() {
    let (world, mut settings) = limited(Limits::NONE);
    settings.calm = 0;
    settings.prefix_heavy = 10;
    settings.prefix_limits.packets = Limit::per_second(1_000, 50);
    let mut passed = 0;
    for n in 0..30_000_u64 {
        let host = n.to_be_bytes()[7];
        let frame = frame4([198, 18, 0, host], TCP, &tcp(ACK));
        let now_ns = NOW_NS + n * SECOND_NS / 10_000;
        passed += u64::from(world.judge(&frame, &settings, now_ns).action == Action::Pass);
    }
    // Nine before it is heavy, and its burst and three seconds of its rate.
    expect_near(passed, 9 + 50 + 3_000, "a /24");
}

/// Threads that judge packets of one source at the pace of one clock; how many were admitted, and in how long.
fn race(admits: impl Fn(u32, u64) -> bool + Sync) -> (u64, u64) {
    const STEP_NS: u64 = 200;
    const TIME_NS: u64 = SECOND_NS / 5;
    let clock = AtomicU64::new(NOW_NS);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        // Two, so that they run at the same time on any host: a program in the kernel is not preempted as a thread is.
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let now_ns = clock.fetch_add(STEP_NS, Ordering::Relaxed);
                    if now_ns >= NOW_NS + TIME_NS {
                        break;
                    }
                    let salt = u32::try_from((now_ns - NOW_NS) / STEP_NS).unwrap();
                    if admits(salt, now_ns) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (admitted.into_inner(), TIME_NS)
}

#[test]
fn cpus_that_race_for_one_source_admit_no_more_than_its_rate() {
    const RATE: u64 = 100_000;
    const BURST: u64 = 1_000;
    let limit = Limit::per_second(RATE, BURST);
    for (limits, class) in [
        (
            Limits {
                syn: limit,
                ..Limits::NONE
            },
            Class::Syn,
        ),
        (
            Limits {
                packets: limit,
                bytes: Limit::per_second(RATE * 200, BURST * 200),
                ..Limits::NONE
            },
            Class::Other,
        ),
    ] {
        let load = Load::new(class, true, 100);
        let state = Racing::new(SourceState::first_seen_at(NOW_NS));
        let (admitted, time_ns) =
            race(|salt, now_ns| source(state.share(), &limits, load, salt, now_ns).is_ok());
        let expected = BURST + RATE * time_ns / SECOND_NS;
        expect_near(admitted, expected, &format!("{class:?} of a source"));

        let state = Racing::new(PrefixState::first_seen_at(NOW_NS));
        let (admitted, _) = race(|salt, now_ns| prefix(state.share(), &limits, load, salt, now_ns));
        expect_near(admitted, expected, &format!("{class:?} of a prefix"));
    }
}

#[test]
fn cpus_that_race_lose_no_count() {
    let state = Racing::new(SourceState::first_seen_at(NOW_NS));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    state.share().packets().add(1);
                    state.share().syns().add(1);
                }
            });
        }
    });
    let state = state.share().read();
    assert_eq!((state.packets, state.syns), (200_000, 200_000));
}
