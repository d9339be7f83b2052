//! Who gets a state: in calm, in a storm, over generations; prefixes; and who looks at drops.

use weir_common::time::EPOCH_SHIFT;

use super::*;
use crate::host::HostWorld;

const EPOCH_NS: u64 = 1 << EPOCH_SHIFT;
const GENERATION_NS: u64 = EPOCH_NS << 10;
/// The beginning of a generation.
const BEGIN_NS: u64 = 5 * GENERATION_NS;
const SOURCE: Source = Source::V4(0xc612_0007);

fn settings(calm: u32) -> Box<ShieldSettings> {
    let mut settings = Box::new(ShieldSettings::OPEN);
    settings.seed = 0x1234_5678_9abc_def0;
    settings.calm = calm;
    settings.prefix_heavy = 100;
    settings
}

/// Random sources of both IP versions; how many got a state.
fn strangers(world: &HostWorld, settings: &ShieldSettings, count: u64, now_ns: u64) -> usize {
    let got = |n: &u64| {
        let random = mix(*n ^ now_ns, 99);
        let stranger = if n & 1 == 0 {
            Source::V4(low(random) << 14 | low(random >> 32))
        } else {
            Source::V6([random | 1 << 61, 1])
        };
        source(world, settings, stranger, now_ns).is_some()
    };
    (0..count).filter(got).count()
}

#[test]
fn in_calm_everybody_has_a_state_from_the_first_packet_on() {
    let (world, settings) = (HostWorld::default(), settings(1_000));
    assert_eq!(strangers(&world, &settings, 1_000, BEGIN_NS), 1_000);
    assert!(source(&world, &settings, SOURCE, BEGIN_NS).is_none());
    let later = BEGIN_NS + 2 * EPOCH_NS;
    assert!(source(&world, &settings, SOURCE, later).is_some());
    let key = source_key(SOURCE);
    assert_eq!(
        world.sources.get(key).map(|state| state.first_seen),
        Some(epoch(later))
    );
}

#[test]
fn after_an_epoch_with_a_storm_there_is_no_calm() {
    let (world, settings) = (HostWorld::default(), settings(100));
    strangers(&world, &settings, 500, BEGIN_NS);
    assert!(source(&world, &settings, SOURCE, BEGIN_NS + EPOCH_NS).is_none());
    // That one was quiet.
    assert!(source(&world, &settings, SOURCE, BEGIN_NS + 2 * EPOCH_NS).is_some());
}

#[test]
fn a_storm_of_random_sources_gets_no_states() {
    let (world, settings) = (HostWorld::default(), settings(0));
    for epoch in 0..4 {
        let now_ns = BEGIN_NS + epoch * EPOCH_NS;
        // Two a cell, of sources that send once. The first epoch does not know yet that there is a storm.
        let states = strangers(&world, &settings, 600_000, now_ns);
        let most = if epoch == 0 { 20 } else { 0 };
        assert!(states <= most, "{states} in epoch {epoch}");
    }
}

#[test]
fn who_is_heavy_gets_a_state_in_the_middle_of_a_storm() {
    let (world, settings) = (HostWorld::default(), settings(0));
    strangers(&world, &settings, 300_000, BEGIN_NS);
    let mut packets = 0;
    while source(&world, &settings, SOURCE, BEGIN_NS + EPOCH_NS).is_none() {
        strangers(&world, &settings, 100, BEGIN_NS + EPOCH_NS + packets);
        packets += 1;
        assert!(packets < 20, "never heavy");
    }
    assert!(packets >= 7, "{packets}");
    assert_eq!(world.sources.all().len(), 1);
}

#[test]
fn a_state_is_found_again_for_as_long_as_its_source_comes_back() {
    let (world, settings) = (HostWorld::default(), settings(0));
    for _ in 0..20 {
        source(&world, &settings, SOURCE, BEGIN_NS);
    }
    assert!(may_be_known(&world, &settings, SOURCE, epoch(BEGIN_NS)));
    for generation in 0..300 {
        // Wraps after 128.
        let now_ns = BEGIN_NS + generation * GENERATION_NS;
        let state = source(&world, &settings, SOURCE, now_ns);
        assert!(state.is_some(), "generation {generation}");
    }
}

#[test]
fn who_stays_away_for_two_generations_is_a_stranger_again_and_keeps_its_state() {
    let (world, settings) = (HostWorld::default(), settings(0));
    for _ in 0..20 {
        source(&world, &settings, SOURCE, BEGIN_NS);
    }
    // Cells know an epoch by its lowest bits; in 256 epochs they are the same.
    let later = BEGIN_NS + 2 * GENERATION_NS + EPOCH_NS;
    assert!(!may_be_known(&world, &settings, SOURCE, epoch(later)));
    assert!(source(&world, &settings, SOURCE, later).is_none());
    for _ in 0..20 {
        source(&world, &settings, SOURCE, later);
    }
    let state = world.sources.get(source_key(SOURCE)).expect("a state");
    assert_eq!(state.first_seen, epoch(BEGIN_NS));
}

