//! What the store finds, forgets and never exceeds.

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL};

use super::super::Audience;
use super::super::response::tests::{response, start};
use super::*;

const MIB: u64 = 1 << 20;

fn store(memory: u64) -> Store {
    Store::new(&Settings {
        memory,
        max_object: memory,
    })
}

fn key(n: u64) -> Key {
    Key::new("https", "example.com", &format!("/{n}"))
}

fn sized(bytes: usize, now: Instant) -> StoredResponse {
    let mut stored = response(&[("content-type", "text/plain")]);
    stored.content.push(Bytes::from(vec![0; bytes]));
    stored.response_time = now;
    stored
}

fn variant(accept: &'static str, content: &'static str, now: Instant) -> StoredResponse {
    let mut stored = response(&[]);
    stored.content.push(Bytes::from_static(content.as_bytes()));
    stored
        .nominated_fields
        .push((ACCEPT, vec![HeaderValue::from_static(accept)]));
    stored.response_time = now;
    stored
}

fn request(name: http::HeaderName, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
}

/// Content of a hit, or why not.
fn find(store: &Store, key: &Key, request: &HeaderMap, now: Instant) -> Result<Vec<u8>, Forwarded> {
    match store.lookup(key, request, now) {
        Lookup::Hit { response, .. } => Ok(response.content.concat()),
        Lookup::Forward(why) => Err(why),
    }
}

fn is_hit(store: &Store, n: u64, now: Instant) -> bool {
    find(store, &key(n), &HeaderMap::new(), now).is_ok()
}

/// A tiny deterministic generator: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn a_stored_response_is_found_until_it_is_stale_and_the_counts_say_so() {
    let (store, now) = (store(MIB), start());
    let none = HeaderMap::new();
    assert_eq!(find(&store, &key(1), &none, now), Err(Forwarded::UriMiss));
    store.insert(key(1), sized(3, now));
    assert_eq!(find(&store, &key(1), &none, now), Ok(vec![0; 3]));
    assert_eq!(find(&store, &key(2), &none, now), Err(Forwarded::UriMiss));
    let Lookup::Hit { current_age, .. } =
        store.lookup(&key(1), &none, now + Duration::from_secs(59))
    else {
        panic!("still fresh");
    };
    assert_eq!(current_age, Duration::from_secs(59));
    let late = now + Duration::from_mins(1);
    assert_eq!(find(&store, &key(1), &none, late), Err(Forwarded::Stale));
    let stats = store.stats();
    assert_eq!(
        (stats.hits, stats.misses, stats.responses, stats.evicted),
        (2, 3, 1, 0)
    );
}

#[test]
fn a_hit_shares_what_is_stored() {
    let (store, now) = (store(MIB), start());
    store.insert(key(1), sized(1000, now));
    let hit = || match store.lookup(&key(1), &HeaderMap::new(), now) {
        Lookup::Hit { response, .. } => response,
        Lookup::Forward(why) => panic!("{why:?}"),
    };
    assert!(Arc::ptr_eq(&hit(), &hit()));
}

#[test]
fn the_request_decides_which_variant_and_whether_it_will_do() {
    let (store, now) = (store(MIB), start());
    store.insert(key(1), variant("a", "A", now));
    store.insert(key(1), variant("b", "B", now));
    assert_eq!(
        find(&store, &key(1), &request(ACCEPT, "a"), now),
        Ok(b"A".to_vec())
    );
    assert_eq!(
        find(&store, &key(1), &request(ACCEPT, "b"), now),
        Ok(b"B".to_vec())
    );
    assert_eq!(
        find(&store, &key(1), &request(ACCEPT, "c"), now),
        Err(Forwarded::VaryMiss)
    );
    store.insert(key(1), variant("a", "A2", now));
    assert_eq!(
        find(&store, &key(1), &request(ACCEPT, "a"), now),
        Ok(b"A2".to_vec())
    );
    assert_eq!(store.stats().responses, 2);

    store.insert(key(2), sized(1, now));
    let at = now + Duration::from_secs(10);
    for (directive, expected) in [
        ("max-age=10", None),
        ("max-age=9", Some(Forwarded::Request)),
        ("min-fresh=50", None),
        ("min-fresh=51", Some(Forwarded::Request)),
        ("max-stale=1000", None),
        ("max-age=9, max-stale=1000", Some(Forwarded::Request)),
    ] {
        let found = find(&store, &key(2), &request(CACHE_CONTROL, directive), at);
        assert_eq!(found.err(), expected, "{directive}");
    }
    let late = request(CACHE_CONTROL, "max-stale=1000");
    let found = find(&store, &key(2), &late, now + Duration::from_mins(2));
    assert_eq!(found, Err(Forwarded::Stale));
}

