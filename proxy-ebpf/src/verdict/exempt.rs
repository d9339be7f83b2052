//! What is never dropped, so that no list, limit or flood takes the host off its network or its operator off the host.

use weir_common::{ShieldSettings, Source};

use crate::opaque::opaque;
use crate::packet::{Bytes as _, Packet};
use crate::parse::icmp::{ICMPV6, Message};
use crate::parse::tcp::{ACK, MIN_HEADER, RST, SYN};
use crate::parse::{self, Fragment, Ip, TCP, Transport, Upper, Version};
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
    !is_failsafe(settings, port)
}

/// Whether a port is never dropped by limits or cookies. Linux 6.1 does not know that 16 bits whose bytes were swapped are
/// less than 2^16; the compiler does, and would leave out the mask that shows it.
#[inline(always)]
fn is_failsafe(settings: &ShieldSettings, port: u16) -> bool {
    settings
        .failsafe_ports
        .contains(opaque(u32::from(port)) as u16)
}

/// Whether a packet of a blocked source passes all the same: neighbour discovery, and segments of a connection to a
/// failsafe port that is established already. A block does not end the operator's own session.
///
/// Sockets are only asked about segments that could belong to a connection, and only to such ports: that costs more than
/// a drop.
#[inline(always)]
pub fn from_block<P: Packet, W: World>(
    packet: &P,
    world: &W,
    settings: &ShieldSettings,
    ip: &Ip,
) -> bool {
    let mut upper = Upper::unread();
    if !read(packet, world, ip, &mut upper) {
        return false;
    }
    match upper.transport() {
        Transport::Tcp(segment) => {
            may_continue(segment.flags)
                && is_failsafe(settings, segment.destination_port)
                && world.is_connected(ip, &segment)
        }
        _ => discovers_neighbours(ip, &upper),
    }
}

/// Whether [`from_block`], which is asked next, could say so. Most of a flood of blocked sources ends here, with the rest of its headers not
/// read; what is no TCP header after all is found when they are.
#[inline(always)]
pub(super) fn may_be_spared<P: Packet>(packet: &P, settings: &ShieldSettings, ip: &Ip) -> bool {
    match ip.protocol() {
        TCP => packet.load::<MIN_HEADER>(ip.next_at()).is_some_and(|head| {
            may_continue(head.byte::<13>()) && is_failsafe(settings, head.be16::<2>())
        }),
        ICMPV6 => ip.hop_limit() == 255,
        _ => false,
    }
}

/// Whether control bits are those of a segment within a connection.
#[inline(always)]
fn may_continue(flags: u8) -> bool {
    flags & (SYN | RST | ACK) == ACK
}

#[inline(always)]
fn read<P: Packet, W: World>(packet: &P, world: &W, ip: &Ip, upper: &mut Upper) -> bool {
    match ip.version() {
        Version::V4 => match parse::upper4(packet, ip) {
            None => false,
            Some(read) => {
                *upper = read;
                true
            }
        },
        Version::V6 => world.read_upper6(packet, ip, upper),
    }
}

const DESTINATION_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;
/// RFC 4861 §4: router solicitation and advertisement, neighbour solicitation and advertisement, redirect.
const ROUTER_SOLICITATION: u8 = 133;
const REDIRECT: u8 = 137;
