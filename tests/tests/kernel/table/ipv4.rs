//! IPv4: options, lengths, fragments and what lies above.

use super::Case;
use crate::frames::{
    ACK, ETHERNET_LEN, FIN, GRE, ICMP, ICMPV6, IPV4, RST, SOURCE4, SYN, TCP, UDP, cut, echo,
    ethernet, fragment4, ipv4, ipv4_with_options, padded, patch, tcp, tcp_with, udp,
};

/// Where things lie in an untagged frame without options.
const VERSION: usize = ETHERNET_LEN;
const TOTAL_LEN: usize = ETHERNET_LEN + 2;
const PAYLOAD: usize = ETHERNET_LEN + 20;

pub(super) fn cases() -> Vec<Case> {
    [transports(), headers(), transport_headers(), fragments()]
        .into_iter()
        .flatten()
        .collect()
}

fn transports() -> Vec<Case> {
    let flags = |flags| packet(TCP, &tcp(flags));
    vec![
        Case::passed("TCP SYN", flags(SYN)).v4().syn(),
        Case::passed("TCP SYN ACK is no SYN", flags(SYN | ACK)).v4(),
        Case::passed("TCP ACK", flags(ACK)).v4(),
        Case::passed("TCP RST", flags(RST)).v4(),
        Case::passed("TCP SYN FIN counts as SYN", flags(SYN | FIN))
            .v4()
            .syn(),
        Case::passed("TCP SYN with ECN bits", flags(SYN | 0xc0))
            .v4()
            .syn(),
        Case::passed(
            "TCP with options",
            packet(TCP, &tcp_with(SYN, &[1; 40], &[])),
        )
        .v4()
        .syn(),
        Case::passed(
            "TCP with data",
            packet(TCP, &tcp_with(ACK, &[1; 12], &[9; 900])),
        )
        .v4(),
        Case::passed("UDP", packet(UDP, &udp(b"data"))).v4(),
        Case::passed("UDP without data", packet(UDP, &udp(b""))).v4(),
        Case::passed(
            "UDP shorter than its packet",
            packet(UDP, &padded(udp(b"data"), 40)),
        )
        .v4(),
        Case::passed("ICMP echo", packet(ICMP, &echo(8))).v4(),
        Case::passed("GRE", packet(GRE, &[0; 4])).v4(),
        Case::passed("unknown protocol without payload", packet(253, &[])).v4(),
        Case::passed("the other version's ICMP is unknown", packet(ICMPV6, &[1])).v4(),
    ]
}

fn headers() -> Vec<Case> {
    let syn = || packet(TCP, &tcp(SYN));
    let options = |len: usize| {
        ethernet(
            IPV4,
            &ipv4_with_options(SOURCE4, TCP, &vec![1; len], &tcp(SYN)),
        )
    };
    vec![
        Case::passed("4 bytes of options", options(4)).v4().syn(),
        Case::passed("40 bytes of options", options(40)).v4().syn(),
        Case::malformed("cut within the options", cut(options(40), PAYLOAD + 39)).v4(),
        Case::malformed("cut within the fixed header", cut(syn(), PAYLOAD - 1)),
        Case::malformed("cut behind the fixed header", cut(syn(), PAYLOAD)).v4(),
        Case::malformed("version 6", patch(syn(), VERSION, &[0x65])),
        Case::malformed("version 0", patch(syn(), VERSION, &[0x05])),
        Case::malformed("header length 0", patch(syn(), VERSION, &[0x40])).v4(),
        Case::malformed("header length 16", patch(syn(), VERSION, &[0x44])).v4(),
        Case::malformed(
            "header length beyond the packet",
            patch(syn(), VERSION, &[0x4f]),
        )
        .v4(),
        Case::malformed("total length 0", patch(syn(), TOTAL_LEN, &[0, 0])).v4(),
        Case::malformed("total length 19", patch(syn(), TOTAL_LEN, &[0, 19])).v4(),
        Case::malformed(
            "total length one beyond the frame",
            patch(syn(), TOTAL_LEN, &[0, 41]),
        )
        .v4(),
        Case::malformed("total length 65535", patch(syn(), TOTAL_LEN, &[255, 255])).v4(),
        Case::malformed(
            "headers in the padding only",
            patch(syn(), TOTAL_LEN, &[0, 20]),
        )
        .v4(),
    ]
}

fn transport_headers() -> Vec<Case> {
    let whole = |protocol, header: &[u8]| packet(protocol, header);
    let data_offset = |byte| patch(packet(TCP, &tcp(SYN)), PAYLOAD + 12, &[byte]);
    let udp_len = |len| patch(packet(UDP, &udp(b"data")), PAYLOAD + 4, &[0, len]);
    vec![
        Case::malformed("TCP without a byte", whole(TCP, &[])).v4(),
        Case::malformed("TCP with 19 bytes", whole(TCP, &tcp(SYN)[..19])).v4(),
        Case::malformed(
            "TCP cut by the frame",
            cut(packet(TCP, &tcp(SYN)), PAYLOAD + 19),
        )
        .v4(),
        Case::malformed("TCP data offset 4", data_offset(0x40)).v4(),
        Case::malformed("TCP data offset beyond the packet", data_offset(0x60)).v4(),
        Case::malformed("UDP with 7 bytes", whole(UDP, &udp(b"")[..7])).v4(),
        Case::malformed("UDP length 0", udp_len(0)).v4(),
        Case::malformed("UDP length 7", udp_len(7)).v4(),
        Case::malformed("UDP length beyond the packet", udp_len(13)).v4(),
        Case::malformed("ICMP with 7 bytes", whole(ICMP, &echo(8)[..7])).v4(),
    ]
}

fn fragments() -> Vec<Case> {
    let part = |protocol, payload: &[u8], offset, more| {
        ethernet(
            IPV4,
            &fragment4(ipv4(SOURCE4, protocol, payload), offset, more),
        )
    };
    vec![
        Case::passed("don't fragment", part(TCP, &tcp(SYN), 0x4000, false))
            .v4()
            .syn(),
        Case::fragment("first fragment", part(TCP, &tcp(SYN), 0, true))
            .v4()
            .syn(),
        Case::fragment(
            "first UDP fragment",
            part(UDP, &patch(udp(b"data"), 4, &[9, 9]), 0, true),
        )
        .v4(),
        Case::fragment("middle fragment", part(UDP, &[0; 8], 100, true)).v4(),
        Case::fragment("last fragment", part(UDP, &[0; 1], 100, false)).v4(),
        Case::fragment("farthest offset", part(UDP, &[0; 8], 0x1fff, false)).v4(),
        Case::fragment("later fragment is no SYN", part(TCP, &tcp(SYN), 1, false)).v4(),
        Case::malformed(
            "tiny first fragment (RFC 1858)",
            part(TCP, &tcp(SYN)[..8], 0, true),
        )
        .v4(),
    ]
}

fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV4, &ipv4(SOURCE4, protocol, payload))
}
