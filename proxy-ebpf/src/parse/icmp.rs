//! ICMP for IPv4 (RFC 792) and for IPv6 (RFC 4443): type and code.

use super::Span;
use crate::packet::{Bytes as _, Packet};

/// Type and code of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Message type.
    pub kind: u8,
    /// Message code.
    pub code: u8,
}

/// Reads type and code. `None`: cut short.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P, span: Span, protocol: u8) -> Option<Message> {
    // Every message has 8 bytes at least (RFC 792); for IPv6 type, code and checksum (RFC 4443 §2.1).
    let least = if protocol == ICMP { 8 } else { 4 };
    let header = packet.load::<2>(span.at())?;
    span.holds(least).then_some(Message {
        kind: header.byte::<0>(),
        code: header.byte::<1>(),
    })
}

/// Number of ICMP, the control protocol of IPv4 and an unknown one to IPv6.
pub const ICMP: u8 = 1;
/// Number of ICMP for IPv6, the other way round.
pub const ICMPV6: u8 = 58;
