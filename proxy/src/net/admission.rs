//! How many connections may be open: per listener and per source, over all workers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::ClientLimits;

/// Open connections per listener and per source, over all workers. Memory: one map entry a source with an open
/// connection, so at most `connections` entries a listener.
#[derive(Debug)]
pub struct Admission {
    listeners: Vec<Listener>,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `connections` of the listener are open.
    Full,
    /// `connections_per_source` of the source are open.
    SourceFull,
}

/// One admitted connection; dropping it makes room.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    listener: usize,
    source: Source,
}

impl Admission {
    /// Nothing open, for `listeners` listeners.
    pub fn new(listeners: usize) -> Self {
        Self {
            listeners: (0..listeners).map(|_| Listener::default()).collect(),
        }
    }

    /// Counts a connection from `address` on listener number `listener`, unless that would exceed `limits`.
    pub fn admit(
        self: &Arc<Self>,
        listener: usize,
        address: IpAddr,
        limits: &ClientLimits,
    ) -> Result<Permit, Refused> {
        let source = Source::of(address);
        let counts = &self.listeners[listener];
        if counts.open.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            counts.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        let mut shard = counts.shard(source).lock();
        let open = shard.entry(source).or_insert(0);
        if *open >= limits.connections_per_source {
            // An entry of 0 exists only when the limit is 0; it must not stay behind.
            if *open == 0 {
                shard.remove(&source);
            }
            drop(shard);
            counts.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::SourceFull);
        }
        *open += 1;
        drop(shard);
        Ok(Permit {
            admission: Arc::clone(self),
            listener,
            source,
        })
    }

    /// Connections open on listener number `listener`.
    pub fn open(&self, listener: usize) -> usize {
        self.listeners[listener].open.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let counts = &self.admission.listeners[self.listener];
        counts.open.fetch_sub(1, Ordering::Relaxed);
        let mut shard = counts.shard(self.source).lock();
        if let Some(open) = shard.get_mut(&self.source) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&self.source);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Listener {
    open: AtomicUsize,
    shards: [Mutex<HashMap<Source, usize, foldhash::fast::RandomState>>; SHARDS],
}

impl Listener {
    fn shard(&self, source: Source) -> &Mutex<HashMap<Source, usize, foldhash::fast::RandomState>> {
        let spread = match source {
            Source::V4(bits) => u64::from(bits),
            Source::V6(bits) => bits,
        };
        // Low bits differ most between hosts of one network; fold the high ones in for /64s.
        let index = (spread ^ (spread >> 16) ^ (spread >> 32)) % SHARDS as u64;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }
}

/// IPv4 by address, IPv6 by /64: one host or one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    V4(u32),
    V6(u64),
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits() >> 64;
                Self::V6(u64::try_from(bits).unwrap_or(u64::MAX))
            }
        }
    }
}

/// More than workers on the hosts we know, so that they seldom meet at one lock.
const SHARDS: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::net::tests::limits;

    fn admission() -> (Arc<Admission>, ClientLimits) {
        let mut limits = limits();
        limits.connections = 3;
        limits.connections_per_source = 2;
        (Arc::new(Admission::new(2)), limits)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_gets_its_share_and_no_more() {
        let (admission, limits) = admission();
        let a = address("198.18.0.1");
        let _first = admission.admit(0, a, &limits).unwrap();
        let _second = admission.admit(0, a, &limits).unwrap();
        assert_eq!(
            admission.admit(0, a, &limits).unwrap_err(),
            Refused::SourceFull
        );
        assert!(admission.admit(0, address("198.18.0.2"), &limits).is_ok());
    }

    #[test]
    fn a_full_listener_refuses_and_another_does_not() {
        let (admission, limits) = admission();
        let _open: Vec<_> = (1..=3)
            .map(|n| {
                admission
                    .admit(0, address(&format!("198.18.0.{n}")), &limits)
                    .unwrap()
            })
            .collect();
        let next = address("198.18.0.9");
        assert_eq!(
            admission.admit(0, next, &limits).unwrap_err(),
            Refused::Full
        );
        assert!(admission.admit(1, next, &limits).is_ok());
    }

    #[test]
    fn dropping_a_permit_makes_room_and_leaves_nothing_behind() {
        let (admission, limits) = admission();
        let a = address("2001:db8::1");
        for _ in 0..10 {
            let one = admission.admit(0, a, &limits).unwrap();
            let two = admission.admit(0, a, &limits).unwrap();
            drop((one, two));
        }
        assert_eq!(admission.open(0), 0);
        assert!(
            admission.listeners[0]
                .shards
                .iter()
                .all(|shard| shard.lock().is_empty())
        );
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let (admission, limits) = admission();
        let _one = admission.admit(0, address("2001:db8::1"), &limits).unwrap();
        let _two = admission.admit(0, address("2001:db8::2"), &limits).unwrap();
        let third = admission.admit(0, address("2001:db8::3"), &limits);
        assert_eq!(third.unwrap_err(), Refused::SourceFull);
    }

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        let (admission, limits) = admission();
        let _one = admission.admit(0, address("198.18.0.1"), &limits).unwrap();
        let _two = admission
            .admit(0, address("::ffff:198.18.0.1"), &limits)
            .unwrap();
        let third = admission.admit(0, address("198.18.0.1"), &limits);
        assert_eq!(third.unwrap_err(), Refused::SourceFull);
    }

    #[test]
    fn a_limit_of_zero_refuses_without_leaving_an_entry() {
        let (admission, mut limits) = admission();
        limits.connections_per_source = 0;
        assert!(admission.admit(0, address("198.18.0.1"), &limits).is_err());
        assert!(
            admission.listeners[0]
                .shards
                .iter()
                .all(|shard| shard.lock().is_empty())
        );
        assert_eq!(admission.open(0), 0);
    }
}
