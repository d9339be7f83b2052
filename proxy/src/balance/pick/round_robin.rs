//! Smooth weighted round robin (nginx's): each pick adds every candidate's share to its credit and takes the total
//! from the one with most. Servers of weights 5, 1, 1 come as a a b a c a a, not as a a a a a b c.

use crate::balance::upstream::UNIT;

/// One worker's place in an upstream's rotation.
#[derive(Debug)]
pub(super) struct RoundRobin {
    /// One per server.
    credits: Box<[i64]>,
}

impl RoundRobin {
    /// A rotation that starts at a place derived from `seed`: `seed` picks (a worker's number, say) have already been made.
    pub(super) fn new(weights: impl Iterator<Item = u32>, seed: u64) -> Self {
        let shares: Vec<u32> = weights.map(|weight| weight.max(1) * UNIT).collect();
        let mut rotation = Self {
            credits: vec![0; shares.len()].into(),
        };
        // The rotation repeats after as many picks as the weights add up to.
        let round: u64 = shares.iter().map(|share| u64::from(share / UNIT)).sum();
        for _ in 0..seed % round.max(1) {
            rotation.choose(&shares);
        }
        rotation
    }

    /// The next of those that have a share.
    pub(super) fn choose(&mut self, shares: &[u32]) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for (credit, share) in self.credits.iter_mut().zip(shares) {
            if *share > 0 {
                *credit += i64::from(*share);
                total += i64::from(*share);
            }
        }
        for (index, (credit, share)) in self.credits.iter().zip(shares).enumerate() {
            if *share > 0 && best.is_none_or(|best| *credit > self.credits[best]) {
                best = Some(index);
            }
        }
        self.credits[best?] -= total;
        best
    }
}
