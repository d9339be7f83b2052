//! What is inside a tunnel: held to lists and sanity checks as if it had come alone. Counters and limits are the tunnel's.

use weir_common::{Outcome, ShieldSettings, Source};

use super::apply;
use super::lists::{self, Listed};
use super::sanity::{self, Sane};
use crate::packet::Packet;
use crate::parse::{self, Fragment, Frame, Upper, Version};
use crate::world::World;

/// Judges what `outer` carries, if it is a tunnel. An allowed inner source is no reason to spare the outer packet.
#[inline(always)]
pub fn check<P: Packet, W: World>(
    packet: &P,
    world: &W,
    settings: &ShieldSettings,
    outer: &Upper,
) -> Sane {
    Sane::of(checked(packet, world, settings, outer))
}

#[inline(always)]
fn checked<P: Packet, W: World>(
    packet: &P,
    world: &W,
    settings: &ShieldSettings,
    outer: &Upper,
) -> Result<Option<Outcome>, Outcome> {
    let Some(link) = parse::inner(packet, outer) else {
        return Ok(None);
    };
    let frame = parse::network(packet, link);
    let ip = match &frame {
        Frame::Other(_) => return Ok(None),
        // The rest of it is in later fragments: no length can be held against this one, and no header behind the first be
        // relied on. Nobody looks into those fragments, so what can be said of its source is said here.
        Frame::Malformed(Some(source)) if outer.fragment() == Fragment::First => {
            return match look_up(world, settings, *source) {
                Listed::Blocked => Err(Outcome::Blocked),
                Listed::Allowed | Listed::No => Ok(None),
            };
        }
        // Not looked up even if its source can be read: whoever wraps a packet can break it, too.
        Frame::Malformed(_) if lists::blocks_anybody(settings.lists) => {
            return Err(Outcome::Malformed);
        }
        Frame::Malformed(_) => return apply(settings.sanity.malformed, Outcome::Malformed),
        Frame::Ip(ip) => ip,
    };
    match look_up(world, settings, ip.source()) {
        Listed::Blocked => return Err(Outcome::Blocked),
        Listed::Allowed => return Ok(None),
        Listed::No => {}
    }
    let mut upper = Upper::unread();
    let read = match ip.version() {
        Version::V4 => match parse::upper4(packet, ip) {
            None => false,
            Some(read) => {
                upper = read;
                true
            }
        },
        Version::V6 => world.read_upper6(packet, ip, &mut upper),
    };
    if read {
        sanity::check(settings, ip, &upper)
    } else {
        apply(settings.sanity.malformed, Outcome::Malformed)
    }
}

#[inline(always)]
fn look_up<W: World>(world: &W, settings: &ShieldSettings, source: Source) -> Listed {
    match source {
        Source::V4(address) => world.look_up4(settings, address),
        Source::V6(address) => world.look_up6(settings, address),
    }
}
