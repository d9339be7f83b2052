//! Ethernet II, 802.1Q and 802.1ad.
//!
//! A value below 0x0600 is an 802.3 length: LLC, and in it SNAP. Linux delivers no IP out of SNAP, so such frames are
//! not looked into. The pre-standard tag 0x9100 is no tag to Linux either.

use super::{Link, MAX_TAGS};
use crate::packet::{Bytes as _, Packet};

/// Reads the header and its tags. `None`: cut short, or more than [`MAX_TAGS`] tags.
#[inline(always)]
pub(super) fn parse<P: Packet>(packet: &P) -> Option<Link> {
    let header = packet.load::<HEADER>(0)?;
    let ethertype = header.be16::<12>();
    if is_tag(ethertype) {
        return packet.tagged();
    }
    Some(Link {
        ethertype,
        at: HEADER,
        tags: 0,
    })
}

/// As [`parse`], of a frame with tags.
#[inline(always)]
pub(super) fn tagged<P: Packet>(packet: &P) -> Option<Link> {
    let mut link = Link {
        ethertype: packet.load::<HEADER>(0)?.be16::<12>(),
        at: HEADER,
        tags: 0,
    };
    while is_tag(link.ethertype) {
        if link.tags == MAX_TAGS {
            return None;
        }
        let tag = packet.load::<TAG>(link.at)?;
        link = Link {
            ethertype: tag.be16::<2>(),
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
