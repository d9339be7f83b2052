//! From a frame to a decision: pure, so that the kernel and a test on the host judge a packet with the same code.
//!
//! A policy of `count` never shields a packet from the checks after it: a later drop wins, and otherwise the packet passes
//! and is counted under the first class that wanted it counted.

pub mod account;
pub mod cookies;
pub mod exempt;
mod icmp;
pub mod inner;
mod limits;
pub mod lists;
mod quic;
pub mod sanity;

#[cfg(test)]
mod tests;

use weir_common::{Outcome, Policy, ShieldSettings, Source};

use self::lists::{Glance, Listed};
use crate::packet::Packet;
use crate::parse::{self, Ethertype, Frame, Ip, Upper, Version};
use crate::track;
use crate::world::World;

/// What becomes of a packet, and what it is counted under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What becomes of it.
    pub action: Action,
    /// What it is counted under.
    pub outcome: Outcome,
    /// It is to be sampled.
    pub is_sampled: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It goes on to the network stack.
    Pass,
    /// It would be dropped, but the shield does not enforce: it is counted as such and goes on.
    Spare,
    /// It ends here.
    Drop,
    /// It was a SYN, and has become its answer.
    Answer,
}

/// Judges a frame.
#[inline(always)]
pub fn decide<P: Packet, W: World>(packet: &P, world: &W, settings: &ShieldSettings) -> Decision {
    let judge = Judge {
        packet,
        world,
        settings,
    };
    let (outcome, is_sampled) = match judge.frame() {
        Ok(outcome) => {
            return Decision {
                action: Action::Pass,
                outcome,
                is_sampled: false,
            };
        }
        // An answer is no loss to anybody.
        Err(Stop::Answered) => {
            return Decision {
                action: Action::Answer,
                outcome: Outcome::SynCookie,
                is_sampled: false,
            };
        }
        Err(Stop::Attended(outcome, is_sampled)) => (outcome, is_sampled),
        Err(Stop::Drop(outcome)) => {
            let attention = track::attend(world, settings);
            (
                outcome,
                attention.is_some_and(|attention| attention.is_sampled),
            )
        }
    };
    let action = if settings.enforce == 0 {
        Action::Spare
    } else {
        Action::Drop
    };
    Decision {
        action,
        outcome,
        is_sampled,
    }
}

/// Why a packet does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Drop(Outcome),
    /// Dropped, and attended to already: whether it is sampled.
    Attended(Outcome, bool),
    /// It has become its answer.
    Answered,
}

impl From<Outcome> for Stop {
    #[inline(always)]
    fn from(outcome: Outcome) -> Self {
        Self::Drop(outcome)
    }
}

/// Everything a verdict depends on.
struct Judge<'a, P, W> {
    packet: &'a P,
    world: &'a W,
    settings: &'a ShieldSettings,
}

