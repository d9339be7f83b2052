//! Choosing by lot.

use crate::balance::hash::spread;

/// One worker's dice. Not for secrets.
#[derive(Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: spread(seed),
        }
    }

    /// A server by its share.
    pub(super) fn choose(&mut self, shares: &[u32]) -> Option<usize> {
        self.draw(shares, &[])
    }

    /// `N` different servers by their shares, and of them the one with least `cost`; among equals the first, so that without
    /// load servers get their shares exactly.
    pub(super) fn best_of<const N: usize>(
        &mut self,
        shares: &[u32],
        cost: impl Fn(usize) -> f32,
    ) -> Option<usize> {
        let mut drawn = [usize::MAX; N];
        let mut best: Option<(f32, usize)> = None;
        for number in 0..N {
            let Some(index) = self.draw(shares, &drawn[..number]) else {
                break;
            };
            drawn[number] = index;
            let cost = cost(index);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, index));
            }
        }
        best.map(|(_, index)| index)
    }

    /// By its share, but none of `except`.
    fn draw(&mut self, shares: &[u32], except: &[usize]) -> Option<usize> {
        let candidates = || {
            let shares = shares.iter().enumerate();
            shares.filter(|(index, share)| **share > 0 && !except.contains(index))
        };
        let total: u32 = candidates().map(|(_, share)| share).sum();
        let mut left = self.below(total)?;
        for (index, share) in candidates() {
            match left.checked_sub(*share) {
                Some(rest) => left = rest,
                None => return Some(index),
            }
        }
        None
    }

    /// A number below `bound`, which the upper half of a product is (Lemire); `None` below 0.
    fn below(&mut self, bound: u32) -> Option<u32> {
        self.state = self.state.wrapping_add(1);
        let random = spread(self.state) >> 32;
        let number = u32::try_from((random * u64::from(bound)) >> 32).ok()?;
        (bound > 0).then_some(number)
    }
}
