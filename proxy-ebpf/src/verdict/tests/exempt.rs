//! What no list and no limit stops.

use weir_common::settings::{Limit, Limits};

use super::*;
use crate::host::Connection;

const NEIGHBOUR_SOLICITATION: u8 = 135;

#[test]
fn a_block_does_not_end_a_session_with_a_failsafe_port() {
    let (mut world, mut settings) = listing(&[block(V4, 24)]);
    world.sockets.connections.insert(Connection {
        source: (V4.mapped(), 40_000),
        destination: (Source::V4(0xc612_ff01).mapped(), 443),
    });
    assert_eq!(outcome_of(&world, &settings, &ack4()), BLOCKED);
    settings.failsafe_ports = ports(&[443]);
    assert_eq!(outcome_of(&world, &settings, &ack4()), ALLOWED);
    assert_eq!(outcome_of(&world, &settings, &syn4()), BLOCKED);
    let other = frame4([198, 18, 0, 8], TCP, &tcp(ACK));
    assert_eq!(outcome_of(&world, &settings, &other), BLOCKED);
}

#[test]
fn neighbours_are_discovered_whatever_is_blocked() {
    let (world, settings) = listing(&[block(V6, 0)]);
    let frame = |kind, hops| frame6(SOURCE6, ICMPV6, hops, &icmp(kind, 0));
    let near = frame(NEIGHBOUR_SOLICITATION, 255);
    assert_eq!(outcome_of(&world, &settings, &near), ALLOWED);
    let far = frame(NEIGHBOUR_SOLICITATION, 254);
    assert_eq!(outcome_of(&world, &settings, &far), BLOCKED);
    assert_eq!(outcome_of(&world, &settings, &frame(128, 255)), BLOCKED);
}

#[test]
fn limits_leave_failsafe_ports_and_path_mtu_alone() {
    let (world, mut settings) = listing(&[]);
    let one = Limit::per_second(1, 1);
    settings.limits = Limits {
        packets: one,
        bytes: one,
        syn: one,
        udp: one,
        icmp: one,
    };
    settings.prefix_limits = settings.limits;
    settings.prefix_heavy = 0;
    settings.failsafe_ports = ports(&[443]);
    for frame in [
        syn4(),
        syn6(),
        frame4(SOURCE4, UDP, &udp(b"x")),
        frame4(SOURCE4, ICMP, &icmp(3, 4)),
        frame6(SOURCE6, ICMPV6, 64, &icmp(2, 0)),
        frame6(SOURCE6, ICMPV6, 255, &icmp(NEIGHBOUR_SOLICITATION, 0)),
    ] {
        for _ in 0..20 {
            assert_eq!(outcome_of(&world, &settings, &frame), PASSED);
        }
    }
    let echo = frame4(SOURCE4, ICMP, &icmp(8, 0));
    assert_eq!(outcome_of(&world, &settings, &echo).0, Action::Drop);
}
