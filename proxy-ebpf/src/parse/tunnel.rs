//! What is inside a tunnel: IPv4 and IPv6 in IP (RFC 2003, RFC 4213) and in GRE (RFC 2784, RFC 2890). One level deep:
//! nothing looks into what this finds.

use super::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Fragment, Link, Upper};
use crate::packet::{Bytes as _, Packet};

/// Whether this is a tunnel that [`inner`] looks into. Of a fragment only the first part shows what is inside.
#[inline(always)]
pub fn is_tunnel(upper: &Upper) -> bool {
    upper.fragment() != Fragment::Later && matches!(upper.protocol(), IPIP | SIX_IN_FOUR | GRE)
}

/// Where the packet inside begins, if `upper` is a tunnel and carries IP.
#[inline(always)]
pub fn inner<P: Packet>(packet: &P, upper: &Upper) -> Option<Link> {
    if !is_tunnel(upper) {
        return None;
    }
    let (ethertype, at) = match upper.protocol() {
        IPIP => (ETHERTYPE_IPV4, upper.at()),
        SIX_IN_FOUR => (ETHERTYPE_IPV6, upper.at()),
        GRE => {
            let header = packet.load::<4>(upper.at())?;
            // Version 0 only: version 1 is PPTP's, which carries PPP (RFC 2637).
            if header.byte::<1>() & 7 != 0 {
                return None;
            }
            let words = (header.byte::<0>() & (CHECKSUM | KEY | SEQUENCE)).count_ones() as usize;
            (header.be16::<2>(), upper.at() + 4 + 4 * words)
        }
        _ => return None,
    };
    matches!(ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6).then_some(Link {
        ethertype,
        at,
        tags: 0,
    })
}

const IPIP: u8 = 4;
const SIX_IN_FOUR: u8 = 41;
const GRE: u8 = 47;

/// Flags of the first byte of a GRE header, each for a word behind it.
const CHECKSUM: u8 = 0x80;
const KEY: u8 = 0x20;
const SEQUENCE: u8 = 0x10;
