//! Pre-tests: bit arrays that say "certainly not listed" for the price of one load, so that most packets skip the hash
//! and trie lookups. A set bit promises nothing; a clear one is final. User space sets bits before it adds an entry, and
//! clears them only by building a whole new array.
//!
//! All live in one array of 64-bit words, [`WORDS`] long.
#![allow(
    clippy::cast_possible_truncation,
    reason = "indices are the highest bits of a hash: 20 or 18 of them"
)]

use crate::hash::mix;

/// Words of an array: 2.5 MiB.
pub const WORDS: u32 = EXACT_AT + (1 << EXACT_LOG2_MAX);
/// Most words for exact addresses, log2: 2^24 bits. At a million entries 8 of 64 bits of a word are set, and 2 % of other
/// addresses find both of theirs.
pub const EXACT_LOG2_MAX: u8 = 18;
/// Fewest words for exact addresses, log2: 32 KiB.
pub const EXACT_LOG2_MIN: u8 = 12;

/// log2 of the words that so many exact addresses get: 16 bits or more each, up to [`EXACT_LOG2_MAX`].
pub const fn exact_log2(entries: usize) -> u8 {
    let mut log2 = EXACT_LOG2_MIN;
    while log2 < EXACT_LOG2_MAX && entries > 4 << log2 {
        log2 += 1;
    }
    log2
}

/// Folds `words`, made for [`EXACT_LOG2_MAX`], so that they answer for `log2`.
pub fn fold(words: &mut [u64], log2: u8) {
    let Some(exact) = words.get_mut(EXACT_AT as usize..) else {
        return;
    };
    let (folded, rest) = exact.split_at_mut(exact.len().min(1 << log2.min(EXACT_LOG2_MAX)));
    for chunk in rest.chunks_mut(folded.len().max(1)) {
        for (into, word) in folded.iter_mut().zip(chunk) {
            *into |= *word;
            *word = 0;
        }
    }
}

/// IPv4: two bits for each /20, one a list, so that one load answers for both.
const PREFIX4_AT: u32 = 0;
const ALLOW6_AT: u32 = 2 << 14;
const BLOCK6_AT: u32 = 3 << 14;
const EXACT_AT: u32 = 4 << 14;

/// One or two bits of one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Index of the word.
    pub word: u32,
    /// The bits in it.
    pub mask: u64,
}

impl Probe {
    /// Whether all bits of the probe are set in `word`.
    #[inline(always)]
    pub const fn hits(self, word: u64) -> bool {
        word & self.mask == self.mask
    }

    #[inline(always)]
    const fn single(at: u32, index: u32) -> Self {
        let index = index & 0xf_ffff;
        Self {
            word: at + (index >> 6),
            mask: 1 << (index & 63),
        }
    }
}

/// Which list of prefixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrefixList {
    /// Allow prefixes.
    Allow,
    /// Block prefixes.
    Block,
}

/// Longest IPv4 prefix that sets one bit for each block of this size: a /20. Longer ones set the bit of their /20.
pub const RANGE4_LEN: u8 = 20;

/// The bit of the /20 that `address` lies in.
#[inline(always)]
pub const fn prefix4(list: PrefixList, address: u32) -> Probe {
    let range = address >> 12;
    let bit = match list {
        PrefixList::Allow => 0,
        PrefixList::Block => 1,
    };
    Probe {
        word: PREFIX4_AT + (range >> 5),
        mask: 1 << ((range & 31) * 2 + bit),
    }
}

/// IPv6 prefixes fall into classes by length, each with a bit of the hash of the first bits that all its members have:
/// at least /48, at least /32, at least /16, and anything shorter (which sets every bit that a /16 below it has).
pub const CLASSES6: [u8; 3] = [48, 32, 16];

/// The bit of the first `class` bits of `address`; `class` is one of [`CLASSES6`].
#[inline(always)]
pub const fn prefix6(list: PrefixList, class: u8, [head, _]: [u64; 2], seed: u64) -> Probe {
    let at = match list {
        PrefixList::Allow => ALLOW6_AT,
        PrefixList::Block => BLOCK6_AT,
    };
    let shift = 64 - class as u32;
    let bits = (head >> shift) << shift | class as u64;
    Probe::single(at, (mix(bits, seed) >> 44) as u32)
}

/// Two bits in one word for an exact IPv4 address. `log2`: [`ShieldSettings::exact_log2`](crate::ShieldSettings::exact_log2).
#[inline(always)]
pub const fn exact4(address: u32, seed: u64, log2: u8) -> Probe {
    exact(mix(address as u64 | 1 << 32, seed), log2)
}

