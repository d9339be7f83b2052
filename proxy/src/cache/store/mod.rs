//! The store: sharded, shared by all workers, bounded by bytes. A hit takes one shard's lock for a look-up and hands out a
//! reference; content is neither copied nor freed under a lock.

mod ghosts;
mod shard;
mod slots;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use http::HeaderMap;
use parking_lot::Mutex;

use self::shard::Shard;
use self::slots::Entry;
use super::directives::Directives;
use super::{Forwarded, Key, Settings, StoredResponse};

/// Stored responses, at most `memory` bytes of them. What they are counted with covers their memory: content (in buffers of
/// its own), fields, and a fixed amount for bookkeeping each. Not covered: the tables' room from busier times, at the very worst a
/// quarter of `memory`, and responses that were evicted while they are still being sent.
///
/// Eviction is S3-FIFO (Yang et al., SOSP 2023), by bytes: a response has to be used twice while it is among the newest
/// tenth, or to be missed soon after it left, to get into the rest. What comes by once, as from a crawler, cannot push out
/// what is used. Stale responses go as soon as they are met.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    hasher: RandomState,
    shards: Box<[Slice]>,
    /// Bytes of what is stored or about to be: never above `memory`.
    reserved: AtomicU64,
    /// Which shard is next to compare with one's own when room is needed.
    rotation: AtomicUsize,
}

/// A shard, and how heavy it is for those who do not hold its lock.
#[derive(Debug)]
struct Slice {
    bytes: AtomicU64,
    shard: Mutex<Shard>,
}

/// What the store has for a request.
#[derive(Debug)]
pub enum Lookup {
    /// Send this, with this `Age` in seconds.
    Hit {
        /// What is stored.
        response: Arc<StoredResponse>,
        /// RFC 9111 §4.2.3.
        current_age: Duration,
    },
    /// Ask the origin.
    Forward(Forwarded),
}

/// Numbers for status output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Stored responses.
    pub responses: u64,
    /// Their bytes, heads and bookkeeping included, and those of what is being put in. Never above `memory`.
    pub bytes: u64,
    /// Requests answered from the store.
    pub hits: u64,
    /// Requests for which the store was asked in vain.
    pub misses: u64,
    /// Responses evicted for room.
    pub evicted: u64,
}

impl Store {
    /// Empty.
    pub fn new(settings: &Settings) -> Self {
        let slice = || Slice {
            bytes: AtomicU64::new(0),
            shard: Mutex::new(Shard::new(settings.memory / SHARDS as u64)),
        };
        Self {
            settings: settings.clone(),
            hasher: RandomState::default(),
            shards: (0..SHARDS).map(|_| slice()).collect(),
            reserved: AtomicU64::new(0),
            rotation: AtomicUsize::new(0),
        }
    }

    /// Looks a GET or HEAD up and counts hit or miss. A store without memory forwards with [`Forwarded::Bypass`].
    pub fn lookup(&self, key: &Key, request: &HeaderMap, now: Instant) -> Lookup {
        if self.settings.memory == 0 {
            return Lookup::Forward(Forwarded::Bypass);
        }
        let directives = Directives::of_request(request);
        let home = self.home(self.hasher.hash_one(key));
        home.shard.lock().lookup(key, request, &directives, now)
    }

    /// Largest content that is stored, in bytes.
    pub fn max_object(&self) -> u64 {
        self.settings.max_object.min(self.settings.memory)
    }

    /// Stores, replacing what has the same nominated fields; evicts for room. Over `max_object`: does nothing. At most 8
    /// responses a key, the oldest makes room. Copies the content once; its parts may be slices of anything.
    pub fn insert(&self, key: Key, mut response: StoredResponse) {
        if response.content_bytes() > self.max_object() {
            return;
        }
        response.compact();
        let hash = self.hasher.hash_one(&key);
        let now = response.response_time;
        let mut entry = Entry {
            weight: response.weight() + key.bytes() as u64,
            response: Arc::new(response),
            key,
            hash,
            uses: 0,
        };
        let home = self.home(hash);
        // What it supersedes goes first, so that nothing else is evicted for room which that has.
        let (standing, superseded) = home.locked(|shard| shard.supersede(&entry, now));
        self.release(superseded);
        if !self.reserve(entry.weight, home, now) {
            return;
        }
        let superseded = home.locked(|shard| {
            // Another worker may have stored the same meanwhile.
            let (other_standing, superseded) = shard.supersede(&entry, now);
            let standing = standing.or(other_standing);
            entry.uses = standing.map_or(0, |(_, uses)| uses);
            shard.insert(entry, standing.map(|(queue, _)| queue));
            superseded
        });
        self.release(superseded);
    }

    /// Forgets everything stored under `key`.
    pub fn invalidate(&self, key: &Key) {
        let home = self.home(self.hasher.hash_one(key));
        let removed = home.locked(|shard| shard.remove(key));
        self.release(removed);
    }

    /// Whether nothing is stored, nor about to be.
    pub fn is_empty(&self) -> bool {
        self.reserved.load(Ordering::Relaxed) == 0
    }

    /// Numbers.
    pub fn stats(&self) -> StoreStats {
        let mut sum = StoreStats {
            bytes: self.reserved.load(Ordering::Relaxed),
            ..StoreStats::default()
        };
        for slice in &self.shards {
            slice.shard.lock().add_to(&mut sum);
        }
        sum
    }

    fn home(&self, hash: u64) -> &Slice {
        // The high bits; the ghost table takes the low ones.
        let index = (hash >> 32) as usize % SHARDS;
        &self.shards[index]
    }

    /// Makes room for `weight` bytes and takes it; false if there is none to be made.
    ///
    /// Of two shards, `home` and the next in rotation, the heavier gives: shards stay about equal, and one large response
    /// takes a little from each.
    fn reserve(&self, weight: u64, home: &Slice, now: Instant) -> bool {
        let memory = self.settings.memory;
        if weight > memory {
            return false;
        }
        let mut empty_in_a_row = 0;
        while empty_in_a_row <= SHARDS {
            let room = self
                .reserved
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                    bytes.checked_add(weight).filter(|sum| *sum <= memory)
                });
            if room.is_ok() {
                return true;
            }
            let next = self.rotation.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let other = &self.shards[next];
            let victim = if other.bytes() > home.bytes() {
                other
            } else {
                home
            };
            match victim.locked(|shard| shard.evict(now)) {
                Some(evicted) => {
                    empty_in_a_row = 0;
                    self.release([evicted]);
                }
                None => empty_in_a_row += 1,
            }
        }
        false
    }

    /// Gives back what removed entries took, after their shard's lock.
    fn release(&self, removed: impl IntoIterator<Item = Entry>) {
        for entry in removed {
            let weight = entry.weight;
            drop(entry);
            self.reserved.fetch_sub(weight, Ordering::Relaxed);
        }
    }
}

impl Slice {
    /// Changes the shard and notes its weight.
    fn locked<T>(&self, change: impl FnOnce(&mut Shard) -> T) -> T {
        let mut shard = self.shard.lock();
        let result = change(&mut shard);
        self.bytes.store(shard.bytes(), Ordering::Relaxed);
        result
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Few enough that each sees enough traffic to tell what is used, enough that workers seldom meet.
const SHARDS: usize = 16;

#[cfg(test)]
mod tests;
