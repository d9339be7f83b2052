//! QUIC (RFC 9000, RFC 9369), as far as a packet that opens a connection shows itself.

use crate::packet::{Bytes as _, Packet};
use crate::parse::udp::Datagram;

/// What a datagram to a QUIC port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It opens a connection, as clients do.
    Initial,
    /// It belongs to a connection, or claims to.
    Other,
    /// No client sends it: nothing in it, a version nobody speaks, or an Initial in fewer than 1,200 bytes (RFC 9000
    /// §14.1).
    Invalid,
}

/// Reads the first bytes of the data.
#[inline(always)]
pub(super) fn kind<P: Packet>(packet: &P, datagram: &Datagram) -> Kind {
    if datagram.data_len == 0 {
        return Kind::Invalid;
    }
    let Some(first) = packet.load::<1>(datagram.data_at) else {
        return Kind::Invalid;
    };
    let first = first.byte::<0>();
    if first & LONG_HEADER == 0 {
        return Kind::Other;
    }
    let Some(long) = packet.load::<5>(datagram.data_at) else {
        return Kind::Invalid;
    };
    if datagram.data_len < 5 {
        return Kind::Invalid;
    }
    // RFC 9000 §17.2, RFC 9369 §3.2: the types have other numbers in version 2.
    let initial = match long.be32::<1>() {
        VERSION_1 => 0,
        VERSION_2 => 1,
        _ => return Kind::Invalid,
    };
    match (first >> 4 & 3 == initial, datagram.data_len < MIN_INITIAL) {
        (false, _) => Kind::Other,
        (true, false) => Kind::Initial,
        (true, true) => Kind::Invalid,
    }
}

const LONG_HEADER: u8 = 0x80;
const VERSION_1: u32 = 1;
const VERSION_2: u32 = 0x6b33_43cf;
const MIN_INITIAL: usize = 1200;
