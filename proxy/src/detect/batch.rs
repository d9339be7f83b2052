//! What one worker counted since its last report.

use foldhash::{HashMap, HashMapExt};

use super::Source;

/// What one worker counted since it last reported: bounded, merged by (rule, source).
#[derive(Debug)]
pub struct Batch {
    /// At most `capacity` pairs, about 48 bytes each. Grows as needed and then keeps its memory.
    hits: HashMap<(usize, Source), u32>,
    capacity: usize,
    overflow: u64,
}

impl Batch {
    /// Empty. Holds at most `capacity` different (rule, source) pairs.
    pub fn new(capacity: usize) -> Self {
        Self {
            hits: HashMap::new(),
            capacity,
            overflow: 0,
        }
    }

    /// Counts one hit. When the batch is full and the pair is new, the hit is counted as overflow instead.
    pub fn add(&mut self, rule: usize, source: Source) {
        if let Some(hits) = self.hits.get_mut(&(rule, source)) {
            *hits = hits.saturating_add(1);
        } else if self.hits.len() < self.capacity {
            self.hits.insert((rule, source), 1);
        } else {
            self.overflow = self.overflow.saturating_add(1);
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }

    /// Takes (rule, source, hits) out, leaving the batch empty but with its memory.
    pub fn drain(&mut self) -> Vec<(usize, Source, u32)> {
        let hits = self.hits.drain();
        hits.map(|((rule, source), hits)| (rule, source, hits))
            .collect()
    }

    /// Hits that found the batch full, since the start.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        Source::of([192, 0, 2, last].into())
    }

    #[test]
    fn hits_of_one_rule_and_source_are_merged_and_drained_once() {
        let mut batch = Batch::new(10);
        assert!(batch.is_empty());
        for (rule, last) in [(0, 1), (1, 1), (0, 1), (0, 2), (0, 1)] {
            batch.add(rule, source(last));
        }
        assert!(!batch.is_empty());
        let mut drained = batch.drain();
        drained.sort_unstable();
        assert_eq!(
            drained,
            [(0, source(1), 3), (0, source(2), 1), (1, source(1), 1)]
        );
        assert!(batch.is_empty());
        assert_eq!(batch.drain(), []);
    }

    #[test]
    fn a_full_batch_counts_on_for_the_pairs_it_has_and_overflows_for_others() {
        let mut batch = Batch::new(2);
        for last in [1, 2, 3, 4, 1] {
            batch.add(0, source(last));
        }
        assert_eq!(batch.overflow(), 2);
        let mut drained = batch.drain();
        drained.sort_unstable();
        assert_eq!(drained, [(0, source(1), 2), (0, source(2), 1)]);
        batch.add(0, source(3));
        assert_eq!(
            (batch.drain(), batch.overflow()),
            (vec![(0, source(3), 1)], 2)
        );
    }
}
