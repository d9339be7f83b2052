//! Entries in two queues, oldest to newest, from which any can be taken out: doubly linked lists over a vector.

use std::sync::Arc;

use crate::cache::{Key, StoredResponse};

/// One stored response in a shard.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) hash: u64,
    pub(super) response: Arc<StoredResponse>,
    /// Bytes it is counted with.
    pub(super) weight: u64,
    /// Hits since it last moved, as far as S3-FIFO counts: at most [`USES_MAX`].
    pub(super) uses: u8,
}

pub(super) const USES_MAX: u8 = 3;

/// S3-FIFO's two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// What came lately, a tenth of the bytes.
    Small,
    /// What proved to be used.
    Main,
}

/// Index of a slot; valid until its entry is removed.
pub(super) type Slot = usize;

#[derive(Debug, Default)]
pub(super) struct Slots {
    nodes: Vec<Node>,
    /// Empty nodes, to be filled before new ones are made.
    free: Vec<Slot>,
    small: Ends,
    main: Ends,
}

#[derive(Debug)]
struct Node {
    entry: Option<Entry>,
    queue: Queue,
    older: Option<Slot>,
    newer: Option<Slot>,
}

#[derive(Debug, Default)]
struct Ends {
    oldest: Option<Slot>,
    newest: Option<Slot>,
    bytes: u64,
}

impl Slots {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Bytes of the entries in `queue`.
    pub(super) fn bytes(&self, queue: Queue) -> u64 {
        match queue {
            Queue::Small => self.small.bytes,
            Queue::Main => self.main.bytes,
        }
    }

    pub(super) fn oldest(&self, queue: Queue) -> Option<Slot> {
        match queue {
            Queue::Small => self.small.oldest,
            Queue::Main => self.main.oldest,
        }
    }

    pub(super) fn queue(&self, slot: Slot) -> Queue {
        self.nodes[slot].queue
    }

    pub(super) fn entry(&self, slot: Slot) -> &Entry {
        self.nodes[slot].entry.as_ref().expect(OCCUPIED)
    }

    pub(super) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        self.nodes[slot].entry.as_mut().expect(OCCUPIED)
    }

    /// Adds `entry` as the newest of `queue`.
    pub(super) fn push(&mut self, entry: Entry, queue: Queue) -> Slot {
        let node = Node {
            entry: Some(entry),
            queue,
            older: None,
            newer: None,
        };
        let slot = if let Some(slot) = self.free.pop() {
            self.nodes[slot] = node;
            slot
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        };
        self.link(slot, queue);
        slot
    }

    /// Makes the entry the newest of `queue`.
    pub(super) fn requeue(&mut self, slot: Slot, queue: Queue) {
        self.unlink(slot);
        self.link(slot, queue);
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Entry {
        self.unlink(slot);
        self.free.push(slot);
        self.nodes[slot].entry.take().expect(OCCUPIED)
    }

    fn link(&mut self, slot: Slot, queue: Queue) {
        let weight = self.entry(slot).weight;
        let ends = self.ends(queue);
        ends.bytes += weight;
        let older = ends.newest.replace(slot);
        ends.oldest.get_or_insert(slot);
        if let Some(older) = older {
            self.nodes[older].newer = Some(slot);
        }
        let node = &mut self.nodes[slot];
        (node.queue, node.older, node.newer) = (queue, older, None);
    }

    fn unlink(&mut self, slot: Slot) {
        let weight = self.entry(slot).weight;
        let Node {
            queue,
            older,
            newer,
            ..
        } = self.nodes[slot];
        match older {
            Some(older) => self.nodes[older].newer = newer,
            None => self.ends(queue).oldest = newer,
        }
        match newer {
            Some(newer) => self.nodes[newer].older = older,
            None => self.ends(queue).newest = older,
        }
        self.ends(queue).bytes -= weight;
    }

    fn ends(&mut self, queue: Queue) -> &mut Ends {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }
}

const OCCUPIED: &str = "invariant: the index and the queues name occupied slots only";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::response::tests::response;

    fn entry(n: u64) -> Entry {
        Entry {
            key: Key::new("http", "h", "/"),
            hash: n,
            response: Arc::new(response(&[])),
            weight: n,
            uses: 0,
        }
    }

    /// Weights from oldest to newest, checked from both ends.
    fn weights(slots: &Slots, queue: Queue) -> Vec<u64> {
        let ends = if queue == Queue::Small {
            &slots.small
        } else {
            &slots.main
        };
        let (mut up, mut at) = (Vec::new(), ends.oldest);
        while let Some(slot) = at {
            assert_eq!(slots.queue(slot), queue);
            up.push(slots.entry(slot).weight);
            at = slots.nodes[slot].newer;
        }
        let (mut down, mut at) = (Vec::new(), ends.newest);
        while let Some(slot) = at {
            down.push(slots.entry(slot).weight);
            at = slots.nodes[slot].older;
        }
        down.reverse();
        assert_eq!(up, down);
        assert_eq!(up.iter().sum::<u64>(), slots.bytes(queue));
        up
    }

    #[test]
    fn queues_keep_their_order_and_bytes_through_any_removal_and_move() {
        let mut slots = Slots::default();
        let ids: Vec<_> = (1..=5)
            .map(|n| slots.push(entry(n), Queue::Small))
            .collect();
        assert_eq!(weights(&slots, Queue::Small), [1, 2, 3, 4, 5]);
        assert_eq!(slots.remove(ids[2]).weight, 3);
        assert_eq!(weights(&slots, Queue::Small), [1, 2, 4, 5]);
        slots.requeue(ids[0], Queue::Main);
        slots.requeue(ids[4], Queue::Main);
        slots.requeue(ids[0], Queue::Main);
        assert_eq!(weights(&slots, Queue::Small), [2, 4]);
        assert_eq!(weights(&slots, Queue::Main), [5, 1]);
        assert_eq!(slots.oldest(Queue::Main), Some(ids[4]));
        assert_eq!(slots.len(), 4);
        slots.remove(ids[1]);
        slots.remove(ids[3]);
        assert_eq!(weights(&slots, Queue::Small), Vec::<u64>::new());
        assert_eq!(slots.oldest(Queue::Small), None);
    }

    #[test]
    fn removed_slots_are_used_again() {
        let mut slots = Slots::default();
        for n in 0..100 {
            let slot = slots.push(entry(n), Queue::Small);
            slots.remove(slot);
        }
        assert_eq!((slots.nodes.len(), slots.len()), (1, 0));
    }
}
