//! Smooth weighted round robin (nginx's): each pick adds every candidate's weight to its credit and takes the total
//! from the one with most. Servers of weights 5, 1, 1 come as a a b a c a a, not as a a a a a b c.

use std::time::Instant;

use super::{SERVERS_MAX, Upstream};

/// Servers already tried for one request. Holds [`SERVERS_MAX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tried(u64);

impl Tried {
    fn contains(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }
}

const _: () = assert!(SERVERS_MAX == u64::BITS as usize);

/// One worker's place in an upstream's rotation: smooth weighted round robin.
#[derive(Debug)]
pub struct RoundRobin {
    /// One per server, at most [`SERVERS_MAX`].
    servers: Box<[Credit]>,
}

#[derive(Debug, Clone, Copy)]
struct Credit {
    weight: i64,
    credit: i64,
}

impl RoundRobin {
    /// A rotation that starts at a place derived from `seed`, so that workers do not march in step: `seed` picks (a
    /// worker's number, say) have already been made.
    pub fn new(upstream: &Upstream, seed: u64) -> Self {
        let weights = upstream.servers.iter().map(|server| server.settings.weight);
        let servers = weights.take(SERVERS_MAX).map(|weight| Credit {
            weight: i64::from(weight.max(1)),
            credit: 0,
        });
        let mut rotation = Self {
            servers: servers.collect(),
        };
        // The rotation repeats after as many picks as the weights add up to.
        let round: i64 = rotation.servers.iter().map(|server| server.weight).sum();
        for _ in 0..seed % round.unsigned_abs().max(1) {
            rotation.choose(|_| true);
        }
        rotation
    }

    /// The next server that is neither in `tried` nor ejected; when all are ejected, the next not in `tried`. `None`
    /// when all were tried. Marks it in `tried`. Does not allocate.
    ///
    /// `upstream` is the one this rotation was made for, or one with as many servers.
    pub fn pick(&mut self, upstream: &Upstream, tried: &mut Tried, now: Instant) -> Option<usize> {
        let now_ms = upstream.millis(now);
        let known = upstream.servers.len();
        let before = *tried;
        let untried = |index: usize| index < known && !before.contains(index);
        let index = self
            .choose(|index| untried(index) && !upstream.is_ejected(index, now_ms))
            .or_else(|| self.choose(untried))?;
        tried.insert(index);
        Some(index)
    }

