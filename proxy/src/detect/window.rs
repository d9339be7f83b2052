//! Hits per source over a sliding window, kept as its two halves: the half under way and the one before it. What both
//! hold together lies within the window, so the count is never too high: a source that keeps to the limit in every
//! window is never blamed. It can be too low by what the half before those held; more than the limit within half a
//! window, or steadily more than the limit per window, is always seen.

use std::mem;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};

use super::Source;

/// Sources per half: 65,536 × about 28 bytes, so 2 halves take at most about 8 MiB a rule with the tables' slack.
pub(super) const SOURCES_MAX: usize = 65_536;

#[derive(Debug)]
pub(super) struct Window {
    half: Duration,
    current_start: Instant,
    current: HashMap<Source, u32>,
    previous: HashMap<Source, u32>,
}

/// A source's count after an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Hits within the window.
    Tracked(u32),
    /// The half under way is full, so these hits are forgotten at once; the number includes them.
    Untracked(u32),
}

impl Window {
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Self {
            // A window of nothing would never end a half.
            half: (window / 2).max(Duration::from_millis(1)),
            current_start: now,
            current: HashMap::new(),
            previous: HashMap::new(),
        }
    }

    /// Adds `hits` of `source`.
    pub(super) fn add(&mut self, source: Source, hits: u32, now: Instant) -> Counted {
        self.advance(now);
        let before = self.previous.get(&source).copied().unwrap_or(0);
        if let Some(count) = self.current.get_mut(&source) {
            *count = count.saturating_add(hits);
            Counted::Tracked(before.saturating_add(*count))
        } else if self.current.len() < SOURCES_MAX {
            self.current.insert(source, hits);
            Counted::Tracked(before.saturating_add(hits))
        } else {
            Counted::Untracked(before.saturating_add(hits))
        }
    }

    /// Starts `source` anew.
    pub(super) fn forget(&mut self, source: Source) {
        self.current.remove(&source);
        self.previous.remove(&source);
    }

    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.current_start);
        if elapsed < self.half {
            return;
        }
        if elapsed < self.half * 2 {
            self.current_start += self.half;
            mem::swap(&mut self.current, &mut self.previous);
        } else {
            self.current_start = now;
            self.previous.clear();
        }
        self.current.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(
        clippy::disallowed_methods,
        reason = "any start will do; time then moves by hand"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn source(n: u32) -> Source {
        Source::of(std::net::IpAddr::V4(n.into()))
    }

    #[test]
    fn hits_leave_the_window_with_the_half_they_fell_in() {
        let start = start();
        let mut window = Window::new(Duration::from_secs(10), start);
        for (second, hits, expected) in [
            (0, 3, 3),
            (4, 2, 5),
            (5, 1, 6),
            (9, 1, 7),
            (10, 1, 3),
            (15, 1, 2),
            (40, 4, 4),
        ] {
            let now = start + Duration::from_secs(second);
            assert_eq!(
                window.add(source(1), hits, now),
                Counted::Tracked(expected),
                "second {second}"
            );
        }
    }

    /// The count against every true count, for random arrivals.
    #[test]
    fn the_count_is_never_above_the_true_one_and_never_below_that_of_half_the_window() {
        let (start, mut seed) = (start(), 0x9e37_79b9_7f4a_7c15_u64);
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut window = Window::new(Duration::from_secs(1), start);
        let (mut at_ms, mut arrivals) = (0, Vec::new());
        for _ in 0..3000 {
            at_ms += if random(10) == 0 {
                random(1500)
            } else {
                random(60)
            };
            arrivals.push(at_ms);
            let within = |ms: u64| arrivals.iter().filter(|t| at_ms - **t < ms).count();
            let now = start + Duration::from_millis(at_ms);
            let Counted::Tracked(count) = window.add(source(1), 1, now) else {
                panic!("one source fits");
            };
            let count = count as usize;
            assert!(
                (within(500)..=within(1000)).contains(&count),
                "{count} at {at_ms} ms"
            );
        }
    }

    #[test]
    fn a_full_half_tracks_no_new_source_but_still_counts_what_it_is_given() {
        let start = start();
        let mut window = Window::new(Duration::from_secs(10), start);
        for n in 0..u32::try_from(SOURCES_MAX).expect("fits") {
            window.add(source(n), 1, start);
        }
        assert_eq!(
            window.add(source(u32::MAX), 7, start),
            Counted::Untracked(7)
        );
        assert_eq!(
            window.add(source(u32::MAX), 7, start),
            Counted::Untracked(7)
        );
        assert_eq!(window.add(source(0), 7, start), Counted::Tracked(8));
        let next_half = start + Duration::from_secs(5);
        assert_eq!(
            window.add(source(u32::MAX), 7, next_half),
            Counted::Tracked(7)
        );
    }

    #[test]
    fn a_forgotten_source_starts_anew() {
        let start = start();
        let mut window = Window::new(Duration::from_secs(10), start);
        window.add(source(1), 3, start);
        let next_half = start + Duration::from_secs(5);
        window.add(source(1), 3, next_half);
        window.forget(source(1));
        assert_eq!(window.add(source(1), 1, next_half), Counted::Tracked(1));
    }
}
