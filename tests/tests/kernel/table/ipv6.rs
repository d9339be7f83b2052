//! IPv6: extension headers, lengths and what lies above.

use super::Case;
use crate::frames::{
    AUTHENTICATION, DESTINATION, ESP, ETHERNET_LEN, HOP_BY_HOP, ICMP, ICMPV6, IPV6, NO_NEXT_HEADER,
    ROUTING, SOURCE6, SYN, TCP, UDP, authentication, cut, echo, ethernet, extension, ipv6, patch,
    tcp, udp,
};

/// Where things lie in an untagged frame.
const VERSION: usize = ETHERNET_LEN;
const PAYLOAD_LEN: usize = ETHERNET_LEN + 4;
const PAYLOAD: usize = ETHERNET_LEN + 40;

pub(super) fn cases() -> Vec<Case> {
    [transports(), headers(), chains(), broken_chains()]
        .into_iter()
        .flatten()
        .collect()
}

fn transports() -> Vec<Case> {
    vec![
        Case::passed("UDP, IPv6", packet(UDP, &udp(b"data"))).v6(),
        Case::passed("ICMPv6 echo", packet(ICMPV6, &echo(128))).v6(),
        Case::passed("ICMPv6 of 4 bytes", packet(ICMPV6, &echo(128)[..4])).v6(),
        Case::passed("ESP", packet(ESP, &[0; 24])).v6(),
        Case::passed("no next header", packet(NO_NEXT_HEADER, &[])).v6(),
        Case::passed(
            "mobility header ends the chain",
            packet(135, &[59, 0, 0, 0]),
        )
        .v6(),
        Case::passed(
            "the other version's ICMP is unknown, IPv6",
            packet(ICMP, &[1]),
        )
        .v6(),
        Case::malformed("ICMPv6 of 3 bytes", packet(ICMPV6, &echo(128)[..3])).v6(),
        Case::malformed("TCP with 19 bytes, IPv6", packet(TCP, &tcp(SYN)[..19])).v6(),
        Case::malformed(
            "TCP data offset 4, IPv6",
            packet(TCP, &patch(tcp(SYN), 12, &[0x40])),
        )
        .v6(),
        Case::malformed(
            "UDP length 0, IPv6",
            packet(UDP, &patch(udp(b"data"), 4, &[0, 0])),
        )
        .v6(),
        Case::malformed(
            "UDP length 13 of 12",
            packet(UDP, &patch(udp(b"data"), 4, &[0, 13])),
        )
        .v6(),
    ]
}

fn headers() -> Vec<Case> {
    let syn = || packet(TCP, &tcp(SYN));
    vec![
        Case::malformed("cut within the fixed header, IPv6", cut(syn(), PAYLOAD - 1)),
        Case::malformed("cut behind the fixed header, IPv6", cut(syn(), PAYLOAD)),
        Case::malformed("cut within TCP, IPv6", cut(syn(), PAYLOAD + 13)),
        Case::malformed("version 4", patch(syn(), VERSION, &[0x45])),
        Case::malformed(
            "payload length one beyond the frame",
            patch(syn(), PAYLOAD_LEN, &[0, 21]),
        ),
        Case::malformed(
            "payload length 0 with TCP",
            patch(syn(), PAYLOAD_LEN, &[0, 0]),
        )
        .v6(),
        Case::malformed(
            "payload length 65535, IPv6",
            patch(syn(), PAYLOAD_LEN, &[255, 255]),
        ),
        Case::malformed("jumbogram", jumbogram()).v6(),
    ]
}

fn chains() -> Vec<Case> {
    let syn = tcp(SYN);
    let single = |header: u8| packet(header, &extension(TCP, 0, &syn));
    let every = extension(
        ROUTING,
        1,
        &extension(
            AUTHENTICATION,
            2,
            &authentication(DESTINATION, &extension(TCP, 0, &syn)),
        ),
    );
    vec![
        Case::passed("hop-by-hop options", single(HOP_BY_HOP))
            .v6()
            .syn(),
        Case::passed("routing header", single(ROUTING)).v6().syn(),
        Case::passed("destination options", single(DESTINATION))
            .v6()
            .syn(),
        Case::passed(
            "long destination options",
            packet(DESTINATION, &extension(TCP, 99, &syn)),
        )
        .v6()
        .syn(),
        Case::passed(
            "authentication header",
            packet(AUTHENTICATION, &authentication(TCP, &syn)),
        )
        .v6()
        .syn(),
        Case::passed(
            "hop-by-hop, routing, destination, AH",
            packet(HOP_BY_HOP, &every),
        )
        .v6()
        .syn(),
        Case::passed("eight extension headers", chain(8)).v6().syn(),
    ]
}

fn broken_chains() -> Vec<Case> {
    let syn = tcp(SYN);
    let late_hop_by_hop = extension(HOP_BY_HOP, 0, &extension(TCP, 0, &syn));
    let far = extension(DESTINATION, 255, &extension(TCP, 0, &syn));
    vec![
        Case::malformed("nine extension headers", chain(9)).v6(),
        Case::malformed("a hundred extension headers", chain(100)).v6(),
        Case::malformed(
            "hop-by-hop options second",
            packet(DESTINATION, &late_hop_by_hop),
        )
        .v6(),
        Case::malformed(
            "chain beyond the readable offset",
            packet(DESTINATION, &far),
        )
        .v6(),
        Case::malformed(
            "extension of 7 bytes",
            packet(DESTINATION, &extension(TCP, 0, &[])[..7]),
        )
        .v6(),
        Case::malformed(
            "extension longer than the packet",
            packet(ROUTING, &patch(extension(TCP, 0, &syn), 1, &[9])),
        )
        .v6(),
        Case::malformed(
            "chain that ends in nothing",
            packet(DESTINATION, &extension(TCP, 0, &[])),
        )
        .v6(),
        Case::malformed(
            "authentication header cut",
            packet(AUTHENTICATION, &authentication(TCP, &[])[..16]),
        )
        .v6(),
    ]
}

/// `headers` destination options headers and a SYN.
fn chain(headers: usize) -> Vec<u8> {
    let mut rest = tcp(SYN);
    let mut next = TCP;
    for _ in 0..headers {
        rest = extension(next, 0, &rest);
        next = DESTINATION;
    }
    packet(next, &rest)
}

/// RFC 2675 §2: hop-by-hop option 0xc2 holds the length, the payload length is 0.
fn jumbogram() -> Vec<u8> {
    let option = [&[TCP, 0, 0xc2, 4, 0, 1, 0, 0], tcp(SYN).as_slice()].concat();
    patch(packet(HOP_BY_HOP, &option), PAYLOAD_LEN, &[0, 0])
}

fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV6, &ipv6(SOURCE6, next_header, payload))
}
