//! IPv6 (RFC 8200) with its extension headers.
//!
//! Hop-by-Hop, Routing, Destination Options, Fragment and Authentication headers are stepped over, at most
//! [`MAX_EXTENSIONS`] of them. ESP, "no next header" and everything unknown end the chain and are opaque.

use weir_common::Source;

use super::{Fragment, Frame, Ip, Link, MAX_EXTENSIONS, Span, Version, misplaced};
use crate::opaque::{blur, opaque};
use crate::packet::{Bytes as _, Packet};

/// Reads the packet behind `link`, without its extension headers.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P, link: Link) -> Frame {
    let Some(header) = packet.load::<HEADER>(link.at) else {
        return Frame::Malformed(None);
    };
    // Rules, in order:
    // 1. The version is 6. Otherwise the bytes are no IPv6 header and hold no source.
    // 2. The frame covers the payload length; more is link-layer padding. A jumbogram (RFC 2675: payload length 0, the
    //    true one in a hop-by-hop option) fails at its first extension header, which lies behind the packet's end, unless
    //    the frame is as long as only Linux itself makes them.
    if header.byte::<0>() >> 4 != 6 {
        return Frame::Malformed(None);
    }
    let source = [header.be64::<8>(), header.be64::<16>()];
    let payload_len = header.be16::<4>();
    let payload_at = link.at + HEADER;
    let Some(span) = Span::of(packet, payload_at, payload_at, payload_len) else {
        return Frame::Malformed(Some(Source::V6(source)));
    };
    Frame::Ip(Ip {
        source,
        destination: [header.be64::<24>(), header.be64::<32>()],
        version: Version::V6,
        protocol: u32::from(header.byte::<6>()),
        hop_limit: u32::from(header.byte::<7>()),
        fragment: Fragment::Whole,
        at: link.at as u32,
        tags: u32::from(link.tags),
        span,
    })
}

/// What the extension headers lead to.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) protocol: u8,
    pub(super) fragment: Fragment,
    pub(super) span: Span,
}

/// Steps over the extension headers. `None`: one is cut short, there are too many, Hop-by-Hop Options is not the
/// first (RFC 8200 §4.1), or a fragment is where none can be.
#[inline(always)]
pub(super) fn extensions<P: Packet>(packet: &P, span: Span, first: u8) -> Option<End> {
    let mut upper = End {
        protocol: first,
        fragment: Fragment::Whole,
        span,
    };
    let most = opaque(MAX_EXTENSIONS);
    let mut position = 0;
    while position <= most {
        let len_unit = match upper.protocol {
            HOP_BY_HOP if position == 0 => OPTIONS_UNIT,
            HOP_BY_HOP => return None,
            ROUTING | DESTINATION_OPTIONS => OPTIONS_UNIT,
            AUTHENTICATION => AUTHENTICATION_UNIT,
            FRAGMENT => FRAGMENT_UNIT,
            _ => return Some(upper),
        };
        if position == most {
            return None;
        }
        position += 1;
        // Every extension header is at least 8 bytes long (RFC 8200 §4, RFC 4302 §2).
        let header = packet.load::<8>(upper.span.at())?;
        // Options count units of 8 bytes beyond the first 8 (RFC 8200 §4.3), the Authentication header units of 4
        // beyond the first 8 (RFC 4302 §2.2); the fragment header has no length field (RFC 8200 §4.5).
        let len = 8 + usize::from(header.byte::<1>()) * len_unit;
        if !upper.span.holds(len) {
            return None;
        }
        // `holds` says that this is within the frame; the mask says so to the verifier, for any kind of header alike.
        upper.span.at = (upper.span.at + len as u32 + blur(header.be16::<2>())) & OFFSET_MASK;
        let was_fragment = upper.protocol == FRAGMENT;
        upper.protocol = header.byte::<0>();
        if was_fragment {
            let field = header.be16::<2>();
            let more = field & MORE_FRAGMENTS != 0;
            if (field & OFFSET != 0 || more)
                && misplaced(
                    upper.span,
                    upper.protocol,
                    usize::from(field & OFFSET),
                    more,
                )
            {
                return None;
            }
            if field & OFFSET != 0 {
                upper.fragment = Fragment::Later;
                return Some(upper);
            }
            if more {
                upper.fragment = Fragment::First;
            }
        }
    }
    None
}

/// Length of the fixed header.
pub(super) const HEADER: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Beyond [`MAX_OFFSET`](crate::packet::MAX_OFFSET) nothing is loaded; one header more is at most this far.
const OFFSET_MASK: u32 = 0x1fff;

const OPTIONS_UNIT: usize = 8;
const AUTHENTICATION_UNIT: usize = 4;
const FRAGMENT_UNIT: usize = 0;

const OFFSET: u16 = 0xfff8;
const MORE_FRAGMENTS: u16 = 0x0001;
