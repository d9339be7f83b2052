//! The two sets of list maps and the two arrays of pre-tests, made by the test as user space makes them.

use std::collections::HashSet;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, ArrayOfMaps, HashMap, InnerMap, Map, MapData};
use weir_common::bits::WORDS;
use weir_common::{Entry, maps};
use weir_ebpf::host::{Lists, Place, Rule};

/// One array of pre-tests.
pub(crate) struct Bits {
    map: Array<MapData, u64>,
    words: HashSet<u32>,
    untested: bool,
}

/// The list maps of one set.
pub(crate) struct Set {
    block4: HashMap<MapData, [u8; 4], Entry>,
    block6: HashMap<MapData, [u8; 16], Entry>,
    block_lpm4: LpmTrie<MapData, [u8; 8], Entry>,
    block_lpm6: LpmTrie<MapData, [u8; 16], Entry>,
    allow_lpm4: LpmTrie<MapData, [u8; 8], Entry>,
    allow_lpm6: LpmTrie<MapData, [u8; 16], Entry>,
    rules: Vec<Rule>,
}

impl Bits {
    /// Makes an array in which nobody is listed, and puts it into the object's map of maps at `index`.
    pub(crate) fn install(ebpf: &mut Ebpf, index: u32) -> Self {
        let map = Array::create(WORDS, 0).expect("the kernel makes an array");
        put(ebpf, maps::BITS, index, &map);
        Self {
            map,
            words: HashSet::new(),
            untested: false,
        }
    }

    /// Sets every bit, for good: the pre-tests then promise nothing.
    pub(crate) fn untest(&mut self) {
        for word in 0..WORDS {
            self.set_word(word, u64::MAX);
        }
        self.untested = true;
    }

    pub(crate) fn is_untested(&self) -> bool {
        self.untested
    }

    /// Makes the pre-tests of `lists` the only ones.
    pub(crate) fn fill(&mut self, lists: &Lists) {
        if self.untested {
            return;
        }
        for word in std::mem::take(&mut self.words) {
            self.set_word(word, 0);
        }
        for (word, bits) in lists.words() {
            self.set_word(word, bits);
            self.words.insert(word);
        }
    }

    fn set_word(&mut self, word: u32, bits: u64) {
        self.map
            .set(word, bits, 0)
            .expect("the pre-tests have the word");
    }
}

impl Set {
    /// Makes empty maps and puts them into the object's maps of maps at `index`.
    pub(crate) fn install(ebpf: &mut Ebpf, index: u32) -> Self {
        let hash = "the kernel makes a hash";
        let trie = "the kernel makes a trie";
        let set = Self {
            block4: HashMap::create(ENTRIES_MAX, 0).expect(hash),
            block6: HashMap::create(ENTRIES_MAX, 0).expect(hash),
            block_lpm4: LpmTrie::create(ENTRIES_MAX, NO_PREALLOC).expect(trie),
            block_lpm6: LpmTrie::create(ENTRIES_MAX, NO_PREALLOC).expect(trie),
            allow_lpm4: LpmTrie::create(ENTRIES_MAX, NO_PREALLOC).expect(trie),
            allow_lpm6: LpmTrie::create(ENTRIES_MAX, NO_PREALLOC).expect(trie),
            rules: Vec::new(),
        };
        put(ebpf, maps::BLOCK4, index, &set.block4);
        put(ebpf, maps::BLOCK6, index, &set.block6);
        put(ebpf, maps::BLOCK_LPM4, index, &set.block_lpm4);
        put(ebpf, maps::BLOCK_LPM6, index, &set.block_lpm6);
        put(ebpf, maps::ALLOW_LPM4, index, &set.allow_lpm4);
        put(ebpf, maps::ALLOW_LPM6, index, &set.allow_lpm6);
        set
    }

    /// Makes `rules` the only entries. Their pre-tests come first: an entry has to be found as soon as it is there.
    pub(crate) fn fill(&mut self, rules: &[Rule]) {
        for rule in std::mem::take(&mut self.rules) {
            self.remove(&rule);
        }
        self.rules = rules.to_vec();
        self.reset();
    }

