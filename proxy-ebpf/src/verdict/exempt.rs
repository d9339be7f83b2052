//! What is never dropped, so that no list, limit or flood takes the host off its network or its operator off the host.

use weir_common::{ShieldSettings, Source};

use crate::parse::icmp::{ICMPV6, Message};
use crate::parse::tcp::{ACK, RST, SYN};
use crate::parse::{Fragment, Ip, TCP, Transport, Upper};
use crate::world::World;

/// Whether this is neighbour discovery (RFC 4861) from a neighbour: nobody off the link can send a hop limit of 255 that
/// arrives as one, and the kernel takes no other.
#[inline(always)]
pub(super) fn discovers_neighbours(ip: &Ip, upper: &Upper) -> bool {
    matches!(ip.source(), Source::V6(_))
        && ip.hop_limit() == 255
        && upper.fragment() == Fragment::Whole
        && matches!(
            upper.transport(),
            Transport::Icmp(Message {
                kind: ROUTER_SOLICITATION..=REDIRECT,
                ..
            })
        )
}

/// Whether this says that a packet was too big for its path: ICMP "fragmentation needed" (RFC 1191), ICMPv6 "packet too
/// big" (RFC 8201). Without them connections hang, so no limit touches them; the kernel checks that they are about a
/// connection it has.
#[inline(always)]
fn reports_path_mtu(upper: &Upper) -> bool {
    match upper.transport() {
        Transport::Icmp(message) if upper.protocol() == ICMPV6 => message.kind == PACKET_TOO_BIG,
        Transport::Icmp(message) => {
            message.kind == DESTINATION_UNREACHABLE && message.code == FRAGMENTATION_NEEDED
        }
        _ => false,
    }
}

/// Whether limits and cookies are for the packet: not if it is for a failsafe port, nor if it [reports a path
/// MTU](reports_path_mtu).
#[inline(always)]
pub(super) fn is_limited(settings: &ShieldSettings, upper: &Upper) -> bool {
    let port = match upper.transport() {
        Transport::Tcp(segment) => segment.destination_port,
        Transport::Udp(datagram) => datagram.destination_port,
        Transport::Icmp(_) => return !reports_path_mtu(upper),
        Transport::Opaque => return true,
    };
    !settings.failsafe_ports.contains(port)
}

/// Whether the rest of a packet can speak for it although its source is blocked: see [`from_block`].
#[inline(always)]
pub(super) fn may_spare(ip: &Ip) -> bool {
    ip.protocol() == TCP || ip.protocol() == ICMPV6 && ip.hop_limit() == 255
}

/// Whether a packet of a blocked source passes all the same: neighbour discovery, and segments of a connection to a
/// failsafe port that is established already. A block does not end the operator's own session.
///
/// Sockets are only asked about segments that could belong to a connection, and only to such ports: that costs more than
/// a drop.
#[inline(always)]
pub(super) fn from_block<W: World>(
    world: &W,
    settings: &ShieldSettings,
    ip: &Ip,
    upper: Option<&Upper>,
) -> bool {
    let Some(upper) = upper else {
        return false;
    };
    match upper.transport() {
        Transport::Tcp(segment) => {
            segment.flags & (SYN | RST | ACK) == ACK
                && settings.failsafe_ports.contains(segment.destination_port)
                && world.is_connected(ip, &segment)
        }
        _ => discovers_neighbours(ip, upper),
    }
}

const DESTINATION_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;
/// RFC 4861 §4: router solicitation and advertisement, neighbour solicitation and advertisement, redirect.
const ROUTER_SOLICITATION: u8 = 133;
const REDIRECT: u8 = 137;
