//! Rates: the generic cell rate algorithm (ITU-T I.371, "virtual scheduling") in 32-bit ticks.
//!
//! A state is the theoretical arrival time (TAT) of the next packet. A packet conforms if its TAT is not further ahead of
//! the clock than the burst allows, and then moves it on by what it costs: one word, so one compare-and-swap decides, and
//! CPUs that race for one source cannot admit more than its rate. A refused packet writes nothing.

use weir_common::settings::{COST_SHIFT, Limit, Limits};
use weir_common::source::STALE_EPOCHS;
use weir_common::time::{Tick, epoch, tick};
use weir_common::{Outcome, PrefixState, SourceState};

use super::account::Load;
use crate::opaque::opaque;
use crate::parse::{Transport, Upper};
use crate::shared::Shared;

/// Kinds of traffic with a limit of their own, besides packets and bytes.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Anything else.
    Other = 0,
    /// New connection over TCP.
    Syn = 1,
    /// UDP.
    Udp = 2,
    /// New connection over QUIC.
    Quic = 3,
    /// ICMP.
    Icmp = 4,
}

impl Class {
    /// The class of a packet. `upper`: `None` if it cannot be read. `opens_quic`: it is a QUIC Initial.
    #[inline(always)]
    pub(super) fn of(upper: Option<&Upper>, opens_quic: bool) -> Self {
        match upper.map_or(Transport::Opaque, Upper::transport) {
            Transport::Tcp(segment) if segment.opens() => Self::Syn,
            Transport::Udp(_) if opens_quic => Self::Quic,
            Transport::Udp(_) => Self::Udp,
            Transport::Icmp(_) => Self::Icmp,
            Transport::Tcp(_) | Transport::Opaque => Self::Other,
        }
    }

    /// Whether the packet opens a connection.
    #[inline(always)]
    pub(super) fn opens_connection(self) -> bool {
        matches!(self, Self::Syn | Self::Quic)
    }
}

/// Where a source's or a prefix's theoretical arrival times lie.
struct Arrivals<'a> {
    packets_and_bytes: Shared<'a, u64>,
    syn: Shared<'a, u32>,
    udp: Shared<'a, u32>,
    icmp: Shared<'a, u32>,
    last_seen: Shared<'a, u32>,
}

impl<'a> From<Shared<'a, SourceState>> for Arrivals<'a> {
    #[inline(always)]
    fn from(state: Shared<'a, SourceState>) -> Self {
        Self {
            packets_and_bytes: state.packets_and_bytes(),
            syn: state.syn(),
            udp: state.udp(),
            icmp: state.icmp(),
            last_seen: state.last_seen(),
        }
    }
}

impl<'a> From<Shared<'a, PrefixState>> for Arrivals<'a> {
    #[inline(always)]
    fn from(state: Shared<'a, PrefixState>) -> Self {
        Self {
            packets_and_bytes: state.packets_and_bytes(),
            syn: state.syn(),
            udp: state.udp(),
            icmp: state.icmp(),
            last_seen: state.last_seen(),
        }
    }
}

/// Charges a source; the reason if one of its limits refuses. `salt`: another number for every packet.
#[inline(always)]
pub(super) fn source(
    state: Shared<'_, SourceState>,
    limits: &Limits,
    load: Load,
    salt: u32,
    now_ns: u64,
) -> Result<(), Outcome> {
    charge(&state.into(), limits, load, salt, now_ns)
}

/// Charges a prefix; false if one of its limits refuses. `salt`: as of [`source`].
#[inline(always)]
pub(super) fn prefix(
    state: Shared<'_, PrefixState>,
    limits: &Limits,
    load: Load,
    salt: u32,
    now_ns: u64,
) -> bool {
    let arrivals = state.into();
    update(&arrivals, now_ns);
    charge(&arrivals, limits, load, salt, now_ns).is_ok()
}

#[inline(always)]
fn charge(
    arrivals: &Arrivals<'_>,
    limits: &Limits,
    load: Load,
    salt: u32,
    now_ns: u64,
) -> Result<(), Outcome> {
    let clock = Clock(tick(now_ns));
    match load.class() {
        // A QUIC connection is counted as one, and its datagram by packets and bytes like any other.
        Class::Syn | Class::Quic => {
            clock.charge(arrivals.syn, limits.syn, salt, Outcome::RateSyn)?;
        }
        Class::Udp => clock.charge(arrivals.udp, limits.udp, salt, Outcome::RateUdp)?,
        Class::Icmp => clock.charge(arrivals.icmp, limits.icmp, salt, Outcome::RateIcmp)?,
        Class::Other => {}
    }
    clock.charge_both(arrivals.packets_and_bytes, limits, load.bytes(), salt)
}

/// Notes that a source is seen, and brings its TATs up to date once an epoch.
#[inline(always)]
pub(super) fn touch(state: Shared<'_, SourceState>, now_ns: u64) {
    update(&state.into(), now_ns);
}

