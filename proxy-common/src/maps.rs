//! Names, kinds and capacities of the maps. The name is also the pin's file name below the pin directory.
//!
//! Lists, their pre-tests and the settings lie behind maps of maps, so that user space exchanges them whole. The inner
//! maps are pinned too, under the name with the set's number, because finding a map by its kernel id takes `CAP_SYS_ADMIN`.

/// `PerCpuArray<Totals>`, indexed by interface slot. [`MAX_INTERFACES`] × 1 KiB × CPUs.
pub const TOTALS: &str = "TOTALS";
/// `Array<InterfaceSlot>`, indexed by interface slot: which interface each slot of [`TOTALS`] belongs to.
pub const INTERFACES: &str = "INTERFACES";
/// `ArrayOfMaps<Array<ShieldSettings>>` of one: what user space tells the program at run time.
pub const SETTINGS: &str = "SETTINGS";
/// `LruHashMap<[u8; 8], SourceState>` by [`source_key`](crate::addr::source_key): IPv4 /32 and IPv6 /64.
pub const SOURCES: &str = "SOURCES";
/// `LruHashMap<[u8; 8], PrefixState>` by [`prefix_key`](crate::addr::prefix_key): IPv4 /24 and IPv6 /48.
pub const PREFIXES: &str = "PREFIXES";
/// `Array<[u32; 2]>` of half as many as there are [`CELLS`](crate::source::sketch::CELLS): which sources and prefixes are heavy, or have a state.
pub const SKETCH: &str = "SKETCH";
/// `PerCpuArray<CpuState>` of one.
pub const CPU: &str = "CPU";
/// `Array<Pressure>` of one.
pub const PRESSURE: &str = "PRESSURE";
/// `ArrayOfMaps<Array<u64>>` of [`SETS`]: pre-tests, [`WORDS`](crate::bits::WORDS) words each.
pub const BITS: &str = "BITS";
/// `ArrayOfMaps<HashMap<[u8; 4], Entry>>` of [`SETS`]: blocked IPv4 addresses.
pub const BLOCK4: &str = "BLOCK4";
/// `ArrayOfMaps<HashMap<[u8; 16], Entry>>` of [`SETS`]: blocked IPv6 addresses, and /64 prefixes by
/// [`block64_key`](crate::addr::block64_key).
pub const BLOCK6: &str = "BLOCK6";
/// `ArrayOfMaps<LpmTrie<[u8; 8], Entry>>` of [`SETS`]: blocked IPv4 prefixes shorter than /32. The address is followed
/// by four zero bytes, so that the entry behind the key is aligned.
pub const BLOCK_LPM4: &str = "BLOCK_LPM4";
/// `ArrayOfMaps<LpmTrie<[u8; 16], Entry>>` of [`SETS`]: blocked IPv6 prefixes other than /128 and /64.
pub const BLOCK_LPM6: &str = "BLOCK_LPM6";
/// `ArrayOfMaps<LpmTrie<[u8; 8], Entry>>` of [`SETS`]: allowed IPv4 addresses and prefixes. Keys as of
/// [`BLOCK_LPM4`].
pub const ALLOW_LPM4: &str = "ALLOW_LPM4";
/// `ArrayOfMaps<LpmTrie<[u8; 16], Entry>>` of [`SETS`]: allowed IPv6 addresses and prefixes.
pub const ALLOW_LPM6: &str = "ALLOW_LPM6";
/// `HashMap<u32, Note>` (no preallocation): who made entries, and why. The program does not read it.
pub const NOTES: &str = "NOTES";
/// `HashMap<[u8; 16], u32>` (no preallocation): this host's own addresses, IPv4 ones as IPv4-mapped; the value is not used.
pub const OWN: &str = "OWN";
/// `RingBuf` of [`Sample`](crate::Sample): sampled drops, [`SAMPLES_BYTES`].
pub const SAMPLES: &str = "SAMPLES";
/// `PerCpuArray<u64>` with one element: samples that were within the budget but found the ring full.
pub const SAMPLES_LOST: &str = "SAMPLES_LOST";

/// Every map, in the order above.
pub const ALL: [&str; 19] = [
    TOTALS,
    INTERFACES,
    SETTINGS,
    SOURCES,
    PREFIXES,
    SKETCH,
    CPU,
    PRESSURE,
    BITS,
    BLOCK4,
    BLOCK6,
    BLOCK_LPM4,
    BLOCK_LPM6,
    ALLOW_LPM4,
    ALLOW_LPM6,
    NOTES,
    OWN,
    SAMPLES,
    SAMPLES_LOST,
];

/// Sets of lists that can exist at a time: the one in force and the one being filled.
pub const SETS: u32 = 2;
/// Interfaces one shield can guard.
pub const MAX_INTERFACES: u32 = 64;
/// Size of the sample ring: 256 KiB, about 1,800 samples.
pub const SAMPLES_BYTES: u32 = 256 * 1024;
/// Default capacity of the source map; `[shield.tables] sources`. 1,000,000 × 120 B + 16 MiB = 130 MiB, taken at once.
pub const DEFAULT_SOURCES: u32 = 1_000_000;
/// Default capacity of each exact blocklist map; `[shield.tables] blocks`. Taken at once: IPv4 1,000,000 × 72 B + 16 MiB =
/// 85 MiB, IPv6 1,000,000 × 80 B + 16 MiB = 92 MiB.
pub const DEFAULT_BLOCKS: u32 = 1_000_000;
/// Default capacity of each map of blocked prefixes; `[shield.tables] prefixes`. Those of the allowlist have half of it.
/// Memory is taken only for entries present: at most 2 × 64 B each.
pub const DEFAULT_PREFIXES: u32 = 65_536;
/// Capacity of the `NOTES` map: 16,384 × 16 B = 256 KiB, and 144 B for each note present, 2.5 MiB in all. Half as many as
/// an entry can name, so that a free number is soon found.
pub const NOTES_MAX: u32 = 16_384;
/// Capacity of the `OWN` map: 32,768 × 16 B = 512 KiB, and 80 B for each address present, 3 MiB in all. More addresses than
/// that are left out, and packets from and to them judged as if they were somebody else's.
pub const OWN_MAX: u32 = 32_768;

const _: () = assert!(NOTES_MAX <= crate::entry::NOTE_MAX / 2 + 1);
