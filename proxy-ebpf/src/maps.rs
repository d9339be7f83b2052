//! What the program shares with the kernel and the loader: maps, its slot, the clock, the licence. The only code that
//! dereferences what a map lookup returns.
//!
//! Legacy map definitions throughout: user space overrides capacities and pins by name. Names, capacities and memory
//! are documented in `weir_common::maps`.
#![allow(
    unsafe_code,
    reason = "map lookups return raw pointers, exported symbols are unsafe attributes; both are only here"
)]

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::ring_buf::RingBufEntry;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use weir_common::maps::{
    DEFAULT_BLOCKS, DEFAULT_PREFIXES, DEFAULT_SOURCES, MAX_INTERFACES, SAMPLES_BYTES,
};
use weir_common::{
    Entry, InterfaceSlot, Outcome, Sample, ShieldSettings, Source, SourceCounters, Tally, Totals,
    addr::prefix64,
};
use weir_ebpf::verdict::{Hit, Lists};

/// What the kernel checks before it lends GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Interface slot of this instance of the program; the loader overrides it. 0 to `MAX_INTERFACES` - 1.
#[unsafe(no_mangle)]
static SLOT: Global<u32> = Global::new(0);

#[map]
static TOTALS: PerCpuArray<Totals> = PerCpuArray::with_max_entries(MAX_INTERFACES, 0);
/// Here for user space to share between instances; the program does not read it.
#[map]
static INTERFACES: Array<InterfaceSlot> = Array::with_max_entries(MAX_INTERFACES, 0);
#[map]
static SETTINGS: Array<ShieldSettings> = Array::with_max_entries(1, 0);
#[map]
static SOURCES4: LruHashMap<[u8; 4], SourceCounters> =
    LruHashMap::with_max_entries(DEFAULT_SOURCES, 0);
#[map]
static SOURCES6: LruHashMap<[u8; 8], SourceCounters> =
    LruHashMap::with_max_entries(DEFAULT_SOURCES, 0);
#[map]
static BLOCK4: HashMap<[u8; 4], Entry> =
    HashMap::with_max_entries(DEFAULT_BLOCKS, BPF_F_NO_PREALLOC);
#[map]
static BLOCK6: HashMap<[u8; 16], Entry> =
    HashMap::with_max_entries(DEFAULT_BLOCKS, BPF_F_NO_PREALLOC);
#[map]
static BLOCK6_64: HashMap<[u8; 8], Entry> =
    HashMap::with_max_entries(DEFAULT_BLOCKS, BPF_F_NO_PREALLOC);
#[map]
static BLOCK_LPM4: LpmTrie<[u8; 4], Entry> = LpmTrie::with_max_entries(DEFAULT_PREFIXES, 0);
#[map]
static BLOCK_LPM6: LpmTrie<[u8; 16], Entry> = LpmTrie::with_max_entries(DEFAULT_PREFIXES, 0);
#[map]
static ALLOW_LPM4: LpmTrie<[u8; 4], Entry> = LpmTrie::with_max_entries(DEFAULT_PREFIXES, 0);
#[map]
static ALLOW_LPM6: LpmTrie<[u8; 16], Entry> = LpmTrie::with_max_entries(DEFAULT_PREFIXES, 0);
#[map]
static SAMPLES: RingBuf = RingBuf::with_byte_size(SAMPLES_BYTES, 0);
#[map]
static SAMPLES_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// One element: this CPU's sampling budget. Not for user space, hence not among the names in `weir_common::maps`.
#[map]
static SAMPLES_GATE: PerCpuArray<SampleGate> = PerCpuArray::with_max_entries(1, 0);

/// How much of a window's sampling budget a CPU has used.
#[repr(C)]
pub(crate) struct SampleGate {
    /// Number of the window.
    pub(crate) window: u64,
    /// Samples tried in it.
    pub(crate) used: u64,
    /// Drops since the last sample that were not sampled.
    pub(crate) skipped: u64,
}

/// Interface slot.
#[inline(always)]
pub(crate) fn slot() -> u32 {
    SLOT.load()
}

/// `CLOCK_MONOTONIC` as of the last tick (4 ms at HZ=250): a third of the price of the exact clock.
#[inline(always)]
pub(crate) fn coarse_clock_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads the clock.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// What user space wants, read once a packet.
#[inline(always)]
pub(crate) fn settings() -> ShieldSettings {
    match SETTINGS.get(0) {
        Some(settings) => *settings,
        // The verifier wants this branch; an array always has its element 0.
        None => ShieldSettings {
            enforce: 0,
            malformed: 0,
            fragments: 0,
            samples_per_window: 0,
            lists: 0,
        },
    }
}

/// This CPU's tally of `outcome` on this interface.
#[inline(always)]
pub(crate) fn tally(outcome: Outcome) -> Option<&'static mut Tally> {
    let totals = TOTALS.get_ptr_mut(slot())?;
    // SAFETY: a live per-CPU element; XDP programs do not interrupt each other on one CPU, so nobody else holds it.
    Some(unsafe { (*totals).of_mut(outcome) })
}

