//! IPv6 extension header chains.

use super::*;

#[test]
fn eight_extension_headers_are_stepped_over_and_a_ninth_is_malformed() {
    for headers in 0..=MAX_EXTENSIONS as usize {
        assert!(opens(&chain(headers)), "{headers} headers");
    }
    let too_many = chain(MAX_EXTENSIONS as usize + 1);
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
    assert_eq!(transport_of(&frame), Transport::Opaque);
}
