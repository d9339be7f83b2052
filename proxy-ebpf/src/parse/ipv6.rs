//! IPv6 (RFC 8200) with its extension headers.
//!
//! Hop-by-Hop, Routing, Destination Options, Fragment and Authentication headers are stepped over, at most
//! [`MAX_EXTENSIONS`] of them. ESP, "no next header" and everything unknown end the chain and are opaque.

use weir_common::Source;

use super::{Facts, Fragment, Link, MAX_EXTENSIONS, Parsed, Span, transport};
use crate::packet::Packet;

/// Reads the packet behind `link`.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P, link: Link) -> Parsed {
    let Some(header) = packet.load::<HEADER>(link.at) else {
        return Parsed::Malformed(None);
    };
    // Rules, in order:
    // 1. The version is 6. Otherwise the bytes are no IPv6 header and hold no source.
    // 2. The frame covers the payload length; more is link-layer padding. A jumbogram (RFC 2675: payload length 0, the
    //    true one in a hop-by-hop option) fails at its first extension header, which lies behind the packet's end, unless
    //    the frame is as long as only Linux itself makes them.
    if header[0] >> 4 != 6 {
        return Parsed::Malformed(None);
    }
    let source = Source::V6([
        header[8], header[9], header[10], header[11], header[12], header[13], header[14],
        header[15], header[16], header[17], header[18], header[19], header[20], header[21],
        header[22], header[23],
    ]);
    let payload_len = u16::from_be_bytes([header[4], header[5]]);
    let payload_at = link.at + HEADER;
    let Some(span) = Span::of(payload_at, payload_at, payload_len, packet.frame_len()) else {
        return Parsed::Malformed(Some(source));
    };
    let Some(upper) = extensions(packet, span, header[6]) else {
        return Parsed::Malformed(Some(source));
    };
    let Some(transport) = transport::parse(
        packet,
        upper.span,
        upper.protocol,
        upper.fragment,
        transport::Icmp::V6,
    ) else {
        return Parsed::Malformed(Some(source));
    };
    Parsed::Ip(Facts {
        source,
        protocol: upper.protocol,
        fragment: upper.fragment,
        transport,
        tags: link.tags,
    })
}

/// What the extension headers lead to.
#[derive(Clone, Copy)]
struct Upper {
    protocol: u8,
    fragment: Fragment,
    span: Span,
}

/// Steps over the extension headers. `None`: one is cut short, there are too many, or Hop-by-Hop Options is not the
/// first (RFC 8200 §4.1).
#[inline(always)]
fn extensions<P: Packet>(packet: &P, span: Span, first: u8) -> Option<Upper> {
    let mut upper = Upper {
        protocol: first,
        fragment: Fragment::Whole,
        span,
    };
    for position in 0..=MAX_EXTENSIONS {
        let len_unit = match upper.protocol {
            HOP_BY_HOP if position == 0 => OPTIONS_UNIT,
            HOP_BY_HOP => return None,
            ROUTING | DESTINATION_OPTIONS => OPTIONS_UNIT,
            AUTHENTICATION => AUTHENTICATION_UNIT,
            FRAGMENT => FRAGMENT_UNIT,
            _ => return Some(upper),
        };
        if position == MAX_EXTENSIONS {
            return None;
        }
        // Every extension header is at least 8 bytes long (RFC 8200 §4, RFC 4302 §2).
        let header: [u8; 8] = packet.load(upper.span.at)?;
        // Options count units of 8 bytes beyond the first 8 (RFC 8200 §4.3), the Authentication header units of 4
        // beyond the first 8 (RFC 4302 §2.2); the fragment header has no length field (RFC 8200 §4.5).
        let len = 8 + usize::from(header[1]) * len_unit;
        if !upper.span.holds(len) {
            return None;
        }
        upper.span.at += len;
        let was_fragment = upper.protocol == FRAGMENT;
        upper.protocol = header[0];
        if was_fragment {
            let field = u16::from_be_bytes([header[2], header[3]]);
            if field & OFFSET != 0 {
                upper.fragment = Fragment::Later;
                return Some(upper);
            }
            if field & MORE_FRAGMENTS != 0 {
                upper.fragment = Fragment::First;
            }
        }
    }
    None
}

const HEADER: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

const OPTIONS_UNIT: usize = 8;
const AUTHENTICATION_UNIT: usize = 4;
const FRAGMENT_UNIT: usize = 0;

const OFFSET: u16 = 0xfff8;
const MORE_FRAGMENTS: u16 = 0x0001;
