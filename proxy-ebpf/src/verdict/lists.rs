//! Allowlist and blocklist: which lookups an address takes, and when an entry has an effect.

use weir_common::addr::prefix64;
use weir_common::entry::is_live;
use weir_common::{Entry, ShieldSettings, Source};

/// What a lookup tells about the entry it found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// [`Entry::expires_ns`].
    pub expires_ns: u64,
    /// [`Entry::prefix_len`].
    pub prefix_len: u8,
}

impl Hit {
    #[inline(always)]
    fn is_live(self, now_ns: u64) -> bool {
        is_live(self.expires_ns, now_ns)
    }
}

impl From<&Entry> for Hit {
    #[inline(always)]
    fn from(entry: &Entry) -> Self {
        Self {
            expires_ns: entry.expires_ns,
            prefix_len: entry.prefix_len,
        }
    }
}

/// The list maps. A prefix lookup finds the longest entry that covers the first `prefix_len` bits of the address and
/// is no longer than that.
pub trait Lists {
    /// `ALLOW_LPM4`.
    fn allow_lpm4(&self, address: [u8; 4], prefix_len: u32) -> Option<Hit>;
    /// `ALLOW_LPM6`.
    fn allow_lpm6(&self, address: [u8; 16], prefix_len: u32) -> Option<Hit>;
    /// `BLOCK4`.
    fn block4(&self, address: [u8; 4]) -> Option<Hit>;
    /// `BLOCK6`.
    fn block6(&self, address: [u8; 16]) -> Option<Hit>;
    /// `BLOCK6_64`.
    fn block6_64(&self, prefix: [u8; 8]) -> Option<Hit>;
    /// `BLOCK_LPM4`.
    fn block_lpm4(&self, address: [u8; 4], prefix_len: u32) -> Option<Hit>;
    /// `BLOCK_LPM6`.
    fn block_lpm6(&self, address: [u8; 16], prefix_len: u32) -> Option<Hit>;
}

/// Whether a live allow entry covers `source`. `populated`: [`ShieldSettings::lists`].
#[inline(always)]
pub(super) fn allowed<L: Lists>(lists: &L, populated: u32, source: Source, now_ns: u64) -> bool {
    match source {
        Source::V4(address) => {
            populated & ShieldSettings::LIST_ALLOW4 != 0
                && covered(32, now_ns, |len| lists.allow_lpm4(address, len))
        }
        Source::V6(address) => {
            populated & ShieldSettings::LIST_ALLOW6 != 0
                && covered(128, now_ns, |len| lists.allow_lpm6(address, len))
        }
    }
}

/// Whether there may be a block entry at all. `populated`: [`ShieldSettings::lists`].
#[inline(always)]
pub(super) fn blocks_anybody(populated: u32) -> bool {
    const BLOCKLIST: u32 = ShieldSettings::LIST_BLOCK4
        | ShieldSettings::LIST_BLOCK6
        | ShieldSettings::LIST_BLOCK6_64
        | ShieldSettings::LIST_BLOCK_LPM4
        | ShieldSettings::LIST_BLOCK_LPM6;
    populated & BLOCKLIST != 0
}

/// Whether a live block entry covers `source`; cheap exact lookups first.
#[inline(always)]
pub(super) fn blocked<L: Lists>(lists: &L, populated: u32, source: Source, now_ns: u64) -> bool {
    let live = |hit: Option<Hit>| hit.is_some_and(|hit| hit.is_live(now_ns));
    match source {
        Source::V4(address) => {
            populated & ShieldSettings::LIST_BLOCK4 != 0 && live(lists.block4(address))
                || populated & ShieldSettings::LIST_BLOCK_LPM4 != 0
                    && covered(32, now_ns, |len| lists.block_lpm4(address, len))
        }
        Source::V6(address) => {
            populated & ShieldSettings::LIST_BLOCK6 != 0 && live(lists.block6(address))
                || populated & ShieldSettings::LIST_BLOCK6_64 != 0
                    && live(lists.block6_64(prefix64(address)))
                || populated & ShieldSettings::LIST_BLOCK_LPM6 != 0
                    && covered(128, now_ns, |len| lists.block_lpm6(address, len))
        }
    }
}

/// Whether a live entry covers the address. A lookup shows the longest prefix only, so behind an expired one the
/// search goes on with the next shorter, through at most [`NESTED_EXPIRED`] of them.
#[inline(always)]
fn covered(address_len: u32, now_ns: u64, lookup: impl Fn(u32) -> Option<Hit>) -> bool {
    let mut prefix_len = address_len;
    for _ in 0..=NESTED_EXPIRED {
        let Some(hit) = lookup(prefix_len) else {
            return false;
        };
        if hit.is_live(now_ns) {
            return true;
        }
        // An entry whose length is 0, or not below the one just tried (a foreign writer), leaves nothing to look for.
        let Some(shorter) = u32::from(hit.prefix_len).checked_sub(1) else {
            return false;
        };
        if shorter >= prefix_len {
            return false;
        }
        prefix_len = shorter;
    }
    false
}

/// Expired prefixes nested within each other that a search steps over. User space removes expired entries within
/// seconds; without it, deeper nesting than this reads as not listed.
const NESTED_EXPIRED: u32 = 4;