    /// Writes every entry as nobody has hit it.
    pub(crate) fn reset(&mut self) {
        let rules = std::mem::take(&mut self.rules);
        for rule in &rules {
            self.insert(rule, &rule.entry());
        }
        self.rules = rules;
    }

    /// The entry that `rule` made, as it is now.
    pub(crate) fn entry(&self, rule: &Rule) -> Entry {
        let len = u32::from(rule.prefix.len);
        match rule.place() {
            Place::AllowLpm4(address) => self.allow_lpm4.get(&key4(len, address), 0),
            Place::AllowLpm6(address) => self.allow_lpm6.get(&key6(len, address), 0),
            Place::BlockLpm4(address) => self.block_lpm4.get(&key4(len, address), 0),
            Place::BlockLpm6(address) => self.block_lpm6.get(&key6(len, address), 0),
            Place::Block4(address) => self.block4.get(&address.to_be_bytes(), 0),
            Place::Block6(key) => self.block6.get(&octets(key), 0),
        }
        .expect("the rule was inserted")
    }

    fn insert(&mut self, rule: &Rule, entry: &Entry) {
        let len = u32::from(rule.prefix.len);
        match rule.place() {
            Place::AllowLpm4(address) => self.allow_lpm4.insert(&key4(len, address), entry, 0),
            Place::AllowLpm6(address) => self.allow_lpm6.insert(&key6(len, address), entry, 0),
            Place::BlockLpm4(address) => self.block_lpm4.insert(&key4(len, address), entry, 0),
            Place::BlockLpm6(address) => self.block_lpm6.insert(&key6(len, address), entry, 0),
            Place::Block4(address) => self.block4.insert(address.to_be_bytes(), entry, 0),
            Place::Block6(key) => self.block6.insert(octets(key), entry, 0),
        }
        .expect("the map has room");
    }

    /// Twice the same rule is one entry, so it may be gone already.
    fn remove(&mut self, rule: &Rule) {
        let len = u32::from(rule.prefix.len);
        let _ = match rule.place() {
            Place::AllowLpm4(address) => self.allow_lpm4.remove(&key4(len, address)),
            Place::AllowLpm6(address) => self.allow_lpm6.remove(&key6(len, address)),
            Place::BlockLpm4(address) => self.block_lpm4.remove(&key4(len, address)),
            Place::BlockLpm6(address) => self.block_lpm6.remove(&key6(len, address)),
            Place::Block4(address) => self.block4.remove(&address.to_be_bytes()),
            Place::Block6(key) => self.block6.remove(&octets(key)),
        };
    }
}

fn put<M: InnerMap>(ebpf: &mut Ebpf, name: &str, index: u32, inner: &M) {
    let map: &mut Map = ebpf
        .map_mut(name)
        .unwrap_or_else(|| panic!("the object has no map named {name}"));
    ArrayOfMaps::<_, M>::try_from(map)
        .unwrap_or_else(|error| panic!("{name} is no map of maps: {error}"))
        .set(index, inner, 0)
        .unwrap_or_else(|error| panic!("{name} does not take the map: {error}"));
}

/// IPv4 keys are padded to 8 bytes, so that the value behind them is aligned.
fn key4(len: u32, address: u32) -> Key<[u8; 8]> {
    let mut octets = [0; 8];
    octets[..4].copy_from_slice(&address.to_be_bytes());
    Key::new(len, octets)
}

fn key6(len: u32, address: [u64; 2]) -> Key<[u8; 16]> {
    Key::new(len, octets(address))
}

/// Halves in network order.
pub(crate) fn octets(halves: [u64; 2]) -> [u8; 16] {
    weir_common::addr::key128(halves)
}

const ENTRIES_MAX: u32 = 1024;
/// `BPF_F_NO_PREALLOC`
const NO_PREALLOC: u32 = 1;
