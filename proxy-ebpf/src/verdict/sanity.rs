//! Checks that need no memory: the packet alone says that nobody honest sent it.

use weir_common::bits::own;
use weir_common::{Outcome, Policy, ShieldSettings, Source};

use super::{apply, icmp, quic};
use crate::packet::Packet;
use crate::parse::icmp::{ICMPV6, Message};
use crate::parse::tcp::{ACK, FIN, RST, SYN};
use crate::parse::udp::Datagram;
use crate::parse::{Fragment, Ip, Transport, Upper};
use crate::world::World;

/// A result of checks that fits a register.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sane(u32);

impl Sane {
    /// As a number, and back.
    #[inline(always)]
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// See [`Sane::to_bits`].
    #[inline(always)]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether it is a QUIC Initial as clients send it.
    #[inline(always)]
    pub(super) fn opens_quic(self) -> bool {
        self.0 & OPENS_QUIC != 0
    }

    #[inline(always)]
    pub(super) fn of(result: Result<Option<Outcome>, Outcome>) -> Self {
        Self(match result {
            Ok(None) => 0,
            Ok(Some(outcome)) => COUNT | outcome as u32,
            Err(outcome) => DROP | outcome as u32,
        })
    }

    /// The result again.
    #[inline(always)]
    pub(super) fn result(self) -> Result<Option<Outcome>, Outcome> {
        if self.0 & (COUNT | DROP) == 0 {
            return Ok(None);
        }
        let outcome = match Outcome::from_index((self.0 & OUTCOME) as usize) {
            Some(outcome) => outcome,
            // Only `of` makes one.
            None => Outcome::Malformed,
        };
        if self.0 & DROP == 0 {
            Ok(Some(outcome))
        } else {
            Err(outcome)
        }
    }
}

const COUNT: u32 = 0x100;
const DROP: u32 = 0x200;
const OPENS_QUIC: u32 = 0x400;
const OUTCOME: u32 = 0xff;

/// The checks that need the packet only, and nothing but arithmetic: `Err` = drop, `Some` = count it under this.
#[inline(always)]
pub(super) fn check(
    settings: &ShieldSettings,
    ip: &Ip,
    upper: &Upper,
) -> Result<Option<Outcome>, Outcome> {
    let policies = &settings.sanity;
    let mut counted = None;
    if upper.fragment() != Fragment::Whole {
        counted = apply(policies.fragments, Outcome::Fragment)?;
    }
    let class = match upper.transport() {
        Transport::Tcp(segment) if are_impossible(segment.flags) => {
            apply(policies.bad_flags, Outcome::BadFlags)?
        }
        Transport::Udp(datagram) if settings.amplification_ports.contains(datagram.source_port) => {
            apply(policies.amplification, Outcome::Amplification)?
        }
        Transport::Icmp(message) if !icmp::is_useful(ip, message) => {
            apply(policies.icmp, Outcome::IcmpType)?
        }
        _ => None,
    };
    Ok(counted.or(class))
}

/// Whether [`look_closer`] might find something.
#[inline(always)]
pub(super) fn is_suspicious<W: World>(
    world: &W,
    settings: &ShieldSettings,
    ip: &Ip,
    upper: &Upper,
) -> bool {
    let policies = &settings.sanity;
    if policies.spoofed != Policy::Pass as u8
        && !world.on_loopback()
        && (ip.source() == ip.destination()
            || may_be_martian(ip.source())
            || may_be_own(settings, ip.source()))
    {
        return true;
    }
    match upper.transport() {
        Transport::Udp(datagram) => {
            policies.closed_ports != Policy::Pass as u8
                || settings.quic_ports.contains(datagram.destination_port)
        }
        _ => false,
    }
}

/// The checks that few packets need: sources that cannot be, UDP that nobody waits for.
#[inline(always)]
pub fn look_closer<P: Packet, W: World>(
    packet: &P,
    world: &W,
    settings: &ShieldSettings,
    ip: &Ip,
    upper: &Upper,
) -> Sane {
    let policies = &settings.sanity;
    let spoofed = policies.spoofed != Policy::Pass as u8
        && !world.on_loopback()
        && (ip.source() == ip.destination()
            || is_martian(ip.source(), upper)
            || is_own(world, settings, ip.source()));
    let quic = match upper.transport() {
        Transport::Udp(datagram) if settings.quic_ports.contains(datagram.destination_port) => {
            quic::kind(packet, &datagram)
        }
        _ => quic::Kind::Other,
    };
    let checked = || {
        let mut counted = None;
        if spoofed {
            counted = apply(policies.spoofed, Outcome::Spoofed)?;
        }
        if quic == quic::Kind::Invalid {
            counted = counted.or(apply(policies.quic, Outcome::QuicInvalid)?);
        }
        match upper.transport() {
            Transport::Udp(datagram) if is_for_nobody(world, settings, ip, &datagram) => {
                Ok(counted.or(apply(policies.closed_ports, Outcome::PortClosed)?))
            }
            _ => Ok(counted),
        }
    };
    let Sane(bits) = Sane::of(checked());
    Sane(
        bits | if quic == quic::Kind::Initial {
            OPENS_QUIC
        } else {
            0
        },
    )
}

