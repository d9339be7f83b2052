//! Ethernet frames as attackers send them: TCP, UDP and ICMP over IPv4 and IPv6, and ARP. Checksums are right (RFC 1071), so
//! that a frame that is not dropped costs the network stack what a real one does.

use std::net::{IpAddr, Ipv4Addr};

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP SYN with an MSS option.
    Syn {
        /// Destination port.
        port: u16,
    },
    /// A UDP datagram.
    Udp {
        /// Destination port.
        port: u16,
        /// Bytes of payload.
        payload: usize,
    },
    /// A TCP segment without options and content, its sequence number 1 and acknowledging 1.
    Tcp {
        /// Source and destination port.
        ports: (u16, u16),
        /// Control bits (RFC 9293 §3.1), FIN being 1.
        flags: u8,
    },
    /// A UDP datagram from a chosen port, with a byte of payload.
    UdpFrom {
        /// Source and destination port.
        ports: (u16, u16),
    },
    /// An echo request of ICMP (RFC 792) or, from an IPv6 source, of `ICMPv6` (RFC 4443).
    Echo,
}

/// An Ethernet frame from `source` to `destination`, both of one family. `salt` varies what varies between the packets
/// of a real flood: ports, sequence numbers, identifiers.
pub fn frame(kind: Kind, mac: [u8; 6], source: IpAddr, destination: IpAddr, salt: u32) -> Vec<u8> {
    let protocol = match (kind, source) {
        (Kind::Syn { .. } | Kind::Tcp { .. }, _) => TCP,
        (Kind::Udp { .. } | Kind::UdpFrom { .. }, _) => UDP,
        (Kind::Echo, IpAddr::V4(_)) => ICMP,
        (Kind::Echo, IpAddr::V6(_)) => ICMP_V6,
    };
    packet(
        mac,
        (source, destination),
        protocol,
        segment(kind, protocol, salt),
        salt,
    )
}

/// An Ethernet frame with an IP packet between `addresses`, source and destination, that carries `segment` of `protocol` with
/// its checksum put right.
fn packet(
    mac: [u8; 6],
    addresses: (IpAddr, IpAddr),
    protocol: u8,
    mut segment: Vec<u8>,
    salt: u32,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend(mac);
    bytes.extend(ATTACKER_MAC);
    let length = u16::try_from(segment.len()).expect("frames of a flood are small");
    let pseudo = pseudo_header(addresses.0, addresses.1, protocol, length);
    let sum = if protocol == ICMP {
        checksum(&[&segment])
    } else {
        checksum(&[&pseudo, &segment])
    };
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        _ => 2,
    };
    // RFC 768: a UDP checksum of zero is sent as all ones.
    let sum = if protocol == UDP && sum == 0 { !0 } else { sum };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    match addresses {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend(ETHERTYPE_IPV4);
            bytes.extend(ipv4_header(protocol, source, destination, length, salt));
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes.extend(ETHERTYPE_IPV6);
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([protocol, HOPS]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        (source, destination) => {
            panic!("source {source} and destination {destination} are of different families")
        }
    }
    bytes.extend(segment);
    bytes
}

/// A TCP segment without options and content, with these sequence and acknowledgement numbers.
pub fn tcp_segment(
    mac: [u8; 6],
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    (sequence, acknowledgement): (u32, u32),
    flags: u8,
) -> Vec<u8> {
    let segment = tcp_header(ports, (sequence, acknowledgement), flags);
    packet(mac, addresses, TCP, segment, sequence)
}

/// What a router on the way says of a packet too big for its next link: ICMP "fragmentation needed" (RFC 1191), or ICMPv6
/// "packet too big" (RFC 8201). `quoted`: the frame it is about, or as much of it as there is.
pub fn too_big(mac: [u8; 6], addresses: (IpAddr, IpAddr), mtu: u16, quoted: &[u8]) -> Vec<u8> {
    let (protocol, mut message) = match addresses.0 {
        IpAddr::V4(_) => (ICMP, vec![3, 4, 0, 0, 0, 0]),
        IpAddr::V6(_) => (ICMP_V6, vec![2, 0, 0, 0, 0, 0]),
    };
    message.extend(mtu.to_be_bytes());
    message.extend(&quoted[14..]);
    packet(mac, addresses, protocol, message, 7)
}

/// `frame` with an 802.1Q tag of the VLAN `id`.
pub fn tagged(frame: &[u8], id: u16) -> Vec<u8> {
    let mut bytes = frame[..12].to_vec();
    bytes.extend([0x81, 0x00]);
    bytes.extend(id.to_be_bytes());
    bytes.extend(&frame[12..]);
    bytes
}

/// Whether the checksums in an untagged frame of TCP over IP are right.
pub fn tcp_checksums_are_right(frame: &[u8]) -> bool {
    let ip = &frame[14..];
    if frame[12..14] == ETHERTYPE_IPV4 {
        let (header, segment) = ip.split_at(20);
        let (source, destination) = (octets::<4>(&header[12..]), octets::<4>(&header[16..]));
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some(segment) = segment.get(..total - 20) else {
            return false;
        };
        let length = u16::try_from(segment.len()).expect("of 16 bits");
        let pseudo = pseudo_header(source.into(), destination.into(), TCP, length);
        checksum(&[header]) == 0 && checksum(&[&pseudo, segment]) == 0
    } else {
        let (header, segment) = ip.split_at(40);
        let (source, destination) = (octets::<16>(&header[8..]), octets::<16>(&header[24..]));
        let length = u16::from_be_bytes([header[4], header[5]]);
        let Some(segment) = segment.get(..usize::from(length)) else {
            return false;
        };
        let pseudo = pseudo_header(source.into(), destination.into(), TCP, length);
        checksum(&[&pseudo, segment]) == 0
    }
}

