//! The one place where weir reads clocks. Decisions take what this returns as `now`.

use std::time::{Duration, Instant, SystemTime};

/// Monotonic time, for timeouts, windows and ages.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall-clock time, for fields that carry dates.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of the kernel's map entries.
pub fn kernel_now_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)
    })
}
