//! Entries of the allow and block lists.

use crate::Text;
use crate::time::epoch_ns;

/// Longest origin of an entry in bytes: `config`, `cli`, `detect:<rule>`, `feed:<name>`, `cluster:<node>`.
pub const ORIGIN_BYTES: usize = 32;
/// Longest reason of an entry in bytes.
pub const REASON_BYTES: usize = 48;

/// Value of every list map: 24 bytes. What is said in words lies once per wording in the `NOTES` map, so a million
/// entries cost no more memory than their numbers, and the command line can explain an entry when no weir runs.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When the entry ends to have an effect, `CLOCK_MONOTONIC`, in the upper 56 bits (2^8 ns); 0 = never. The XDP program
    /// checks it, so an entry ends on time even when no weir runs. The lower 8 bits hold the prefix length. See
    /// [`Entry::expires_ns`] and [`Entry::prefix_len`].
    pub expiry_and_len: u64,
    /// Packets that were dropped (or would have been) because of the entry. The program adds to it.
    pub hits: u64,
    /// When the entry was made, in [epochs](crate::time::EPOCH_SHIFT).
    pub added_epoch: u32,
    /// Key in the `NOTES` map: who made it, and why. 0 = not known.
    pub note: u32,
}

/// Value of the `NOTES` map: 80 bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    /// Who made it: `config`, `cli`, `detect:<rule>`.
    pub origin: Text<ORIGIN_BYTES>,
    /// Why, in the words of whoever made it.
    pub reason: Text<REASON_BYTES>,
}

impl Entry {
    /// An entry nobody has hit yet. An `expires_ns` other than 0 is rounded up to the next 256 ns.
    pub const fn new(expires_ns: u64, prefix_len: u8, added_epoch: u32, note: u32) -> Self {
        let expiry = expires_ns.saturating_add(LEN_MASK) & !LEN_MASK;
        Self {
            expiry_and_len: expiry | prefix_len as u64,
            hits: 0,
            added_epoch,
            note,
        }
    }

    /// When the entry ends to have an effect, `CLOCK_MONOTONIC`; 0 = never.
    #[inline(always)]
    pub const fn expires_ns(&self) -> u64 {
        self.expiry_and_len & !LEN_MASK
    }

    /// Length of the prefix the entry is for, as in its LPM key. A longest-prefix lookup shows only the most specific
    /// entry; when that one has expired, the XDP program looks on with a shorter prefix, so that a short block inside
    /// a permanent one does not open a hole when it ends.
    #[inline(always)]
    pub const fn prefix_len(&self) -> u8 {
        (self.expiry_and_len & LEN_MASK) as u8
    }

    /// Whether the entry has an effect at `now_ns`.
    #[inline(always)]
    pub const fn is_live(&self, now_ns: u64) -> bool {
        is_live(self.expires_ns(), now_ns)
    }

    /// When the entry was made, `CLOCK_MONOTONIC`, to 268 ms.
    pub const fn added_ns(&self) -> u64 {
        epoch_ns(self.added_epoch)
    }
}

/// Whether an entry that ends at `expires_ns` (0 = never) has an effect at `now_ns`.
#[inline(always)]
pub const fn is_live(expires_ns: u64, now_ns: u64) -> bool {
    expires_ns == 0 || now_ns < expires_ns
}

const LEN_MASK: u64 = 0xff;

const _: () = assert!(size_of::<Entry>() == 24);
const _: () = assert!(size_of::<Note>() == 80);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_and_prefix_length_share_a_word_and_come_back() {
        let entry = Entry::new(1_000_000_001, 24, 7, 3);
        assert_eq!(entry.prefix_len(), 24);
        assert_eq!(entry.expires_ns(), 1_000_000_256);
        assert!(entry.is_live(1_000_000_255));
        assert!(!entry.is_live(1_000_000_256));
    }

    #[test]
    fn an_entry_without_end_is_live_for_ever() {
        let entry = Entry::new(0, 128, 0, 0);
        assert_eq!((entry.expires_ns(), entry.prefix_len()), (0, 128));
        assert!(entry.is_live(u64::MAX));
    }

    #[test]
    fn the_latest_end_that_can_be_is_not_read_as_never() {
        assert_ne!(Entry::new(u64::MAX, 32, 0, 0).expires_ns(), 0);
    }
}
