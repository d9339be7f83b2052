//! IPv4 (RFC 791 §3.1). Options are skipped, not read: Linux drops bad ones itself.

use weir_common::Source;

use super::{Facts, Fragment, Link, Parsed, Span, transport};
use crate::packet::Packet;

/// Reads the packet behind `link`.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P, link: Link) -> Parsed {
    let Some(header) = packet.load::<MIN_HEADER>(link.at) else {
        return Parsed::Malformed(None);
    };
    // Rules, in order:
    // 1. The version is 4. Otherwise the bytes are no IPv4 header and hold no source.
    // 2. The header length is at least 20 bytes.
    // 3. The total length covers the header.
    // 4. The frame covers the total length; more is link-layer padding.
    if header[0] >> 4 != 4 {
        return Parsed::Malformed(None);
    }
    let source = Source::V4([header[12], header[13], header[14], header[15]]);
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = u16::from_be_bytes([header[2], header[3]]);
    let span = Span::of(link.at, link.at + header_len, total_len, packet.frame_len());
    let (Some(span), MIN_HEADER..) = (span, header_len) else {
        return Parsed::Malformed(Some(source));
    };
    let fragment = fragment(u16::from_be_bytes([header[6], header[7]]));
    let protocol = header[9];
    let Some(transport) = transport::parse(packet, span, protocol, fragment, transport::Icmp::V4)
    else {
        return Parsed::Malformed(Some(source));
    };
    Parsed::Ip(Facts {
        source,
        protocol,
        fragment,
        transport,
        tags: link.tags,
    })
}

#[inline(always)]
fn fragment(field: u16) -> Fragment {
    match (field & OFFSET, field & MORE_FRAGMENTS) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    }
}

const MIN_HEADER: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
