//! Session tickets (RFC 5077, RFC 8446 §4.6.1): sealed with keys that all workers share and that change with time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use parking_lot::Mutex;
use rustls::server::ProducesTickets;

/// The keys in force, newest first: the first seals, all of them open. At most two, so that a ticket is good for one to
/// two times [`KEY_LIFETIME`], and what was recorded on the wire cannot be read by whoever finds the keys later.
#[derive(Debug)]
pub(super) struct TicketKeys {
    /// Empty if the system has no randomness: then there are no tickets.
    keys: ArcSwap<Vec<Arc<TicketKey>>>,
    /// When the next key is made; only the control thread asks.
    next_at: Mutex<Instant>,
}

struct TicketKey {
    /// In front of each ticket, so that the right key is known without trying.
    name: [u8; NAME_BYTES],
    key: LessSafeKey,
}

/// The keys, for listeners with one policy for client certificates. A session is resumed without showing a certificate
/// again, so a ticket from a listener with another policy, or other authorities, must not open here (CVE-2025-23419).
#[derive(Debug)]
pub(super) struct Tickets {
    keys: Arc<TicketKeys>,
    policy: Policy,
}

/// A digest of what a listener asks of client certificates.
pub(super) type Policy = [u8; 32];

impl TicketKeys {
    pub(super) fn new(now: Instant) -> Self {
        let keys = TicketKey::new().into_iter().map(Arc::new).collect();
        Self {
            keys: ArcSwap::from_pointee(keys),
            next_at: Mutex::new(now + KEY_LIFETIME),
        }
    }

    /// Changes the keys if it is time.
    pub(super) fn rotate(&self, now: Instant) {
        let mut next_at = self.next_at.lock();
        if now < *next_at {
            return;
        }
        // Without randomness the old key must not live on.
        let mut keys: Vec<_> = TicketKey::new().into_iter().map(Arc::new).collect();
        // Longer than two lifetimes asleep: the old one is too old.
        if now < *next_at + KEY_LIFETIME {
            keys.extend(self.keys.load().first().cloned());
        }
        self.keys.store(Arc::new(keys));
        *next_at = now + KEY_LIFETIME;
    }
}

impl TicketKey {
    fn new() -> Result<Self, Unspecified> {
        let (mut name, mut key) = ([0; NAME_BYTES], [0; 32]);
        rand::fill(&mut name)?;
        rand::fill(&mut key)?;
        Ok(Self {
            name,
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key)?),
        })
    }

    fn seal(&self, plain: &[u8], policy: &Policy) -> Result<Vec<u8>, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce)?;
        let mut sealed = plain.to_vec();
        self.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(policy),
            &mut sealed,
        )?;
        Ok([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, nonce: &[u8], sealed: &[u8], policy: &Policy) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(policy), &mut sealed);
        let length = plain.ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TicketKey").finish_non_exhaustive()
    }
}

impl Tickets {
    pub(super) fn new(keys: &Arc<TicketKeys>, policy: Policy) -> Self {
        Self {
            keys: Arc::clone(keys),
            policy,
        }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(KEY_LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.keys.load();
        keys.first()?.seal(plain, &self.policy).ok()
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.keys.load();
        let key = keys.iter().find(|key| key.name == name)?;
        key.open(nonce, sealed, &self.policy)
    }
}

/// How long a key seals; as long again it opens. Far fewer than 2³² tickets (NIST SP 800-38D §8.3) are made meanwhile.
const KEY_LIFETIME: Duration = Duration::from_hours(6);
const NAME_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const POLICY: Policy = [0; 32];

    fn at(start: Instant, hours: u64) -> Instant {
        start + Duration::from_hours(hours)
    }

    #[test]
    fn a_ticket_opens_until_its_key_is_the_one_before_the_last() {
        let start = clock::now();
        let keys = Arc::new(TicketKeys::new(start));
        let tickets = Tickets::new(&keys, POLICY);
        let ticket = tickets.encrypt(b"session").expect("randomness");
        for (hours, opens) in [(0, true), (5, true), (6, true), (11, true), (12, false)] {
            keys.rotate(at(start, hours));
            let opened = tickets.decrypt(&ticket);
            assert_eq!(
                opened.as_deref(),
                opens.then_some(&b"session"[..]),
                "{hours} h"
            );
        }
        assert_ne!(
            tickets.encrypt(b"session").expect("randomness")[..16],
            ticket[..16]
        );
    }

    #[test]
    fn a_long_sleep_leaves_no_old_key() {
        let start = clock::now();
        let keys = Arc::new(TicketKeys::new(start));
        let tickets = Tickets::new(&keys, POLICY);
        let ticket = tickets.encrypt(b"session").expect("randomness");
        keys.rotate(at(start, 100));
        assert_eq!(tickets.decrypt(&ticket), None);
    }

    #[test]
    fn tickets_of_another_policy_or_tampered_with_do_not_open() {
        let keys = Arc::new(TicketKeys::new(clock::now()));
        let tickets = Tickets::new(&keys, POLICY);
        let ticket = tickets.encrypt(b"session").expect("randomness");
        assert_eq!(Tickets::new(&keys, [1; 32]).decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut tampered = ticket.clone();
            tampered[at] ^= 1;
            assert_eq!(tickets.decrypt(&tampered), None, "byte {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at} bytes");
        }
    }
}