/// Two bits in one word for a key of `BLOCK6`, in halves: a whole address, or a /64 with
/// [`BLOCK64_MARKER`](crate::addr::BLOCK64_MARKER).
#[inline(always)]
pub const fn exact6(halves: [u64; 2], seed: u64, log2: u8) -> Probe {
    exact(mix128(halves, seed), log2)
}

#[inline(always)]
const fn mix128([head, tail]: [u64; 2], seed: u64) -> u64 {
    mix(head ^ mix(tail, seed), seed)
}

#[inline(always)]
const fn exact(hash: u64, log2: u8) -> Probe {
    let word = (hash >> (64 - EXACT_LOG2_MAX as u32)) as u32;
    Probe {
        // Fewer words are the same ones, folded.
        word: EXACT_AT + (word & ((1 << (log2 & 31)) - 1)),
        mask: 1 << (hash & 63) | 1 << ((hash >> 6) & 63),
    }
}

/// Two bits in one word of [`ShieldSettings::own`](crate::ShieldSettings::own) for an address of this host.
#[inline(always)]
pub const fn own(source: crate::Source, seed: u64) -> Probe {
    let hash = match source {
        crate::Source::V4(address) => mix(address as u64 | 2 << 32, seed),
        crate::Source::V6(halves) => mix128(halves, !seed),
    };
    Probe {
        word: (hash >> 61) as u32,
        mask: 1 << (hash & 63) | 1 << ((hash >> 6) & 63),
    }
}

const _: () = assert!(crate::settings::OWN_WORDS == 8);

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn every_probe_lies_within_the_array_and_in_its_own_part() {
        for byte in 0..=255_u8 {
            let v4 = u32::from_be_bytes([byte; 4]);
            let v6 = [u64::from_be_bytes([byte; 8]); 2];
            for (probe, from, to) in [
                (prefix4(PrefixList::Allow, v4), PREFIX4_AT, ALLOW6_AT),
                (prefix4(PrefixList::Block, v4), PREFIX4_AT, ALLOW6_AT),
                (prefix6(PrefixList::Allow, 48, v6, 9), ALLOW6_AT, BLOCK6_AT),
                (prefix6(PrefixList::Block, 16, v6, 9), BLOCK6_AT, EXACT_AT),
                (exact4(v4, 9, 18), EXACT_AT, WORDS),
                (exact6(v6, 9, 12), EXACT_AT, EXACT_AT + 4096),
            ] {
                assert!((from..to).contains(&probe.word), "{byte}: {probe:?}");
                assert!(probe.mask != 0);
            }
            assert!(own(crate::Source::V4(v4), 9).word < 8);
            assert!(own(crate::Source::V6(v6), 9).word < 8);
        }
    }

    #[test]
    fn folded_words_answer_as_those_made_for_fewer() {
        for log2 in EXACT_LOG2_MIN..=EXACT_LOG2_MAX {
            let mut folded = std::vec![0_u64; WORDS as usize];
            let mut made = folded.clone();
            for address in (0..1_000_000).step_by(997) {
                let probe = exact4(address, 5, EXACT_LOG2_MAX);
                folded[probe.word as usize] |= probe.mask;
                let probe = exact4(address, 5, log2);
                made[probe.word as usize] |= probe.mask;
            }
            fold(&mut folded, log2);
            assert!(folded == made, "{log2}");
        }
    }

    #[test]
    fn every_exact_address_gets_sixteen_bits_or_more_while_there_are_enough() {
        for (entries, log2) in [
            (0, 12),
            (16_384, 12),
            (16_385, 13),
            (65_536, 14),
            (1 << 20, 18),
            (usize::MAX >> 8, 18),
        ] {
            assert_eq!(exact_log2(entries), log2, "{entries}");
        }
    }

    #[test]
    fn the_lists_of_one_range_share_a_word_and_no_bit() {
        let allow = prefix4(PrefixList::Allow, 0xc612_0007);
        let block = prefix4(PrefixList::Block, 0xc612_0fff);
        assert_eq!(allow.word, block.word);
        assert_eq!(allow.mask & block.mask, 0);
        assert_ne!(prefix4(PrefixList::Block, 0xc612_1000), block);
    }

    #[test]
    fn addresses_of_one_class_share_a_bit_and_others_rarely_do() {
        let a = [0x2001_0db8_0001_0002, 7];
        let before = prefix6(PrefixList::Block, 48, a, 5);
        let neighbour = [0x2001_0db8_0001_0102, 99];
        assert_eq!(prefix6(PrefixList::Block, 48, neighbour, 5), before);
        let other = [0x2001_0db8_0002_0002, 7];
        assert_ne!(prefix6(PrefixList::Block, 48, other, 5), before);
        assert_ne!(
            prefix6(PrefixList::Block, 32, a, 5),
            prefix6(PrefixList::Block, 16, a, 5)
        );
    }
}
