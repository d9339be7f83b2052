//! Ethernet II, 802.1Q and 802.1ad.
//!
//! A value below 0x0600 is an 802.3 length: LLC, and in it SNAP. Linux delivers no IP out of SNAP, so such frames are
//! not looked into. The pre-standard tag 0x9100 is no tag to Linux either.

use super::{Link, MAX_TAGS};
use crate::packet::Packet;

/// Reads the header and its tags. `None`: cut short, or more than [`MAX_TAGS`] tags.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P) -> Option<Link> {
    let header: [u8; HEADER] = packet.load(0)?;
    let mut link = Link {
        ethertype: u16::from_be_bytes([header[12], header[13]]),
        at: HEADER,
        tags: 0,
    };
    while is_tag(link.ethertype) {
        if link.tags == MAX_TAGS {
            return None;
        }
        let tag: [u8; TAG] = packet.load(link.at)?;
        link = Link {
            ethertype: u16::from_be_bytes([tag[2], tag[3]]),
            at: link.at + TAG,
            tags: link.tags + 1,
        };
    }
    Some(link)
}

#[inline(always)]
fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETHERTYPE_8021Q | ETHERTYPE_8021AD)
}

const HEADER: usize = 14;
const TAG: usize = 4;
const ETHERTYPE_8021Q: u16 = 0x8100;
const ETHERTYPE_8021AD: u16 = 0x88a8;
