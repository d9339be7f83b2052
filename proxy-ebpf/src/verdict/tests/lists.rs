//! Allowlist and blocklist: which entries match, which wins, and when they end.

use super::*;

#[test]
fn nothing_listed_passes() {
    let (world, settings) = listing(&[]);
    for frame in [syn4(), syn6()] {
        assert_eq!(outcome_of(&world, &settings, &frame), PASSED);
    }
}

#[test]
fn every_list_blocks_alone_and_counts_its_hits() {
    for (source, len, frame) in [
        (V4, 32, syn4()),
        (V4, 24, syn4()),
        (V4, 0, syn4()),
        (V6, 128, syn6()),
        (V6, 64, syn6()),
        (V6, 48, syn6()),
        (V6, 127, syn6()),
        (V6, 0, syn6()),
    ] {
        let rule = block(source, len);
        let (world, settings) = listing(&[rule]);
        for hits in 1..=3 {
            assert_eq!(outcome_of(&world, &settings, &frame), BLOCKED, "/{len}");
            assert_eq!(
                world.lists.entry(&rule).map(|entry| entry.hits()),
                Some(hits)
            );
        }
        assert_eq!(world.sources.all(), [], "a blocked source has no state");
    }
}

#[test]
fn allow_beats_block() {
    for (source, frame, exact, prefix) in [(V4, syn4(), 32, 16), (V6, syn6(), 128, 32)] {
        let (world, settings) = listing(&[
            allow(source, prefix),
            block(source, exact),
            block(source, prefix + 1),
        ]);
        assert_eq!(outcome_of(&world, &settings, &frame), ALLOWED);
    }
}

#[test]
fn an_entry_ends_at_its_expiry() {
    // Ends are kept to 2^22 ns.
    const TICK_NS: u64 = 1 << 22;
    let end = NOW_NS.next_multiple_of(TICK_NS);
    for (expires_ns, live) in [
        (0, true),
        (end + TICK_NS, true),
        (end + 1, true),
        (end, false),
        (end - TICK_NS, false),
        (1, false),
        (u64::MAX, true),
    ] {
        for (source, len, frame) in [
            (V4, 32, syn4()),
            (V4, 24, syn4()),
            (V6, 128, syn6()),
            (V6, 64, syn6()),
            (V6, 48, syn6()),
        ] {
            let ending = |rule| Rule { expires_ns, ..rule };
            let (world, settings) = listing(&[ending(block(source, len))]);
            let decision = world.judge(&frame, &settings, end);
            assert_eq!(decision.action == Action::Drop, live, "{expires_ns} /{len}");
            let (world, settings) = listing(&[ending(allow(source, len))]);
            let decision = world.judge(&frame, &settings, end);
            assert_eq!(decision.outcome == Outcome::Allowed, live, "{expires_ns}");
        }
    }
}

#[test]
fn a_live_prefix_shows_through_eight_expired_longer_ones_and_no_more() {
    for expired in 0..=10_u8 {
        for (source, longest, live, frame) in [(V4, 30, 8, syn4()), (V6, 120, 20, syn6())] {
            let ended = |n| Rule {
                expires_ns: 1,
                ..block(source, longest - n)
            };
            let mut rules: Vec<Rule> = (0..expired).map(ended).collect();
            rules.push(block(source, live));
            let (world, settings) = listing(&rules);
            let found = outcome_of(&world, &settings, &frame) == BLOCKED;
            assert_eq!(found, expired <= 8, "behind {expired} expired prefixes");
        }
    }
}

#[test]
fn lists_that_are_not_populated_are_not_looked_up() {
    let (world, mut settings) = listing(&[
        allow(V4, 8),
        block(V4, 32),
        block(V6, 128),
        block(V6, 64),
        block(V6, 48),
    ]);
    settings.lists = 0;
    for frame in [syn4(), syn6()] {
        assert_eq!(outcome_of(&world, &settings, &frame), PASSED);
    }
}

/// Three priority tags (VLAN 0) and Linux still delivers the packet: seen on 6.18 without 802.1Q in the kernel.
#[test]
fn a_source_that_cannot_be_read_is_no_way_past_the_blocklist() {
    let tag = [0x81, 0x00, 0, 0];
    let tagged = [&[2; 12], &tag[..], &tag, &tag, &syn4()[12..]].concat();
    for policy in [Policy::Count, Policy::Pass] {
        for rule in [
            block(V4, 32),
            block(V4, 9),
            block(V6, 128),
            block(V6, 64),
            block(V6, 9),
        ] {
            let (world, mut settings) = listing(&[rule]);
            settings.sanity.malformed = policy as u8;
            assert_eq!(outcome_of(&world, &settings, &tagged), MALFORMED);
        }
        let (world, mut settings) = listing(&[allow(V4, 32)]);
        settings.sanity.malformed = policy as u8;
        let (action, _) = outcome_of(&world, &settings, &tagged);
        assert_eq!(action, Action::Pass);
    }
}

/// The pre-tests are hints: whoever they let through is looked up, and whoever is listed they let through.
#[test]
fn pre_tests_hide_no_entry() {
    let mut random = Random(7);
    for round in 0..200 {
        let mut settings = enforcing();
        settings.seed = random.next();
        settings.exact_log2 = u8::try_from(12 + random.below(7)).unwrap();
        let rules: Vec<Rule> = (0..20).map(|_| rule(&mut random)).collect();
        let mut world = HostWorld::listing(Lists::of(&rules, &settings));
        settings.lists = world.lists.populated();
        let frames: Vec<Vec<u8>> = (0..20).map(|_| frame(&mut random)).collect();
        let outcomes = |world: &HostWorld| -> Vec<Outcome> {
            let judge = |frame: &Vec<u8>| world.judge(frame, &settings, NOW_NS).outcome;
            frames.iter().map(judge).collect()
        };
        let tested = outcomes(&world);
        world.lists.untested = true;
        assert_eq!(outcomes(&world), tested, "round {round}");
    }
}

fn rule(random: &mut Random) -> Rule {
    let list = if random.below(3) == 0 {
        List::Allow
    } else {
        List::Block
    };
    let (source, len) = if random.below(2) == 0 {
        (near4(random), 32 - random.below(28))
    } else {
        (near6(random), 128 - random.below(120))
    };
    let len = u8::try_from(len).unwrap();
    Rule::new(list, truncated(source, len), len)
}

fn frame(random: &mut Random) -> Vec<u8> {
    let source = if random.below(2) == 0 {
        near4(random)
    } else {
        near6(random)
    };
    match source {
        Source::V4(address) => frame4(address.to_be_bytes(), TCP, &tcp(SYN)),
        Source::V6([head, tail]) => {
            let address = u128::from(head) << 64 | u128::from(tail);
            frame6(address.to_be_bytes(), TCP, 64, &tcp(SYN))
        }
    }
}

/// An address that shares more or fewer bits with the others.
fn near4(random: &mut Random) -> Source {
    let far = random.short(28);
    Source::V4(u32::from_be_bytes(SOURCE4) ^ u32::try_from(far).unwrap())
}

fn near6(random: &mut Random) -> Source {
    let Source::V6([head, tail]) = V6 else {
        panic!("an IPv6 address");
    };
    let near = |half: u64, random: &mut Random| half ^ random.short(60);
    if random.below(2) == 0 {
        Source::V6([head, near(tail, random)])
    } else {
        Source::V6([near(head, random), tail])
    }
}
