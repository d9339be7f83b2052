//! TCP (RFC 9293 §3.1), UDP (RFC 768), ICMP for IPv4 (RFC 792) and for IPv6 (RFC 4443): fixed headers only.
//!
//! The first fragment of a datagram has to hold the whole upper-layer header (RFC 7112 for IPv6; for IPv4 the
//! answer to the tiny-fragment attack of RFC 1858), so it is held to the same rules as a whole datagram.

use super::{Fragment, Ports, Span, Transport};
use crate::packet::Packet;

/// The control protocol of an IP version: the other version's is an unknown protocol to it.
#[derive(Clone, Copy)]
pub(super) struct Icmp {
    protocol: u8,
    min_len: usize,
}

impl Icmp {
    /// ICMP: every message has 8 bytes at least (RFC 792).
    pub(super) const V4: Self = Self {
        protocol: 1,
        min_len: 8,
    };
    /// ICMP for IPv6: every message has type, code and checksum (RFC 4443 §2.1).
    pub(super) const V6: Self = Self {
        protocol: 58,
        min_len: 4,
    };

    #[inline(always)]
    fn parse<P: Packet>(self, packet: &P, span: Span) -> Option<Transport> {
        let header: [u8; 2] = packet.load(span.at)?;
        span.holds(self.min_len).then_some(Transport::Icmp {
            kind: header[0],
            code: header[1],
        })
    }
}

/// Reads the header at `span.at`. `None`: cut short, or its length field contradicts the packet.
#[inline(always)]
pub(super) fn parse<P: Packet>(
    packet: &P,
    span: Span,
    protocol: u8,
    fragment: Fragment,
    icmp: Icmp,
) -> Option<Transport> {
    if fragment == Fragment::Later {
        return Some(Transport::Opaque);
    }
    match protocol {
        TCP => tcp(packet, span),
        UDP => udp(packet, span, fragment),
        _ if protocol == icmp.protocol => icmp.parse(packet, span),
        _ => Some(Transport::Opaque),
    }
}

#[inline(always)]
fn tcp<P: Packet>(packet: &P, span: Span) -> Option<Transport> {
    let header: [u8; TCP_MIN_HEADER] = packet.load(span.at)?;
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < TCP_MIN_HEADER || !span.holds(header_len) {
        return None;
    }
    Some(Transport::Tcp {
        ports: ports([header[0], header[1], header[2], header[3]]),
        flags: header[13],
    })
}

#[inline(always)]
fn udp<P: Packet>(packet: &P, span: Span, fragment: Fragment) -> Option<Transport> {
    let header: [u8; UDP_HEADER] = packet.load(span.at)?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    // The length is the whole datagram's, so a first fragment is shorter than it says.
    let present = if fragment == Fragment::Whole {
        len
    } else {
        UDP_HEADER
    };
    if len < UDP_HEADER || !span.holds(present) {
        return None;
    }
    Some(Transport::Udp {
        ports: ports([header[0], header[1], header[2], header[3]]),
    })
}

#[inline(always)]
fn ports([a, b, c, d]: [u8; 4]) -> Ports {
    Ports {
        source: u16::from_be_bytes([a, b]),
        destination: u16::from_be_bytes([c, d]),
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;

const TCP_MIN_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
