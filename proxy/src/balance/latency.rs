//! How long a server takes to answer: an average that follows a rise at once and a fall with time (peak EWMA, as Finagle
//! has it). What was seen fades, so that a server that was slow gets a request now and then and can prove itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The average in microseconds (`f32`, upper half) and when it was made (milliseconds, wrapping, lower half): one word, so
/// that a reader never sees half of it. Relaxed: it guards no other memory.
#[derive(Debug, Default)]
pub(super) struct Latency(AtomicU64);

impl Latency {
    /// A response head came after `sample`.
    pub(super) fn observe(&self, sample: Duration, now_ms: u64) {
        let sample = sample.as_secs_f32() * 1e6;
        let _always_some = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let (average, stamp) = unpack(word);
                let keep = kept(stamp, now_ms);
                let next = if sample >= average * keep {
                    sample
                } else {
                    average * keep + sample * (1.0 - keep)
                };
                Some(pack(next, now_ms))
            });
    }

    /// What was seen says nothing any more.
    pub(super) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Microseconds that an answer is expected to take; 0 = nothing is known.
    pub(super) fn micros(&self, now_ms: u64) -> f32 {
        let (average, stamp) = unpack(self.0.load(Ordering::Relaxed));
        average * kept(stamp, now_ms)
    }
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits(high(word)), low(word))
}

fn pack(average: f32, now_ms: u64) -> u64 {
    (u64::from(average.to_bits()) << 32) | u64::from(low(now_ms))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the upper half is shifted down"
)]
fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the lower half is what is wanted"
)]
fn low(word: u64) -> u32 {
    word as u32
}

/// What is left of an average after the time since `stamp`. A stamp of the future is another worker's reading.
fn kept(stamp: u32, now_ms: u64) -> f32 {
    let age = low(now_ms).wrapping_sub(stamp);
    if age > u32::MAX / 2 {
        return 1.0;
    }
    (-(Duration::from_millis(age.into()).as_secs_f32()) / FADE.as_secs_f32()).exp()
}

/// After this long without an answer, 37 % of the average is left.
const FADE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn about(left: f32, right: f32) -> bool {
        (left - right).abs() <= right * 0.02
    }

    #[test]
    fn a_rise_is_followed_at_once_and_a_fall_with_time() {
        let latency = Latency::default();
        latency.observe(MS, 0);
        assert!(about(latency.micros(0), 1e3));
        latency.observe(100 * MS, 10);
        assert!(about(latency.micros(10), 1e5));
        latency.observe(MS, 1_010);
        let after_a_second = latency.micros(1_010);
        assert!(
            about(after_a_second, 0.905 * 1e5 + 0.095 * 1e3),
            "{after_a_second}"
        );
        for second in 2..60 {
            latency.observe(MS, second * 1_000);
        }
        assert!(latency.micros(60_000) < 2e3, "{}", latency.micros(60_000));
    }

    #[test]
    fn what_was_seen_fades() {
        let latency = Latency::default();
        latency.observe(100 * MS, 0);
        assert!(about(latency.micros(10_000), 36_788.0));
        assert!(latency.micros(200_000) < 1.0);
    }

    #[test]
    fn a_clock_that_is_read_late_neither_fades_nor_panics() {
        let latency = Latency::default();
        latency.observe(MS, 5_000);
        assert!(about(latency.micros(4_999), 1e3));
        let wrapped = u64::from(u32::MAX) + 5_000;
        latency.observe(MS, wrapped);
        assert!(about(latency.micros(wrapped), 1e3));
    }
}
