//! How many connections may be open: of a listener and of a source, over all workers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::ClientLimits;

/// Open connections of one listener and of each source, over all workers. Memory: one map entry a source with an open
/// connection, so at most `connections` entries.
#[derive(Debug, Default)]
pub struct Admission {
    open: AtomicUsize,
    handshakes: AtomicUsize,
    shards: [Mutex<HashMap<Source, usize, foldhash::fast::RandomState>>; SHARDS],
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `connections` of the listener are open.
    Full,
    /// `connections_per_source` of the source are open.
    SourceFull,
    /// `handshakes` of the listener are under way.
    HandshakesFull,
}

/// One TLS handshake; dropping it makes room.
#[derive(Debug)]
pub struct Handshake(Arc<Admission>);

/// One admitted connection; dropping it makes room.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    /// Whose share it is part of, once that is known.
    source: Option<Source>,
}

impl Admission {
    /// Counts a connection, unless that would exceed `limits`. Whose it is may turn out later: [`Permit::claim`].
    pub fn admit(self: &Arc<Self>, limits: &ClientLimits) -> Result<Permit, Refused> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= limits.connections {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        Ok(Permit {
            admission: Arc::clone(self),
            source: None,
        })
    }

    /// Connections open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn shard(&self, source: Source) -> &Mutex<HashMap<Source, usize, foldhash::fast::RandomState>> {
        let spread = match source {
            Source::V4(bits) => u64::from(bits),
            Source::V6(bits) => bits,
        };
        // Low bits differ most between hosts of one network; fold the high ones in for /64s.
        let index = (spread ^ (spread >> 16) ^ (spread >> 32)) % SHARDS as u64;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }

    fn release(&self, source: Source) {
        let mut shard = self.shard(source).lock();
        if let Some(open) = shard.get_mut(&source) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&source);
            }
        }
    }
}

impl Permit {
    /// Counts the connection as one of `address`, unless that would exceed `limits`.
    pub fn claim(&mut self, address: IpAddr, limits: &ClientLimits) -> Result<(), Refused> {
        let source = Source::of(address);
        let mut shard = self.admission.shard(source).lock();
        let open = shard.entry(source).or_insert(0);
        if *open >= limits.connections_per_source {
            // An entry of 0 exists only when the limit is 0; it must not stay behind.
            if *open == 0 {
                shard.remove(&source);
            }
            return Err(Refused::SourceFull);
        }
        *open += 1;
        drop(shard);
        if let Some(before) = self.source.replace(source) {
            self.admission.release(before);
        }
        Ok(())
    }
}

impl Permit {
    /// Counts a handshake on the connection, unless that would exceed `limits`.
    pub fn handshake(&self, limits: &ClientLimits) -> Option<Handshake> {
        let under_way = &self.admission.handshakes;
        if under_way.fetch_add(1, Ordering::Relaxed) >= limits.handshakes {
            under_way.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Handshake(Arc::clone(&self.admission)))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(source) = self.source {
            self.admission.release(source);
        }
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
        (Arc::default(), limits)
    }

    fn admit(
        admission: &Arc<Admission>,
        address: &str,
        limits: &ClientLimits,
    ) -> Result<Permit, Refused> {
        let mut permit = admission.admit(limits)?;
        permit.claim(address.parse().unwrap(), limits)?;
        Ok(permit)
    }

    fn is_empty(admission: &Admission) -> bool {
        admission.open() == 0 && admission.shards.iter().all(|shard| shard.lock().is_empty())
    }

    #[test]
    fn a_source_gets_its_share_and_no_more() {
        let (admission, limits) = admission();
        let _first = admit(&admission, "198.18.0.1", &limits).unwrap();
        let _second = admit(&admission, "198.18.0.1", &limits).unwrap();
        let third = admit(&admission, "198.18.0.1", &limits);
        assert_eq!(third.unwrap_err(), Refused::SourceFull);
        assert!(admit(&admission, "198.18.0.2", &limits).is_ok());
    }

    #[test]
    fn a_full_listener_refuses() {
        let (admission, limits) = admission();
        let _open: Vec<_> = (1..=3)
            .map(|n| admit(&admission, &format!("198.18.0.{n}"), &limits).unwrap())
            .collect();
        let next = admit(&admission, "198.18.0.9", &limits);
        assert_eq!(next.unwrap_err(), Refused::Full);
    }

    #[test]
    fn dropping_a_permit_makes_room_and_leaves_nothing_behind() {
        let (admission, limits) = admission();
        for _ in 0..10 {
            let one = admit(&admission, "2001:db8::1", &limits).unwrap();
            let two = admit(&admission, "2001:db8::1", &limits).unwrap();
            drop((one, two));
        }
        assert!(is_empty(&admission));
    }

    #[test]
    fn a_connection_that_turns_out_to_be_anothers_counts_as_that_ones() {
        let (admission, limits) = admission();
        let [balancer, client] = ["198.18.0.1", "198.18.0.2"].map(|text| text.parse().unwrap());
        let mut permits = Vec::new();
        for _ in 0..2 {
            let mut permit = admission.admit(&limits).unwrap();
            permit.claim(balancer, &limits).unwrap();
            permit.claim(client, &limits).unwrap();
            permits.push(permit);
        }
        assert!(admit(&admission, "198.18.0.1", &limits).is_ok());
        let third = admit(&admission, "198.18.0.2", &limits);
        assert_eq!(third.unwrap_err(), Refused::SourceFull);
        drop(permits);
        assert!(is_empty(&admission));
    }

    #[test]
    fn handshakes_are_bounded_apart_from_connections() {
        let (admission, mut limits) = admission();
        limits.handshakes = 1;
        let one = admit(&admission, "198.18.0.1", &limits).unwrap();
        let two = admit(&admission, "198.18.0.2", &limits).unwrap();
        let under_way = one.handshake(&limits).unwrap();
        assert!(two.handshake(&limits).is_none());
        drop(under_way);
        assert!(two.handshake(&limits).is_some());
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let (admission, limits) = admission();
        let _one = admit(&admission, "2001:db8::1", &limits).unwrap();
        let _two = admit(&admission, "2001:db8::2", &limits).unwrap();
        let third = admit(&admission, "2001:db8::3", &limits);
        assert_eq!(third.unwrap_err(), Refused::SourceFull);
    }

    #[test]
    fn mapped_addresses_count_as_ipv4() {
        let (admission, limits) = admission();
        let _one = admit(&admission, "198.18.0.1", &limits).unwrap();
        let _two = admit(&admission, "::ffff:198.18.0.1", &limits).unwrap();
        let third = admit(&admission, "198.18.0.1", &limits);
        assert_eq!(third.unwrap_err(), Refused::SourceFull);
    }

    #[test]
    fn a_limit_of_zero_refuses_without_leaving_an_entry() {
        let (admission, mut limits) = admission();
        limits.connections_per_source = 0;
        assert!(admit(&admission, "198.18.0.1", &limits).is_err());
        assert!(is_empty(&admission));
    }
}
