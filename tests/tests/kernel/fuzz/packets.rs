//! Frames by chance, from the inside out: every header the parser knows, right more often than wrong.

use super::random::Random;
use crate::frames::{
    ACK, ARP, AUTHENTICATION, DESTINATION, DOT1AD, DOT1Q, ESP, ETHERNET_LEN, FIN, FRAGMENT, GRE,
    HOP_BY_HOP, ICMP, ICMPV6, IGMP, IPIP, IPV4, IPV6, NO_NEXT_HEADER, OWN4, OWN6, PPPOE_DISCOVERY,
    PPPOE_SESSION, ROUTING, RST, SIX_IN_FOUR, SYN, TCP, UDP, authentication, ethernet, extension,
    fragment6, tag,
};

/// IP version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

/// A frame of at least an Ethernet header.
pub(crate) fn frame(random: &mut Random) -> Vec<u8> {
    let (ethertype, payload) = match random.below(100) {
        0..48 => (IPV4, packet(random, Version::V4, 0)),
        48..96 => (IPV6, packet(random, Version::V6, 0)),
        _ => (other_ethertype(random), bytes_up_to(random, 60)),
    };
    let (mut ethertype, mut payload) = (ethertype, payload);
    let tags = random.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3]);
    for _ in 0..tags {
        payload = tag(ethertype, &payload);
        ethertype = random.pick(&[DOT1Q, DOT1Q, DOT1AD, DOT1AD, 0x9100]);
    }
    let mut frame = ethernet(ethertype, &payload);
    if random.chance(30) {
        frame.resize((frame.len() + random.below(20)).max(60), 0);
    }
    match random.below(1000) {
        0..150 => mutate(random, &mut frame),
        150..200 => {
            let len = ETHERNET_LEN + random.below(frame.len() - ETHERNET_LEN + 1);
            frame.truncate(len);
        }
        // Beyond a page, and beyond what the length fields can say.
        200..205 => frame.resize(3000 + random.below(6000), 0),
        205 => frame.resize(65_520 + random.below(200), 0),
        _ => {}
    }
    frame
}

/// What most frames of a generation are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flood {
    /// SYNs, most of them such as no cookie answers.
    Syns,
    /// ACKs.
    Acks,
}

impl Flood {
    pub(crate) fn any(random: &mut Random) -> Self {
        random.pick(&[Self::Syns, Self::Acks])
    }
}

/// A frame of a flood: a segment to the port that listens, in a packet that is right more often than others.
pub(crate) fn of_flood(random: &mut Random, flood: Flood) -> Vec<u8> {
    let flags = match flood {
        Flood::Syns => SYN,
        Flood::Acks => ACK,
    };
    let mut segment = tcp(random);
    segment[2..4].copy_from_slice(&443_u16.to_be_bytes());
    segment[13] = flags;
    let destination_at = 30;
    if random.chance(50) {
        let words = random.pick(&[0, 1, 1, 10]);
        let mut packet = ipv4_with(random, TCP, words, &segment);
        packet[6..8].copy_from_slice(&random.pick(&[0_u16, 0, 0x4000, 0x2000]).to_be_bytes());
        let mut frame = ethernet(IPV4, &packet);
        frame[destination_at..destination_at + 4].copy_from_slice(&OWN4);
        frame
    } else {
        ethernet(IPV6, &ipv6(random, TCP, &segment))
    }
}

/// Overwrites up to four bytes, most of them in the headers.
fn mutate(random: &mut Random, frame: &mut [u8]) {
    let headers = frame.len().min(128);
    for _ in 0..=random.below(4) {
        let at = random.below(headers);
        frame[at] = random.byte();
    }
}

fn other_ethertype(random: &mut Random) -> u16 {
    let any = random.half();
    random.pick(&[
        ARP,
        ARP,
        PPPOE_DISCOVERY,
        PPPOE_SESSION,
        0x88cc,
        0x8847,
        0x0026,
        any,
    ])
}

