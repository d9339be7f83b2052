//! From a frame to facts: Ethernet, VLAN tags, IPv4 or IPv6, and then, for packets that lists let through, extension
//! headers and transport. Decides nothing and keeps nothing.
//!
//! Every frame has exactly one result, whatever its bytes are and wherever it is cut. Checksums are not verified: the
//! network stack does that, and frames of local sockets carry partial ones.

mod eth;
pub mod icmp;
mod ipv4;
mod ipv6;
pub mod tcp;
mod tunnel;
pub mod udp;

#[cfg(test)]
mod tests;

use weir_common::Source;

pub use tunnel::{inner, is_tunnel};

use crate::opaque::opaque;
use crate::packet::Packet;

/// What a frame is, as far as its fixed IP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Neither IPv4 nor IPv6.
    Other(Ethertype),
    /// Cut short, or with lengths that contradict each other. The source is known once the fixed IP header was read.
    Malformed(Option<Source>),
    /// An IP packet.
    Ip(Ip),
}

/// What is in a frame that is not IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ethertype {
    /// Without it there is no IPv4.
    Arp,
    /// `PPPoE` discovery and sessions.
    Pppoe,
    /// LLDP, an 802.3 length field, ….
    Other,
}

/// A fixed IP header.
///
/// A flat struct without gaps, like [`Upper`]: BPF functions pass it by address, and a kernel before 6.3 refuses to read
/// stack that was not written, which the unused part of an enum's variant is.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ip {
    source: [u64; 2],
    destination: [u64; 2],
    version: Version,
    /// Number of what follows (IANA "Protocol Numbers"): for IPv6 the first extension header, if there is one.
    protocol: u32,
    /// IPv4 TTL, IPv6 hop limit.
    hop_limit: u32,
    /// Fragmentation, as far as the fixed header tells: IPv6 has a header for it.
    fragment: Fragment,
    /// Where the header begins.
    at: u32,
    /// 802.1Q and 802.1ad tags in front of it, 0 to [`MAX_TAGS`].
    tags: u32,
    /// What follows the header and, of IPv4, its options.
    span: Span,
}

/// IP version.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

/// What IP carries.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upper {
    /// Number of the upper-layer protocol; for a later IPv6 fragment what its fragment header names, which may be one more
    /// extension header.
    protocol: u32,
    /// Fragmentation.
    fragment: Fragment,
    kind: Kind,
    /// TCP, UDP: ports. ICMP: type and code.
    first: u16,
    second: u16,
    /// TCP: sequence number. UDP: length of the data.
    number: u32,
    /// TCP: control bits.
    flags: u32,
    /// TCP: length of the header.
    header_len: u32,
    /// Where the packet ends.
    end: u32,
    /// Where the upper-layer header begins.
    at: u32,
}

/// Which of [`Transport`].
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Opaque = 0,
    Tcp = 1,
    Udp = 2,
    Icmp = 3,
}

/// Which part of a datagram a packet carries.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// All of it. An IPv6 "atomic fragment" (offset 0, none to follow) is whole too (RFC 6946 §4).
    Whole = 0,
    /// The first part, with the upper-layer header.
    First = 1,
    /// A later part, without one.
    Later = 2,
}

/// Upper-layer header, as far as the filter reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP (RFC 9293 §3.1).
    Tcp(tcp::Segment),
    /// UDP (RFC 768).
    Udp(udp::Datagram),
    /// ICMP of the packet's IP version (RFC 792, RFC 4443).
    Icmp(icmp::Message),
    /// Another protocol, or a later fragment.
    Opaque,
}

impl Ip {
    /// Source address.
    #[inline(always)]
    pub fn source(&self) -> Source {
        self.address(self.source)
    }

    /// The source address as a 128-bit number, in halves; an IPv4 address is the lowest 32 bits of the second.
    #[inline(always)]
    pub fn source_words(&self) -> [u64; 2] {
        self.source
    }

    /// Destination address, of the same version.
    #[inline(always)]
    pub fn destination(&self) -> Source {
        self.address(self.destination)
    }

    #[inline(always)]
    fn address(&self, address: [u64; 2]) -> Source {
        match self.version {
            Version::V4 => Source::V4(address[1] as u32),
            Version::V6 => Source::V6(address),
        }
    }