impl<P: Packet, W: World> Judge<'_, P, W> {
    /// The whole policy, in its order.
    #[inline(always)]
    fn frame(&self) -> Result<Outcome, Stop> {
        let Some(link) = parse::link(self.packet) else {
            return Ok(self.unreadable()?);
        };
        let frame = parse::network(self.packet, link);
        let (source, ip) = match &frame {
            Frame::Other(kind) => return Ok(self.not_ip(*kind)?),
            Frame::Malformed(None) => return Ok(self.unreadable()?),
            Frame::Malformed(Some(source)) => {
                apply(self.settings.sanity.malformed, Outcome::Malformed)?;
                (*source, None)
            }
            Frame::Ip(ip) => (ip.source(), Some(ip)),
        };
        // Lists come before the rest of the headers: most of a flood ends here, and cheaply.
        let listed = self.look_up(source);
        let blocked = listed == Listed::Blocked;
        let allowed = listed != Listed::No;
        let ip = match ip {
            Some(ip) if !blocked || self.is_spared(ip) => ip,
            None if !blocked => return Ok(self.cut(allowed)?),
            _ => return Err(Stop::Drop(Outcome::Blocked)),
        };
        let mut upper;
        let upper = match ip.version() {
            Version::V4 => match parse::upper4(self.packet, ip) {
                None => None,
                Some(read) => {
                    upper = read;
                    Some(&upper)
                }
            },
            Version::V6 => {
                upper = Upper::unread();
                let read = self.world.read_upper6(self.packet, ip, &mut upper);
                read.then_some(&upper)
            }
        };
        self.headers(ip, upper, allowed)
    }

    /// A packet that no list stops. `upper`: `None` if it is cut short behind its IP header.
    #[inline(always)]
    fn headers(&self, ip: &Ip, upper: Option<&Upper>, allowed: bool) -> Result<Outcome, Stop> {
        let (sane, opens_quic) = match upper {
            None => (self.cut(allowed).map(Some), false),
            Some(_) if allowed => (Ok(Some(Outcome::Allowed)), false),
            Some(upper) if exempt::discovers_neighbours(ip, upper) => return Ok(Outcome::Passed),
            Some(upper) => self.sane(ip, upper),
        };
        let class = limits::Class::of(upper, opens_quic);
        let outcome = match sane {
            Ok(outcome) => outcome.unwrap_or(Outcome::Passed),
            // Who sent a spoofed packet is not known.
            Err(Outcome::Spoofed) => return Err(Stop::Drop(Outcome::Spoofed)),
            Err(outcome) => return Err(self.attribute(ip, class, outcome)),
        };
        let limited =
            !allowed && upper.is_none_or(|upper| exempt::is_limited(self.settings, upper));
        let early = self.cookie(limited, ip, upper, cookies::Stage::Early)?;
        let load = account::Load::new(class, limited, self.packet.frame_len());
        let accounted = self.world.account(self.settings, ip, load);
        if let Some(refused) = accounted.refused() {
            return Err(Stop::Drop(refused));
        }
        if early == cookies::Check::Wait {
            self.cookie(limited, ip, upper, cookies::Stage::Late)?;
        } else if accounted.is_stranger() {
            self.cookie(limited, ip, upper, cookies::Stage::Stray)?;
        }
        Ok(outcome)
    }

    /// SYN cookies, if they concern the packet.
    #[inline(always)]
    fn cookie(
        &self,
        limited: bool,
        ip: &Ip,
        upper: Option<&Upper>,
        stage: cookies::Stage,
    ) -> Result<cookies::Check, Stop> {
        let Some(upper) = upper else {
            return Ok(cookies::Check::Pass);
        };
        if !limited || !cookies::concerns(self.settings, upper, stage) {
            return Ok(cookies::Check::Pass);
        }
        let headers = (ip, upper);
        match self
            .world
            .cookie(self.packet, self.settings, headers, stage)
        {
            check @ (cookies::Check::Pass | cookies::Check::Wait) => Ok(check),
            // The data right behind it may be here before the kernel has made the connection, and completes nothing itself:
            // a source with a state is not asked. A flood gets none, for it does not receive the cookies.
            cookies::Check::Proved => {
                self.world.admit(self.settings, ip);
                Ok(cookies::Check::Pass)
            }
            cookies::Check::Answered => Err(Stop::Answered),
            cookies::Check::Unanswered => Err(Stop::Drop(Outcome::SynCookie)),
            cookies::Check::Forged => Err(Stop::Drop(Outcome::BadCookie)),
        }
    }

    /// What the lists say of the source.
    #[inline(always)]
    fn look_up(&self, source: Source) -> Listed {
        match source {
            Source::V4(address) => {
                let candidates = lists::candidates4(self.world, self.settings, address);
                match lists::glance4(self.world, address, candidates) {
                    Glance::Blocked => Listed::Blocked,
                    Glance::Open(candidates) if candidates.is_empty() => Listed::No,
                    Glance::Open(candidates) => {
                        self.world.search4(self.settings, address, candidates)
                    }
                }
            }
            Source::V6(address) if lists::may_have6(self.settings) => {
                self.world.look_up6(self.settings, address)
            }
            Source::V6(_) => Listed::No,
        }
    }

    /// Whether a packet of a blocked source passes all the same. Hardly any may, and the others need no call.
    #[inline(always)]
    fn is_spared(&self, ip: &Ip) -> bool {
        exempt::may_be_spared(self.packet, self.settings, ip)
            && self.world.is_spared(self.packet, self.settings, ip)
    }

    /// Sanity checks, and whether the packet is a QUIC Initial.
    #[inline(always)]
    fn sane(&self, ip: &Ip, upper: &Upper) -> (Result<Option<Outcome>, Outcome>, bool) {
        let counted = match sanity::check(self.settings, ip, upper) {
            Ok(counted) => counted,
            Err(outcome) => return (Err(outcome), false),
        };
        let mut counted = counted;
        if self.settings.sanity.inner != 0 && parse::is_tunnel(upper) {
            let inner = self.world.look_inside(self.packet, self.settings, upper);
            match inner.result() {
                Ok(inner) => counted = counted.or(inner),
                Err(outcome) => return (Err(outcome), false),
            }
        }
        if !sanity::is_suspicious(self.world, self.settings, ip, upper) {
            return (Ok(counted), false);
        }
        let closer = self
            .world
            .look_closer(self.packet, self.settings, ip, upper);
        let result = closer.result().map(|closer| counted.or(closer));
        (result, closer.opens_quic())
    }

    /// A drop by a sanity check, attributed to its source if somebody looks.
    #[inline(always)]
    fn attribute(&self, ip: &Ip, class: limits::Class, outcome: Outcome) -> Stop {
        let Some(attention) = track::attend(self.world, self.settings) else {
            return Stop::Attended(outcome, false);
        };
        let load = account::Load::insane(class, attention.weight, self.packet.frame_len());
        self.world.account(self.settings, ip, load);
        Stop::Attended(outcome, attention.is_sampled)
    }

    #[inline(always)]
    fn not_ip(&self, kind: Ethertype) -> Result<Outcome, Outcome> {
        let policy = match kind {
            // Without ARP the host is unreachable by IPv4 altogether.
            Ethertype::Arp => return Ok(Outcome::NonIp),
            Ethertype::Pppoe => self.settings.sanity.pppoe,
            Ethertype::Other => self.settings.sanity.non_ip,
        };
        let counted = apply(policy, Outcome::Ethertype)?;
        Ok(counted.unwrap_or(Outcome::NonIp))
    }

    /// A frame whose source cannot be read.
    ///
    /// Linux strips any number of priority tags and delivers what is under them: a frame tagged deeper than the parser
    /// reads has a source that nobody knows, and must not be a way past the blocklist.
    #[inline(always)]
    fn unreadable(&self) -> Result<Outcome, Outcome> {
        if lists::blocks_anybody(self.settings.lists) {
            return Err(Outcome::Malformed);
        }
        self.cut(false)
    }

    /// A packet that is cut short, or whose lengths contradict each other.
    #[inline(always)]
    fn cut(&self, allowed: bool) -> Result<Outcome, Outcome> {
        let counted = apply(self.settings.sanity.malformed, Outcome::Malformed)?;
        let passing = if allowed {
            Outcome::Allowed
        } else {
            Outcome::Passed
        };
        Ok(counted.unwrap_or(passing))
    }
}

/// What a policy makes of a packet of its class: `Err` = drop, `Some` = count it under the class. A value that is no
/// policy drops, because it can only come from a user space that knows more policies than this program.
#[inline(always)]
fn apply(policy: u8, class: Outcome) -> Result<Option<Outcome>, Outcome> {
    if policy == Policy::Pass as u8 {
        Ok(None)
    } else if policy == Policy::Count as u8 {
        Ok(Some(class))
    } else {
        Err(class)
    }
}