#[test]
fn nobody_is_known_before_it_was_seen() {
    let (world, settings) = (HostWorld::default(), settings(0));
    for generation in 0..300 {
        let now_ns = generation * GENERATION_NS;
        assert!(!may_be_known(&world, &settings, SOURCE, epoch(now_ns)));
    }
}

#[test]
fn more_cpus_make_more_noise_of_the_same_count() {
    assert_eq!(heavy(0, 0), 8);
    assert_eq!(heavy(1 << ROW_LOG2, 0), 12);
    assert_eq!(heavy(1 << ROW_LOG2, 3), 40);
    assert_eq!(heavy(u32::MAX, 15), u16::MAX);
}

#[test]
fn a_prefix_gets_a_state_once_it_is_heavy_and_not_before() {
    let (world, settings) = (HostWorld::default(), settings(0));
    let of = |host: u32, now_ns| {
        let source = Source::V4(0xc612_0000 | host & 0xff);
        prefix(&world, &settings, source, now_ns).is_some()
    };
    for n in 0..99 {
        assert!(!of(n, BEGIN_NS), "{n}");
    }
    // Another epoch begins at nothing.
    for n in 0..99 {
        assert!(!of(n, BEGIN_NS + EPOCH_NS), "{n}");
    }
    assert!(of(7, BEGIN_NS + EPOCH_NS));
    assert!(of(8, BEGIN_NS + 50 * EPOCH_NS), "known from now on");
    assert_eq!(world.prefixes.all().len(), 1);
    assert!(prefix(&world, &settings, Source::V4(0xc612_0107), BEGIN_NS).is_none());
}

#[test]
fn an_ipv6_source_is_its_64_and_its_prefix_its_48() {
    let (world, settings) = (HostWorld::default(), settings(100));
    let address = |net: u64, tail| Source::V6([0x2001_0db8_0001_0000 | net, tail]);
    for tail in 0..50 {
        source(&world, &settings, address(2, tail), BEGIN_NS);
    }
    assert_eq!(world.sources.all().len(), 1);
    for net in 0..100 {
        prefix(&world, &settings, address(net, 1), BEGIN_NS);
    }
    assert_eq!(world.prefixes.all().len(), 1);
}

#[test]
fn an_epoch_rolls_over_what_was_counted_and_forgets_what_is_older() {
    let cell = core::cell::Cell::new(CpuState::default());
    let cpu = Shared::of(&cell);
    roll(cpu, 5);
    cpu.strangers().write(70);
    cpu.samples().write(3);
    cpu.forged().write(9);
    roll(cpu, 5);
    assert_eq!(cell.get().strangers, 70);
    roll(cpu, 6);
    let state = cell.get();
    assert_eq!((state.strangers, state.strangers_before), (0, 70));
    assert_eq!((state.samples, state.forged), (0, 0));
    roll(cpu, 8);
    assert_eq!(cell.get().strangers_before, 0);
}

/// Drops looked at and what they stand for together: nothing is lost.
#[test]
fn every_drop_is_attended_to_within_the_budget_and_in_lots_beyond() {
    for budget in [0, 1, 20, 255_u8] {
        let (world, mut settings) = (HostWorld::default(), settings(0));
        settings.samples_per_epoch = budget;
        let drops = 100_000;
        let (mut sampled, mut weight, mut looks) = (0, 0, 0);
        for _ in 0..drops {
            if let Some(attention) = attend(&world, &settings) {
                sampled += u32::from(attention.is_sampled);
                weight += attention.weight;
                looks += 1;
            }
        }
        assert_eq!(sampled, u32::from(budget));
        assert!(
            looks <= u32::from(budget) + 1 + drops / PAUSE,
            "{looks} looks"
        );
        assert!(
            weight.abs_diff(drops) <= PAUSE + 1,
            "{weight} of {drops} with a budget of {budget}"
        );
    }
}

/// Ten million packets of strangers a second, on 4 of 16 CPUs: what the documentation of [`heavy`] says.
#[test]
fn idle_cpus_raise_the_threshold_of_heavy_by_no_more_than_their_share() {
    let strangers = 10_000_000 * 268 / 1000 / 4;
    let (right, wrong) = (heavy(strangers, 2), heavy(strangers, 4));
    assert_eq!((right, wrong), (48, 168));
    assert!(wrong <= right * 4);
}