fn packet(random: &mut Random, version: Version, depth: u32) -> Vec<u8> {
    let (protocol, mut payload) = upper(random, version, depth);
    // The first part of a fragmented packet.
    let first = random.chance(4) && payload.len() >= 8;
    if first {
        payload.truncate(8 * (1 + random.below(payload.len() / 8)));
    }
    let mut packet = match version {
        Version::V4 => ipv4(random, protocol, &payload),
        Version::V6 if first => ipv6(random, FRAGMENT, &fragment6(protocol, 0, true, &payload)),
        Version::V6 => ipv6(random, protocol, &payload),
    };
    if first && version == Version::V4 {
        packet[6..8].copy_from_slice(&[0x20, 0]);
    }
    // The other version's number, or no version at all.
    if random.chance(1) {
        packet[0] = random.byte();
    }
    packet
}

fn ipv4(random: &mut Random, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let words = if random.chance(10) {
        random.below(11)
    } else {
        0
    };
    ipv4_with(random, protocol, words, payload)
}

/// A packet with so many words of options.
fn ipv4_with(random: &mut Random, protocol: u8, words: usize, payload: &[u8]) -> Vec<u8> {
    let total_len = wrong(random, 20 + 4 * words + payload.len());
    let header_words = if random.chance(2) {
        random.byte() & 15
    } else {
        u8::try_from(5 + words).expect("at most 15")
    };
    let mut packet = vec![0x40 | header_words, 0];
    packet.extend(total_len.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment_field(random).to_be_bytes());
    packet.extend([random.pick(&[1, 64, 64, 254, 255]), protocol, 0, 0]);
    let source = address4(random);
    let land = random.chance(3);
    packet.extend(source);
    packet.extend(if land { source } else { destination4(random) });
    packet.extend(random.bytes(4 * words));
    packet.extend(payload);
    packet
}

/// Flags and offset: most packets are whole.
fn fragment_field(random: &mut Random) -> u16 {
    let offset = u16::try_from(random.below(6)).expect("small");
    match random.below(100) {
        0..40 => 0x4000,
        40..80 => 0,
        80..88 => 0x2000,
        88..92 => 0x2000 | offset,
        92..97 => offset,
        97 => 0x1fff,
        _ => random.half(),
    }
}

fn ipv6(random: &mut Random, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut rest = payload.to_vec();
    let mut next = protocol;
    let extensions = random.pick(&[0, 0, 0, 0, 0, 1, 1, 2, 3, 8, 9]);
    for position in (0..extensions).rev() {
        let header = match random.below(100) {
            0..20 if position == 0 => HOP_BY_HOP,
            0..2 => HOP_BY_HOP,
            2..35 => DESTINATION,
            35..60 => ROUTING,
            60..80 => AUTHENTICATION,
            _ => FRAGMENT,
        };
        rest = match header {
            FRAGMENT => {
                let field = fragment_field(random);
                fragment6(next, field & 0x1fff, field & 0x2000 != 0, &rest)
            }
            AUTHENTICATION => authentication(next, &rest),
            _ => {
                let units = random.pick(&[0, 0, 0, 1, 3, 31]);
                extension(next, units, &rest)
            }
        };
        if random.chance(3) {
            rest[1] = random.byte();
        }
        next = header;
    }
    let payload_len = wrong(random, rest.len());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(payload_len.to_be_bytes());
    packet.extend([next, random.pick(&[1, 64, 64, 254, 255, 255])]);
    let source = address6(random);
    let land = random.chance(3);
    packet.extend(source);
    packet.extend(if land { source } else { destination6(random) });
    packet.extend(rest);
    packet
}

/// A length field: right nine times out of ten.
fn wrong(random: &mut Random, right: usize) -> u16 {
    let right = u16::try_from(right).expect("frames are small");
    match random.below(100) {
        0..90 => right,
        90..93 => right.saturating_sub(u16::from(random.byte() & 15)),
        93..95 => right.saturating_add(u16::from(random.byte() & 15)),
        95..98 => 0,
        98 => u16::MAX,
        _ => random.half(),
    }
}