#[test]
fn credentials_get_only_what_is_for_everyone() {
    let (store, now) = (store(MIB), start());
    let with_credentials = request(AUTHORIZATION, "Basic eA==");
    for (audience, expected) in [
        (Audience::Everyone, None),
        (Audience::Unauthenticated, Some(Forwarded::Request)),
    ] {
        let stored = StoredResponse {
            audience,
            ..sized(1, now)
        };
        store.insert(key(1), stored);
        assert_eq!(
            find(&store, &key(1), &with_credentials, now).err(),
            expected
        );
        assert!(is_hit(&store, 1, now));
    }
}

#[test]
fn of_two_that_match_the_newest_is_used() {
    let (store, now) = (store(MIB), start());
    store.insert(key(1), sized(1, now));
    store.insert(key(1), variant("a", "A", now));
    assert_eq!(
        find(&store, &key(1), &request(ACCEPT, "a"), now),
        Ok(b"A".to_vec())
    );
    assert_eq!(
        find(&store, &key(1), &request(ACCEPT, "b"), now),
        Ok(vec![0])
    );
}

#[test]
fn a_key_keeps_eight_variants_and_the_oldest_makes_room() {
    const NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let (store, now) = (store(MIB), start());
    for name in NAMES {
        store.insert(key(1), variant(name, name, now));
    }
    let found = NAMES.map(|name| find(&store, &key(1), &request(ACCEPT, name), now).is_ok());
    assert_eq!(
        found,
        [false, false, true, true, true, true, true, true, true, true]
    );
    assert_eq!(store.stats().responses, shard::VARIANTS_MAX as u64);
}

#[test]
fn a_new_response_clears_the_stale_ones_of_its_key() {
    let (store, now) = (store(MIB), start());
    store.insert(key(1), variant("a", "A", now));
    store.insert(key(1), variant("b", "B", now + Duration::from_secs(90)));
    assert_eq!(store.stats().responses, 1);
}

#[test]
fn invalidating_forgets_every_variant_of_that_key_only() {
    let (store, now) = (store(MIB), start());
    store.insert(key(1), variant("a", "A", now));
    store.insert(key(1), variant("b", "B", now));
    store.insert(key(2), sized(1, now));
    store.invalidate(&key(1));
    store.invalidate(&key(3));
    assert_eq!(
        find(&store, &key(1), &request(ACCEPT, "a"), now),
        Err(Forwarded::UriMiss)
    );
    assert!(is_hit(&store, 2, now));
    store.invalidate(&key(2));
    assert_eq!((store.stats().responses, store.stats().bytes), (0, 0));
}

#[test]
fn content_over_max_object_is_not_stored_and_leaves_what_was() {
    let now = start();
    let store = Store::new(&Settings {
        memory: MIB,
        max_object: 1000,
    });
    assert_eq!(store.max_object(), 1000);
    store.insert(key(1), sized(1000, now));
    store.insert(key(1), sized(1001, now));
    assert_eq!(
        find(&store, &key(1), &HeaderMap::new(), now),
        Ok(vec![0; 1000])
    );
}

#[test]
fn max_object_is_at_most_memory_and_a_response_takes_more_than_its_content() {
    let now = start();
    let store = Store::new(&Settings {
        memory: 4096,
        max_object: MIB,
    });
    assert_eq!(store.max_object(), 4096);
    store.insert(key(1), sized(4096, now));
    assert_eq!(store.stats(), StoreStats::default());
    store.insert(key(1), sized(100, now));
    assert_eq!(store.stats().responses, 1);
}

#[test]
fn without_memory_nothing_is_stored_or_counted() {
    let (store, now) = (store(0), start());
    store.insert(key(1), sized(0, now));
    assert_eq!(
        find(&store, &key(1), &HeaderMap::new(), now),
        Err(Forwarded::Bypass)
    );
    assert_eq!(store.stats(), StoreStats::default());
}

#[test]
fn one_response_may_take_nearly_all_of_the_memory() {
    let (store, now) = (store(MIB), start());
    for n in 0..200 {
        store.insert(key(n), sized(10_000, now));
    }
    store.insert(key(1000), sized(1_000_000, now));
    assert!(is_hit(&store, 1000, now));
    assert!(store.stats().bytes <= MIB);
}

#[test]
fn a_stale_response_is_evicted_however_much_it_was_used() {
    let now = start();
    let mut shard = Shard::new(MIB);
    let late = now + Duration::from_secs(90);
    for (n, arrival) in [(1, late), (2, now), (3, late)] {
        shard.insert(entry(n, arrival, 3), None);
    }
    let evicted: Vec<_> = (0..4)
        .map(|_| shard.evict(late).map(|entry| entry.hash))
        .collect();
    assert_eq!(evicted, [Some(2), Some(1), Some(3), None]);
}

fn entry(n: u64, arrival: Instant, uses: u8) -> Entry {
    Entry {
        key: key(n),
        hash: n,
        response: Arc::new(sized(1000, arrival)),
        weight: 1000,
        uses,
    }
}

