//! One shard: an index by key, and S3-FIFO's queues.

use std::time::Instant;

use foldhash::{HashMap, HashMapExt};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use smallvec::SmallVec;

use super::ghosts::Ghosts;
use super::slots::{Entry, Queue, Slot, Slots, USES_MAX};
use super::{Lookup, StoreStats};
use crate::cache::directives::Directives;
use crate::cache::{Audience, Forwarded, Key, StoredResponse, vary};

/// Most responses a key may have; the oldest makes room.
pub(super) const VARIANTS_MAX: usize = 8;

/// Slots of one key's responses, oldest first.
type Variants = SmallVec<[Slot; 2]>;

/// What has been taken out of a shard, to be dropped after its lock.
pub(super) type Removed = SmallVec<[Entry; 1]>;

/// What a superseded response had earned, for its successor.
pub(super) type Standing = (Queue, u8);

#[derive(Debug)]
pub(super) struct Shard {
    index: HashMap<Key, Variants>,
    slots: Slots,
    ghosts: Ghosts,
    hits: u64,
    misses: u64,
    evicted: u64,
}

impl Shard {
    /// Empty; `memory` bytes are its share.
    pub(super) fn new(memory: u64) -> Self {
        Self {
            index: HashMap::new(),
            slots: Slots::default(),
            ghosts: Ghosts::new(memory),
            hits: 0,
            misses: 0,
            evicted: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.slots.bytes(Queue::Small) + self.slots.bytes(Queue::Main)
    }

    /// Adds this shard's numbers, but for the bytes, which the store counts.
    pub(super) fn add_to(&self, stats: &mut StoreStats) {
        stats.responses += self.slots.len() as u64;
        stats.hits += self.hits;
        stats.misses += self.misses;
        stats.evicted += self.evicted;
    }

    /// Looks up and counts. `directives` are those of `request`.
    pub(super) fn lookup(
        &mut self,
        key: &Key,
        request: &HeaderMap,
        directives: &Directives,
        now: Instant,
    ) -> Lookup {
        match self.select(key, request, directives, now) {
            Ok(slot) => {
                self.hits += 1;
                let entry = self.slots.entry_mut(slot);
                entry.uses = (entry.uses + 1).min(USES_MAX);
                Lookup::Hit {
                    current_age: entry.response.current_age(now),
                    response: entry.response.clone(),
                }
            }
            Err(why) => {
                self.misses += 1;
                Lookup::Forward(why)
            }
        }
    }

    /// The newest response that the request's nominated fields match (RFC 9111 §4.1), if it can be used as it is (§4).
    fn select(
        &self,
        key: &Key,
        request: &HeaderMap,
        directives: &Directives,
        now: Instant,
    ) -> Result<Slot, Forwarded> {
        let variants = self.index.get(key).ok_or(Forwarded::UriMiss)?;
        let mut newest_first = variants.iter().rev();
        let slot = newest_first
            .find(|slot| vary::matches(&self.response(**slot).nominated_fields, request))
            .ok_or(Forwarded::VaryMiss)?;
        let response = self.response(*slot);
        let age = response.current_age(now);
        let left = response.freshness_left(age);
        if left.is_zero() {
            return Err(Forwarded::Stale);
        }
        let refused = directives.max_age.is_some_and(|max_age| age > max_age)
            || directives
                .min_fresh
                .is_some_and(|min_fresh| left < min_fresh)
            || (response.audience == Audience::Unauthenticated
                && request.contains_key(AUTHORIZATION));
        if refused {
            return Err(Forwarded::Request);
        }
        Ok(*slot)
    }

    /// Takes out what `successor` makes needless: the response with the same nominated fields, whose standing it inherits,
    /// stale ones of the same key, and the oldest if there would be more than [`VARIANTS_MAX`].
    pub(super) fn supersede(
        &mut self,
        successor: &Entry,
        now: Instant,
    ) -> (Option<Standing>, Removed) {
        let (mut standing, mut needless) = (None, Variants::new());
        let variants = self.index.get(&successor.key);
        let variants = variants.map_or(&[][..], |variants| &variants[..]);
        for slot in variants {
            let response = self.response(*slot);
            let fields = &response.nominated_fields;
            let is_same = vary::same(fields, &successor.response.nominated_fields);
            if is_same {
                standing = Some((self.slots.queue(*slot), self.slots.entry(*slot).uses));
            }
            if is_same || is_stale(response, now) {
                needless.push(*slot);
            }
        }
        if needless.is_empty() && variants.len() >= VARIANTS_MAX {
            needless.push(variants[0]);
        }
        let removed = needless.into_iter().map(|slot| self.take(slot)).collect();
        (standing, removed)
    }

    /// Adds `entry` to `queue`, or where S3-FIFO puts it.
    pub(super) fn insert(&mut self, entry: Entry, queue: Option<Queue>) {
        let remembered = self.ghosts.recall(entry.hash, self.slots.len());
        let queue = queue.unwrap_or(if remembered {
            Queue::Main
        } else {
            Queue::Small
        });
        let key = entry.key.clone();
        let slot = self.slots.push(entry, queue);
        self.index.entry(key).or_default().push(slot);
    }

    /// Takes out everything under `key`.
    pub(super) fn remove(&mut self, key: &Key) -> Removed {
        let variants = self.index.remove(key).unwrap_or_default();
        let variants = variants.into_iter();
        variants.map(|slot| self.slots.remove(slot)).collect()
    }

    /// Takes out what S3-FIFO deems least worth keeping. `None` if there is nothing.
    pub(super) fn evict(&mut self, now: Instant) -> Option<Entry> {
        loop {
            let small = self.slots.bytes(Queue::Small);
            let queue = if small >= self.bytes() / 10 && small > 0 {
                Queue::Small
            } else {
                Queue::Main
            };
            let slot = self.slots.oldest(queue)?;
            let entry = self.slots.entry_mut(slot);
            match queue {
                _ if is_stale(&entry.response, now) => {}
                Queue::Small if entry.uses >= USES_TO_STAY => {
                    entry.uses = 0;
                    self.slots.requeue(slot, Queue::Main);
                    continue;
                }
                Queue::Small => {
                    let hash = entry.hash;
                    self.ghosts.remember(hash);
                }
                Queue::Main if entry.uses > 0 => {
                    entry.uses -= 1;
                    self.slots.requeue(slot, Queue::Main);
                    continue;
                }
                Queue::Main => {}
            }
            self.evicted += 1;
            return Some(self.take(slot));
        }
    }

    #[cfg(test)]
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.index.contains_key(key)
    }

    fn response(&self, slot: Slot) -> &StoredResponse {
        &self.slots.entry(slot).response
    }

    fn take(&mut self, slot: Slot) -> Entry {
        let entry = self.slots.remove(slot);
        if let Some(variants) = self.index.get_mut(&entry.key) {
            variants.retain(|other| *other != slot);
            if variants.is_empty() {
                self.index.remove(&entry.key);
            }
        }
        entry
    }
}

/// Hits in the small queue that earn a place in the main one: the paper's "more than once".
const USES_TO_STAY: u8 = 2;

fn is_stale(response: &StoredResponse, now: Instant) -> bool {
    response.freshness_left(response.current_age(now)).is_zero()
}