/// Notes when somebody is seen, and brings the TATs up to date once an epoch.
///
/// A TAT in the past says that nothing is owed, however far back it lies; but in 32 bits it would turn into one in the
/// future after 137 s. So the first packet of an epoch moves all of them to the present. After [`STALE_EPOCHS`] they are
/// of another age altogether. The epoch stands still for millions of packets, which are spared the writes.
#[inline(always)]
fn update(arrivals: &Arrivals<'_>, now_ns: u64) {
    let before = arrivals.last_seen.read();
    let now = epoch(now_ns);
    if before == now {
        return;
    }
    arrivals.last_seen.write(now);
    let clock = Clock(tick(now_ns));
    let is_stale = now.wrapping_sub(before) >= STALE_EPOCHS;
    clock.refresh_both(arrivals.packets_and_bytes, is_stale);
    clock.refresh(arrivals.syn, is_stale);
    clock.refresh(arrivals.udp, is_stale);
    clock.refresh(arrivals.icmp, is_stale);
}

/// The time.
#[derive(Clone, Copy)]
struct Clock(Tick);

impl Clock {
    /// Charges one packet. A loser of [`ATTEMPTS`] races goes free: only admitted packets write, so there are few.
    #[inline(always)]
    fn charge(
        self,
        place: Shared<'_, u32>,
        limit: Limit,
        salt: u32,
        refused: Outcome,
    ) -> Result<(), Outcome> {
        if limit.cost == 0 {
            return Ok(());
        }
        for _ in 0..opaque(ATTEMPTS) {
            let before = place.read();
            let after = self
                .conforming(before, limit.cost, salt, limit.burst)
                .ok_or(refused)?;
            if place.replace(before, after) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Charges one packet of `bytes`, both in one word.
    #[inline(always)]
    fn charge_both(
        self,
        place: Shared<'_, u64>,
        limits: &Limits,
        bytes: u64,
        salt: u32,
    ) -> Result<(), Outcome> {
        let (packets, weight) = (limits.packets, limits.bytes);
        if packets.cost | weight.cost == 0 {
            return Ok(());
        }
        for _ in 0..opaque(ATTEMPTS) {
            let before = place.read();
            let (low, high) = (before as u32, (before >> 32) as u32);
            let low = if packets.cost == 0 {
                low
            } else {
                self.conforming(low, packets.cost, salt, packets.burst)
                    .ok_or(Outcome::RatePackets)?
            };
            let high = if weight.cost == 0 {
                high
            } else {
                self.conforming(high, weight.cost * bytes, salt, weight.burst)
                    .ok_or(Outcome::RateBytes)?
            };
            if place.replace(before, u64::from(low) | u64::from(high) << 32) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What is owed, in ticks; a TAT in the past wraps to the upper half.
    #[inline(always)]
    fn owed(self, tat: Tick) -> Tick {
        let owed = tat.wrapping_sub(self.0);
        if owed > Tick::MAX / 2 { 0 } else { owed }
    }

    /// Moves a TAT in the past to the present. Whoever changes it meanwhile does so, too.
    #[inline(always)]
    fn refresh(self, place: Shared<'_, u32>, is_stale: bool) {
        let before = place.read();
        if is_stale || self.owed(before) == 0 {
            place.replace(before, self.0);
        }
    }

    /// As [`Clock::refresh`].
    #[inline(always)]
    fn refresh_both(self, place: Shared<'_, u64>, is_stale: bool) {
        let before = place.read();
        let fresh = |tat: Tick| {
            if is_stale || self.owed(tat) == 0 {
                self.0
            } else {
                tat
            }
        };
        let (low, high) = (fresh(before as u32), fresh((before >> 32) as u32));
        place.replace(before, u64::from(low) | u64::from(high) << 32);
    }

    /// The TAT after a packet that costs `cost`, in fractions of a tick, if it conforms.
    ///
    /// Whether it does, the cost rounded up decides: who may not pay a whole tick more does not go free for a part of one.
    #[inline(always)]
    fn conforming(self, tat: Tick, cost: u64, salt: u32, burst: u32) -> Option<Tick> {
        // No TAT is written further ahead of the writer's clock than its burst: one that seems to be lies in the past. But
        // the writer may have read the clock a little later than this CPU did.
        let owed = match self.owed(tat) {
            owed if owed > burst.saturating_add(CLOCK_SKEW) => 0,
            owed => owed,
        };
        let owed = u64::from(owed);
        let most = cost.saturating_add((1 << COST_SHIFT) - 1) >> COST_SHIFT;
        let after = owed + dither(cost, salt);
        (owed + most <= u64::from(burst)).then(|| self.0.wrapping_add(after as u32))
    }
}

/// To one of the two nearest ticks, each as often as it is near: what costs few ticks, or a part of one, would have another
/// rate if it were rounded the same way every time. By the golden ratio numbers that count up are spread evenly.
#[inline(always)]
fn dither(cost: u64, salt: u32) -> u64 {
    let salt = u64::from(salt.wrapping_mul(0x9e37_79b1) >> (32 - COST_SHIFT));
    cost.saturating_add(salt) >> COST_SHIFT
}

/// How much later than this CPU another may have read the clock, generously: 1 s.
const CLOCK_SKEW: u32 = (1_000_000_000_u64 >> weir_common::time::TICK_SHIFT) as u32;
/// Compare-and-swaps tried.
const ATTEMPTS: u32 = 4;
