//! The buckets of all limits, shared by all workers. Bounded: 262,144 buckets in sets of eight, 4.3 MiB. A set has a lock of
//! its own, held for the look at eight numbers, so workers meet only when they serve the same client at the same time.
//!
//! A new bucket takes the place of the fullest one of its set: usually one that is full, which is the same as none. Only when
//! more clients than there are buckets use up theirs at the same time is the one forgotten that used least.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::HeaderMap;
use parking_lot::Mutex;

use super::{LimitBy, LimitSettings, Standing};

/// All buckets.
#[derive(Debug)]
pub struct Buckets {
    sets: Box<[Mutex<[Bucket; WAYS]>]>,
    /// Keyed: clients must not be able to choose whose bucket they share.
    hasher: RandomState,
    /// Zero of the buckets' clock.
    start: Instant,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Hash of route and who shares it.
    key: u64,
    full_at: u64,
}

impl Buckets {
    /// All full. `now` is the zero of their clock.
    pub fn new(now: Instant) -> Self {
        Self::with_sets(SETS, now)
    }

    fn with_sets(sets: usize, now: Instant) -> Self {
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            start: now,
        }
    }

    /// What names the limit of a route; the same as long as `what` is.
    pub fn limit_key(&self, what: &impl Hash) -> u64 {
        self.hasher.hash_one(what)
    }

    /// Takes a request of `client` with `fields` out of its bucket. `limit_key` is [`Self::limit_key`]'s.
    pub fn take(
        &self,
        limit: &LimitSettings,
        limit_key: u64,
        client: IpAddr,
        fields: &HeaderMap,
        now: Instant,
    ) -> Standing {
        let key = match &limit.by {
            LimitBy::Route => self.hasher.hash_one(limit_key),
            LimitBy::ClientIp => self.hasher.hash_one((limit_key, network(client))),
            LimitBy::Field(name) => {
                let lines: smallvec::SmallVec<[&[u8]; 2]> = fields
                    .get_all(name)
                    .iter()
                    .map(http::HeaderValue::as_bytes)
                    .collect();
                self.hasher.hash_one((limit_key, lines.as_slice()))
            }
        };
        self.take_from(limit, key, now)
    }

    fn take_from(&self, limit: &LimitSettings, key: u64, now: Instant) -> Standing {
        let now = nanoseconds(now.saturating_duration_since(self.start));
        // The other half of the hash than most of what tells the buckets of a set apart.
        let number = usize::try_from(key >> 32).unwrap_or(0) % self.sets.len();
        let mut set = self.sets[number].lock();
        let known = set.iter().position(|bucket| bucket.key == key);
        let place = known.unwrap_or_else(|| {
            let fullest = (0..WAYS).min_by_key(|&place| set[place].full_at);
            let place = fullest.unwrap_or(0);
            set[place] = Bucket { key, full_at: 0 };
            place
        });
        let (standing, full_at) = limit.take(set[place].full_at, now);
        set[place].full_at = full_at;
        standing
    }
}

/// An IPv4 address, or the /64 that an IPv6 client can choose its address in.
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => u32::from(v4).into(),
        // No /64 that a client can come from is as small as an IPv4 address.
        IpAddr::V6(v6) => u64::try_from(u128::from(v6) >> 64).unwrap_or(0),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const WAYS: usize = 8;
const SETS: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::route::limit::Admission;

    fn once(by: LimitBy) -> LimitSettings {
        LimitSettings {
            requests: 1,
            per: Duration::from_secs(1),
            burst: 1,
            by,
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "a start for the clock of the tests"
    )]
    fn now() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    fn admitted(
        buckets: &Buckets,
        limit: &LimitSettings,
        key: u64,
        client: &str,
        fields: &HeaderMap,
    ) -> bool {
        let client = client.parse().expect(client);
        let standing = buckets.take(limit, key, client, fields, now());
        standing.admission == Admission::Admitted
    }

    #[test]
    fn clients_have_buckets_of_their_own_by_address_or_prefix() {
        let buckets = Buckets::new(now());
        let limit = once(LimitBy::ClientIp);
        for (client, expected) in [
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("2001:db8:0:1::1", true),
        ] {
            assert_eq!(
                admitted(&buckets, &limit, 1, client, &HeaderMap::new()),
                expected,
                "{client}"
            );
        }
        assert!(
            admitted(&buckets, &limit, 2, "192.0.2.1", &HeaderMap::new()),
            "another limit"
        );
    }

    #[test]
    fn a_field_or_the_route_may_be_what_shares_a_bucket() {
        let buckets = Buckets::new(now());
        let name = HeaderName::from_static("x-key");
        let by_field = once(LimitBy::Field(name.clone()));
        let with = |values: &[&'static str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(&name, HeaderValue::from_static(value));
            }
            fields
        };
        for (values, expected) in [
            (&["a"][..], true),
            (&["a"], false),
            (&["b"], true),
            (&[], true),
            (&[], false),
            (&["a", "b"], true),
            (&["ab"], true),
        ] {
            assert_eq!(
                admitted(&buckets, &by_field, 1, "192.0.2.1", &with(values)),
                expected,
                "{values:?}"
            );
        }
        let by_route = once(LimitBy::Route);
        assert!(admitted(&buckets, &by_route, 3, "192.0.2.1", &with(&[])));
        assert!(!admitted(
            &buckets,
            &by_route,
            3,
            "192.0.2.2",
            &with(&["c"])
        ));
    }

    /// A set has eight buckets: of nine clients that use theirs up the first is forgotten, but never one that used more than
    /// another.
    #[test]
    fn the_bucket_that_is_forgotten_is_the_fullest() {
        let buckets = Buckets::with_sets(1, now());
        let limit = LimitSettings {
            burst: 10,
            ..once(LimitBy::ClientIp)
        };
        let take = |key: u64| buckets.take_from(&limit, key, now()).remaining;
        for _ in 0..5 {
            take(1);
        }
        for key in 2..=8 {
            assert_eq!(take(key), 9);
        }
        for key in 9..100 {
            assert_eq!(take(key), 9);
        }
        assert_eq!(take(1), 4, "who used most is remembered");
    }

    #[test]
    fn threads_that_share_a_bucket_get_no_more_than_it_holds() {
        let buckets = Buckets::new(now());
        let limit = LimitSettings {
            requests: 1,
            per: Duration::from_hours(1),
            burst: 1000,
            by: LimitBy::Route,
        };
        let admitted = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let standing = buckets.take_from(&limit, 1, now());
                        if standing.admission == Admission::Admitted {
                            admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 1000);
    }
}