/// What IP carries, and its number.
fn upper(random: &mut Random, version: Version, depth: u32) -> (u8, Vec<u8>) {
    let icmp = match version {
        Version::V4 => ICMP,
        Version::V6 => ICMPV6,
    };
    match random.below(100) {
        0..35 => (TCP, tcp(random)),
        35..65 => (UDP, udp(random)),
        65..80 => (icmp, icmp_message(random, version)),
        80..92 if depth < 3 => tunnel(random, depth),
        _ => {
            let any = random.byte();
            let protocols = [ESP, IGMP, GRE, NO_NEXT_HEADER, ICMP, ICMPV6, 135, any];
            (random.pick(&protocols), bytes_up_to(random, 40))
        }
    }
}

fn tunnel(random: &mut Random, depth: u32) -> (u8, Vec<u8>) {
    let version = if random.chance(50) {
        Version::V4
    } else {
        Version::V6
    };
    let inner = packet(random, version, depth + 1);
    let (plain, ethertype) = match version {
        Version::V4 => (IPIP, IPV4),
        Version::V6 => (SIX_IN_FOUR, IPV6),
    };
    if random.chance(50) {
        return (plain, inner);
    }
    let flags = random.pick(&[0, 0x80, 0x20, 0x10, 0xb0]);
    let version = random.pick(&[0, 0, 0, 0, 1]);
    let ethertype = if random.chance(5) {
        random.half()
    } else {
        ethertype
    };
    let words = usize::try_from(u8::count_ones(flags)).expect("at most eight");
    let mut header = vec![flags, version];
    header.extend(ethertype.to_be_bytes());
    header.extend(random.bytes(4 * words));
    header.extend(inner);
    (GRE, header)
}

fn tcp(random: &mut Random) -> Vec<u8> {
    let flags = match random.below(100) {
        0..35 => SYN,
        35..65 => ACK,
        65..70 => SYN | ACK,
        70..75 => RST,
        75..80 => FIN | ACK,
        80..85 => SYN | 0xc0,
        _ => random.byte(),
    };
    let options = match random.below(4) {
        0 => Vec::new(),
        1 => vec![2, 4, 5, 0xb4],
        2 => LINUX_OPTIONS.to_vec(),
        _ => tcp_options(random),
    };
    let words = u8::try_from(5 + options.len() / 4).expect("at most 15");
    let words = if random.chance(4) {
        random.byte() & 15
    } else {
        words
    };
    let mut segment = Vec::new();
    segment.extend(client_port(random).to_be_bytes());
    segment.extend(server_port(random).to_be_bytes());
    segment.extend(random.bytes(8));
    segment.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(bytes_up_to(random, 20));
    segment
}

/// Up to ten words of options, some broken.
fn tcp_options(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    while random.chance(75) {
        match random.below(9) {
            0 => options.extend([2, 4, 2, 0]),
            1 => options.extend([3, 3, random.byte()]),
            2 => options.extend([4, 2]),
            3 => {
                options.extend([8, 10]);
                options.extend(random.bytes(8));
            }
            4 => options.push(1),
            5 => options.push(0),
            6 => options.extend([random.byte(), random.byte() & 15]),
            // Signatures, of lengths that they have and that they have not.
            7 => {
                let len = random.pick(&[16, 17, 18, 18, 18]);
                options.extend([random.pick(&[19, 29]), len]);
                options.extend(random.bytes(usize::from(len) - 2));
            }
            _ => options.extend(random.bytes(3)),
        }
    }
    options.truncate(40);
    options.resize(options.len().next_multiple_of(4), 0);
    options
}

fn udp(random: &mut Random) -> Vec<u8> {
    let data = match random.below(10) {
        0..6 => quic(random),
        6 => Vec::new(),
        _ => bytes_up_to(random, 40),
    };
    let dhcp = random.chance(5);
    let ports = if dhcp {
        [68, 67]
    } else {
        [client_port(random), server_port(random)]
    };
    let len = wrong(random, 8 + data.len());
    let mut datagram = Vec::new();
    for field in [ports[0], ports[1], len, 0] {
        datagram.extend(field.to_be_bytes());
    }
    datagram.extend(data);
    datagram
}

