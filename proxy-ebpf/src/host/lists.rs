//! Lists on the host: hashes, tries by linear search, and the pre-tests that user space owes the program.

use core::cell::Cell;
use std::collections::HashMap;

use weir_common::addr::BLOCK64_MARKER;
use weir_common::bits::{
    CLASSES6, PrefixList, Probe, RANGE4_LEN, exact4, exact6, prefix4, prefix6,
};
use weir_common::{Entry, ShieldSettings, Source};

use crate::shared::Shared;

/// Which list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum List {
    /// Never dropped by a list or a limit.
    Allow,
    /// Dropped.
    Block,
}

/// An address and how many of its bits count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// The address; bits behind the prefix are 0.
    pub address: Source,
    /// Bits that count.
    pub len: u8,
}

/// One list entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Which list.
    pub list: List,
    /// For whom.
    pub prefix: Prefix,
    /// End of the entry, `CLOCK_MONOTONIC`; 0 = never.
    pub expires_ns: u64,
}

/// The map that an entry belongs into, and its key there without the prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// `ALLOW_LPM4`
    AllowLpm4(u32),
    /// `ALLOW_LPM6`
    AllowLpm6([u64; 2]),
    /// `BLOCK4`
    Block4(u32),
    /// `BLOCK6`
    Block6([u64; 2]),
    /// `BLOCK_LPM4`
    BlockLpm4(u32),
    /// `BLOCK_LPM6`
    BlockLpm6([u64; 2]),
}

/// One set of lists with its pre-tests.
#[derive(Default)]
pub struct Lists {
    /// Every pre-test says "perhaps".
    pub untested: bool,
    words: HashMap<u32, u64>,
    populated: u32,
    pub(super) exact4: HashMap<u32, Cell<Entry>>,
    pub(super) exact6: HashMap<[u64; 2], Cell<Entry>>,
    pub(super) block4: Trie,
    pub(super) block6: Trie,
    pub(super) allow4: Trie,
    pub(super) allow6: Trie,
}

impl Rule {
    /// A rule without end.
    pub const fn new(list: List, address: Source, len: u8) -> Self {
        Self {
            list,
            prefix: Prefix { address, len },
            expires_ns: 0,
        }
    }

    /// The map value.
    pub fn entry(&self) -> Entry {
        Entry::new(self.expires_ns, self.prefix.len, 0, 0)
    }

    /// Where the entry belongs.
    pub fn place(&self) -> Place {
        let Prefix { address, len } = self.prefix;
        match (self.list, address, len) {
            (List::Allow, Source::V4(address), _) => Place::AllowLpm4(address),
            (List::Allow, Source::V6(address), _) => Place::AllowLpm6(address),
            (List::Block, Source::V4(address), 32) => Place::Block4(address),
            (List::Block, Source::V4(address), _) => Place::BlockLpm4(address),
            (List::Block, Source::V6(address), 128) if address[1] != BLOCK64_MARKER => {
                Place::Block6(address)
            }
            (List::Block, Source::V6([head, _]), 64) => Place::Block6([head, BLOCK64_MARKER]),
            (List::Block, Source::V6(address), _) => Place::BlockLpm6(address),
        }
    }
}

impl Place {
    /// Bit of the map in [`ShieldSettings::lists`].
    pub fn bit(self) -> u32 {
        match self {
            Self::AllowLpm4(_) => ShieldSettings::LIST_ALLOW4,
            Self::AllowLpm6(_) => ShieldSettings::LIST_ALLOW6,
            Self::Block4(_) => ShieldSettings::LIST_BLOCK4,
            Self::Block6(_) => ShieldSettings::LIST_BLOCK6,
            Self::BlockLpm4(_) => ShieldSettings::LIST_BLOCK_LPM4,
            Self::BlockLpm6(_) => ShieldSettings::LIST_BLOCK_LPM6,
        }
    }
}

impl Lists {
    /// The lists that `rules` make, with the pre-tests that `settings` ask for.
    pub fn of(rules: &[Rule], settings: &ShieldSettings) -> Self {
        let mut lists = Self::default();
        for rule in rules {
            lists.insert(rule, settings);
        }
        lists
    }

    /// Adds an entry; one with the same key is replaced.
    pub fn insert(&mut self, rule: &Rule, settings: &ShieldSettings) {
        for probe in probes(rule, settings) {
            *self.words.entry(probe.word).or_default() |= probe.mask;
        }
        let (entry, len) = (rule.entry(), u32::from(rule.prefix.len));
        let place = rule.place();
        self.populated |= place.bit() | class_bit(rule);
        match place {
            Place::AllowLpm4(address) => self.allow4.insert(left4(address), len, entry),
            Place::AllowLpm6(address) => self.allow6.insert(left6(address), len, entry),
            Place::BlockLpm4(address) => self.block4.insert(left4(address), len, entry),
            Place::BlockLpm6(address) => self.block6.insert(left6(address), len, entry),
            Place::Block4(address) => drop(self.exact4.insert(address, Cell::new(entry))),
            Place::Block6(key) => drop(self.exact6.insert(key, Cell::new(entry))),
        }
    }

