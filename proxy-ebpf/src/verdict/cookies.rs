//! SYN cookies: when SYNs are answered, and which ACKs are forged. The answer itself is written by the program.

use weir_common::addr::source_key;
use weir_common::settings::CookieMode;
use weir_common::time::epoch;
use weir_common::{DropClass, Pressure, ShieldSettings, settings::Cookies};

use super::sanity::is_own_again;
use crate::packet::{Bytes as _, Packet};
use crate::parse::tcp::{ACK, CWR, ECE, MIN_HEADER, RST, SYN, Segment};
use crate::parse::{Fragment, Ip, Transport, Upper, Version};
use crate::shared::Shared;
use crate::track::{self, roll};
use crate::world::World;

/// What the answer to a SYN is made of, besides its headers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Its sequence number.
    pub cookie: u32,
    /// Its options.
    pub options: Options,
}

/// The options of a SYN that an answer depends on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// The value of its timestamps (RFC 7323 §3).
    pub timestamp: u32,
    /// Maximum segment size (RFC 9293 §3.7.1); 0 = not sent.
    pub mss: u16,
    /// Window scale (RFC 7323 §2), at most 14; [`Options::NO_SCALE`] = not sent.
    pub window_scale: u8,
    /// [`Options::SACK`], [`Options::TIMESTAMPS`], [`Options::SIGNED`] and [`Options::ECN`].
    pub flags: u8,
}

impl Options {
    /// Nothing sent.
    pub const NONE: Self = Self {
        timestamp: 0,
        mss: 0,
        window_scale: Self::NO_SCALE,
        flags: 0,
    };
    /// Selective acknowledgements are permitted (RFC 2018 §2).
    pub const SACK: u8 = 1;
    /// There are timestamps.
    pub const TIMESTAMPS: u8 = 2;
    /// The segment is signed with a key that only the kernel has (RFC 2385, RFC 5925), and so has its answer to be.
    pub const SIGNED: u8 = 4;
    /// No option of the SYN: its control bits ask for ECN (RFC 3168 §6.1.1), and it may have it.
    pub const ECN: u8 = 8;
    /// What Linux writes into a timestamp for "no window scale".
    pub const NO_SCALE: u8 = 15;
}

/// What became of a SYN that was to be turned into its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// It is still the SYN: there was no room for the answer.
    Not,
    /// It is the answer.
    Whole,
    /// It is neither.
    Partly,
}

/// What an ACK completes.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completes {
    /// Nobody knows: it is for something else than a listener, or the listener makes no cookies.
    Unknown = 0,
    /// A connection, by a cookie that the listener made.
    Connection = 1,
    /// Nothing.
    Nothing = 2,
}

/// What becomes of a segment.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// It goes on.
    Pass = 0,
    /// It has become its answer.
    Answered = 1,
    /// It would have been answered, or could not be.
    Unanswered = 2,
    /// An ACK to a listener that completes nothing.
    Forged = 3,
    /// A SYN that is to be answered, once its source's limits let it through.
    Wait = 4,
    /// An ACK that completes a connection: it goes on, and its source has shown that it receives what is sent to it.
    Proved = 5,
}

impl Check {
    /// The variant with this number.
    #[inline(always)]
    pub fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Self::Pass,
            1 => Self::Answered,
            2 => Self::Unanswered,
            3 => Self::Forged,
            4 => Self::Wait,
            _ => Self::Proved,
        }
    }
}

/// When a segment is looked at.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// A SYN, before its source's limits: while cookies are on, most of a flood's sources have no state and get none, so
    /// limits have nothing to say, and looking for them would cost as much as the answer.
    Early = 0,
    /// A SYN that had to [wait](Check::Wait).
    Late = 1,
    /// An ACK of a source without a state. Whoever has one is held to its limits; a look-up for each of their packets would
    /// cost more than it saves.
    Stray = 2,
}

impl Stage {
    /// The variant with this number.
    #[inline(always)]
    pub fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Self::Early,
            1 => Self::Late,
            _ => Self::Stray,
        }
    }
}

/// Whether a segment is for this module at `stage`, so that others need not call it.
#[inline(always)]
pub(super) fn concerns(settings: &ShieldSettings, upper: &Upper, stage: Stage) -> bool {
    if settings.cookies.mode == CookieMode::Off as u8 {
        return false;
    }
    match upper.transport() {
        Transport::Tcp(segment) => {
            let wanted = match stage {
                Stage::Early | Stage::Late => SYN,
                Stage::Stray => ACK,
            };
            segment.flags & (SYN | RST | ACK) == wanted
        }
        _ => false,
    }
}

