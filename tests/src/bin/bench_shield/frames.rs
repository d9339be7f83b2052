//! Frames for `BPF_PROG_TEST_RUN`. Nothing sends them: their checksums are zero, because no XDP program looks at them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An Ethernet frame with an IPv4 or IPv6 packet, padded to the shortest that Ethernet carries.
pub(crate) fn frame(packet: &[u8]) -> Vec<u8> {
    let mut frame = bare(packet);
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}

/// The same without padding, as it arrives over a veth pair.
pub(crate) fn bare(packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 {
        0x0800_u16
    } else {
        0x86dd
    };
    let addresses = [[0x02, 0x77, 0, 0, 9, 1], [0x02, 0x77, 0, 0, 9, 2]];
    [addresses.as_flattened(), &ethertype.to_be_bytes(), packet].concat()
}

/// An IPv4 packet to [`SERVER4`].
pub(crate) fn ipv4(source: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = length(20 + payload.len());
    let mut packet = vec![0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    packet.extend(source.octets());
    packet.extend(SERVER4.octets());
    packet.extend(payload);
    packet
}

/// An IPv6 packet to [`SERVER6`].
pub(crate) fn ipv6(source: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(payload.len()));
    packet.extend([protocol, 64]);
    packet.extend(source.octets());
    packet.extend(SERVER6.octets());
    packet.extend(payload);
    packet
}

/// A TCP segment to [`PORT`]; `options` is a multiple of four bytes.
pub(crate) fn tcp(flags: u8, options: &[u8]) -> Vec<u8> {
    let mut segment = vec![0x9c, 0x40];
    segment.extend(PORT.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 2]);
    let words = 5 + u8::try_from(options.len() / 4).expect("at most 40 bytes of options");
    segment.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment
}

/// A UDP datagram from `source_port`.
pub(crate) fn udp(source_port: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = source_port.to_be_bytes().to_vec();
    datagram.extend(PORT.to_be_bytes());
    datagram.extend(length(8 + data.len()));
    datagram.extend([0, 0]);
    datagram.extend(data);
    datagram
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes)
        .expect("a bench's packets are small")
        .to_be_bytes()
}

/// Without its checksum of four bytes.
const SHORTEST: usize = 60;

/// TCP control bits.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;
/// Protocol numbers.
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
/// A SYN's options: the MSS.
pub(crate) const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];
/// As Linux sends them: MSS, SACK permitted, timestamps, window scale.
pub(crate) const ALL_OPTIONS: [u8; 20] = [
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7,
];

/// Where the frames go.
pub(crate) const SERVER4: Ipv4Addr = Ipv4Addr::new(10, 77, 9, 1);
/// Where the frames go.
pub(crate) const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 9, 0, 0, 0, 1);
/// Where the frames go.
pub(crate) const PORT: u16 = 443;
