//! What a packet means for its source: counted in its state, and held to its limits and its prefix's.

use weir_common::{DropClass, Outcome, ShieldSettings, Source, SourceState};

use super::limits::{self, Class};
use crate::shared::Shared;
use crate::track;
use crate::world::World;

/// What a packet puts on its source, in one word: its class, whether a sanity check dropped it, whether limits are for it,
/// for how many packets it stands, and its length.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load(u64);

impl Load {
    /// A packet that passed the sanity checks; `limited`: limits are for it.
    #[inline(always)]
    pub(super) fn new(class: Class, limited: bool, bytes: usize) -> Self {
        let limited = if limited { LIMITED } else { 0 };
        Self(class as u64 | limited | 1 << WEIGHT_SHIFT | (bytes as u64) << BYTES_SHIFT)
    }

    /// A packet that a sanity check dropped, and stands for `weight` of its kind. At most 255.
    #[inline(always)]
    pub(super) fn insane(class: Class, weight: u32, bytes: usize) -> Self {
        let weight = u64::from(weight & 0xff) << WEIGHT_SHIFT;
        Self(class as u64 | INSANE | weight | (bytes as u64) << BYTES_SHIFT)
    }

    #[inline(always)]
    fn is_insane(self) -> bool {
        self.0 & INSANE != 0
    }

    #[inline(always)]
    fn is_limited(self) -> bool {
        self.0 & LIMITED != 0
    }

    #[inline(always)]
    fn weight(self) -> u32 {
        (self.0 >> WEIGHT_SHIFT) as u32 & 0xff
    }

    /// As a number, and back.
    #[inline(always)]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// See [`Load::to_bits`].
    #[inline(always)]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline(always)]
    pub(super) fn class(self) -> Class {
        match self.0 & CLASS {
            1 => Class::Syn,
            2 => Class::Udp,
            3 => Class::Quic,
            4 => Class::Icmp,
            _ => Class::Other,
        }
    }

    #[inline(always)]
    pub(super) fn bytes(self) -> u64 {
        self.0 >> BYTES_SHIFT
    }
}

/// What became of it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accounted(u32);

impl Accounted {
    /// As a number, and back.
    #[inline(always)]
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// See [`Accounted::to_bits`].
    #[inline(always)]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The limit that refused it.
    #[inline(always)]
    pub(super) fn refused(self) -> Option<Outcome> {
        match self.0 & REFUSED {
            0 => None,
            1 => Some(Outcome::RatePackets),
            2 => Some(Outcome::RateBytes),
            3 => Some(Outcome::RateSyn),
            4 => Some(Outcome::RateUdp),
            5 => Some(Outcome::RateIcmp),
            _ => Some(Outcome::RatePrefix),
        }
    }

    /// Whether its source has no state.
    #[inline(always)]
    pub(super) fn is_stranger(self) -> bool {
        self.0 & STRANGER != 0
    }

    #[inline(always)]
    fn refusing(outcome: Outcome) -> u32 {
        match outcome {
            Outcome::RatePackets => 1,
            Outcome::RateBytes => 2,
            Outcome::RateSyn => 3,
            Outcome::RateUdp => 4,
            Outcome::RateIcmp => 5,
            _ => 6,
        }
    }
}

/// Counts and limits.
#[inline(always)]
pub fn check<W: World>(
    world: &W,
    settings: &ShieldSettings,
    source: Source,
    load: Load,
    now_ns: u64,
) -> Accounted {
    let state = track::source(world, settings, source, now_ns);
    let mut accounted = STRANGER;
    if let Some(state) = state {
        accounted = 0;
        let weight = load.weight();
        state.packets().add(u64::from(weight));
        state.bytes().add(load.bytes() * u64::from(weight));
        if load.class().opens_connection() {
            state.syns().add(weight);
        }
        limits::touch(state, now_ns);
        if load.is_insane() {
            state.drops(DropClass::Sanity).add(weight);
        }
    }
    if load.is_insane() || !load.is_limited() {
        return Accounted(accounted);
    }
    if let Some(state) = state
        && let Err(refused) = limits::source(state, &settings.limits, load, salt(state), now_ns)
    {
        state.drops(DropClass::Rate).add(1);
        return Accounted(accounted | Accounted::refusing(refused));
    }
    if let Some(prefix) = track::prefix(world, settings, source, now_ns)
        && !limits::prefix(
            prefix,
            &settings.prefix_limits,
            load,
            match state {
                Some(state) => salt(state),
                // Of a source without a state this CPU has just counted the packet.
                None => world.cpu().map_or(0, |cpu| cpu.strangers().read()),
            },
            now_ns,
        )
    {
        if let Some(state) = state {
            state.drops(DropClass::Prefix).add(1);
        }
        return Accounted(accounted | Accounted::refusing(Outcome::RatePrefix));
    }
    Accounted(accounted)
}

/// Another number for every packet of a source.
#[inline(always)]
fn salt(state: Shared<'_, SourceState>) -> u32 {
    state.packets().read() as u32
}

/// Bits of the limit that refused.
const REFUSED: u32 = 7;
/// Bit: the source has no state.
const STRANGER: u32 = 8;
/// Bits of the class.
const CLASS: u64 = 7;
/// Bit: a sanity check dropped the packet.
const INSANE: u64 = 8;
/// Bit: limits are for the packet.
const LIMITED: u64 = 16;
const WEIGHT_SHIFT: u32 = 8;
const BYTES_SHIFT: u32 = 16;
