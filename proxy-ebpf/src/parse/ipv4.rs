//! IPv4 (RFC 791 §3.1). Options are skipped, not read: Linux drops bad ones itself.

use weir_common::Source;

use super::{Fragment, Frame, Ip, Link, Span, Version, misplaced};
use crate::packet::{Bytes as _, Packet};

/// Reads the packet behind `link`.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P, link: Link) -> Frame {
    let Some(header) = packet.load::<MIN_HEADER>(link.at) else {
        return Frame::Malformed(None);
    };
    // Rules, in order:
    // 1. The version is 4. Otherwise the bytes are no IPv4 header and hold no source.
    // 2. The header length is at least 20 bytes.
    // 3. The total length covers the header.
    // 4. The frame covers the total length; more is link-layer padding.
    // 5. A fragment is where one can be.
    let version = header.byte::<0>();
    if version >> 4 != 4 {
        return Frame::Malformed(None);
    }
    let source = header.be32::<12>();
    let malformed = Frame::Malformed(Some(Source::V4(source)));
    let header_len = usize::from(version & 0x0f) * 4;
    let total_len = header.be16::<2>();
    let span = Span::of(packet, link.at, link.at + header_len, total_len);
    let (Some(span), MIN_HEADER..) = (span, header_len) else {
        return malformed;
    };
    let protocol = header.byte::<9>();
    let field = header.be16::<6>();
    let fragment = match (field & OFFSET, field & MORE_FRAGMENTS) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    };
    if fragment != Fragment::Whole
        && misplaced(
            span,
            protocol,
            usize::from(field & OFFSET) * 8,
            field & MORE_FRAGMENTS != 0,
        )
    {
        return malformed;
    }
    Frame::Ip(Ip {
        source: [0, u64::from(source)],
        destination: [0, u64::from(header.be32::<16>())],
        version: Version::V4,
        protocol: u32::from(protocol),
        hop_limit: u32::from(header.byte::<8>()),
        fragment,
        at: link.at as u32,
        tags: u32::from(link.tags),
        span,
    })
}

/// Length of a header without options.
pub(super) const MIN_HEADER: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
