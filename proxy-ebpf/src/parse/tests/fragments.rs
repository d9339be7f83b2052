//! Fragments of both IP versions, and places where none can be.

use super::*;

/// A part of a TCP datagram: `field` as IPv4 has it (units of 8 bytes, 0x2000 = others follow), in both versions.
fn parts(protocol: u8, field: u16, payload: &[u8]) -> [Vec<u8>; 2] {
    let more = u16::from(field & 0x2000 != 0);
    let field6 = (field & 0x1fff) << 3 | more;
    [
        ethernet(ETHERTYPE_IPV4, &ipv4(protocol, field, &[], payload)),
        ethernet(
            ETHERTYPE_IPV6,
            &ipv6(FRAGMENT, &fragment6(protocol, field6, payload)),
        ),
    ]
}

fn is_malformed(frame: &[u8]) -> bool {
    matches!(parse_slice(frame), Parsed::Malformed(Some(_)))
}

#[test]
fn fragments_are_told_apart() {
    let syn = [tcp(TCP_SYN).as_slice(), &[0; 4]].concat();
    for frame in parts(TCP, 0, &syn) {
        assert_eq!(fragment_of(&frame), Fragment::Whole, "RFC 6946");
    }
    for frame in parts(TCP, 0x2000, &syn) {
        assert_eq!(fragment_of(&frame), Fragment::First);
        assert!(opens(&frame));
    }
    for field in [3, 0x2003, 0x1ffc] {
        for frame in parts(TCP, field, &syn) {
            assert_eq!(fragment_of(&frame), Fragment::Later, "{field:#x}");
        }
    }
    let not_to_be_fragmented = ethernet(ETHERTYPE_IPV4, &ipv4(TCP, 0x4000, &[], &syn));
    assert_eq!(fragment_of(&not_to_be_fragmented), Fragment::Whole);
}

#[test]
fn reserved_bits_of_the_fragment_header_are_ignored() {
    let packet = ipv6(FRAGMENT, &fragment6(TCP, 0x0006, &tcp(TCP_SYN)));
    assert_eq!(
        fragment_of(&ethernet(ETHERTYPE_IPV6, &packet)),
        Fragment::Whole
    );
}

#[test]
fn an_atomic_fragment_in_front_does_not_hide_a_real_one() {
    let nested = fragment6(FRAGMENT, 0, &fragment6(UDP, 8, &[0; 8]));
    let frame = ethernet(ETHERTYPE_IPV6, &ipv6(FRAGMENT, &nested));
    assert_eq!(fragment_of(&frame), Fragment::Later);
}

#[test]
fn a_later_fragment_has_no_transport_header() {
    // Bytes that would be a malformed TCP header, were they one.
    for frame in parts(TCP, 3, &[0; 8]) {
        assert_eq!(transport_of(&frame), Transport::Opaque);
    }
}

#[test]
fn a_first_fragment_without_its_whole_transport_header_is_malformed() {
    // RFC 1858 §3.1: eight bytes of TCP, the flags are in the next fragment; 16 hold the flags and not the header.
    for len in [0, 8, 16] {
        for frame in parts(TCP, 0x2000, &tcp(TCP_SYN)[..len]) {
            assert!(is_malformed(&frame), "{len} bytes");
        }
    }
}

#[test]
fn a_part_that_others_follow_is_a_multiple_of_8_bytes_long() {
    for len in 0..=16 {
        for (field, last) in [(0x2003, false), (3, true)] {
            for frame in parts(TCP, field, &vec![0; len]) {
                let fits = last || len % 8 == 0 && len != 0;
                assert_eq!(!is_malformed(&frame), fits, "{len} bytes, {field:#x}");
            }
        }
    }
}

#[test]
fn no_part_ends_beyond_the_longest_datagram() {
    // 0x1fff * 8 = 65,528.
    for (len, fits) in [(7, true), (8, false), (1400, false)] {
        for frame in parts(UDP, 0x1fff, &vec![0; len]) {
            assert_eq!(!is_malformed(&frame), fits, "{len} bytes");
        }
    }
}

#[test]
fn no_later_part_begins_within_a_tcp_header() {
    // RFC 3128: it could only overwrite the flags that a filter has seen.
    for (offset, fits) in [(1, false), (2, false), (3, true)] {
        for frame in parts(TCP, offset, &[0; 8]) {
            assert_eq!(!is_malformed(&frame), fits, "TCP at {offset}");
        }
        for frame in parts(UDP, offset, &[0; 8]) {
            assert!(!is_malformed(&frame), "UDP at {offset}");
        }
    }
}

#[test]
fn of_a_first_fragment_the_udp_length_may_be_the_whole_datagrams() {
    let mut first = udp(&[0; 8]);
    first[4..6].copy_from_slice(&4000_u16.to_be_bytes());
    for frame in parts(UDP, 0x2000, &first) {
        let Transport::Udp(datagram) = transport_of(&frame) else {
            panic!("no UDP");
        };
        assert_eq!(datagram.data_len, 3992);
    }
}