/// This CPU's sampling budget.
#[inline(always)]
pub(crate) fn sample_gate() -> Option<&'static mut SampleGate> {
    let gate = SAMPLES_GATE.get_ptr_mut(0)?;
    // SAFETY: as in `tally`.
    Some(unsafe { &mut *gate })
}

/// Room for a sample, if the ring has any. The record is uninitialised: every byte has to be written before it is
/// submitted.
#[inline(always)]
pub(crate) fn reserve_sample() -> Option<RingBufEntry<Sample>> {
    SAMPLES.reserve(0)
}

/// Counts a sample the ring had no room for.
#[inline(always)]
pub(crate) fn count_lost_sample() {
    if let Some(lost) = SAMPLES_LOST.get_ptr_mut(0) {
        // SAFETY: as in `tally`.
        unsafe { *lost += 1 };
    }
}

/// Adds to a source's counters, which begin with this packet if there are none. `seen.first_seen_ns` is for that case.
///
/// A full memory or a map locked by another CPU can refuse a new source: its packet then goes uncounted here (not in
/// the totals), which is better than waiting in the packet path.
#[inline(always)]
pub(crate) fn count_source(source: Source, seen: &SourceCounters) {
    match source {
        Source::V4(address) => add_or_insert(&SOURCES4, &address, seen),
        Source::V6(address) => add_or_insert(&SOURCES6, &prefix64(address), seen),
    }
}

#[inline(always)]
fn add_or_insert<K>(map: &LruHashMap<K, SourceCounters>, key: &K, seen: &SourceCounters) {
    if let Some(counters) = map.get_ptr_mut(key) {
        add(counters, seen);
    } else if map.insert(key, seen, u64::from(BPF_NOEXIST)).is_err() {
        // Another CPU was first.
        if let Some(counters) = map.get_ptr_mut(key) {
            add(counters, seen);
        }
    }
}

#[inline(always)]
fn add(counters: *mut SourceCounters, seen: &SourceCounters) {
    // SAFETY: `counters` points into a live map value. Other CPUs add to it at the same time, atomically as here; an LRU
    // may hand the element to another source meanwhile, which then gains one packet that is not its own.
    unsafe {
        xadd(&raw mut (*counters).packets, seen.packets);
        xadd(&raw mut (*counters).bytes, seen.bytes);
        if seen.syns != 0 {
            xadd(&raw mut (*counters).syns, seen.syns);
        }
        if seen.dropped != 0 {
            xadd(&raw mut (*counters).dropped, seen.dropped);
        }
        // The coarse clock stands still for thousands of packets: spare the shared cache line the write.
        let last = &raw mut (*counters).last_seen_ns;
        if last.read_volatile() != seen.last_seen_ns {
            last.write_volatile(seen.last_seen_ns);
        }
    }
}

/// # Safety
///
/// `counter` has to be valid for writes and aligned.
#[inline(always)]
unsafe fn xadd(counter: *mut u64, n: u64) {
    // SAFETY: the caller's promise. The result is not used, so this is BPF's plain atomic add, not a fetch.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, n) };
}

/// The list maps.
pub(crate) struct KernelLists;

impl Lists for KernelLists {
    #[inline(always)]
    fn allow_lpm4(&self, address: [u8; 4], prefix_len: u32) -> Option<Hit> {
        ALLOW_LPM4.get(Key::new(prefix_len, address)).map(Hit::from)
    }

    #[inline(always)]
    fn allow_lpm6(&self, address: [u8; 16], prefix_len: u32) -> Option<Hit> {
        ALLOW_LPM6.get(Key::new(prefix_len, address)).map(Hit::from)
    }

    #[inline(always)]
    fn block4(&self, address: [u8; 4]) -> Option<Hit> {
        // SAFETY: BPF_F_NO_PREALLOC: a removed element is freed only after a grace period, not reused under us.
        unsafe { BLOCK4.get(address) }.map(Hit::from)
    }

    #[inline(always)]
    fn block6(&self, address: [u8; 16]) -> Option<Hit> {
        // SAFETY: as in `block4`.
        unsafe { BLOCK6.get(address) }.map(Hit::from)
    }

    #[inline(always)]
    fn block6_64(&self, prefix: [u8; 8]) -> Option<Hit> {
        // SAFETY: as in `block4`.
        unsafe { BLOCK6_64.get(prefix) }.map(Hit::from)
    }

    #[inline(always)]
    fn block_lpm4(&self, address: [u8; 4], prefix_len: u32) -> Option<Hit> {
        BLOCK_LPM4.get(Key::new(prefix_len, address)).map(Hit::from)
    }

    #[inline(always)]
    fn block_lpm6(&self, address: [u8; 16], prefix_len: u32) -> Option<Hit> {
        BLOCK_LPM6.get(Key::new(prefix_len, address)).map(Hit::from)
    }
}
