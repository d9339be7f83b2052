//! Bounds retries: when many requests fail, asking again for each doubles the load on servers that have too much already.

use std::sync::atomic::{AtomicU64, Ordering};

/// Retries and requests since a window began. Requests cost nothing here: they are counted anyway, and only their number
/// at the beginning is noted. Relaxed: two workers that begin a window at once lose a retry or two.
#[derive(Debug, Default)]
pub(super) struct Budget {
    began_ms: AtomicU64,
    requests_before: AtomicU64,
    retries: AtomicU64,
}

impl Budget {
    /// Takes a retry, if there is one left. `requests` is the number of all requests ever.
    pub(super) fn take(&self, percent: u32, requests: u64, now_ms: u64) -> bool {
        let began_ms = self.began_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(began_ms) >= WINDOW_MS
            && self
                .began_ms
                .compare_exchange(began_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.requests_before.store(requests, Ordering::Relaxed);
            self.retries.store(0, Ordering::Relaxed);
        }
        let requests = requests.saturating_sub(self.requests_before.load(Ordering::Relaxed));
        let allowed = RETRIES_MIN + requests.saturating_mul(percent.into()) / 100;
        let taken = self
            .retries
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |retries| {
                (retries < allowed).then_some(retries + 1)
            });
        taken.is_ok()
    }
}

const WINDOW_MS: u64 = 10_000;
/// Retries in a window whatever the number of requests: 10 a second.
const RETRIES_MIN: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, requests: u64, now_ms: u64) -> usize {
        (0..10_000)
            .filter(|_| budget.take(20, requests, now_ms))
            .count()
    }

    #[test]
    fn a_window_has_its_floor_and_a_share_of_its_requests() {
        let budget = Budget::default();
        assert_eq!(taken(&budget, 0, 1), 100);
        assert_eq!(taken(&budget, 1_000, 5_000), 200);
        assert_eq!(taken(&budget, 1_000, 9_000), 0);
    }

    #[test]
    fn the_next_window_starts_anew() {
        let budget = Budget::default();
        assert_eq!(taken(&budget, 1_000, 1), 300);
        assert_eq!(taken(&budget, 1_000, 10_000), 100);
        assert_eq!(taken(&budget, 1_500, 10_001), 100);
    }
}
