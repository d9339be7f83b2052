//! TCP (RFC 9293 §3.1): the fixed header.

use super::Span;
use crate::packet::{Bytes as _, Packet};

/// The fixed header of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Control bits, CWR to FIN.
    pub flags: u8,
    /// Where the header begins.
    pub at: usize,
    /// Its length with options, 20 to 60 bytes.
    pub header_len: usize,
}

impl Segment {
    /// Whether this opens a connection: SYN without ACK.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }
}

/// Reads the header. `None`: cut short, or shorter than it can be.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P, span: Span) -> Option<Segment> {
    let header = packet.load::<MIN_HEADER>(span.at())?;
    let header_len = usize::from(header.byte::<12>() >> 4) * 4;
    if header_len < MIN_HEADER || !span.holds(header_len) {
        return None;
    }
    Some(Segment {
        source_port: header.be16::<0>(),
        destination_port: header.be16::<2>(),
        sequence: header.be32::<4>(),
        flags: header.byte::<13>(),
        at: span.at(),
        header_len,
    })
}

/// Length of a header without options.
pub const MIN_HEADER: usize = 20;
/// Control bit FIN.
pub const FIN: u8 = 0x01;
/// Control bit SYN.
pub const SYN: u8 = 0x02;
/// Control bit RST.
pub const RST: u8 = 0x04;
/// Control bit ACK.
pub const ACK: u8 = 0x10;
/// Control bit ECE (RFC 3168 §6.1).
pub const ECE: u8 = 0x40;
/// Control bit CWR (RFC 3168 §6.1).
pub const CWR: u8 = 0x80;
