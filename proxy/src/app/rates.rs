//! How fast the shield drops, from two readings of its totals. Pure.

use std::time::{Duration, Instant};

use weir_common::{Outcome, Totals, Verdict};

use crate::admin::api;

/// Remembers the last reading.
#[derive(Debug, Default)]
pub(super) struct DropRate {
    last: Option<(Instant, u64)>,
    per_second: f64,
    active_since: Option<Instant>,
}

impl DropRate {
    /// Takes a reading of all interfaces.
    pub(super) fn observe(&mut self, totals: &[(String, Totals)], now: Instant) {
        let dropped: u64 = totals.iter().map(|(_, totals)| dropped(totals)).sum();
        if let Some((then, before)) = self.last {
            let elapsed = now
                .saturating_duration_since(then)
                .max(Duration::from_millis(1));
            let packets = u32::try_from(dropped.saturating_sub(before)).unwrap_or(u32::MAX);
            self.per_second = f64::from(packets) / elapsed.as_secs_f64();
            self.active_since = match (packets, self.active_since) {
                (0, _) => None,
                (_, Some(since)) => Some(since),
                (_, None) => Some(then),
            };
        }
        self.last = Some((now, dropped));
    }

    /// As the admin API tells it.
    pub(super) fn to_api(&self, now: Instant) -> api::Attack {
        api::Attack {
            active: self.active_since.is_some(),
            dropped_per_second: self.per_second,
            active_seconds: self
                .active_since
                .map(|since| now.saturating_duration_since(since).as_secs_f64()),
        }
    }
}

fn dropped(totals: &Totals) -> u64 {
    Outcome::ALL
        .into_iter()
        .filter(|outcome| outcome.verdict() == Verdict::Drop)
        .map(|outcome| totals.of(outcome).packets)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(blocked: u64) -> Vec<(String, Totals)> {
        let mut totals = Totals::ZERO;
        totals.place(Outcome::Blocked as usize).packets = blocked;
        totals.place(Outcome::Passed as usize).packets = 1_000_000;
        vec![("eth0".to_owned(), totals)]
    }

    #[test]
    fn a_rate_needs_two_readings_and_counts_only_drops() {
        let start = crate::clock::now();
        let mut rate = DropRate::default();
        rate.observe(&reading(100), start);
        assert!(!rate.to_api(start).active);
        rate.observe(&reading(300), start + Duration::from_secs(2));
        let attack = rate.to_api(start + Duration::from_secs(3));
        assert!(attack.active);
        assert!((attack.dropped_per_second - 100.0).abs() < 1e-9);
        assert_eq!(attack.active_seconds, Some(3.0));
    }

    #[test]
    fn it_ends_with_the_first_reading_without_drops() {
        let start = crate::clock::now();
        let mut rate = DropRate::default();
        for (seconds, blocked) in [(0, 0), (1, 5), (2, 5)] {
            rate.observe(&reading(blocked), start + Duration::from_secs(seconds));
        }
        assert!(!rate.to_api(start + Duration::from_secs(2)).active);
    }

    #[test]
    fn counters_that_start_over_are_no_drops() {
        let start = crate::clock::now();
        let mut rate = DropRate::default();
        rate.observe(&reading(500), start);
        rate.observe(&reading(10), start + Duration::from_secs(1));
        assert!(!rate.to_api(start + Duration::from_secs(1)).active);
    }
}
