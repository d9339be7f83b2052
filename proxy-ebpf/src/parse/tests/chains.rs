//! IPv6 extension header chains, and fragments of both IP versions.

use super::*;

#[test]
fn ipv4_fragments_are_told_apart() {
    let kind = |field| {
        facts(&ethernet(
            ETHERTYPE_IPV4,
            &ipv4(TCP, field, &[], &tcp(TCP_SYN)),
        ))
        .fragment
    };
    assert_eq!(kind(0), Fragment::Whole);
    assert_eq!(kind(0x4000), Fragment::Whole, "don't fragment");
    assert_eq!(kind(0x2000), Fragment::First);
    assert_eq!(kind(0x2001), Fragment::Later);
    assert_eq!(kind(0x1fff), Fragment::Later);
}

#[test]
fn ipv6_fragments_are_told_apart_and_an_atomic_one_is_whole() {
    let kind = |field| {
        let packet = ipv6(FRAGMENT, &fragment6(TCP, field, &tcp(TCP_SYN)));
        facts(&ethernet(ETHERTYPE_IPV6, &packet)).fragment
    };
    assert_eq!(kind(0), Fragment::Whole, "RFC 6946");
    assert_eq!(kind(0x0006), Fragment::Whole, "reserved bits are ignored");
    assert_eq!(kind(0x0001), Fragment::First);
    assert_eq!(kind(0x0008), Fragment::Later);
    assert_eq!(kind(0xfff9), Fragment::Later);
}

#[test]
fn an_atomic_fragment_in_front_does_not_hide_a_real_one() {
    let nested = fragment6(FRAGMENT, 0, &fragment6(TCP, 8, &[0; 8]));
    let frame = ethernet(ETHERTYPE_IPV6, &ipv6(FRAGMENT, &nested));
    assert_eq!(facts(&frame).fragment, Fragment::Later);
}

#[test]
fn a_later_fragment_has_no_transport_header() {
    // Bytes that would be a malformed TCP header, were they one.
    let v4 = ethernet(ETHERTYPE_IPV4, &ipv4(TCP, 1, &[], &[0; 8]));
    assert_eq!(facts(&v4).transport, Transport::Opaque);
    let v6 = ethernet(ETHERTYPE_IPV6, &ipv6(FRAGMENT, &fragment6(TCP, 8, &[0; 8])));
    assert_eq!(facts(&v6).transport, Transport::Opaque);
}

#[test]
fn a_first_fragment_without_its_whole_transport_header_is_malformed() {
    // RFC 1858 §3.1: eight bytes of TCP, the flags are in the next fragment.
    let v4 = ethernet(ETHERTYPE_IPV4, &ipv4(TCP, 0x2000, &[], &tcp(TCP_SYN)[..8]));
    assert_eq!(parse_slice(&v4), Parsed::Malformed(V4));
    let v6 = ethernet(
        ETHERTYPE_IPV6,
        &ipv6(FRAGMENT, &fragment6(TCP, 1, &tcp(TCP_SYN)[..8])),
    );
    assert_eq!(parse_slice(&v6), Parsed::Malformed(V6));
}

#[test]
fn eight_extension_headers_are_stepped_over_and_a_ninth_is_malformed() {
    for headers in 0..=usize::from(MAX_EXTENSIONS) {
        assert!(facts(&chain(headers)).is_syn(), "{headers} headers");
    }
    let too_many = chain(usize::from(MAX_EXTENSIONS) + 1);
    assert_eq!(parse_slice(&too_many), Parsed::Malformed(V6));
}

#[test]
fn a_chain_that_leads_beyond_the_readable_offset_is_malformed() {
    let far = extension(DESTINATION, 255, &extension(TCP, 0, &tcp(TCP_SYN)));
    let frame = ethernet(ETHERTYPE_IPV6, &ipv6(DESTINATION, &far));
    const { assert!(54 + 2048 > crate::packet::MAX_OFFSET) };
    assert_eq!(parse_slice(&frame), Parsed::Malformed(V6));
}

#[test]
fn hop_by_hop_options_come_first_or_not_at_all() {
    let late = extension(HOP_BY_HOP, 0, &extension(TCP, 0, &tcp(TCP_SYN)));
    let frame = ethernet(ETHERTYPE_IPV6, &ipv6(DESTINATION, &late));
    assert_eq!(parse_slice(&frame), Parsed::Malformed(V6));
}

#[test]
fn a_jumbogram_is_malformed() {
    // RFC 2675 §2: next header 0 with option type 0xc2, length 4; the payload length is 0.
    let options = [TCP, 0, 0xc2, 4, 0, 1, 0, 0];
    let mut packet = ipv6(HOP_BY_HOP, &[options.as_slice(), &tcp(TCP_SYN)].concat());
    packet[4..6].copy_from_slice(&[0, 0]);
    let frame = ethernet(ETHERTYPE_IPV6, &packet);
    assert_eq!(parse_slice(&frame), Parsed::Malformed(V6));
}

#[test]
fn no_next_header_ends_a_chain_and_an_empty_payload_is_fine() {
    let frame = ethernet(ETHERTYPE_IPV6, &ipv6(NO_NEXT_HEADER, &[]));
    assert_eq!(facts(&frame).transport, Transport::Opaque);
}
