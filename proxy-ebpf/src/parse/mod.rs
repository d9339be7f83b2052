//! From a frame to facts: Ethernet, VLAN tags, IPv4 or IPv6, transport. Decides nothing and keeps nothing.
//!
//! Every frame has exactly one of three results, whatever its bytes are and wherever it is cut. Checksums are not
//! verified: the network stack does that, and frames of local sockets carry partial ones.

mod eth;
mod ipv4;
mod ipv6;
mod transport;

#[cfg(test)]
mod tests;

use weir_common::Source;

use crate::packet::Packet;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// Neither IPv4 nor IPv6: ARP, LLDP, `PPPoE`, an 802.3 length field, ….
    NonIp,
    /// Cut short, or with lengths that contradict each other. The source is known once the fixed IP header was read.
    Malformed(Option<Source>),
    /// An IP packet.
    Ip(Facts),
}

/// What the verdicts know about an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Source address.
    pub source: Source,
    /// Number of the upper-layer protocol (IANA "Protocol Numbers"); for a later IPv6 fragment what its fragment
    /// header names, which may be one more extension header.
    pub protocol: u8,
    /// Fragmentation.
    pub fragment: Fragment,
    /// Upper-layer header, as far as the filter reads it.
    pub transport: Transport,
    /// 802.1Q and 802.1ad tags in front of the IP header, 0 to [`MAX_TAGS`].
    pub tags: u8,
}

/// Which part of a datagram a packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// All of it. An IPv6 "atomic fragment" (offset 0, none to follow) is whole too (RFC 6946 §4).
    Whole,
    /// The first part, with the upper-layer header.
    First,
    /// A later part, without one.
    Later,
}

/// Upper-layer header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP (RFC 9293 §3.1).
    Tcp {
        /// Source and destination port.
        ports: Ports,
        /// Control bits, CWR to FIN.
        flags: u8,
    },
    /// UDP (RFC 768).
    Udp {
        /// Source and destination port.
        ports: Ports,
    },
    /// ICMP of either IP version (RFC 792, RFC 4443).
    Icmp {
        /// Message type.
        kind: u8,
        /// Message code.
        code: u8,
    },
    /// Another protocol, or a later fragment.
    Opaque,
}

/// Ports in host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

impl Facts {
    /// Whether this opens a TCP connection: SYN without ACK.
    #[inline(always)]
    pub fn is_syn(&self) -> bool {
        matches!(self.transport, Transport::Tcp { flags, .. } if flags & (TCP_SYN | TCP_ACK) == TCP_SYN)
    }
}

/// Reads a frame from its Ethernet header on.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P) -> Parsed {
    let Some(link) = eth::parse(packet) else {
        return Parsed::Malformed(None);
    };
    match link.ethertype {
        ETHERTYPE_IPV4 => ipv4::parse(packet, link),
        ETHERTYPE_IPV6 => ipv6::parse(packet, link),
        _ => Parsed::NonIp,
    }
}

/// Link-layer headers, read.
#[derive(Clone, Copy)]
struct Link {
    /// Type of what follows the last tag.
    ethertype: u16,
    /// Where it begins.
    at: usize,
    /// Tags passed.
    tags: u8,
}

/// Bytes of one IP packet within a frame; link-layer padding behind `end` is not its.
#[derive(Clone, Copy)]
struct Span {
    /// Where the next header begins.
    at: usize,
    /// Where the packet ends, at most the frame's length.
    end: usize,
}

impl Span {
    /// The packet of `claimed` bytes at `start`, whose next header begins at `at`; `None` if it does not fit the frame.
    ///
    /// A length of 0 is what Linux writes into a packet that its receive offload has made longer than the 16-bit field can
    /// say (BIG TCP); generic mode sees such frames, no wire carries one. They end where the frame does.
    #[inline(always)]
    fn of(start: usize, at: usize, claimed: u16, frame_len: usize) -> Option<Self> {
        let end = if claimed == 0 && frame_len > start + 0xffff {
            frame_len
        } else {
            start + usize::from(claimed)
        };
        (at <= end && end <= frame_len).then_some(Self { at, end })
    }

    /// Whether `len` more bytes belong to the packet.
    #[inline(always)]
    fn holds(self, len: usize) -> bool {
        self.at + len <= self.end
    }
}

/// Tags a frame may carry: one 802.1Q tag within one 802.1ad tag. Linux strips any number, so a deeper stack is not
/// passed as non-IP: it is malformed.
pub const MAX_TAGS: u8 = 2;
/// Extension headers an IPv6 packet may carry; more are malformed. RFC 9098 §5 and RFC 8504 §5.3 let nodes set limits.
pub const MAX_EXTENSIONS: u8 = 8;

/// TCP control bit SYN.
pub const TCP_SYN: u8 = 0x02;
/// TCP control bit ACK.
pub const TCP_ACK: u8 = 0x10;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
