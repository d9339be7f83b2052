//! The clock: asked for each answer, or once. To remember an answer takes stack, of which there is little.

use core::cell::Cell;

use crate::maps;

/// Where the time comes from.
pub(crate) trait Clock {
    /// `CLOCK_MONOTONIC` as of the last tick, in nanoseconds.
    fn now_ns(&self) -> u64;
}

/// Asked each time.
pub(crate) struct Asked;

/// Asked once at most.
pub(crate) struct Once(Cell<u64>);

impl Once {
    /// Not asked yet.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self::answered(0)
    }

    /// Asked before, with this answer; 0: not.
    #[inline(always)]
    pub(crate) fn answered(now_ns: u64) -> Self {
        Self(Cell::new(now_ns))
    }
}

impl Clock for Asked {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        maps::coarse_clock_ns()
    }
}

impl Clock for Once {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        if self.0.get() == 0 {
            self.0.set(maps::coarse_clock_ns());
        }
        self.0.get()
    }
}
