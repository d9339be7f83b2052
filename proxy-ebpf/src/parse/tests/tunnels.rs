//! What is inside IPIP, 6in4 and GRE.

use super::*;

const IPIP: u8 = 4;
const SIX_IN_FOUR: u8 = 41;
const GRE: u8 = 47;

fn inner_of(frame: &[u8]) -> Option<Link> {
    inner(&frame, &facts(frame).1)
}

fn inner_source(frame: &[u8]) -> Option<Source> {
    match network(&frame, inner_of(frame)?) {
        Frame::Ip(ip) => Some(ip.source()),
        Frame::Malformed(source) => source,
        Frame::Other(_) => None,
    }
}

fn gre(flags: u8, version: u8, ethertype: u16, words: usize, payload: &[u8]) -> Vec<u8> {
    let padding = vec![0xee; 4 * words];
    [
        [flags, version].as_slice(),
        &ethertype.to_be_bytes(),
        &padding,
        payload,
    ]
    .concat()
}

#[test]
fn ip_in_ip_is_found_in_both_versions() {
    let (four, six) = (ipv4(TCP, 0, &[], &tcp(TCP_SYN)), ipv6(TCP, &tcp(TCP_SYN)));
    for (protocol, packet, source) in [(IPIP, &four, V4), (SIX_IN_FOUR, &six, V6)] {
        let in_four = ethernet(ETHERTYPE_IPV4, &ipv4(protocol, 0, &[1; 8], packet));
        assert_eq!(inner_source(&in_four), source);
        let in_six = ethernet(
            ETHERTYPE_IPV6,
            &ipv6(DESTINATION, &extension(protocol, 1, packet)),
        );
        assert_eq!(inner_source(&in_six), source);
    }
}

#[test]
fn words_of_a_gre_header_are_stepped_over() {
    let packet = ipv6(TCP, &tcp(TCP_SYN));
    for (flags, words) in [
        (0x00, 0),
        (0x80, 1),
        (0x20, 1),
        (0x10, 1),
        (0xa0, 2),
        (0x90, 2),
        (0x30, 2),
        (0xb0, 3),
    ] {
        let header = gre(flags, 0, ETHERTYPE_IPV6, words, &packet);
        let frame = ethernet(ETHERTYPE_IPV4, &ipv4(GRE, 0, &[], &header));
        assert_eq!(inner_source(&frame), V6, "flags {flags:#04x}");
    }
}

#[test]
fn gre_that_carries_no_ip_shows_nothing() {
    let packet = ipv4(TCP, 0, &[], &tcp(TCP_SYN));
    for header in [
        // RFC 2637
        gre(0x20, 1, 0x880b, 2, &packet),
        gre(0, 1, ETHERTYPE_IPV4, 0, &packet),
        // Transparent Ethernet bridging
        gre(0, 0, 0x6558, 0, &packet),
        gre(0, 0, ETHERTYPE_ARP, 0, &packet),
        vec![0, 0, 8],
    ] {
        let frame = ethernet(ETHERTYPE_IPV4, &ipv4(GRE, 0, &[], &header));
        assert_eq!(inner_of(&frame), None);
    }
}

#[test]
fn only_the_first_part_of_a_fragmented_tunnel_is_looked_into() {
    let packet = [ipv4(TCP, 0, &[], &tcp(TCP_SYN)).as_slice(), &[0; 8]].concat();
    let part = |field| ethernet(ETHERTYPE_IPV4, &ipv4(IPIP, field, &[], &packet));
    assert_eq!(inner_source(&part(0x2000)), V4);
    assert_eq!(inner_of(&part(3)), None);
}

#[test]
fn what_is_no_tunnel_has_nothing_inside() {
    for (what, frame, ..) in shapes() {
        let carries = inner_of(&frame).is_some();
        assert!(!carries, "{what}");
    }
}
