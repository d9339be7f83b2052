//! Entries of the allow and block lists.

use crate::Text;

/// Longest origin of an entry in bytes: `config`, `cli`, `detect:<rule>`, `feed:<name>`, `cluster:<node>`.
pub const ORIGIN_BYTES: usize = 32;
/// Longest reason of an entry in bytes.
pub const REASON_BYTES: usize = 47;

/// Value of every list map: 96 bytes. Self-contained, so that the command line can explain an entry when no weir runs.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When the entry ends to have an effect, `CLOCK_MONOTONIC`; 0 = never. The XDP program checks it, so an entry
    /// ends on time even when no weir runs.
    pub expires_ns: u64,
    /// When the entry was made, `CLOCK_MONOTONIC`.
    pub added_ns: u64,
    /// Who made it: `config`, `cli`, `detect:<rule>`.
    pub origin: Text<ORIGIN_BYTES>,
    /// Why, in the words of whoever made it.
    pub reason: Text<REASON_BYTES>,
    /// Length of the prefix the entry is for, as in its LPM key. A longest-prefix lookup shows only the most specific
    /// entry; when that one has expired, the XDP program looks on with a shorter prefix, so that a short block inside
    /// a permanent one does not open a hole when it ends.
    pub prefix_len: u8,
}

impl Entry {
    /// Whether the entry has an effect at `now_ns`.
    #[inline(always)]
    pub fn is_live(&self, now_ns: u64) -> bool {
        is_live(self.expires_ns, now_ns)
    }
}

/// Whether an entry that ends at `expires_ns` (0 = never) has an effect at `now_ns`.
#[inline(always)]
pub const fn is_live(expires_ns: u64, now_ns: u64) -> bool {
    expires_ns == 0 || now_ns < expires_ns
}

const _: () = assert!(size_of::<Entry>() == 96);
