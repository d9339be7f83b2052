//! The pre-tests of a set ([`weir_common::bits`]): which bits an entry sets, and the map they lie in.
//!
//! A set bit promises nothing, a clear one that nothing is listed there; so bits are set before an entry goes in, stay
//! when it goes, and are cleared only by exchanging the whole array for one made of the entries that there are.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use aya::maps::{Array, Map, MapData};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weir_common::addr::{BLOCK64_MARKER, Source};
use weir_common::bits::{
    CLASSES6, EXACT_LOG2_MAX, PrefixList, Probe, RANGE4_LEN, WORDS, exact4, exact6, prefix4,
    prefix6,
};
use weir_common::{ShieldSettings, batch, bits, maps};

use super::super::ShieldError;
use super::super::pins::{self, PinDir};
use super::inner;
use super::keys::{Table, halves};
use super::shape::Shape;
use super::{duplicate, unusable};

/// The bits of a set that is in the kernel.
pub(super) struct Bits {
    map: Array<MapData, u64>,
    fd: OwnedFd,
}

/// All bits of a set, in this process. Those of exact addresses are spread over as many words as there can be, until
/// they are [folded](Self::fold).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    words: Vec<u64>,
    /// Exact addresses added.
    exact: usize,
}

impl Bits {
    pub(super) fn open(data: MapData) -> Result<Self, ShieldError> {
        let fd = duplicate(&data)?;
        let map = Map::from_map_data(data)
            .and_then(Array::try_from)
            .map_err(|error| unusable(maps::BITS, &error))?;
        Ok(Self { map, fd })
    }

    /// Makes a map of `words` and pins it at `path`, where it appears whole.
    pub(super) fn create(pins: &PinDir, path: &Path, words: &Words) -> Result<(), ShieldError> {
        let unfinished = pins.next_map(maps::BITS);
        inner::create(maps::BITS, &unfinished, || {
            Ok(Array::<_, u64>::create(WORDS, 0)?.pin(&unfinished)?)
        })?;
        let shape = Shape::inner(maps::BITS).expect("invariant: the bits have a shape");
        Self::open(shape.open(&unfinished, None)?.0)?.write(&words.set())?;
        pins::rename(&unfinished, path)
    }

    /// Sets the bits that an entry of `network` needs.
    pub(super) fn add(
        &mut self,
        table: Table,
        network: &IpNet,
        settings: &ShieldSettings,
    ) -> Result<(), ShieldError> {
        let mut wanted: BTreeMap<u32, u64> = BTreeMap::new();
        let (seed, exact_log2) = (settings.seed, settings.exact_log2);
        probes(table, network, seed, exact_log2, &mut |probe| {
            *wanted.entry(probe.word).or_default() |= probe.mask;
        });
        let mut missing = Vec::new();
        for (word, mask) in wanted {
            let found = self
                .map
                .get(&word, 0)
                .map_err(|error| unusable(maps::BITS, &error))?;
            if found | mask != found {
                missing.push((word, found | mask));
            }
        }
        self.write(&missing)
    }

    /// All of them.
    pub(super) fn read(&self) -> Result<Words, ShieldError> {
        let mut words = Words::none();
        batch::walk(
            self.fd.as_fd(),
            (0_u32, 0_u64),
            WORDS as usize,
            |index, bits| words.words[index as usize] = bits,
        )
        .map_err(|error| failed(&error))?;
        Ok(words)
    }

    fn write(&mut self, words: &[(u32, u64)]) -> Result<(), ShieldError> {
        if let [(word, bits)] = *words {
            let written = self.map.set(word, bits, 0);
            return written.map_err(|error| unusable(maps::BITS, &error));
        }
        let (indices, values): (Vec<u32>, Vec<u64>) = words.iter().copied().unzip();
        batch::update(self.fd.as_fd(), &indices, &values).map_err(|error| failed(&error))
    }
}

impl Words {
    /// None set.
    pub(super) fn none() -> Self {
        Self {
            words: vec![0; WORDS as usize],
            exact: 0,
        }
    }

