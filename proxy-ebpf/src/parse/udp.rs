//! UDP (RFC 768).

use super::{Fragment, Span};
use crate::packet::{Bytes as _, Packet};

/// The header of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Where the data begins.
    pub data_at: usize,
    /// Length of the data in bytes, as the header says; of a fragment not all of it is here.
    pub data_len: usize,
}

/// Reads the header. `None`: cut short, or its length field contradicts the packet.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P, span: Span, fragment: Fragment) -> Option<Datagram> {
    let header = packet.load::<HEADER>(span.at())?;
    let len = usize::from(header.be16::<4>());
    // The length is the whole datagram's, so a first fragment is shorter than it says.
    let present = if fragment == Fragment::Whole {
        len
    } else {
        HEADER
    };
    if len < HEADER || !span.holds(present) {
        return None;
    }
    Some(Datagram {
        source_port: header.be16::<0>(),
        destination_port: header.be16::<2>(),
        data_at: span.at() + HEADER,
        data_len: len - HEADER,
    })
}

/// Length of the header.
pub(super) const HEADER: usize = 8;
