//! The program's units of time. All are `CLOCK_MONOTONIC`, shifted: the BPF machine has no cheap division.

/// A tick is 2^6 ns: 64 ns. GCRA counts in ticks, in 32 bits, which wrap after 275 s.
pub const TICK_SHIFT: u32 = 6;
/// An epoch is 2^28 ns: 268 ms. Sketches, sampling budgets and SYN rates are counted per epoch; a state's age is kept in
/// epochs, which wrap 32 bits after 36 years.
pub const EPOCH_SHIFT: u32 = 28;

/// Ticks, wrapping.
pub type Tick = u32;

/// `now_ns` in ticks.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "ticks wrap; whoever compares them knows how old they can be"
)]
pub const fn tick(now_ns: u64) -> Tick {
    (now_ns >> TICK_SHIFT) as u32
}

/// `now_ns` in epochs.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "36 years of uptime fit")]
pub const fn epoch(now_ns: u64) -> u32 {
    (now_ns >> EPOCH_SHIFT) as u32
}

/// The beginning of `epoch` in nanoseconds.
pub const fn epoch_ns(epoch: u32) -> u64 {
    (epoch as u64) << EPOCH_SHIFT
}