    /// IP version.
    #[inline(always)]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Number of what follows (IANA "Protocol Numbers"): for IPv6 the first extension header, if there is one.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        self.protocol as u8
    }

    /// IPv4 TTL, IPv6 hop limit.
    #[inline(always)]
    pub fn hop_limit(&self) -> u8 {
        self.hop_limit as u8
    }

    /// Where the header begins.
    #[inline(always)]
    pub fn at(&self) -> usize {
        self.at as usize
    }

    /// Where what follows the header and, of IPv4, its options begins.
    #[inline(always)]
    pub fn next_at(&self) -> usize {
        self.span.at()
    }

    /// 802.1Q and 802.1ad tags in front of the header, 0 to [`MAX_TAGS`].
    #[inline(always)]
    pub fn tags(&self) -> u8 {
        self.tags as u8
    }

    /// Whether the header is as long as it has to be and no extension follows: what SYN cookies are made for.
    #[inline(always)]
    pub fn is_plain(&self, upper: &Upper) -> bool {
        let len = match self.version {
            Version::V4 => ipv4::MIN_HEADER,
            Version::V6 => ipv6::HEADER,
        };
        upper.at as usize == self.at() + len
    }
}

impl Upper {
    /// Not read yet: for whoever has to hand over initialised memory to have it filled.
    #[inline(always)]
    pub fn unread() -> Self {
        // A zero that LLVM does not know of: it would clear the whole by a loop over its bytes.
        let zero = opaque(0);
        Self {
            protocol: zero,
            fragment: Fragment::Whole,
            kind: Kind::Opaque,
            first: zero as u16,
            second: zero as u16,
            number: zero,
            flags: zero,
            header_len: zero,
            end: zero,
            at: zero,
        }
    }

    /// Number of the upper-layer protocol; for a later IPv6 fragment what its fragment header names, which may be one more
    /// extension header.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        self.protocol as u8
    }

    /// Fragmentation.
    #[inline(always)]
    pub fn fragment(&self) -> Fragment {
        self.fragment
    }

    /// Where the upper-layer header begins.
    #[inline(always)]
    pub fn at(&self) -> usize {
        self.at as usize
    }

    /// The upper-layer header.
    #[inline(always)]
    pub fn transport(&self) -> Transport {
        match self.kind {
            Kind::Opaque => Transport::Opaque,
            Kind::Tcp => Transport::Tcp(tcp::Segment {
                source_port: self.first,
                destination_port: self.second,
                sequence: self.number,
                flags: self.flags as u8,
                at: self.at as usize,
                header_len: self.header_len as usize,
            }),
            Kind::Udp => Transport::Udp(udp::Datagram {
                source_port: self.first,
                destination_port: self.second,
                data_at: self.at as usize + udp::HEADER,
                data_len: self.number as usize,
            }),
            Kind::Icmp => Transport::Icmp(icmp::Message {
                kind: self.first as u8,
                code: self.second as u8,
            }),
        }
    }

    #[inline(always)]
    fn new(protocol: u8, fragment: Fragment, span: Span, transport: Transport) -> Self {
        let opaque = Self {
            protocol: u32::from(protocol),
            fragment,
            kind: Kind::Opaque,
            first: 0,
            second: 0,
            number: 0,
            flags: 0,
            header_len: 0,
            end: span.end,
            at: span.at,
        };
        match transport {
            Transport::Opaque => opaque,
            Transport::Tcp(segment) => Self {
                kind: Kind::Tcp,
                first: segment.source_port,
                second: segment.destination_port,
                number: segment.sequence,
                flags: u32::from(segment.flags),
                header_len: segment.header_len as u32,
                ..opaque
            },
            Transport::Udp(datagram) => Self {
                kind: Kind::Udp,
                first: datagram.source_port,
                second: datagram.destination_port,
                number: datagram.data_len as u32,
                ..opaque
            },
            Transport::Icmp(message) => Self {
                kind: Kind::Icmp,
                first: u16::from(message.kind),
                second: u16::from(message.code),
                ..opaque
            },
        }
    }
}

/// Reads the Ethernet header and its tags. `None`: cut short, or more than [`MAX_TAGS`] tags.
#[inline(always)]
pub fn link<P: Packet>(packet: &P) -> Option<Link> {
    eth::parse(packet)
}

/// As [`link`], of a frame with tags.
#[inline(always)]
pub fn tagged<P: Packet>(packet: &P) -> Option<Link> {
    eth::tagged(packet)
}

/// Reads what is behind `link`, as far as a fixed IP header.
#[inline(always)]
pub fn network<P: Packet>(packet: &P, link: Link) -> Frame {
    match link.ethertype {
        ETHERTYPE_IPV4 => ipv4::parse(packet, link),
        ETHERTYPE_IPV6 => ipv6::parse(packet, link),
        ETHERTYPE_ARP => Frame::Other(Ethertype::Arp),
        ETHERTYPE_PPPOE_DISCOVERY | ETHERTYPE_PPPOE_SESSION => Frame::Other(Ethertype::Pppoe),
        _ => Frame::Other(Ethertype::Other),
    }
}

