//! Names and capacities of the maps. The name is also the pin's file name below the pin directory.

/// `PerCpuArray<Totals>`, indexed by interface slot: per-outcome totals. [`MAX_INTERFACES`] × 512 B × CPUs.
pub const TOTALS: &str = "TOTALS";
/// `Array<InterfaceSlot>`, indexed by interface slot: which interface each slot of [`TOTALS`] belongs to.
pub const INTERFACES: &str = "INTERFACES";
/// `Array<ShieldSettings>` with one element: what user space tells the program at run time.
pub const SETTINGS: &str = "SETTINGS";
/// `LruHashMap<[u8; 4], SourceCounters>`: per-source counters, IPv4 /32.
pub const SOURCES4: &str = "SOURCES4";
/// `LruHashMap<[u8; 8], SourceCounters>`: per-source counters, IPv6 /64.
pub const SOURCES6: &str = "SOURCES6";
/// `HashMap<[u8; 4], Entry>` (no preallocation): blocked IPv4 addresses.
pub const BLOCK4: &str = "BLOCK4";
/// `HashMap<[u8; 16], Entry>` (no preallocation): blocked IPv6 addresses.
pub const BLOCK6: &str = "BLOCK6";
/// `HashMap<[u8; 8], Entry>` (no preallocation): blocked IPv6 /64 prefixes, exact match on the first 64 bits.
pub const BLOCK6_64: &str = "BLOCK6_64";
/// `LpmTrie<[u8; 4], Entry>`: blocked IPv4 prefixes shorter than /32.
pub const BLOCK_LPM4: &str = "BLOCK_LPM4";
/// `LpmTrie<[u8; 16], Entry>`: blocked IPv6 prefixes other than /128 and /64.
pub const BLOCK_LPM6: &str = "BLOCK_LPM6";
/// `LpmTrie<[u8; 4], Entry>`: allowed IPv4 addresses and prefixes.
pub const ALLOW_LPM4: &str = "ALLOW_LPM4";
/// `LpmTrie<[u8; 16], Entry>`: allowed IPv6 addresses and prefixes.
pub const ALLOW_LPM6: &str = "ALLOW_LPM6";
/// `RingBuf` of [`Sample`](crate::Sample): sampled drops, [`SAMPLES_BYTES`].
pub const SAMPLES: &str = "SAMPLES";
/// `PerCpuArray<u64>` with one element: samples that were within the budget but found the ring full.
pub const SAMPLES_LOST: &str = "SAMPLES_LOST";

/// Every map that user space opens, in the order above.
pub const ALL: [&str; 14] = [
    TOTALS,
    INTERFACES,
    SETTINGS,
    SOURCES4,
    SOURCES6,
    BLOCK4,
    BLOCK6,
    BLOCK6_64,
    BLOCK_LPM4,
    BLOCK_LPM6,
    ALLOW_LPM4,
    ALLOW_LPM6,
    SAMPLES,
    SAMPLES_LOST,
];

/// Interfaces one shield can guard.
pub const MAX_INTERFACES: u32 = 64;
/// Size of the sample ring: 256 KiB, about 1,800 samples.
pub const SAMPLES_BYTES: u32 = 256 * 1024;
/// Default capacity of each source map; `[shield.tables] sources`. 1,000,000 × (48 B + about 72 B) = 115 MiB each.
pub const DEFAULT_SOURCES: u32 = 1_000_000;
/// Default capacity of each exact blocklist map; `[shield.tables] blocks`. Memory is taken only for entries present,
/// about 170 B each, plus 16 B of bucket per capacity.
pub const DEFAULT_BLOCKS: u32 = 1_000_000;
/// Default capacity of each prefix map; `[shield.tables] prefixes`. Memory is taken only for entries present.
pub const DEFAULT_PREFIXES: u32 = 65_536;
