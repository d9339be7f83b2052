//! Frames for the tests, built from the inside out: `ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)))`. Lengths are
//! right unless a test makes them wrong; checksums are zero, because the filter does not look at them.

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const DOT1Q: u16 = 0x8100;
pub(crate) const DOT1AD: u16 = 0x88a8;

pub(crate) const PPPOE_DISCOVERY: u16 = 0x8863;
pub(crate) const PPPOE_SESSION: u16 = 0x8864;

pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ICMP: u8 = 1;
pub(crate) const IGMP: u8 = 2;
pub(crate) const IPIP: u8 = 4;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SIX_IN_FOUR: u8 = 41;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const GRE: u8 = 47;
pub(crate) const ESP: u8 = 50;
pub(crate) const AUTHENTICATION: u8 = 51;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const NO_NEXT_HEADER: u8 = 59;
pub(crate) const DESTINATION: u8 = 60;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// 198.18.0.7 and `2001:db8:1:2::7`, the senders unless a test says otherwise.
pub(crate) const SOURCE4: [u8; 4] = [198, 18, 0, 7];
pub(crate) const SOURCE6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7];

/// 198.18.255.1 and `2001:db8:0:ff::1`, this host, whom the frames are for.
pub(crate) const OWN4: [u8; 4] = [198, 18, 255, 1];
pub(crate) const OWN6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 1];

/// Bytes of an Ethernet header and of a tag.
pub(crate) const ETHERNET_LEN: usize = 14;
pub(crate) const TAG_LEN: usize = 4;

/// An Ethernet II frame.
pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [[0x02, 0, 0, 0, 0, 1], [0x02, 0, 0, 0, 0, 2]];
    [addresses.as_flattened(), &ethertype.to_be_bytes(), payload].concat()
}

/// What follows a tag protocol identifier: tag control (VLAN 5), then the payload and its type.
pub(crate) fn tag(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[0, 5], ethertype.to_be_bytes().as_slice(), payload].concat()
}

/// An IPv4 packet without options.
pub(crate) fn ipv4(source: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with_options(source, protocol, &[], payload)
}

/// An IPv4 packet; `options` is a multiple of 4 bytes, at most 40.
pub(crate) fn ipv4_with_options(
    source: [u8; 4],
    protocol: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header_words = 5 + u8::try_from(options.len() / 4).expect("at most 10 words of options");
    let total_len = length(20 + options.len() + payload.len());
    let mut packet = vec![0x40 | header_words, 0];
    packet.extend(total_len);
    packet.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend(OWN4);
    packet.extend(options);
    packet.extend(payload);
    packet
}

/// Makes an IPv4 packet a fragment; `offset` in units of 8 bytes.
pub(crate) fn fragment4(mut packet: Vec<u8>, offset: u16, more: bool) -> Vec<u8> {
    let field = offset | if more { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    packet
}

/// An IPv6 packet.
pub(crate) fn ipv6(source: [u8; 16], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(payload.len()));
    packet.extend([next_header, 64]);
    packet.extend(source);
    packet.extend(OWN6);
    packet.extend(payload);
    packet
}

/// A hop-by-hop, routing or destination options header of `8 + 8 * units` bytes and what follows it.
pub(crate) fn extension(next_header: u8, units: u8, rest: &[u8]) -> Vec<u8> {
    let padding = vec![0; 6 + 8 * usize::from(units)];
    [&[next_header, units], padding.as_slice(), rest].concat()
}

/// An authentication header with a 12-byte check value (24 bytes) and what follows it.
pub(crate) fn authentication(next_header: u8, rest: &[u8]) -> Vec<u8> {
    [&[next_header, 4], [0; 22].as_slice(), rest].concat()
}

/// A fragment header and what follows it; `offset` in units of 8 bytes.
pub(crate) fn fragment6(next_header: u8, offset: u16, more: bool, rest: &[u8]) -> Vec<u8> {
    let field = (offset << 3) | u16::from(more);
    [
        &[next_header, 0],
        field.to_be_bytes().as_slice(),
        &[0, 0, 0, 9],
        rest,
    ]
    .concat()
}

/// A TCP segment without options or data.
pub(crate) fn tcp(flags: u8) -> Vec<u8> {
    tcp_with(flags, &[], &[])
}

/// A TCP segment; `options` is a multiple of 4 bytes, at most 40.
pub(crate) fn tcp_with(flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    let header_words = 5 + u8::try_from(options.len() / 4).expect("at most 10 words of options");
    let mut segment = vec![0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2];
    segment.extend([header_words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(data);
    segment
}

/// A UDP datagram.
pub(crate) fn udp(data: &[u8]) -> Vec<u8> {
    udp_between(40_000, 443, data)
}

/// A UDP datagram.
pub(crate) fn udp_between(source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = [source, destination].map(u16::to_be_bytes).concat();
    datagram.extend(length(8 + data.len()));
    datagram.extend([0, 0]);
    datagram.extend(data);
    datagram
}

/// An ICMP message of 8 bytes, of either version.
pub(crate) fn icmp(kind: u8, code: u8) -> Vec<u8> {
    vec![kind, code, 0, 0, 0, 1, 0, 1]
}

/// The IPv4 packet to another destination.
pub(crate) fn to4(packet: Vec<u8>, destination: [u8; 4]) -> Vec<u8> {
    patch(packet, 16, &destination)
}

/// The IPv6 packet with another hop limit.
pub(crate) fn hops6(packet: Vec<u8>, hops: u8) -> Vec<u8> {
    patch(packet, 7, &[hops])
}

/// The IPv6 packet to another destination.
pub(crate) fn to6(packet: Vec<u8>, destination: [u8; 16]) -> Vec<u8> {
    patch(packet, 24, &destination)
}

/// An echo request of either ICMP.
pub(crate) fn echo(kind: u8) -> Vec<u8> {
    vec![kind, 0, 0, 0, 0, 1, 0, 1]
}

/// The first `len` bytes.
pub(crate) fn cut(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    assert!(
        len <= frame.len(),
        "cannot cut {} bytes to {len}",
        frame.len()
    );
    frame.truncate(len);
    frame
}

/// The frame with `bytes` written at `at`.
pub(crate) fn patch(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The frame padded with zeros to `len` bytes, as a link layer does.
pub(crate) fn padded(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.resize(len, 0);
    frame
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes)
        .expect("an IP packet's length fits 16 bits")
        .to_be_bytes()
}

/// The frame behind one more tag (VLAN 5).
pub(crate) fn tagged(tpid: u16, frame: &[u8]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &tpid.to_be_bytes(), &[0, 5], rest].concat()
}