    /// [`ShieldSettings::lists`] of these.
    pub fn populated(&self) -> u32 {
        self.populated
    }

    /// Words of the pre-tests that are not 0.
    pub fn words(&self) -> impl Iterator<Item = (u32, u64)> {
        self.words.iter().map(|(&word, &bits)| (word, bits))
    }

    /// The entry that `rule` made, as it is now.
    pub fn entry(&self, rule: &Rule) -> Option<Entry> {
        let len = u32::from(rule.prefix.len);
        match rule.place() {
            Place::AllowLpm4(address) => self.allow4.get(left4(address), len),
            Place::AllowLpm6(address) => self.allow6.get(left6(address), len),
            Place::BlockLpm4(address) => self.block4.get(left4(address), len),
            Place::BlockLpm6(address) => self.block6.get(left6(address), len),
            Place::Block4(address) => self.exact4.get(&address).map(Cell::get),
            Place::Block6(key) => self.exact6.get(&key).map(Cell::get),
        }
    }

    pub(super) fn bits(&self, word: u32) -> u64 {
        if self.untested {
            return u64::MAX;
        }
        self.words.get(&word).copied().unwrap_or(0)
    }
}

/// Prefixes of one list and IP version.
#[derive(Default)]
pub(super) struct Trie(Vec<(u128, u32, Cell<Entry>)>);

impl Trie {
    /// The longest prefix that covers the first `most` bits of `address`, and is no longer than that.
    pub(super) fn longest(&self, address: u128, most: u32) -> Option<Shared<'_, Entry>> {
        self.0
            .iter()
            .filter(|(prefix, len, _)| *len <= most && (address ^ prefix) & mask(*len) == 0)
            .max_by_key(|(_, len, _)| *len)
            .map(|(_, _, entry)| Shared::of(entry))
    }

    fn insert(&mut self, prefix: u128, len: u32, entry: Entry) {
        self.0
            .retain(|(other, other_len, _)| (*other, *other_len) != (prefix, len));
        self.0.push((prefix, len, Cell::new(entry)));
    }

    fn get(&self, prefix: u128, len: u32) -> Option<Entry> {
        let found = |(other, other_len, _): &&(u128, u32, Cell<Entry>)| {
            (*other, *other_len) == (prefix, len)
        };
        self.0.iter().find(found).map(|(_, _, entry)| entry.get())
    }
}

/// The bits that have to be set before the entry has an effect.
fn probes(rule: &Rule, settings: &ShieldSettings) -> Vec<Probe> {
    let (seed, log2) = (settings.seed, settings.exact_log2);
    let list = match rule.place() {
        Place::Block4(address) => return vec![exact4(address, seed, log2)],
        Place::Block6(key) => return vec![exact6(key, seed, log2)],
        Place::AllowLpm4(_) | Place::AllowLpm6(_) => PrefixList::Allow,
        Place::BlockLpm4(_) | Place::BlockLpm6(_) => PrefixList::Block,
    };
    let len = rule.prefix.len;
    match rule.prefix.address {
        Source::V4(address) => (0..1_u32 << RANGE4_LEN.saturating_sub(len))
            .map(|range| prefix4(list, address | range << (32 - RANGE4_LEN)))
            .collect(),
        Source::V6([head, tail]) => {
            if let Some(class) = CLASSES6.into_iter().find(|class| *class <= len) {
                return vec![prefix6(list, class, [head, tail], seed)];
            }
            let [.., shortest] = CLASSES6;
            (0..1_u64 << (shortest - len))
                .map(|range| prefix6(list, shortest, [head | range << 48, 0], seed))
                .collect()
        }
    }
}

/// The bit of an IPv6 prefix's class in [`ShieldSettings::lists`]; 0 for other entries.
fn class_bit(rule: &Rule) -> u32 {
    let first = match rule.place() {
        Place::AllowLpm6(_) => ShieldSettings::LIST_ALLOW6_CLASS,
        Place::BlockLpm6(_) => ShieldSettings::LIST_BLOCK6_CLASS,
        Place::AllowLpm4(_) | Place::Block4(_) | Place::Block6(_) | Place::BlockLpm4(_) => {
            return 0;
        }
    };
    let class = CLASSES6
        .iter()
        .position(|class| *class <= rule.prefix.len)
        .unwrap_or(CLASSES6.len() - 1);
    first << class
}

/// An IPv4 address in the highest bits.
pub(super) fn left4(address: u32) -> u128 {
    u128::from(address) << 96
}

/// An IPv6 address.
pub(super) fn left6([head, tail]: [u64; 2]) -> u128 {
    u128::from(head) << 64 | u128::from(tail)
}

fn mask(len: u32) -> u128 {
    u128::MAX.checked_shl(128 - len).unwrap_or(0)
}
