//! Entries of the allow and block lists.

use crate::Text;

/// Longest origin of an entry in bytes: `config`, `cli`, `detect:<rule>`, `feed:<name>`, `cluster:<node>`.
pub const ORIGIN_BYTES: usize = 32;
/// Longest reason of an entry in bytes.
pub const REASON_BYTES: usize = 48;

/// Value of every list map: 16 bytes, because there may be millions. What is said in words lies once per wording in the
/// `NOTES` map, so that the command line can explain an entry when no weir runs.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When the entry ends to have an effect, in the upper 38 bits (2^22 ns, a tick of the program's clock; 36 years of
    /// uptime), and when it was made, in the lower 26 (2^31 ns; 4 years, then it wraps). See [`Entry::expires_ns`] and
    /// [`Entry::added_ns`]. The XDP program checks the end, so an entry ends on time even when no weir runs.
    pub expiry_and_added: u64,
    /// Packets in the upper 41 bits, to which the program adds [`Entry::HIT`] each; key in the `NOTES` map in 15; length of
    /// the prefix in 8. One word, so that 2 × 10^12 packets fit: ten million a second for 2 days. Then it wraps.
    pub hits_note_and_len: u64,
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
    /// One packet in [`Entry::hits_note_and_len`].
    pub const HIT: u64 = 1 << HITS_AT;

    /// An entry nobody has hit yet. An `expires_ns` other than 0 is rounded up to the next 2^22 ns (4.2 ms), or down to the
    /// last there can be. `note` is 0 to [`NOTE_MAX`]; any other is not kept.
    pub const fn new(expires_ns: u64, prefix_len: u8, added_ns: u64, note: u32) -> Self {
        let expiry = expires_ns.div_ceil(1 << EXPIRY_SHIFT);
        let expiry = if expiry > EXPIRY_MAX {
            EXPIRY_MAX
        } else {
            expiry
        };
        let added = (added_ns >> ADDED_SHIFT) & ADDED_MASK;
        let note = if note > NOTE_MAX { 0 } else { note as u64 };
        Self {
            expiry_and_added: expiry << EXPIRY_AT | added,
            hits_note_and_len: note << NOTE_AT | prefix_len as u64,
        }
    }

    /// The same with so many hits.
    #[must_use]
    pub const fn with_hits(self, hits: u64) -> Self {
        let rest = self.hits_note_and_len & (Self::HIT - 1);
        Self {
            hits_note_and_len: hits << HITS_AT | rest,
            ..self
        }
    }

    /// When the entry ends to have an effect, `CLOCK_MONOTONIC`; 0 = never.
    #[inline(always)]
    pub const fn expires_ns(&self) -> u64 {
        (self.expiry_and_added >> EXPIRY_AT) << EXPIRY_SHIFT
    }

    /// Length of the prefix the entry is for, as in its LPM key. A longest-prefix lookup shows only the most specific
    /// entry; when that one has expired, the XDP program looks on with a shorter prefix, so that a short block inside
    /// a permanent one does not open a hole when it ends.
    #[inline(always)]
    pub const fn prefix_len(&self) -> u8 {
        (self.hits_note_and_len & LEN_MASK) as u8
    }

    /// Whether the entry has an effect at `now_ns`.
    #[inline(always)]
    pub const fn is_live(&self, now_ns: u64) -> bool {
        is_live(self.expires_ns(), now_ns)
    }

    /// Packets that were dropped (or would have been) because of the entry.
    pub const fn hits(&self) -> u64 {
        self.hits_note_and_len >> HITS_AT
    }

    /// Key in the `NOTES` map: who made it, and why. 0 = not known.
    pub const fn note(&self) -> u32 {
        (self.hits_note_and_len >> NOTE_AT & NOTE_MASK) as u32
    }

    /// When the entry was made, `CLOCK_MONOTONIC`, rounded down to 2.1 s.
    pub const fn added_ns(&self) -> u64 {
        (self.expiry_and_added & ADDED_MASK) << ADDED_SHIFT
    }
}

/// Whether an entry that ends at `expires_ns` (0 = never) has an effect at `now_ns`.
#[inline(always)]
pub const fn is_live(expires_ns: u64, now_ns: u64) -> bool {
    expires_ns == 0 || now_ns < expires_ns
}

/// Largest key in the `NOTES` map.
pub const NOTE_MAX: u32 = (1 << (HITS_AT - NOTE_AT)) - 1;

const EXPIRY_AT: u32 = 26;
const EXPIRY_SHIFT: u32 = 22;
const EXPIRY_MAX: u64 = (1 << (64 - EXPIRY_AT)) - 1;
const ADDED_SHIFT: u32 = 31;
const ADDED_MASK: u64 = (1 << EXPIRY_AT) - 1;
const HITS_AT: u32 = 23;
const NOTE_AT: u32 = 8;
const NOTE_MASK: u64 = NOTE_MAX as u64;
const LEN_MASK: u64 = 0xff;

const _: () = assert!(size_of::<Entry>() == 16);
const _: () = assert!(size_of::<Note>() == 80);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_words_comes_back() {
        let (tick, added) = (1 << EXPIRY_SHIFT, 5 << ADDED_SHIFT);
        let entry = Entry::new(300 * tick - 1, 128, added + 9, NOTE_MAX).with_hits(7);
        assert_eq!((entry.prefix_len(), entry.note()), (128, NOTE_MAX));
        assert_eq!((entry.hits(), entry.added_ns()), (7, added));
        assert_eq!(entry.expires_ns(), 300 * tick);
        assert!(entry.is_live(300 * tick - 1));
        assert!(!entry.is_live(300 * tick));
    }

    #[test]
    fn a_hit_changes_nothing_else_not_even_when_hits_wrap() {
        let entry = Entry::new(9, 24, 0, NOTE_MAX).with_hits(u64::MAX);
        assert_eq!(entry.hits(), u64::MAX >> HITS_AT);
        let hit = Entry {
            hits_note_and_len: entry.hits_note_and_len.wrapping_add(Entry::HIT),
            ..entry
        };
        assert_eq!(hit, entry.with_hits(0));
    }

    #[test]
    fn a_note_without_room_is_none() {
        assert_eq!(Entry::new(0, 32, 0, NOTE_MAX + 1).note(), 0);
    }

    #[test]
    fn an_entry_without_end_is_live_for_ever() {
        let entry = Entry::new(0, 128, 0, 0);
        assert_eq!((entry.expires_ns(), entry.prefix_len()), (0, 128));
        assert!(entry.is_live(u64::MAX));
    }

    #[test]
    fn the_latest_end_that_can_be_is_not_read_as_never() {
        let entry = Entry::new(u64::MAX, 32, u64::MAX, 0);
        assert!(entry.is_live(1 << 59));
        assert_ne!(entry.expires_ns(), 0);
    }
}
