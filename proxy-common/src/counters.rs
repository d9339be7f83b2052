//! Counters: per interface and outcome, and per source.

use crate::Outcome;

/// Packets and bytes.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames, link-layer header included.
    pub bytes: u64,
}

/// One interface's tallies on one CPU, indexed by [`Outcome`]. Room for 32 outcomes: 512 bytes an interface and CPU.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Totals([Tally; Totals::SLOTS]);

impl Totals {
    /// Outcomes the layout has room for.
    pub const SLOTS: usize = 32;
    /// Nothing seen yet.
    pub const ZERO: Self = Self(
        [Tally {
            packets: 0,
            bytes: 0,
        }; Self::SLOTS],
    );

    /// What was counted under `outcome`.
    pub fn of(&self, outcome: Outcome) -> Tally {
        self.0[outcome as usize]
    }

    /// The place `outcome` is counted in.
    #[inline(always)]
    pub fn of_mut(&mut self, outcome: Outcome) -> &mut Tally {
        // The mask is a no-op that spares the BPF build a bounds check with a panic behind it.
        &mut self.0[outcome as usize & (Self::SLOTS - 1)]
    }

    /// Adds another CPU's totals.
    pub fn add(&mut self, other: &Self) {
        for (sum, tally) in self.0.iter_mut().zip(&other.0) {
            sum.packets += tally.packets;
            sum.bytes += tally.bytes;
        }
    }
}

/// What one source sent: IPv4 by address, IPv6 by /64. Shared between CPUs and updated with atomic adds, so that
/// memory does not grow with the number of CPUs.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SourceCounters {
    /// Packets, dropped ones included.
    pub packets: u64,
    /// Bytes of the frames, dropped ones included.
    pub bytes: u64,
    /// TCP segments with SYN and without ACK.
    pub syns: u64,
    /// Packets dropped (or, when the shield does not enforce, that would have been).
    pub dropped: u64,
    /// When the source was first seen, `CLOCK_MONOTONIC`.
    pub first_seen_ns: u64,
    /// When the source was last seen, `CLOCK_MONOTONIC`, to the coarse clock's tick (4 ms at HZ=250).
    pub last_seen_ns: u64,
}

const _: () = assert!(size_of::<Tally>() == 16);
const _: () = assert!(size_of::<Totals>() == 512);
const _: () = assert!(size_of::<SourceCounters>() == 48);
const _: () = assert!(Outcome::COUNT <= Totals::SLOTS && Totals::SLOTS.is_power_of_two());