    /// Sets the bits that an entry of `network` needs.
    pub(super) fn add(&mut self, table: Table, network: &IpNet, seed: u64) {
        self.exact += usize::from(table.is_exact());
        probes(table, network, seed, EXACT_LOG2_MAX, &mut |probe| {
            self.words[probe.word as usize] |= probe.mask;
        });
    }

    /// What [`ShieldSettings::exact_log2`] should be for the addresses that were added.
    pub(super) fn exact_log2(&self) -> u8 {
        bits::exact_log2(self.exact)
    }

    /// The bits as the program asks for them by that `exact_log2`.
    pub(super) fn fold(&mut self, exact_log2: u8) {
        bits::fold(&mut self.words, exact_log2);
    }

    /// Sets every bit that `other` has.
    pub(super) fn join(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// How many are set.
    pub(super) fn count(&self) -> u64 {
        self.words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// How many are set that are not in `needed`.
    pub(super) fn beyond(&self, needed: &Self) -> u64 {
        let pairs = self.words.iter().zip(&needed.words);
        pairs
            .map(|(word, needed)| u64::from((word & !needed).count_ones()))
            .sum()
    }

    /// The words that have any.
    fn set(&self) -> Vec<(u32, u64)> {
        (0..)
            .zip(&self.words)
            .filter(|(_, word)| **word != 0)
            .map(|(index, word)| (index, *word))
            .collect()
    }
}

/// Shows the bits that an entry of `network` in `table` needs to `set`.
fn probes(table: Table, network: &IpNet, seed: u64, exact_log2: u8, set: &mut dyn FnMut(Probe)) {
    let list = match table {
        Table::Allow4 | Table::Allow6 => PrefixList::Allow,
        _ => PrefixList::Block,
    };
    match (table, network) {
        (Table::Block4, IpNet::V4(v4)) => set(exact4(v4.addr().to_bits(), seed, exact_log2)),
        (Table::Block6, IpNet::V6(v6)) => set(exact6(exact_halves(v6), seed, exact_log2)),
        (_, IpNet::V4(v4)) => prefix_probes4(list, *v4, set),
        (_, IpNet::V6(v6)) => prefix_probes6(list, v6, seed, set),
    }
}

/// Of a key of the `BLOCK6` map.
fn exact_halves(network: &Ipv6Net) -> [u64; 2] {
    let [head, tail] = halves(network.addr());
    let is_prefix = network.prefix_len() == 64;
    [head, if is_prefix { BLOCK64_MARKER } else { tail }]
}

/// The bit of each /20 that the prefix covers or lies in.
fn prefix_probes4(list: PrefixList, network: Ipv4Net, set: &mut dyn FnMut(Probe)) {
    let first = prefix4(list, network.network().to_bits());
    let last = prefix4(list, network.broadcast().to_bits());
    if network.prefix_len() >= RANGE4_LEN {
        set(first);
    } else if first.word == last.word {
        // From the first bit to the last, both included; the other list's bits lie between them.
        let mask = ((last.mask - first.mask) | last.mask) & every(first.mask);
        set(Probe { mask, ..first });
    } else {
        for word in first.word..=last.word {
            set(Probe {
                word,
                mask: every(first.mask),
            });
        }
    }
}

/// All bits of a word that belong to the list that `bit` belongs to: every other one.
fn every(bit: u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    if bit & EVEN == 0 { !EVEN } else { EVEN }
}

/// The bit of the prefix in its class, or of every /16 in it if it is shorter than those.
fn prefix_probes6(list: PrefixList, network: &Ipv6Net, seed: u64, set: &mut dyn FnMut(Probe)) {
    let [head, tail] = halves(network.addr());
    let class = CLASSES6
        .into_iter()
        .find(|&class| network.prefix_len() >= class);
    if let Some(class) = class {
        return set(prefix6(list, class, [head, tail], seed));
    }
    let [.., shortest] = CLASSES6;
    for below in 0..1_u64 << (shortest - network.prefix_len()) {
        let head = head | below << (u64::BITS - u32::from(shortest));
        set(prefix6(list, shortest, [head, tail], seed));
    }
}

/// Bits of this host's own addresses, as [`weir_common::ShieldSettings::own`] has them.
pub(super) fn own(addresses: impl IntoIterator<Item = Source>, seed: u64) -> [u64; 8] {
    let mut words = [0; 8];
    for address in addresses {
        let probe = bits::own(address, seed);
        words[probe.word as usize] |= probe.mask;
    }
    words
}

fn failed(error: &std::io::Error) -> ShieldError {
    ShieldError::kernel("use the map `BITS`", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(table: Table, network: &str) -> Words {
        let mut words = Words::none();
        words.add(table, &network.parse().expect("a network"), 7);
        words
    }

    fn hits(words: &Words, probe: Probe) -> bool {
        probe.hits(words.words[probe.word as usize])
    }

    fn v4(text: &str) -> u32 {
        text.parse::<std::net::Ipv4Addr>()
            .expect("an address")
            .to_bits()
    }

    fn v6(text: &str) -> [u64; 2] {
        halves(text.parse().expect("an address"))
    }

    #[test]
    fn an_ipv4_prefix_sets_the_bit_of_every_range_it_touches_and_no_other() {
        for (network, inside, outside, count) in [
            ("198.51.100.0/24", "198.51.100.1", "198.52.0.0", 1),
            ("198.51.96.0/20", "198.51.111.255", "198.51.112.0", 1),
            ("198.51.96.0/19", "198.51.127.255", "198.51.128.0", 2),
            ("10.4.0.0/14", "10.7.255.255", "10.8.0.0", 64),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0", 4096),
            ("0.0.0.0/0", "255.255.255.255", "", 1 << 20),
        ] {
            let words = words(Table::BlockLpm4, network);
            assert!(
                hits(&words, prefix4(PrefixList::Block, v4(inside))),
                "{network}"
            );
            if !outside.is_empty() {
                assert!(
                    !hits(&words, prefix4(PrefixList::Block, v4(outside))),
                    "{network}"
                );
            }
            assert_eq!(words.count(), count, "{network}");
        }
    }

    #[test]
    fn an_ipv6_prefix_sets_the_bit_that_the_program_asks_for_in_its_class() {
        for (network, class) in [
            ("2001:db8:1:2::/65", 48),
            ("2001:db8:1::/48", 48),
            ("2001:db8::/47", 32),
            ("2001:db8::/32", 32),
            ("2001:d00::/24", 16),
            ("2001::/16", 16),
            ("2000::/15", 16),
            ("2000::/3", 16),
            ("::/0", 16),
        ] {
            let words = words(Table::Allow6, network);
            let probe = prefix6(PrefixList::Allow, class, v6("2001:db8:1:2::77"), 7);
            assert!(hits(&words, probe), "{network}");
        }
        assert_eq!(words(Table::Allow6, "2001:db8::/32").count(), 1);
    }

    #[test]
    fn exact_entries_set_two_bits_a_64_under_its_marker() {
        let words4 = words(Table::Block4, "192.0.2.1/32");
        assert!(hits(&words4, exact4(v4("192.0.2.1"), 7, EXACT_LOG2_MAX)));
        let words64 = words(Table::Block6, "2001:db8::/64");
        let [head, _] = v6("2001:db8::");
        assert!(hits(
            &words64,
            exact6([head, BLOCK64_MARKER], 7, EXACT_LOG2_MAX)
        ));
        let words128 = words(Table::Block6, "2001:db8::1/128");
        assert!(hits(
            &words128,
            exact6(v6("2001:db8::1"), 7, EXACT_LOG2_MAX)
        ));
        assert!(words128.count() <= 2);
    }

    #[test]
    fn what_is_set_beyond_need_is_counted() {
        let mut there = words(Table::BlockLpm4, "10.0.0.0/8");
        let needed = words(Table::BlockLpm4, "10.0.0.0/9");
        assert_eq!(there.beyond(&needed), 2048);
        there = needed.clone();
        assert_eq!(there.beyond(&needed), 0);
    }
}