/// Reads what IPv4 carries. `None`: cut short, or with lengths that contradict each other.
#[inline(always)]
pub fn upper4<P: Packet>(packet: &P, ip: &Ip) -> Option<Upper> {
    let protocol = ip.protocol();
    let transport = transport(packet, ip.span, protocol, ip.fragment, icmp::ICMP)?;
    Some(Upper::new(protocol, ip.fragment, ip.span, transport))
}

/// As [`upper4`], for IPv6, its extension headers included.
#[inline(always)]
pub fn upper6<P: Packet>(packet: &P, ip: &Ip) -> Option<Upper> {
    let end = ipv6::extensions(packet, ip.span, ip.protocol())?;
    let transport = transport(packet, end.span, end.protocol, end.fragment, icmp::ICMPV6)?;
    Some(Upper::new(end.protocol, end.fragment, end.span, transport))
}

/// Reads the header at `span.at`.
///
/// The first fragment of a datagram has to hold the whole upper-layer header (RFC 7112 for IPv6; for IPv4 the answer to the
/// tiny-fragment attack of RFC 1858), so it is held to the same rules as a whole datagram.
#[inline(always)]
fn transport<P: Packet>(
    packet: &P,
    span: Span,
    protocol: u8,
    fragment: Fragment,
    icmp: u8,
) -> Option<Transport> {
    if fragment == Fragment::Later {
        return Some(Transport::Opaque);
    }
    match protocol {
        TCP => tcp::parse(packet, span).map(Transport::Tcp),
        UDP => udp::parse(packet, span, fragment).map(Transport::Udp),
        _ if protocol == icmp => icmp::parse(packet, span, icmp).map(Transport::Icmp),
        _ => Some(Transport::Opaque),
    }
}

/// Whether a fragment's place is one that no sender gives it. `offset` in bytes; `more`: others follow.
///
/// All but the last carry a multiple of 8 bytes (RFC 791 §3.2, RFC 8200 §4.5), no datagram is longer than 65,535 bytes
/// ("ping of death"), and no later one begins within a TCP header, which it could only overwrite (RFC 3128).
#[inline(always)]
fn misplaced(span: Span, protocol: u8, offset: usize, more: bool) -> bool {
    let len = span.len();
    more && (len & 7 != 0 || len == 0)
        || offset + len > 0xffff
        || protocol == TCP && offset != 0 && offset < tcp::MIN_HEADER
}

/// Headers in front of a network-layer one, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Type of what follows the last tag.
    pub ethertype: u16,
    /// Where it begins.
    pub at: usize,
    /// Tags passed.
    pub tags: u8,
}

/// Bytes of one IP packet within a frame; link-layer padding behind `end` is not its.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    /// Where the next header begins.
    at: u32,
    /// Where the packet ends, at most the frame's length.
    end: u32,
}

impl Span {
    /// The packet of `claimed` bytes at `start`, whose next header begins at `at`; `None` if it does not fit the frame.
    ///
    /// A length of 0 is what Linux writes into a packet that its receive offload has made longer than the 16-bit field can
    /// say (BIG TCP); generic mode sees such frames, no wire carries one. They end where the frame does.
    #[inline(always)]
    fn of<P: Packet>(packet: &P, start: usize, at: usize, claimed: u16) -> Option<Self> {
        let end = if claimed == 0 && packet.reaches(start + 0x1_0000) {
            packet.frame_len()
        } else {
            start + usize::from(claimed)
        };
        (at <= end && packet.reaches(end)).then_some(Self {
            at: at as u32,
            end: end as u32,
        })
    }

    /// Where the next header begins.
    #[inline(always)]
    fn at(self) -> usize {
        self.at as usize
    }

    /// Bytes left.
    #[inline(always)]
    fn len(self) -> usize {
        self.end as usize - self.at as usize
    }

    /// Whether `len` more bytes belong to the packet.
    #[inline(always)]
    fn holds(self, len: usize) -> bool {
        self.at() + len <= self.end as usize
    }
}

/// Tags a frame may carry: one 802.1Q tag within one 802.1ad tag. Linux strips any number, so a deeper stack is not
/// passed as non-IP: it is malformed.
pub const MAX_TAGS: u8 = 2;
/// Extension headers an IPv6 packet may carry; more are malformed. RFC 9098 §5 and RFC 8504 §5.3 let nodes set limits.
pub const MAX_EXTENSIONS: u32 = 8;

/// IANA "Protocol Numbers".
pub const TCP: u8 = 6;
/// IANA "Protocol Numbers".
pub const UDP: u8 = 17;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_PPPOE_DISCOVERY: u16 = 0x8863;
const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;

const _: () = assert!(size_of::<Ip>() == 64 && size_of::<Upper>() == 36);
