//! Counters per interface and outcome.

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

/// One interface's tallies on one CPU: by [`Outcome`] what was done, and by [`Outcome`] what would have been dropped if
/// the shield enforced. 1 KiB an interface and CPU.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Totals([Tally; 2 * Totals::SLOTS]);

impl Totals {
    /// Outcomes the layout has room for.
    pub const SLOTS: usize = 32;
    /// Nothing seen yet.
    pub const ZERO: Self = Self(
        [Tally {
            packets: 0,
            bytes: 0,
        }; 2 * Self::SLOTS],
    );

    /// What was counted under `outcome`, dropped or, if the shield did not enforce, spared.
    pub fn of(&self, outcome: Outcome) -> Tally {
        let (done, spared) = (self.done(outcome), self.spared(outcome));
        Tally {
            packets: done.packets + spared.packets,
            bytes: done.bytes + spared.bytes,
        }
    }

    /// What was counted under `outcome` and got its verdict.
    pub fn done(&self, outcome: Outcome) -> Tally {
        self.0[outcome as usize]
    }

    /// What was counted under `outcome` and would have been dropped, but the shield did not enforce: `would-drop`.
    pub fn spared(&self, outcome: Outcome) -> Tally {
        self.0[Self::SLOTS + outcome as usize]
    }

    /// The place number `index`, modulo the number of places: an [`Outcome`], plus [`Totals::SLOTS`] if it is what would
    /// have been done.
    #[inline(always)]
    pub fn place(&mut self, index: usize) -> &mut Tally {
        // The mask spares the BPF build a bounds check with a panic behind it.
        &mut self.0[index & (2 * Self::SLOTS - 1)]
    }

    /// Adds another CPU's totals.
    pub fn add(&mut self, other: &Self) {
        for (sum, tally) in self.0.iter_mut().zip(&other.0) {
            sum.packets += tally.packets;
            sum.bytes += tally.bytes;
        }
    }
}

const _: () = assert!(size_of::<Tally>() == 16);
const _: () = assert!(size_of::<Totals>() == 1024);
const _: () = assert!(Outcome::COUNT <= Totals::SLOTS && Totals::SLOTS.is_power_of_two());
