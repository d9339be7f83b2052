//! Tunnels: what is inside meets lists and sanity checks, counters and limits are the relay's.

use super::*;

const RELAY4: [u8; 4] = [198, 18, 77, 1];
const RELAY: Source = Source::V4(u32::from_be_bytes(RELAY4));

fn in_tunnel(inside: &[u8]) -> Vec<u8> {
    frame4(RELAY4, IPIP, &inside[14..])
}

fn looking_inside(rules: &[Rule]) -> (HostWorld, Box<ShieldSettings>) {
    let (world, mut settings) = listing(rules);
    settings.sanity.inner = 1;
    (world, settings)
}

#[test]
fn a_blocked_source_inside_is_blocked_only_if_somebody_looks() {
    let (world, mut settings) = looking_inside(&[block(V4, 32)]);
    assert_eq!(outcome_of(&world, &settings, &in_tunnel(&syn4())), BLOCKED);
    settings.sanity.inner = 0;
    assert_eq!(outcome_of(&world, &settings, &in_tunnel(&syn4())), PASSED);
}

#[test]
fn what_is_inside_counts_for_the_relay() {
    let (world, settings) = looking_inside(&[]);
    let null = in_tunnel(&frame4(SOURCE4, TCP, &tcp(0)));
    let bad_flags = (Action::Drop, Outcome::BadFlags);
    assert_eq!(outcome_of(&world, &settings, &null), bad_flags);
    assert_eq!(outcome_of(&world, &settings, &in_tunnel(&syn4())), PASSED);
    let states = world.sources.all();
    let [(key, state)] = states.as_slice() else {
        panic!("{states:?}");
    };
    assert_eq!(*key, weir_common::addr::source_key(RELAY));
    assert_eq!(
        (state.packets, state.syns, state.drops),
        (2, 0, [1, 0, 0, 0])
    );
}

#[test]
fn an_allowed_relay_is_not_looked_into_and_an_allowed_source_inside_is_no_pass() {
    let (world, settings) = looking_inside(&[allow(RELAY, 32), block(V4, 32)]);
    assert_eq!(outcome_of(&world, &settings, &in_tunnel(&syn4())), ALLOWED);
    let (world, settings) = looking_inside(&[allow(V4, 32), block(RELAY, 32)]);
    assert_eq!(outcome_of(&world, &settings, &in_tunnel(&syn4())), BLOCKED);
}

#[test]
fn a_packet_inside_that_cannot_be_read_is_no_way_past_the_blocklist() {
    let short = in_tunnel(&syn4()[..30]);
    let (world, mut settings) = looking_inside(&[block(V6, 64)]);
    settings.sanity.malformed = Policy::Pass as u8;
    assert_eq!(outcome_of(&world, &settings, &short), MALFORMED);
    let (world, mut settings) = looking_inside(&[]);
    settings.sanity.malformed = Policy::Pass as u8;
    assert_eq!(outcome_of(&world, &settings, &short), PASSED);
}

#[test]
fn the_first_part_of_a_fragmented_tunnel_is_judged_by_its_source_alone() {
    let first = |inside: &[u8], len: usize| {
        let mut frame = frame4(RELAY4, IPIP, &inside[14..][..len]);
        frame[20] = 0x20;
        frame
    };
    let long = frame4(SOURCE4, TCP, &[tcp(SYN), vec![0; 100]].concat());
    let (world, mut settings) = looking_inside(&[block(V4, 32)]);
    settings.sanity.fragments = Policy::Pass as u8;
    assert_eq!(outcome_of(&world, &settings, &first(&long, 24)), BLOCKED);
    let other = frame4([198, 18, 0, 8], TCP, &[tcp(0), vec![0; 100]].concat());
    for len in [24, 40, 80] {
        assert_eq!(outcome_of(&world, &settings, &first(&other, len)), PASSED);
    }
    assert_eq!(outcome_of(&world, &settings, &first(&other, 16)), MALFORMED);
}
