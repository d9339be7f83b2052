//! Fragments of both IP versions: told apart, and where none can be.

use weir_common::{Outcome, Policy};

use super::Case;
use crate::frames::{
    DESTINATION, FRAGMENT, HOP_BY_HOP, ICMP, IPV4, IPV6, SOURCE4, SOURCE6, SYN, TCP, UDP, ethernet,
    extension, fragment4, fragment6, icmp, ipv4, ipv6, patch, tcp, tcp_with, udp,
};

pub(super) fn cases() -> Vec<Case> {
    [ipv4_parts(), ipv6_parts(), later_checks()]
        .into_iter()
        .flatten()
        .collect()
}

fn ipv4_parts() -> Vec<Case> {
    // Nobody's: it is the IP header that contradicts itself.
    let misplaced = |name: &str, frame| Case::malformed(name, frame);
    vec![
        Case::passed("don't fragment", part4(TCP, &tcp(SYN), 0x4000, false))
            .v4()
            .syn(),
        Case::fragment("first fragment", part4(TCP, &syn24(), 0, true))
            .v4()
            .syn(),
        Case::fragment(
            "first UDP fragment",
            part4(UDP, &patch(udp(&[0; 8]), 4, &[9, 9]), 0, true),
        )
        .v4(),
        Case::fragment("middle fragment", part4(UDP, &[0; 8], 100, true)).v4(),
        Case::fragment("last fragment", part4(UDP, &[0; 1], 100, false)).v4(),
        Case::fragment("last fragment without a byte", part4(UDP, &[], 100, false)).v4(),
        Case::fragment("farthest offset", part4(UDP, &[0; 7], 0x1fff, false)).v4(),
        Case::fragment("later fragment is no SYN", part4(TCP, &tcp(SYN), 3, false)).v4(),
        Case::fragment("fragmented ICMP", part4(ICMP, &icmp(8, 0), 0, true)).v4(),
        misplaced(
            "one beyond the longest datagram",
            part4(UDP, &[0; 8], 0x1fff, false),
        ),
        misplaced("ping of death", part4(ICMP, &[0; 1400], 0x1fff, false)),
        misplaced("not a multiple of 8", part4(UDP, &[0; 9], 100, true)),
        misplaced("more to come and nothing here", part4(UDP, &[], 100, true)),
        misplaced(
            "overlapping TCP offset 1 (RFC 3128)",
            part4(TCP, &[0; 16], 1, false),
        ),
        misplaced("overlapping TCP offset 2", part4(TCP, &[0; 16], 2, true)),
        Case::fragment("TCP offset 3", part4(TCP, &[0; 16], 3, true)).v4(),
        Case::fragment("UDP offset 1", part4(UDP, &[0; 16], 1, true)).v4(),
        Case::malformed(
            "tiny first fragment (RFC 1858)",
            part4(TCP, &tcp(SYN)[..8], 0, true),
        )
        .v4(),
        Case::malformed(
            "first fragment of 16 bytes",
            part4(TCP, &tcp(SYN)[..16], 0, true),
        )
        .v4(),
        Case::malformed("first UDP fragment with length 7", {
            part4(UDP, &patch(udp(&[0; 8]), 4, &[0, 7]), 0, true)
        })
        .v4(),
    ]
}

fn ipv6_parts() -> Vec<Case> {
    let nested = fragment6(FRAGMENT, 0, false, &fragment6(TCP, 4, true, &[0; 8]));
    let behind = extension(FRAGMENT, 0, &fragment6(TCP, 3, false, &[0; 8]));
    let before = fragment6(DESTINATION, 0, true, &extension(TCP, 0, &syn24()));
    let reserved = patch(fragment6(TCP, 0, false, &tcp(SYN)), 3, &[0x06]);
    vec![
        Case::passed(
            "atomic fragment (RFC 6946)",
            part6(TCP, &tcp(SYN), 0, false),
        )
        .v6()
        .syn(),
        Case::passed(
            "atomic fragment with reserved bits",
            packet6(FRAGMENT, &reserved),
        )
        .v6()
        .syn(),
        Case::fragment("first fragment, IPv6", part6(TCP, &syn24(), 0, true))
            .v6()
            .syn(),
        Case::fragment("middle fragment, IPv6", part6(TCP, &[0; 8], 7, true)).v6(),
        Case::fragment("last fragment, IPv6", part6(TCP, &[0; 3], 7, false)).v6(),
        Case::fragment("farthest offset, IPv6", part6(UDP, &[0; 7], 0x1fff, false)).v6(),
        Case::fragment(
            "fragment behind hop-by-hop options",
            packet6(HOP_BY_HOP, &behind),
        )
        .v6(),
        Case::fragment(
            "first fragment with options behind",
            packet6(FRAGMENT, &before),
        )
        .v6()
        .syn(),
        Case::fragment("fragment within an atomic one", packet6(FRAGMENT, &nested)).v6(),
        Case::malformed(
            "one beyond the longest datagram, IPv6",
            part6(UDP, &[0; 8], 0x1fff, false),
        )
        .v6(),
        Case::malformed("not a multiple of 8, IPv6", part6(UDP, &[0; 9], 100, true)).v6(),
        Case::malformed(
            "more to come and nothing here, IPv6",
            part6(UDP, &[], 100, true),
        )
        .v6(),
        Case::malformed(
            "overlapping TCP offset 1, IPv6",
            part6(TCP, &[0; 16], 1, false),
        )
        .v6(),
        Case::malformed(
            "overlapping TCP offset 2, IPv6",
            part6(TCP, &[0; 16], 2, true),
        )
        .v6(),
        Case::malformed(
            "first fragment without its TCP header (RFC 7112)",
            part6(TCP, &tcp(SYN)[..8], 0, true),
        )
        .v6(),
        Case::malformed(
            "fragment header cut",
            packet6(FRAGMENT, &fragment6(TCP, 7, true, &[])[..7]),
        )
        .v6(),
    ]
}

/// A policy that lets fragments through does not shield them from what comes after.
fn later_checks() -> Vec<Case> {
    let count = |s: &mut weir_common::ShieldSettings| s.sanity.fragments = Policy::Count as u8;
    let null = tcp_with(0, &[], &[0; 4]);
    vec![
        Case::new(
            "counted first fragment with bad flags",
            part4(TCP, &null, 0, true),
            Outcome::BadFlags,
        )
        .v4()
        .with(count),
        Case::new(
            "counted first fragment with bad flags, IPv6",
            part6(TCP, &null, 0, true),
            Outcome::BadFlags,
        )
        .v6()
        .with(count),
        Case::fragment(
            "the first class that counts is counted",
            part4(TCP, &null, 0, true),
        )
        .counted_only()
        .v4()
        .with(count)
        .with(|s| s.sanity.bad_flags = Policy::Count as u8),
    ]
}

fn part4(protocol: u8, payload: &[u8], offset: u16, more: bool) -> Vec<u8> {
    ethernet(
        IPV4,
        &fragment4(ipv4(SOURCE4, protocol, payload), offset, more),
    )
}

fn part6(protocol: u8, payload: &[u8], offset: u16, more: bool) -> Vec<u8> {
    packet6(FRAGMENT, &fragment6(protocol, offset, more, payload))
}

fn packet6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV6, &ipv6(SOURCE6, next_header, payload))
}

/// A SYN with four bytes behind it: a multiple of 8.
fn syn24() -> Vec<u8> {
    tcp_with(SYN, &[], &[0; 4])
}
