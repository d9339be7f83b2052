//! Keyed hashes (SipHash): what a request or a server is told apart by, without anybody outside being able to choose
//! where it lands or to tell what is behind a value.

use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// The key of all hashes that clients see or feed. Weirs that are to choose alike need the same.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 16]);

/// What equal requests have in common, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub(super) u64);

impl Secret {
    /// 16 random bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The key of a client: an IPv4 address, or the /64 of an IPv6 address, which one client has all of.
    pub fn client(&self, address: IpAddr) -> Key {
        match address.to_canonical() {
            IpAddr::V4(address) => self.text(&address.octets()),
            IpAddr::V6(address) => self.text(&address.octets()[..8]),
        }
    }

    /// The key of a text of the request.
    pub fn text(&self, text: &[u8]) -> Key {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(text);
        Key(hasher.finish())
    }

    /// What stands for a server in a cookie: opaque, and of no use with another upstream.
    pub(super) fn token(&self, upstream: &str, authority: &str) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(upstream.as_bytes());
        // No name holds a zero byte.
        hasher.write_u8(0);
        hasher.write(authority.as_bytes());
        hasher.finish128().as_u128()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A hash that is the same everywhere and for ever: tables of weirs side by side agree.
pub(super) fn stable(text: &str, salt: u64) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x7765_6972, salt);
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// A bijection that spreads (the finalizer of `SplitMix64`).
pub(super) fn spread(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = Secret([7; 16]);

    #[test]
    fn an_ipv6_client_is_its_64_and_a_mapped_address_is_ipv4() {
        let key = |text: &str| SECRET.client(text.parse().expect("an address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn another_secret_gives_other_keys_and_tokens() {
        let other = Secret::new([8; 16]);
        assert_ne!(SECRET.text(b"x"), other.text(b"x"));
        assert_ne!(SECRET.token("app", "a:80"), other.token("app", "a:80"));
        assert_ne!(SECRET.token("app", "a:80"), SECRET.token("ap", "pa:80"));
    }

    /// Weirs of different versions and builds side by side must agree.
    #[test]
    fn the_stable_hash_never_changes() {
        assert_eq!(stable("10.0.0.1:80", 0), stable("10.0.0.1:80", 0));
        assert_eq!(stable("10.0.0.1:80", 1), STABLE);
    }

    const STABLE: u64 = 6_319_122_370_188_985_501;
}