/// Answers a SYN while cookies are on, and stops an ACK that completes nothing.
#[inline(always)]
pub fn check<P: Packet, W: World>(
    packet: &P,
    world: &W,
    settings: &ShieldSettings,
    (ip, upper): (&Ip, &Upper),
    stage: Stage,
) -> Check {
    let Transport::Tcp(segment) = upper.transport() else {
        return Check::Pass;
    };
    // A listener on every address is found for any destination: what this host forwards is none of its business.
    if !is_own_again(world, settings, ip.destination()) {
        return Check::Pass;
    }
    let epoch = epoch(world.now_ns());
    match stage {
        Stage::Stray => {
            if !is_on(world, &settings.cookies, epoch) {
                return Check::Pass;
            }
            match world.completes(ip, &segment) {
                Completes::Unknown => Check::Pass,
                Completes::Connection => Check::Proved,
                Completes::Nothing => forged(world, epoch),
            }
        }
        Stage::Early => {
            let Some(syns) = count(world, &settings.cookies, epoch) else {
                return Check::Pass;
            };
            if upper.fragment() != Fragment::Whole || !ip.is_plain(upper) || !world.is_linear() {
                return unanswerable(world, epoch);
            }
            // One in sixteen strangers is looked at all the same, so that one that is heavy gets its state, and limits.
            if syns.is_multiple_of(16) || track::may_be_known(world, settings, ip.source(), epoch) {
                return Check::Wait;
            }
            answer(packet, world, settings, (ip, upper, &segment), epoch)
        }
        Stage::Late => {
            let check = answer(packet, world, settings, (ip, upper, &segment), epoch);
            if check != Check::Pass
                && let Some(state) = world.source(source_key(ip.source()))
            {
                state.drops(DropClass::Cookie).add(1);
            }
            check
        }
    }
}

#[inline(always)]
fn answer<P: Packet, W: World>(
    packet: &P,
    world: &W,
    settings: &ShieldSettings,
    (ip, upper, segment): (&Ip, &Upper, &Segment),
    epoch: u32,
) -> Check {
    let mut options = packet.syn_options(segment.at + MIN_HEADER, segment.at + segment.header_len);
    if options.flags & Options::SIGNED != 0 {
        return unanswerable(world, epoch);
    }
    let may_have_ecn = settings.cookies.options & Cookies::ECN != 0;
    if may_have_ecn && segment.flags & (ECE | CWR) == ECE | CWR {
        options.flags |= Options::ECN;
    }
    let default_mss = match ip.version() {
        Version::V4 => 536,
        Version::V6 => 1220,
    };
    let mss = if options.mss == 0 {
        default_mss
    } else {
        options.mss
    };
    let Some(cookie) = world.make_cookie(ip, segment, mss) else {
        return Check::Pass;
    };
    if settings.enforce == 0 {
        return Check::Unanswered;
    }
    match world.answer(ip, upper, &Answer { cookie, options }) {
        Turned::Whole => Check::Answered,
        Turned::Not => unanswerable(world, epoch),
        Turned::Partly => Check::Unanswered,
    }
}

/// A SYN that the program cannot answer: signed, with IP options or extension headers, in fragments or several buffers.
/// Honest ones are rare, and the kernel makes cookies too, so few of them pass; a flood of them is one that the kernel would have to
/// bear: of it, [`UNANSWERABLE_PASSED`] an epoch and CPU.
#[inline(always)]
fn unanswerable<W: World>(world: &W, epoch: u32) -> Check {
    let Some(cpu) = world.cpu() else {
        return Check::Pass;
    };
    roll(cpu, epoch);
    let before = cpu.unanswerable().read();
    if before >= UNANSWERABLE_PASSED {
        return Check::Unanswered;
    }
    cpu.unanswerable().write(before + 1);
    Check::Pass
}

/// The kernel answers an ACK that belongs to nothing with a reset, and a client whose connection this host has forgotten
/// needs one. So few of them pass; of a flood, [`FORGED_PASSED`] an epoch and CPU.
#[inline(always)]
fn forged<W: World>(world: &W, epoch: u32) -> Check {
    let Some(cpu) = world.cpu() else {
        return Check::Pass;
    };
    roll(cpu, epoch);
    let forged = cpu.forged().read() + 1;
    cpu.forged().write(forged);
    if forged <= FORGED_PASSED {
        Check::Pass
    } else {
        Check::Forged
    }
}

