//! How fast a client sends its content. Decides only: takes `now`, owns no timer.

use std::time::{Duration, Instant};

/// Bytes that came, against the time that weir waited for them: when the origin is slow, the client is not blamed.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes per second; 0 = any.
    least: u64,
    bytes: u64,
    waited: Duration,
    waits_since: Option<Instant>,
}

/// Whether a client keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speed {
    Enough,
    TooSlow,
}

impl Pace {
    /// At least `least` bytes per second.
    pub(super) fn new(least: u64) -> Self {
        Self {
            least,
            bytes: 0,
            waited: Duration::ZERO,
            waits_since: None,
        }
    }

    /// Content is due and there is none.
    pub(super) fn waits(&mut self, now: impl FnOnce() -> Instant) {
        if self.least > 0 && self.waits_since.is_none() {
            self.waits_since = Some(now());
        }
    }

    /// Some came.
    pub(super) fn arrived(&mut self, bytes: usize, now: impl FnOnce() -> Instant) -> Speed {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let Some(since) = self.waits_since.take() else {
            return Speed::Enough;
        };
        self.waited += now().saturating_duration_since(since);
        let judged = self.waited.saturating_sub(GRACE).as_secs();
        if self.bytes < self.least.saturating_mul(judged) {
            Speed::TooSlow
        } else {
            Speed::Enough
        }
    }
}

/// Time that everybody has: a slow start, a lost packet.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// Bytes each second until it is too slow; `None` when it never is.
    fn seconds(least: u64, bytes: usize) -> Option<u64> {
        let mut pace = Pace::new(least);
        let start = clock::now();
        (0..1_000).find(|second| {
            let at = start + Duration::from_secs(*second);
            pace.waits(|| at);
            let later = at + Duration::from_secs(1);
            pace.arrived(bytes, || later) == Speed::TooSlow
        })
    }

    #[test]
    fn a_dribble_ends_after_the_grace_and_enough_never_does() {
        assert_eq!(seconds(500, 500), None);
        assert_eq!(seconds(500, 1), Some(5));
        assert_eq!(seconds(500, 250), Some(10));
        assert_eq!(seconds(0, 1), None);
    }

    #[test]
    fn time_that_nobody_waits_for_the_client_does_not_count() {
        let mut pace = Pace::new(500);
        let start = clock::now();
        for minute in 0..60 {
            let at = start + Duration::from_secs(60 * minute);
            assert_eq!(pace.arrived(1, || at), Speed::Enough);
        }
    }
}
