//! Which server is next. First who may get requests at all, and how large a share; then one of them, by the policy.

mod maglev;
mod random;
mod round_robin;

use std::time::Instant;

pub(super) use maglev::Maglev;
use random::Random;
use round_robin::RoundRobin;

use super::hash::Key;
use super::upstream::UNIT;
use super::{Policy, SERVERS_MAX, Upstream};

/// Servers already tried for one request. Holds [`SERVERS_MAX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tried([u64; SERVERS_MAX / 64]);

/// What a request asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// What equal requests have in common; only with [`Policy::Maglev`].
    pub key: Option<Key>,
    /// The server it had before; only with a sticky cookie.
    pub server: Option<usize>,
}

/// One worker's way of choosing among an upstream's servers.
#[derive(Debug)]
pub struct Picker {
    chooser: Chooser,
    /// Room for each server's share while choosing: 0 = not this one. At most [`SERVERS_MAX`].
    shares: Box<[u32]>,
}

#[derive(Debug)]
enum Chooser {
    RoundRobin(RoundRobin),
    /// Of two, the one with fewer requests in flight.
    LeastRequests(Random),
    /// Of three, the one that is expected to answer soonest.
    PeakEwma(Random),
    /// Also what a request without key gets from Maglev.
    Random(Random),
}

impl Tried {
    fn contains(self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }

    /// Remembers one more.
    pub fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }
}

impl Picker {
    /// For `upstream`. Workers have different seeds, so that they do not march in step.
    pub fn new(upstream: &Upstream, seed: u64) -> Self {
        let servers = upstream.servers.len().min(SERVERS_MAX);
        let random = Random::new(seed);
        let chooser = match upstream.settings.balance {
            Policy::RoundRobin => {
                let full = (0..servers).map(|index| upstream.servers[index].settings.weight);
                Chooser::RoundRobin(RoundRobin::new(full, seed))
            }
            Policy::LeastRequests => Chooser::LeastRequests(random),
            Policy::PeakEwma => Chooser::PeakEwma(random),
            Policy::Random | Policy::Maglev(_) => Chooser::Random(random),
        };
        Self {
            chooser,
            shares: vec![0; servers].into(),
        }
    }

    /// The next server that is neither in `tried` nor left out; when none is, or too few are healthy, the next that is not
    /// in `tried` nor drained. `None` when all of those were tried. Marks it in `tried`. Does not allocate.
    ///
    /// `upstream` is the one this picker was made for, or one with as many servers.
    pub fn pick(
        &mut self,
        upstream: &Upstream,
        wish: Wish,
        tried: &mut Tried,
        now: Instant,
    ) -> Option<usize> {
        let now_ms = upstream.millis(now);
        self.share_out(upstream, *tried, now_ms);
        let index = self.choose(upstream, wish, now_ms)?;
        tried.insert(index);
        Some(index)
    }

    fn share_out(&mut self, upstream: &Upstream, tried: Tried, now_ms: u64) {
        let known = upstream.servers.len();
        let (mut healthy, mut wanted, mut left) = (0, 0, false);
        for (index, share) in self.shares.iter_mut().enumerate() {
            *share = 0;
            if index >= known {
                continue;
            }
            wanted += u32::from(upstream.full_weight(index) > 0);
            let weight = upstream.weight(index, now_ms);
            healthy += u32::from(weight > 0);
            if !tried.contains(index) {
                *share = weight;
                left |= weight > 0;
            }
        }
        let panic = healthy * 100 < wanted * upstream.settings.panic_percent;
        // A request that has tried what is healthy tries the rest; it is one, and bounded by its attempts.
        let last_resort = !left && healthy > 0;
        if panic || last_resort {
            for (index, share) in self.shares.iter_mut().enumerate().take(known) {
                if !tried.contains(index) {
                    *share = upstream.full_weight(index);
                }
            }
        }
    }

    fn choose(&mut self, upstream: &Upstream, wish: Wish, now_ms: u64) -> Option<usize> {
        let shares = &self.shares;
        if let Some(server) = wish.server
            && shares.get(server).is_some_and(|share| *share > 0)
        {
            return Some(server);
        }
        if let (Some(maglev), Some(key)) = (&upstream.maglev, wish.key) {
            let full = |index: usize| upstream.full_weight(index);
            return maglev.choose(key, shares, full);
        }
        match &mut self.chooser {
            Chooser::RoundRobin(rotation) => rotation.choose(shares),
            Chooser::Random(random) => random.choose(shares),
            Chooser::LeastRequests(random) => {
                random.best_of::<2>(shares, |index| load(upstream, index))
            }
            // Of three: a healthy server looks slow while its last peak fades, and with two a slow one would win
            // against it too often for the slowest hundredth of requests.
            Chooser::PeakEwma(random) => random.best_of::<3>(shares, |index| {
                let micros = upstream.servers[index].latency.micros(now_ms);
                // Who has not answered yet is expected to be fast, but gets no more than one request to prove it.
                let expected = if micros > 0.0 { micros } else { UNKNOWN_MICROS };
                match load(upstream, index) {
                    in_flight if micros > 0.0 || in_flight > 0.0 => expected * (1.0 + in_flight),
                    _ => 0.0,
                }
            }),
        }
    }
}

/// Requests in flight for a weight of one.
#[allow(clippy::cast_precision_loss, reason = "it is compared, not counted")]
fn load(upstream: &Upstream, index: usize) -> f32 {
    let weight = upstream.full_weight(index).max(UNIT) / UNIT;
    upstream.servers[index].in_flight() as f32 / weight as f32
}

/// What a server without any answer, but with requests in flight, is expected to take: so long that the others are asked.
const UNKNOWN_MICROS: f32 = 1e6;

#[cfg(test)]
mod tests;