fn octets<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("N of them")
}

/// An ARP request for `target` from `source`, broadcast (RFC 826).
pub fn arp_request(source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    bytes.extend(ATTACKER_MAC);
    bytes.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    bytes.extend(ATTACKER_MAC);
    bytes.extend(source.octets());
    bytes.extend([0; 6]);
    bytes.extend(target.octets());
    bytes.resize(60, 0);
    bytes
}

fn segment(kind: Kind, protocol: u8, salt: u32) -> Vec<u8> {
    let source_port = 1024 + u16::try_from(salt % 60_000).expect("below 60,000");
    let mut bytes = Vec::with_capacity(64);
    match kind {
        Kind::Syn { port } => {
            bytes.extend(source_port.to_be_bytes());
            bytes.extend(port.to_be_bytes());
            bytes.extend(salt.wrapping_mul(0x9e37_79b9).to_be_bytes());
            bytes.extend([0; 4]);
            // Six words of header, SYN, window 64,240, MSS 1,460.
            bytes.extend([0x60, 0x02, 0xfa, 0xf0, 0, 0, 0, 0, 2, 4, 0x05, 0xb4]);
        }
        Kind::Udp { port, payload } => {
            let length = u16::try_from(8 + payload).expect("frames of a flood are small");
            bytes.extend(source_port.to_be_bytes());
            bytes.extend(port.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.extend([0; 2]);
            bytes.resize(8 + payload, b'f');
        }
        Kind::Tcp { ports, flags } => bytes = tcp_header(ports, (1, 1), flags),
        Kind::UdpFrom { ports } => {
            for word in [ports.0, ports.1, 9, 0] {
                bytes.extend(word.to_be_bytes());
            }
            bytes.push(b'f');
        }
        Kind::Echo => {
            bytes.extend([if protocol == ICMP { 8 } else { 128 }, 0, 0, 0]);
            bytes.extend(salt.to_be_bytes());
        }
    }
    bytes
}

fn tcp_header(ports: (u16, u16), numbers: (u32, u32), flags: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(numbers.0.to_be_bytes());
    bytes.extend(numbers.1.to_be_bytes());
    bytes.extend([0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
    bytes
}

fn ipv4_header(
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    length: u16,
    salt: u32,
) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(20 + length).to_be_bytes());
    header[4..6].copy_from_slice(&salt.to_be_bytes()[2..]);
    header[6] = 0x40; // don't fragment
    header[8] = HOPS;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// RFC 9293 §3.1 and RFC 8200 §8.1; their sums are the same as those of addresses, length and protocol in any layout.
fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: u16) -> Vec<u8> {
    let mut header = Vec::with_capacity(36);
    for address in [source, destination] {
        match address {
            IpAddr::V4(v4) => header.extend(v4.octets()),
            IpAddr::V6(v6) => header.extend(v6.octets()),
        }
    }
    header.extend(length.to_be_bytes());
    header.extend([0, protocol]);
    header
}

/// RFC 1071. Every part but the last must be of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

const ATTACKER_MAC: [u8; 6] = [0x02, 0x77, 0, 0, 2, 2];
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const HOPS: u8 = 64;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn checksum_is_that_of_the_example_in_rfc_1071() {
        let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&example]), !0xddf2);
    }

    #[test]
    fn a_header_with_its_checksum_in_place_sums_to_zero() {
        for kind in [
            Kind::Syn { port: 443 },
            Kind::Udp {
                port: 53,
                payload: 7,
            },
            Kind::Tcp {
                ports: (7, 443),
                flags: 0x10,
            },
            Kind::UdpFrom { ports: (53, 7) },
            Kind::Echo,
        ] {
            let (source, destination) = ([198, 18, 0, 1].into(), [10, 77, 2, 1].into());
            let bytes = frame(kind, MAC, source, destination, 0xdead_beef);
            assert_eq!(checksum(&[&bytes[14..34]]), 0, "IPv4 header of {kind:?}");
            let length = u16::try_from(bytes.len() - 34).expect("small");
            let pseudo = pseudo_header(source, destination, bytes[23], length);
            let segment = &bytes[34..];
            let sum = match kind {
                Kind::Echo => checksum(&[segment]),
                _ => checksum(&[&pseudo, segment]),
            };
            assert_eq!(sum, 0, "segment of {kind:?}");
        }
    }

    #[test]
    fn lengths_in_the_headers_agree_with_the_frame() {
        let (source, destination) = (
            "2001:db8::1".parse().expect("an address"),
            "fd77:0:0:2::1".parse().expect("an address"),
        );
        let bytes = frame(Kind::Syn { port: 443 }, MAC, source, destination, 1);
        assert_eq!(bytes.len(), 14 + 40 + 24);
        assert_eq!(bytes[18..20], 24_u16.to_be_bytes());
        assert_eq!(bytes[20], TCP);
    }
}
