//! What a policy makes of a class, and a shield that does not enforce.

use super::*;

fn later_fragment() -> Vec<u8> {
    let mut frame = frame4(SOURCE4, UDP, &[0; 8]);
    frame[20..22].copy_from_slice(&5_u16.to_be_bytes());
    frame
}

#[test]
fn policies_drop_count_or_ignore_their_class() {
    for (policy, malformed, fragment) in [
        (
            Policy::Drop as u8,
            MALFORMED,
            (Action::Drop, Outcome::Fragment),
        ),
        (
            Policy::Count as u8,
            (Action::Pass, Outcome::Malformed),
            (Action::Pass, Outcome::Fragment),
        ),
        (Policy::Pass as u8, PASSED, PASSED),
        // Of a user space that knows more policies.
        (3, MALFORMED, (Action::Drop, Outcome::Fragment)),
    ] {
        let (world, mut settings) = listing(&[]);
        settings.sanity.malformed = policy;
        settings.sanity.fragments = policy;
        let cut_frames = [&syn4()[..20], &syn4()[..40], &frame4(SOURCE4, TCP, &[])[..]];
        for frame in cut_frames {
            assert_eq!(outcome_of(&world, &settings, frame), malformed);
        }
        assert_eq!(outcome_of(&world, &settings, &later_fragment()), fragment);
    }
}

#[test]
fn what_is_no_ip_is_counted_under_its_own_class() {
    for ethertype in [0x88cc_u16, 0x8863, 0x8864] {
        let mut frame = syn4();
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        for (policy, expected) in [
            (Policy::Drop, (Action::Drop, Outcome::Ethertype)),
            (Policy::Count, (Action::Pass, Outcome::Ethertype)),
            (Policy::Pass, (Action::Pass, Outcome::NonIp)),
        ] {
            let (world, mut settings) = listing(&[]);
            settings.sanity.non_ip = policy as u8;
            settings.sanity.pppoe = policy as u8;
            let outcome = outcome_of(&world, &settings, &frame);
            assert_eq!(outcome, expected, "{ethertype:#06x} {policy:?}");
        }
    }
}

#[test]
fn a_policy_that_lets_through_does_not_shield_from_the_blocklist() {
    for policy in [Policy::Count, Policy::Pass] {
        let (world, mut settings) = listing(&[block(V4, 32)]);
        settings.sanity.malformed = policy as u8;
        settings.sanity.fragments = policy as u8;
        for frame in [&syn4()[..40], &later_fragment()] {
            assert_eq!(outcome_of(&world, &settings, frame), BLOCKED);
        }
    }
}

#[test]
fn of_two_classes_that_count_the_first_is_counted_and_a_drop_wins() {
    let mut frame = frame4(SOURCE4, TCP, &[tcp(0), vec![0; 4]].concat());
    frame[20..22].copy_from_slice(&0x2000_u16.to_be_bytes());
    let (world, mut settings) = listing(&[]);
    settings.sanity.fragments = Policy::Count as u8;
    let drop = (Action::Drop, Outcome::BadFlags);
    assert_eq!(outcome_of(&world, &settings, &frame), drop);
    settings.sanity.bad_flags = Policy::Count as u8;
    let count = (Action::Pass, Outcome::Fragment);
    assert_eq!(outcome_of(&world, &settings, &frame), count);
}

#[test]
fn without_enforcement_drops_are_spared_and_counted_apart() {
    let (world, mut settings) = listing(&[block(V6, 64)]);
    settings.enforce = 0;
    for (frame, outcome) in [
        (syn6(), Outcome::Blocked),
        (syn4()[..20].to_vec(), Outcome::Malformed),
        (later_fragment(), Outcome::Fragment),
    ] {
        let spared = (Action::Spare, outcome);
        assert_eq!(outcome_of(&world, &settings, &frame), spared);
        assert_eq!(world.totals().done(outcome).packets, 0);
        assert_eq!(world.totals().spared(outcome).packets, 1);
        assert_eq!(world.totals().of(outcome).bytes, frame.len() as u64);
    }
    assert_eq!(outcome_of(&world, &settings, &syn4()), PASSED);
}

#[test]
fn a_sanity_drop_is_the_sources_and_a_spoofed_one_is_nobodys() {
    let (mut world, mut settings) = listing(&[]);
    let null = frame4(SOURCE4, TCP, &tcp(0));
    for _ in 0..3 {
        world.judge(&null, &settings, NOW_NS);
    }
    let key = weir_common::addr::source_key(V4);
    let state = world.sources.get(key).expect("a state");
    assert_eq!((state.packets, state.drops), (3, [3, 0, 0, 0]));

    world.forget();
    let own = V4.mapped();
    world.own.insert(own);
    let probe = weir_common::bits::own(V4, settings.seed);
    settings.own[probe.word as usize] |= probe.mask;
    let spoofed = (Action::Drop, Outcome::Spoofed);
    assert_eq!(outcome_of(&world, &settings, &syn4()), spoofed);
    assert_eq!(world.sources.all(), []);
}

#[test]
fn open_settings_drop_nothing() {
    let world = HostWorld::default();
    let settings = Box::new(ShieldSettings::OPEN);
    let null = frame4(SOURCE4, TCP, &tcp(0));
    for frame in [syn4(), syn6(), later_fragment(), null, vec![0; 14]] {
        let (action, _) = outcome_of(&world, &settings, &frame);
        assert_eq!(action, Action::Pass);
    }
}
