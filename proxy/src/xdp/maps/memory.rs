//! What the maps take of kernel memory, as the kernel counts it (`map_mem_usage` of each kind; `memlock` in a map's
//! fdinfo).

use aya::maps::MapType;
use weir_common::maps::{NOTES, OWN};

use super::super::Tables;
use super::shape::Shape;

/// Kernel memory of one map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapMemory {
    /// As in [`weir_common::maps`]. A map of maps stands for what it holds.
    pub name: &'static str,
    /// Entries it has room for.
    pub entries: u32,
    /// Bytes that it takes empty.
    pub bytes: u64,
    /// Bytes that it takes full.
    pub bytes_full: u64,
}

/// Every map's memory under `tables`. While a set of lists is exchanged for another, both take theirs.
pub fn map_memory(tables: &Tables) -> Vec<MapMemory> {
    let cpus = aya::util::nr_cpus().map_or(1, |cpus| cpus as u64);
    let shapes = Shape::ALL
        .into_iter()
        .map(|outer| Shape::inner(outer.name).unwrap_or(outer));
    shapes
        .map(|shape| {
            let entries = shape.entries(tables);
            let (bytes, bytes_full) = bytes(&shape, u64::from(entries), cpus);
            MapMemory {
                name: shape.name,
                entries,
                bytes,
                bytes_full,
            }
        })
        .collect()
}

/// Of a map empty and full.
fn bytes(shape: &Shape, entries: u64, cpus: u64) -> (u64, u64) {
    let (key, value) = (rounded(shape.key), rounded(shape.value));
    let element = HASH_ELEMENT + key + value;
    let buckets = entries.next_power_of_two() * BUCKET;
    match shape.kind {
        MapType::Array => same(entries * value),
        MapType::PerCpuArray => same(entries * (POINTER + value * cpus)),
        MapType::RingBuf => same(entries),
        MapType::LruHash => same(entries * element + buckets),
        MapType::Hash if [NOTES, OWN].contains(&shape.name) => {
            (buckets, buckets + entries * (ALLOCATION + element))
        }
        MapType::Hash => same((entries + cpus) * element + buckets),
        // A node for each entry and, at most, another one that only branches.
        MapType::LpmTrie => (0, 2 * entries * allocated(TRIE_NODE + data(shape) + value)),
        _ => same(0),
    }
}

/// A trie's key without the prefix length in front of it.
fn data(shape: &Shape) -> u64 {
    shape.key as u64 - 4
}

const fn same(bytes: u64) -> (u64, u64) {
    (bytes, bytes)
}

fn rounded(bytes: usize) -> u64 {
    bytes.next_multiple_of(8) as u64
}

/// What the kernel's allocator takes for as many bytes: it has sizes of powers of two, and 96.
fn allocated(bytes: u64) -> u64 {
    let bytes = bytes + ALLOCATION;
    if (65..=96).contains(&bytes) {
        96
    } else {
        bytes.next_power_of_two()
    }
}

/// `struct htab_elem`
const HASH_ELEMENT: u64 = 48;
/// `struct bucket`
const BUCKET: u64 = 16;
/// `struct lpm_trie_node` without its key and value
const TRIE_NODE: u64 = 24;
/// What the allocator of BPF maps puts in front of an element that is made when it is needed.
const ALLOCATION: u64 = 8;
const POINTER: u64 = 8;

#[cfg(test)]
mod tests {
    use weir_common::maps::{DEFAULT_BLOCKS, DEFAULT_PREFIXES, DEFAULT_SOURCES};

    use super::*;

    #[test]
    fn the_default_tables_take_less_than_350_mebibytes_when_all_are_full() {
        let maps = map_memory(&Tables {
            sources: DEFAULT_SOURCES,
            blocks: DEFAULT_BLOCKS,
            prefixes: DEFAULT_PREFIXES,
        });
        let sum = |bytes: fn(&MapMemory) -> u64| maps.iter().map(bytes).sum::<u64>() >> 20;
        assert!(sum(|map| map.bytes_full) < 350, "{maps:?}");
        assert!(maps.iter().all(|map| map.bytes <= map.bytes_full));
    }
}
