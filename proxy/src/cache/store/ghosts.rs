//! Keys that lately left the small queue unused: one that is missed again so soon deserves the main queue. A table of
//! fingerprints that overwrite each other; a lost or a wrong one costs one misplaced response.

use crate::cache::response::RESPONSE_OVERHEAD;

#[derive(Debug)]
pub(super) struct Ghosts {
    /// A power of two.
    table: Box<[Ghost]>,
    /// Departures so far.
    departures: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ghost {
    fingerprint: u32,
    /// Which departure it was, from 1; 0 = none.
    departure: u32,
}

impl Ghosts {
    /// For a shard of `memory` bytes: as many as it can hold responses, at most 4,096 × 8 bytes.
    pub(super) fn new(memory: u64) -> Self {
        let responses = usize::try_from(memory).unwrap_or(usize::MAX) / RESPONSE_OVERHEAD;
        let size = responses.clamp(1, 4096).next_power_of_two();
        Self {
            table: vec![Ghost::default(); size].into(),
            departures: 0,
        }
    }

    /// Notes that the key with this hash has left.
    pub(super) fn remember(&mut self, hash: u64) {
        self.departures = self.departures.wrapping_add(1).max(1);
        let departure = self.departures;
        *self.place(hash) = Ghost {
            fingerprint: fingerprint(hash),
            departure,
        };
    }

    /// Whether it was among the last `reach` to leave. Forgets it.
    pub(super) fn recall(&mut self, hash: u64, reach: usize) -> bool {
        let departures = self.departures;
        let ghost = std::mem::take(self.place(hash));
        ghost.departure != 0
            && ghost.fingerprint == fingerprint(hash)
            && departures.wrapping_sub(ghost.departure) as usize <= reach
    }

    fn place(&mut self, hash: u64) -> &mut Ghost {
        let mask = self.table.len() as u64 - 1;
        let index = usize::try_from(hash & mask).expect("invariant: less than the table's length");
        &mut self.table[index]
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "32 of the bits are what is wanted"
)]
fn fingerprint(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recalled_once_and_only_while_it_left_lately() {
        let mut ghosts = Ghosts::new(64 * RESPONSE_OVERHEAD as u64);
        let hash = |n: u64| n << 32 | n;
        assert!(!ghosts.recall(0, 10), "an empty place is nobody's");
        for n in 0..10 {
            ghosts.remember(hash(n));
        }
        assert!(
            !ghosts.recall(hash(3) ^ 1 << 40, 10),
            "same place, other key"
        );
        assert!(!ghosts.recall(hash(4), 4), "five have left since");
        assert!(ghosts.recall(hash(5), 4));
        assert!(!ghosts.recall(hash(5), 4));
    }
}