/// Counts a SYN: a number that grows by one with each of this CPU's, if SYNs are answered now.
#[inline(always)]
fn count<W: World>(world: &W, cookies: &Cookies, epoch: u32) -> Option<u32> {
    let cpu = world.cpu()?;
    roll(cpu, epoch);
    let syns = cpu.syns().read().wrapping_add(1);
    cpu.syns().write(syns);
    if cookies.mode == CookieMode::Always as u8 {
        return Some(syns);
    }
    let pressure = world.pressure()?;
    // A shared counter costs five times a private one, so CPUs add to it in batches.
    let batch = batch(cookies.start);
    if syns & (batch - 1) == 0 {
        pressure.syns(epoch).add(batch);
    }
    judge(pressure, cookies, epoch);
    (pressure.until().read() >= epoch).then_some(syns)
}

/// A power of two: the largest that is no more than an eighth of `start`, from 1 to 64.
#[inline(always)]
fn batch(start: u32) -> u32 {
    match start >> 3 {
        64.. => 64,
        16.. => 16,
        4.. => 4,
        _ => 1,
    }
}

#[inline(always)]
fn is_on<W: World>(world: &W, cookies: &Cookies, epoch: u32) -> bool {
    cookies.mode == CookieMode::Always as u8
        || world
            .pressure()
            .is_some_and(|pressure| pressure.until().read() >= epoch)
}

/// Begins when an epoch has [`Cookies::start`] SYNs, at once; goes on as long as epochs have half of that, and for
/// [`Cookies::HOLD_EPOCHS`] more.
#[inline(always)]
fn judge(pressure: Shared<'_, Pressure>, cookies: &Cookies, epoch: u32) {
    let until = epoch.wrapping_add(Cookies::HOLD_EPOCHS);
    let now = pressure.syns(epoch).read();
    let is_on = pressure.until().read() >= epoch;
    let enough = if is_on {
        cookies.start / 2
    } else {
        cookies.start
    };
    let judged = pressure.judged().read();
    if judged != epoch && pressure.judged().replace(judged, epoch) {
        // The first of its epoch clears the next one's counter, and all of them if there was a pause.
        pressure.syns(epoch.wrapping_add(1)).write(0);
        if judged.wrapping_add(1) != epoch {
            pressure.syns(epoch).write(0);
            pressure.syns(epoch.wrapping_add(2)).write(0);
            pressure.syns(epoch.wrapping_add(3)).write(0);
            return;
        }
    }
    if now >= enough && pressure.until().read() != until {
        pressure.until().write(until);
    }
}

/// Walks the options from `at` to `end`, as Linux does (`tcp_parse_options`): unknown ones are skipped, a broken one ends
/// the walk, of one that comes twice the last counts.
#[inline(always)]
pub fn options<P: Packet>(packet: &P, at: usize, end: usize) -> Options {
    let mut options = Options::NONE;
    let mut at = at;
    for _ in 0..MOST_OPTIONS {
        if at >= end {
            break;
        }
        match step(packet, at, end, &mut options) {
            Some(next) => at = next,
            None => break,
        }
    }
    options
}

/// Reads the option at `at`; where the next one begins, or `None` at the end of the list.
#[inline(always)]
pub fn step<P: Packet>(packet: &P, at: usize, end: usize, options: &mut Options) -> Option<usize> {
    let kind = packet.load::<1>(at)?.byte::<0>();
    match kind {
        END => return None,
        NOP => return Some(at + 1),
        _ => {}
    }
    let len = packet.load::<2>(at)?.byte::<1>();
    let next = at + usize::from(len);
    if len < 2 || next > end {
        return None;
    }
    match (kind, len) {
        (MSS, 4) => {
            options.mss = packet.load::<4>(at)?.be16::<2>();
        }
        (WINDOW_SCALE, 3) => {
            let scale = packet.load::<3>(at)?.byte::<2>();
            options.window_scale = scale.min(MAX_SCALE);
        }
        (SACK_PERMITTED, 2) => options.flags |= Options::SACK,
        (TIMESTAMPS, 10) => {
            options.timestamp = packet.load::<6>(at)?.be32::<2>();
            options.flags |= Options::TIMESTAMPS;
        }
        (MD5, 18) | (AUTHENTICATION, 4..) => options.flags |= Options::SIGNED,
        _ => {}
    }
    Some(next)
}

/// 40 bytes of options hold more no-operations than this, but no stack sends them.
pub const MOST_OPTIONS: u32 = 20;
/// About 1,000 a second, whose resets cost a core a thousandth of its time.
pub const FORGED_PASSED: u32 = 256;
/// About 1,000 a second, whose answers cost the kernel some 1.5 ms of a core's second.
pub const UNANSWERABLE_PASSED: u32 = 256;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;
/// RFC 2385
const MD5: u8 = 19;
/// TCP-AO (RFC 5925 §2.2)
const AUTHENTICATION: u8 = 29;
/// RFC 7323 §2.3
const MAX_SCALE: u8 = 14;