#[test]
fn a_scan_does_not_push_out_what_is_used() {
    let (store, now) = (store(4 * MIB), start());
    let hot = 0..500;
    for _ in 0..4 {
        for n in hot.clone() {
            if !is_hit(&store, n, now) {
                store.insert(key(n), sized(2000, now));
            }
        }
    }
    // Ten times what fits, each once, as a crawler asks.
    for n in 10_000..25_000 {
        assert!(!is_hit(&store, n, now));
        store.insert(key(n), sized(2000, now));
    }
    let kept = hot.filter(|n| is_hit(&store, *n, now)).count();
    assert!(kept >= 490, "{kept} of 500 kept");
}

#[test]
fn what_returns_soon_after_it_left_outlives_what_came_since() {
    let now = start();
    let mut shard = Shard::new(MIB);
    let insert = |shard: &mut Shard, n| shard.insert(entry(n, now, 0), None);
    (1..=5).for_each(|n| insert(&mut shard, n));
    assert_eq!(shard.evict(now).map(|entry| entry.hash), Some(1));
    insert(&mut shard, 1);
    insert(&mut shard, 6);
    let evicted: Vec<_> = (0..6).filter_map(|_| shard.evict(now)).collect();
    let order: Vec<_> = evicted.iter().map(|entry| entry.hash).collect();
    assert_eq!(order, [2, 3, 4, 5, 6, 1]);
}

/// Whether the key is stored, without counting as a use.
fn is_hit_unnoticed(store: &Store, n: u64) -> bool {
    let key = key(n);
    let home = store.home(store.hasher.hash_one(&key));
    home.shard.lock().contains(&key)
}

#[test]
fn a_refreshed_response_keeps_the_standing_of_the_one_before() {
    let (store, now) = (store(MIB), start());
    for n in 0..20 {
        store.insert(key(n), sized(2000, now));
        (0..3).for_each(|_| assert!(is_hit(&store, n, now)));
    }
    for n in 1000..2000 {
        store.insert(key(n), sized(2000, now));
    }
    let late = now + Duration::from_secs(90);
    for n in 0..20 {
        assert!(!is_hit(&store, n, late));
        store.insert(key(n), sized(2000, late));
    }
    for n in 2000..3000 {
        store.insert(key(n), sized(2000, late));
    }
    let kept = (0..20).filter(|n| is_hit(&store, *n, late)).count();
    assert_eq!(kept, 20);
}

/// Anything goes: inserts of all sizes, look-ups, invalidations, time. The bytes stay within memory at every step, add up, and
/// what is found is what was stored last.
#[test]
fn memory_is_never_exceeded_and_what_is_found_is_what_was_stored() {
    let start = start();
    for (seed, memory) in [(1, 4096), (2, 50_000), (3, 300_000), (4, 3_000_000)] {
        let (store, mut random) = (store(memory), Random(0x9e37_79b9_7f4a_7c15 ^ seed));
        let mut last_stored = std::collections::HashMap::new();
        let mut now = start;
        for _ in 0..20_000 {
            let n = random.below(200) * random.below(200) / 200;
            match random.below(10) {
                0..6 => {
                    if let Ok(content) = find(&store, &key(n), &HeaderMap::new(), now) {
                        assert_eq!(Some(&content.len()), last_stored.get(&n));
                    } else {
                        let size = 1 << random.below(17);
                        let size = usize::try_from(size + random.below(size)).expect("fits");
                        store.insert(key(n), sized(size, now));
                        if size as u64 <= memory {
                            last_stored.insert(n, size);
                        }
                    }
                }
                6..9 => now += Duration::from_millis(random.below(100)),
                _ => {
                    store.invalidate(&key(n));
                    assert!(!is_hit_unnoticed(&store, n));
                }
            }
            let stats = store.stats();
            assert!(stats.bytes <= memory, "{stats:?}");
            let in_shards: u64 = store
                .shards
                .iter()
                .map(|slice| slice.shard.lock().bytes())
                .sum();
            assert_eq!(stats.bytes, in_shards);
        }
        assert!(store.stats().evicted > 0, "memory {memory} was never short");
        assert!(memory < 10_000 || store.stats().hits > 0);
    }
}

#[test]
fn room_that_other_workers_are_filling_is_neither_taken_nor_waited_for() {
    let (store, now) = (store(20_000), start());
    store.insert(key(1), sized(5000, now));
    let others = 12_000;
    let home = store.home(0);
    assert!(store.reserve(others, home, now));
    assert!(is_hit_unnoticed(&store, 1), "there was room beside it");
    store.insert(key(2), sized(5000, now));
    assert_eq!(store.stats().responses, 1);
    assert!(store.stats().bytes <= 20_000);
    store.insert(key(3), sized(15_000, now));
    assert_eq!(store.stats().responses, 0, "no room to be made");
    assert_eq!(store.stats().bytes, others);
}
