//! Streams whose client takes nothing though content waits for it. Decides only: takes `now`, owns no timer.
//!
//! One stream with a shut window must not live on because another one of the connection moves. When the oldest wait began is
//! kept as a bound, which is made exact only when it is reached; so content that moves costs no look at the other streams.

use std::time::{Duration, Instant};

/// Streams that wait for their client, each with a key of its own.
#[derive(Debug)]
pub(super) struct Stalls<K> {
    places: Vec<Place<K>>,
    free: Vec<usize>,
    owing: usize,
    /// No stream waits since before.
    bound: Option<Instant>,
}

#[derive(Debug)]
struct Place<K> {
    key: K,
    /// Since when content waits for the client.
    since: Option<Instant>,
}

impl<K: Copy> Stalls<K> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            owing: 0,
            bound: None,
        }
    }

    /// A place for the stream `key`.
    pub(super) fn join(&mut self, key: K) -> usize {
        let place = Place { key, since: None };
        if let Some(index) = self.free.pop() {
            self.places[index] = place;
            return index;
        }
        self.places.push(place);
        self.places.len() - 1
    }

    /// The stream at `place` is gone.
    pub(super) fn leave(&mut self, place: usize) {
        self.took(place);
        self.free.push(place);
    }

    /// Content waits from `now` on; what waited before has moved.
    pub(super) fn owes(&mut self, place: usize, now: Instant) {
        if self.places[place].since.replace(now).is_none() {
            self.owing += 1;
        }
        self.bound.get_or_insert(now);
    }

    /// None waits.
    pub(super) fn took(&mut self, place: usize) {
        if self.places[place].since.take().is_some() {
            self.owing -= 1;
        }
        if self.owing == 0 {
            self.bound = None;
        }
    }

    /// Streams that wait.
    pub(super) fn owing(&self) -> usize {
        self.owing
    }

    /// When a stream may be overdue, if each may wait for `timeout`; `None`: as things stand, never. Streams take turns on
    /// the connection, so many of them may wait longer.
    pub(super) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        Some(self.bound? + self.patience(timeout))
    }

    /// Whether one is at `now`.
    pub(super) fn is_any_overdue(&mut self, timeout: Duration, now: Instant) -> bool {
        self.bound = self.places.iter().filter_map(|place| place.since).min();
        self.deadline(timeout)
            .is_some_and(|deadline| now >= deadline)
    }

    /// Those that are: they wait no longer.
    pub(super) fn take_overdue(&mut self, timeout: Duration, now: Instant) -> Vec<K> {
        let patience = self.patience(timeout);
        let overdue = |place: &Place<K>| place.since.is_some_and(|since| now >= since + patience);
        let found: Vec<_> = (0..self.places.len())
            .filter(|index| overdue(&self.places[*index]))
            .collect();
        for index in &found {
            self.took(*index);
        }
        found.iter().map(|index| self.places[*index].key).collect()
    }

    fn patience(&self, timeout: Duration) -> Duration {
        let turns = u32::try_from(self.owing / STREAMS_A_TURN).unwrap_or(u32::MAX);
        timeout.saturating_mul(turns.saturating_add(1))
    }
}

/// So many streams with 64 KiB each, one after the other in 30 s, are what a line of 280 kbit/s carries.
const STREAMS_A_TURN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const TIMEOUT: Duration = Duration::from_secs(30);

    struct Case {
        stalls: Stalls<u32>,
        start: Instant,
    }

    impl Case {
        fn new() -> Self {
            Self {
                stalls: Stalls::new(),
                start: clock::now(),
            }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn owes(&mut self, place: usize, seconds: u64) {
            let now = self.at(seconds);
            self.stalls.owes(place, now);
        }

        fn overdue(&mut self, seconds: u64) -> Vec<u32> {
            let now = self.at(seconds);
            let any = self.stalls.is_any_overdue(TIMEOUT, now);
            let overdue = self.stalls.take_overdue(TIMEOUT, now);
            assert_eq!(any, !overdue.is_empty());
            overdue
        }
    }

    #[test]
    fn a_stream_that_stands_is_overdue_though_another_moves() {
        let mut case = Case::new();
        let (stands, moves) = (case.stalls.join(1), case.stalls.join(3));
        case.owes(stands, 0);
        for second in 0..30 {
            case.owes(moves, second);
            assert_eq!(case.stalls.deadline(TIMEOUT), Some(case.at(30)));
            assert!(case.overdue(second).is_empty());
        }
        assert_eq!(case.overdue(30), [1]);
        assert!(case.overdue(58).is_empty());
        assert_eq!(case.stalls.deadline(TIMEOUT), Some(case.at(59)));
    }

    #[test]
    fn who_waits_for_the_origin_is_never_overdue() {
        let mut case = Case::new();
        let stream = case.stalls.join(1);
        assert_eq!(case.stalls.deadline(TIMEOUT), None);
        case.owes(stream, 0);
        case.stalls.took(stream);
        assert_eq!(case.stalls.deadline(TIMEOUT), None);
        assert!(case.overdue(1_000).is_empty());
    }

    #[test]
    fn a_place_is_used_again_and_knows_nothing_of_who_left() {
        let mut case = Case::new();
        let stream = case.stalls.join(1);
        case.owes(stream, 0);
        case.stalls.leave(stream);
        assert_eq!(case.stalls.join(3), stream);
        assert_eq!(case.stalls.deadline(TIMEOUT), None);
        assert!(case.overdue(1_000).is_empty());
    }

    #[test]
    fn many_streams_that_take_turns_may_each_wait_longer() {
        let mut case = Case::new();
        for stream in 0..100 {
            let place = case.stalls.join(stream);
            case.owes(place, 0);
        }
        assert!(case.overdue(209).is_empty());
        assert_eq!(case.overdue(210).len(), 100);
        assert_eq!(case.stalls.deadline(TIMEOUT), None);
    }
}