/// Whether nobody listens for a datagram. A look-up of a socket is dear, so only if somebody wants it; and only of datagrams
/// for this host itself, not of what it forwards, nor of multicast and broadcast. The look-up sees this interface, so nothing
/// is said of what the stack receives by another one: a VLAN's, or the master of this.
#[inline(always)]
fn is_for_nobody<W: World>(
    world: &W,
    settings: &ShieldSettings,
    ip: &Ip,
    datagram: &Datagram,
) -> bool {
    settings.sanity.closed_ports != Policy::Pass as u8
        && ip.tags() == 0
        && !world.as_another()
        && is_own(world, settings, ip.destination())
        && !world.has_udp_socket(ip, datagram.source_port, datagram.destination_port)
}

/// Whether no stack sends these control bits together: neither SYN, RST nor ACK (which takes in null, FIN and "Christmas
/// tree" scans), or two of SYN, RST and FIN. RFC 9293 §3.10.7: every segment but a first SYN and some resets has ACK set.
#[inline(always)]
fn are_impossible(flags: u8) -> bool {
    flags & (SYN | RST | ACK) == 0
        || flags & SYN != 0 && flags & (FIN | RST) != 0
        || flags & (FIN | RST) == FIN | RST
}

/// Sources that no packet on a wire has (RFC 6890), but for those of hosts that have no address yet.
#[inline(always)]
fn is_martian(source: Source, upper: &Upper) -> bool {
    match source {
        Source::V4(address) => match address >> 24 {
            0 => address != 0 || !asks_for_address(upper),
            // Loopback; multicast, reserved and broadcast.
            127 | 224.. => true,
            _ => false,
        },
        // Multicast; loopback; IPv4-mapped.
        Source::V6([0, tail]) => {
            tail >> 32 == 0xffff || tail == 1 || tail == 0 && !looks_for_neighbours(upper)
        }
        Source::V6([head, _]) => head >> 56 == 0xff,
    }
}

/// DHCP (RFC 2131 §4.1) and IGMP (RFC 3376 §4.2.13) are sent before there is an address.
#[inline(always)]
fn asks_for_address(upper: &Upper) -> bool {
    match upper.transport() {
        Transport::Udp(datagram) => {
            (datagram.source_port, datagram.destination_port) == (DHCP_CLIENT, DHCP_SERVER)
        }
        _ => upper.protocol() == IGMP,
    }
}

/// Duplicate address detection (RFC 4862 §5.4) and listener reports (RFC 3810 §5.2.13).
#[inline(always)]
fn looks_for_neighbours(upper: &Upper) -> bool {
    upper.protocol() == ICMPV6
        && matches!(
            upper.transport(),
            Transport::Icmp(Message {
                kind: 131..=133 | 135 | 143,
                ..
            })
        )
}

/// Whether [`is_martian`] could say so: all that it names.
#[inline(always)]
fn may_be_martian(source: Source) -> bool {
    match source {
        Source::V4(address) => matches!(address >> 24, 0 | 127 | 224..),
        Source::V6([head, _]) => head == 0 || head >> 56 == 0xff,
    }
}

/// Whether `address` is this host's.
#[inline(always)]
pub(super) fn is_own<W: World>(world: &W, settings: &ShieldSettings, address: Source) -> bool {
    may_be_own(settings, address) && world.is_own(address.mapped())
}

/// As [`is_own`], for what nearly all packets that are asked about have in common: see [`World::is_own_again`].
#[inline(always)]
pub(super) fn is_own_again<W: World>(
    world: &W,
    settings: &ShieldSettings,
    address: Source,
) -> bool {
    may_be_own(settings, address) && world.is_own_again(address.mapped())
}

#[inline(always)]
fn may_be_own(settings: &ShieldSettings, address: Source) -> bool {
    let probe = own(address, settings.seed);
    // The mask is a no-op that spares the BPF build a bounds check with a panic behind it.
    probe.hits(settings.own[probe.word as usize & (settings.own.len() - 1)])
}

const DHCP_CLIENT: u16 = 68;
const DHCP_SERVER: u16 = 67;
const IGMP: u8 = 2;