    fn choose(&mut self, candidate: impl Fn(usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for index in 0..self.servers.len() {
            if !candidate(index) {
                continue;
            }
            let Credit { weight, credit } = &mut self.servers[index];
            *credit += *weight;
            total += *weight;
            if best.is_none_or(|best| self.servers[index].credit > self.servers[best].credit) {
                best = Some(index);
            }
        }
        self.servers[best?].credit -= total;
        best
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::upstream::tests::{EJECT, start, upstream};
    use super::super::{Attempt, EjectSettings};
    use super::*;

    fn pick(rotation: &mut RoundRobin, upstream: &Upstream, now: Instant) -> Option<usize> {
        rotation.pick(upstream, &mut Tried::default(), now)
    }

    #[test]
    fn picks_are_spread_smoothly_by_weight() {
        let now = start();
        let upstream = upstream(&[5, 1, 1], EJECT, now);
        let mut rotation = RoundRobin::new(&upstream, 0);
        let picks: Vec<_> = (0..14)
            .filter_map(|_| pick(&mut rotation, &upstream, now))
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn every_round_gives_each_server_exactly_its_weight() {
        let now = start();
        let weights = [7, 256, 1, 13, 40];
        let upstream = upstream(&weights, EJECT, now);
        let mut rotation = RoundRobin::new(&upstream, 12_345);
        for _ in 0..3 {
            let mut counts = [0; 5];
            for _ in 0..weights.iter().sum() {
                counts[pick(&mut rotation, &upstream, now).expect("all are healthy")] += 1;
            }
            assert_eq!(counts, weights);
        }
    }

    #[test]
    fn the_seed_is_how_many_picks_were_already_made() {
        let now = start();
        let upstream = upstream(&[1, 1, 1], EJECT, now);
        for (seed, first) in [(0, 0), (1, 1), (2, 2), (3, 0), (u64::MAX, 0)] {
            let mut rotation = RoundRobin::new(&upstream, seed);
            assert_eq!(
                pick(&mut rotation, &upstream, now),
                Some(first),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn a_request_tries_each_server_once_and_then_none() {
        let now = start();
        let upstream = upstream(&[3, 1, 1, 1], EJECT, now);
        let mut rotation = RoundRobin::new(&upstream, 0);
        let mut tried = Tried::default();
        let mut picks: Vec<_> = (0..4)
            .filter_map(|_| rotation.pick(&upstream, &mut tried, now))
            .collect();
        assert_eq!(rotation.pick(&upstream, &mut tried, now), None);
        picks.sort_unstable();
        assert_eq!(picks, [0, 1, 2, 3]);
    }

    #[test]
    fn sixty_four_servers_are_all_tried() {
        let now = start();
        let upstream = upstream(&[1; SERVERS_MAX], EJECT, now);
        let mut rotation = RoundRobin::new(&upstream, 9);
        let mut tried = Tried::default();
        assert_eq!(
            (0..100)
                .filter_map(|_| rotation.pick(&upstream, &mut tried, now))
                .count(),
            64
        );
    }

    #[test]
    fn an_ejected_server_is_left_out_until_its_time_is_over() {
        let now = start();
        let upstream = upstream(&[1, 1], EJECT, now);
        let mut rotation = RoundRobin::new(&upstream, 0);
        for _ in 0..3 {
            upstream.report(0, Attempt::Failed, now);
        }
        assert!((0..10).all(|_| pick(&mut rotation, &upstream, now) == Some(1)));
        let later = now + Duration::from_secs(30);
        let zeros = (0..10).filter(|_| pick(&mut rotation, &upstream, later) == Some(0));
        assert_eq!(zeros.count(), 5);
    }

    #[test]
    fn an_ejected_server_is_the_last_resort_of_a_request_that_tried_the_others() {
        let now = start();
        let upstream = upstream(&[1, 1], EJECT, now);
        let mut rotation = RoundRobin::new(&upstream, 0);
        for _ in 0..3 {
            upstream.report(0, Attempt::Failed, now);
        }
        let mut tried = Tried::default();
        let picks: Vec<_> = (0..3)
            .map(|_| rotation.pick(&upstream, &mut tried, now))
            .collect();
        assert_eq!(picks, [Some(1), Some(0), None]);
    }

    #[test]
    fn when_all_are_ejected_all_are_tried() {
        let now = start();
        let upstream = upstream(
            &[1, 1],
            EjectSettings {
                max_percent: 100,
                ..EJECT
            },
            now,
        );
        let mut rotation = RoundRobin::new(&upstream, 0);
        for index in [0, 1, 0, 1, 0, 1] {
            upstream.report(index, Attempt::Failed, now);
        }
        let picks: Vec<_> = (0..4)
            .filter_map(|_| pick(&mut rotation, &upstream, now))
            .collect();
        assert_eq!(picks, [0, 1, 0, 1]);
    }

    #[test]
    fn a_rotation_of_another_upstream_picks_no_server_that_is_not_there() {
        let now = start();
        let (large, small) = (upstream(&[1; 5], EJECT, now), upstream(&[1], EJECT, now));
        let mut rotation = RoundRobin::new(&large, 4);
        assert!((0..10).all(|_| pick(&mut rotation, &small, now) == Some(0)));
        assert_eq!(
            pick(
                &mut RoundRobin::new(&upstream(&[], EJECT, now), 3),
                &small,
                now
            ),
            None
        );
    }
}