fn quic(random: &mut Random) -> Vec<u8> {
    let first = match random.below(4) {
        0 => 0x40,
        1 => 0xc0,
        2 => 0xd0,
        _ => random.byte(),
    };
    let any = u32::from(random.half());
    let version: u32 = random.pick(&[1, 1, 0x6b33_43cf, 0x6b33_43cf, 0, any]);
    let mut data = vec![first];
    data.extend(version.to_be_bytes());
    let len = random.pick(&[1, 4, 5, 6, 60, 1199, 1200, 1252]);
    data.resize(len, 0);
    data
}

fn icmp_message(random: &mut Random, version: Version) -> Vec<u8> {
    let any = random.byte();
    let kind = match version {
        Version::V4 => random.pick(&[0, 3, 3, 4, 5, 8, 8, 11, 12, 13, any]),
        Version::V6 => random.pick(&[
            1, 2, 3, 128, 129, 131, 132, 133, 134, 135, 136, 137, 139, 143, 151, any,
        ]),
    };
    let mut message = vec![kind, random.pick(&[0, 0, 3, 4]), 0, 0];
    message.extend(bytes_up_to(random, 24));
    message
}

fn client_port(random: &mut Random) -> u16 {
    let any = random.half();
    random.pick(&[40_000, 40_000, 40_000, 53, 123, any])
}

fn server_port(random: &mut Random) -> u16 {
    let any = random.half();
    random.pick(&[443, 443, 443, 22, 53, any])
}

fn bytes_up_to(random: &mut Random, most: usize) -> Vec<u8> {
    let len = random.below(most + 1);
    random.bytes(len)
}

/// A few sources, so that states and limits matter, and every kind of martian.
pub(crate) fn address4(random: &mut Random) -> [u8; 4] {
    match random.below(100) {
        0..80 => [198, 18, random.byte() & 3, 7 + (random.byte() & 3)],
        80..90 => [203, 0, 113, random.byte()],
        90..92 => OWN4,
        92 => [0, 0, 0, 0],
        93 => [0, 1, 2, 3],
        94 => [127, 0, 0, 1],
        95 => [224, 0, 0, 1],
        96 => [255, 255, 255, 255],
        97 => [192, 0, 2, 1],
        _ => {
            let bytes = random.next().to_be_bytes();
            [bytes[0], bytes[1], bytes[2], bytes[3]]
        }
    }
}

fn destination4(random: &mut Random) -> [u8; 4] {
    if random.chance(80) {
        OWN4
    } else {
        address4(random)
    }
}

pub(crate) fn address6(random: &mut Random) -> [u8; 16] {
    let mut address = [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7];
    match random.below(100) {
        0..80 => {
            address[5] = random.byte() & 1;
            address[7] = random.byte() & 3;
            address[15] = random.byte() & 3;
        }
        80..84 => address[8..].copy_from_slice(&weir_common::addr::BLOCK64_MARKER.to_be_bytes()),
        84..88 => return OWN6,
        88 => address = [0; 16],
        89 => {
            address = [0; 16];
            address[15] = 1;
        }
        90 => {
            address = [0; 16];
            address[10..12].fill(0xff);
            address[12..].copy_from_slice(&address4(random));
        }
        91 => address[0] = 0xff,
        92..95 => {
            address[..8].copy_from_slice(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0]);
        }
        _ => address.copy_from_slice(&random.bytes(16)),
    }
    address
}

fn destination6(random: &mut Random) -> [u8; 16] {
    if random.chance(80) {
        OWN6
    } else {
        address6(random)
    }
}

/// MSS, SACK permitted, timestamps, no operation, window scale.
pub(crate) const LINUX_OPTIONS: [u8; 20] = [
    2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
];
