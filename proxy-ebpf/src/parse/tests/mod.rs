//! Host tests of the parser. Frames are built from the inside out; checksums are zero.

mod chains;
mod fragments;
mod headers;
mod lengths;
mod tunnels;

use super::icmp::Message;
use super::*;

const TCP_SYN: u8 = tcp::SYN;
const TCP_ACK: u8 = tcp::ACK;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const NO_NEXT_HEADER: u8 = 59;

const SOURCE4: [u8; 4] = [198, 18, 0, 7];
const SOURCE6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7];
const V4: Option<Source> = Some(Source::V4(u32::from_be_bytes(SOURCE4)));
const V6: Option<Source> = Some(Source::V6([0x2001_0db8_0001_0002, 7]));

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12], ethertype.to_be_bytes().as_slice(), payload].concat()
}

fn tag(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[0, 5], ethertype.to_be_bytes().as_slice(), payload].concat()
}

/// `field`: flags and fragment offset. `options`: a multiple of 4 bytes.
fn ipv4(protocol: u8, field: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let total_len = u16::try_from(20 + options.len() + payload.len()).unwrap();
    let mut packet = vec![0x45 + u8::try_from(options.len() / 4).unwrap(), 0];
    packet.extend(total_len.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(field.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(SOURCE4);
    packet.extend([198, 18, 255, 1]);
    [&packet, options, payload].concat()
}

fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(SOURCE6);
    packet.extend([0xfe; 16]);
    [&packet, payload].concat()
}

fn extension(next_header: u8, units: u8, rest: &[u8]) -> Vec<u8> {
    let padding = vec![0; 6 + 8 * usize::from(units)];
    [&[next_header, units], padding.as_slice(), rest].concat()
}

fn authentication(next_header: u8, rest: &[u8]) -> Vec<u8> {
    [&[next_header, 4], [0; 22].as_slice(), rest].concat()
}

fn fragment6(next_header: u8, field: u16, rest: &[u8]) -> Vec<u8> {
    let field = field.to_be_bytes();
    [&[next_header, 0, field[0], field[1], 0, 0, 0, 9], rest].concat()
}

fn tcp(flags: u8) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2];
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment
}

fn udp(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + data.len()).unwrap().to_be_bytes();
    [&[0x9c, 0x40, 0x01, 0xbb, len[0], len[1], 0, 0], data].concat()
}

/// `headers` destination options headers, then a SYN.
fn chain(headers: usize) -> Vec<u8> {
    let mut rest = tcp(TCP_SYN);
    let mut next = TCP;
    for _ in 0..headers {
        rest = extension(next, 0, &rest);
        next = DESTINATION;
    }
    ethernet(ETHERTYPE_IPV6, &ipv6(next, &rest))
}

/// What all parts of the parser together make of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parsed {
    Other(Ethertype),
    Malformed(Option<Source>),
    Ip(Ip, Upper),
}

fn parse<P: Packet>(packet: &P) -> Parsed {
    let Some(link) = link(packet) else {
        return Parsed::Malformed(None);
    };
    match network(packet, link) {
        Frame::Other(kind) => Parsed::Other(kind),
        Frame::Malformed(source) => Parsed::Malformed(source),
        Frame::Ip(ip) => {
            let upper = match ip.version() {
                Version::V4 => upper4(packet, &ip),
                Version::V6 => upper6(packet, &ip),
            };
            match upper {
                Some(upper) => Parsed::Ip(ip, upper),
                None => Parsed::Malformed(Some(ip.source())),
            }
        }
    }
}

fn parse_slice(frame: &[u8]) -> Parsed {
    parse(&frame)
}

fn facts(frame: &[u8]) -> (Ip, Upper) {
    match parse(&frame) {
        Parsed::Ip(ip, upper) => (ip, upper),
        other => panic!("{other:?}"),
    }
}

fn transport_of(frame: &[u8]) -> Transport {
    facts(frame).1.transport()
}

fn fragment_of(frame: &[u8]) -> Fragment {
    facts(frame).1.fragment()
}

fn opens(frame: &[u8]) -> bool {
    matches!(transport_of(frame), Transport::Tcp(segment) if segment.opens())
}

/// Frames of every shape: (what, frame, where the fixed IP header ends, its source).
fn shapes() -> Vec<(&'static str, Vec<u8>, usize, Option<Source>)> {
    let v4 = |inner: Vec<u8>| ethernet(ETHERTYPE_IPV4, &inner);
    let v6 = |inner: Vec<u8>| ethernet(ETHERTYPE_IPV6, &inner);
    let tagged = |inner: &[u8]| ethernet(0x8100, &tag(ETHERTYPE_IPV4, inner));
    let stacked = |inner: &[u8]| ethernet(0x88a8, &tag(0x8100, &tag(ETHERTYPE_IPV6, inner)));
    let syn = tcp(TCP_SYN);
    // A part that others follow is a multiple of 8 bytes long.
    let syn24 = [syn.as_slice(), &[0; 4]].concat();
    let long_chain = extension(
        ROUTING,
        1,
        &extension(
            AUTHENTICATION,
            2,
            &authentication(DESTINATION, &extension(TCP, 0, &syn)),
        ),
    );
    vec![
        ("tcp", v4(ipv4(TCP, 0, &[], &syn)), 34, V4),
        ("udp", v4(ipv4(UDP, 0, &[], &udp(b"data"))), 34, V4),
        ("icmp", v4(ipv4(1, 0, &[], &[8; 8])), 34, V4),
        ("options", v4(ipv4(TCP, 0, &[1; 40], &syn)), 34, V4),
        ("gre", v4(ipv4(47, 0, &[], &[0; 9])), 34, V4),
        ("first fragment", v4(ipv4(TCP, 0x2000, &[], &syn24)), 34, V4),
        ("later fragment", v4(ipv4(TCP, 3, &[], &[0; 16])), 34, V4),
        ("tagged", tagged(&ipv4(TCP, 0, &[], &syn)), 38, V4),
        ("stacked", stacked(&ipv6(TCP, &syn)), 62, V6),
        ("tcp, IPv6", v6(ipv6(TCP, &syn)), 54, V6),
        ("udp, IPv6", v6(ipv6(UDP, &udp(b"data"))), 54, V6),
        ("icmp, IPv6", v6(ipv6(58, &[128; 8])), 54, V6),
        ("extensions", v6(ipv6(HOP_BY_HOP, &long_chain)), 54, V6),
        (
            "fragment, IPv6",
            v6(ipv6(FRAGMENT, &fragment6(UDP, 1, &udp(b"data data")[..16]))),
            54,
            V6,
        ),
        ("esp", v6(ipv6(50, &[0; 24])), 54, V6),
    ]
}
