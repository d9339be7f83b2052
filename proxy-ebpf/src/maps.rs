//! What the program shares with the kernel and the loader: maps, its slot, the clock, the licence. The only code that
//! dereferences what a map lookup returns.
//!
//! Keys are numbers here whose bytes lie in network order: LLVM would take byte arrays apart. Names, capacities and memory
//! are documented in `weir_common::maps`. Maps of maps exist as BTF definitions only; the others are legacy definitions,
//! whose capacities user space overrides.
#![allow(
    unsafe_code,
    reason = "map lookups return raw pointers, exported symbols are unsafe attributes; both are only here"
)]

use core::ptr::NonNull;

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::btf_maps;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::bpf_map_lookup_elem;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::ring_buf::RingBufEntry;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use weir_common::bits::WORDS;
use weir_common::maps::{DEFAULT_SOURCES, MAX_INTERFACES, NOTES_MAX, OWN_MAX, SAMPLES_BYTES, SETS};
use weir_common::source::sketch::CELLS;
use weir_common::{
    CpuState, Entry, InterfaceSlot, Note, Outcome, PrefixState, Pressure, Sample, ShieldSettings,
    SourceState, Tally, Totals,
};
use weir_ebpf::opaque::opaque;
use weir_ebpf::shared::Shared;

/// What the kernel checks before it lends GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Interface slot of this instance of the program; the loader overrides it. 0 to `MAX_INTERFACES` - 1.
#[unsafe(no_mangle)]
static SLOT: Global<u32> = Global::new(0);
/// 1: the interface is the loopback; the loader overrides it.
#[unsafe(no_mangle)]
static LOOPBACK: Global<u32> = Global::new(0);

/// 1: the stack receives the frames as another interface's; the loader overrides it.
#[unsafe(no_mangle)]
static AS_ANOTHER: Global<u32> = Global::new(0);

#[map]
static TOTALS: PerCpuArray<Totals> = PerCpuArray::with_max_entries(MAX_INTERFACES, 0);
#[map]
static INTERFACES: Array<InterfaceSlot> = Array::with_max_entries(MAX_INTERFACES, 0);
#[map]
static SOURCES: LruHashMap<u64, SourceState> = LruHashMap::with_max_entries(DEFAULT_SOURCES, 0);
#[map]
static PREFIXES: LruHashMap<u64, PrefixState> =
    LruHashMap::with_max_entries(DEFAULT_SOURCES / 16, 0);
#[map]
static SKETCH: Array<[u32; 2]> = Array::with_max_entries(CELLS / 2, 0);
#[map]
static CPU: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);
#[map]
static PRESSURE: Array<Pressure> = Array::with_max_entries(1, 0);
/// Here for user space; the program does not read it.
#[map]
static NOTES: HashMap<u32, Note> = HashMap::with_max_entries(NOTES_MAX, BPF_F_NO_PREALLOC);
#[map]
static OWN: HashMap<[u64; 2], u32> = HashMap::with_max_entries(OWN_MAX, BPF_F_NO_PREALLOC);
/// Not pinned: nobody else has a use for it.
#[map]
static LAST_OWN: PerCpuArray<LastOwn> = PerCpuArray::with_max_entries(1, 0);
#[map]
static SAMPLES: RingBuf = RingBuf::with_byte_size(SAMPLES_BYTES, 0);
#[map]
static SAMPLES_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The address that this CPU looked up in [`OWN`] last and found. While SYNs are answered nearly all packets that are asked
/// about are for the same one, and to compare costs a fraction of a look-up.
#[repr(C)]
struct LastOwn {
    /// As a key of the map.
    address: [u64; 2],
    /// Complement of the generation of the settings that it was found in, so that an element never written is of none.
    not_generation: u64,
    /// Epoch, likewise: what user space takes out of the map is believed until its epoch is over at most.
    not_epoch: u64,
}

const OUTER: usize = SETS as usize;
const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;
type OfSets<M> = btf_maps::ArrayOfMaps<M, OUTER>;
/// A value that these templates know the size of only. Kernels before 6.2 refuse an inner map without BTF, as user space
/// makes them, beside a template whose value is a struct (`map->timer_off` differs).
type Words<const N: usize> = [u64; N];
/// [`Entry`]
type RawEntry = Words<{ size_of::<Entry>() / 8 }>;
/// [`ShieldSettings`]
type RawSettings = Words<{ size_of::<ShieldSettings>() / 8 }>;
/// Inner hashes and tries may have any number of entries; these are templates.
type Exact<K> = btf_maps::HashMap<K, RawEntry, 1>;
/// A trie's value lies right behind its key, so an IPv4 key is padded to 8 bytes: the hit counter has to be aligned.
type Prefixes<K> = btf_maps::LpmTrie<K, RawEntry, 1, NO_PREALLOC>;

#[btf_map]
static SETTINGS: btf_maps::ArrayOfMaps<btf_maps::Array<RawSettings, 1>, 1> =
    btf_maps::ArrayOfMaps::new();
#[btf_map]
static BITS: OfSets<btf_maps::Array<u64, { WORDS as usize }>> = btf_maps::ArrayOfMaps::new();
#[btf_map]
static BLOCK4: OfSets<Exact<u32>> = btf_maps::ArrayOfMaps::new();
#[btf_map]
static BLOCK6: OfSets<Exact<[u64; 2]>> = btf_maps::ArrayOfMaps::new();
#[btf_map]
static BLOCK_LPM4: OfSets<Prefixes<[u32; 2]>> = btf_maps::ArrayOfMaps::new();
#[btf_map]
static BLOCK_LPM6: OfSets<Prefixes<[u32; 4]>> = btf_maps::ArrayOfMaps::new();
#[btf_map]
static ALLOW_LPM4: OfSets<Prefixes<[u32; 2]>> = btf_maps::ArrayOfMaps::new();
#[btf_map]
static ALLOW_LPM6: OfSets<Prefixes<[u32; 4]>> = btf_maps::ArrayOfMaps::new();

/// Interface slot.
#[inline(always)]
pub(crate) fn slot() -> u32 {
    SLOT.load()
}

/// Whether the interface is the loopback.
#[inline(always)]
pub(crate) fn is_loopback() -> bool {
    LOOPBACK.load() != 0
}

/// Whether the stack receives the frames as another interface's.
#[inline(always)]
pub(crate) fn as_another() -> bool {
    AS_ANOTHER.load() != 0
}

/// MTU of the interface; 0 = unknown.
#[inline(always)]
pub(crate) fn mtu() -> u32 {
    match INTERFACES.get(slot()) {
        Some(interface) => interface.mtu,
        None => 0,
    }
}

/// `CLOCK_MONOTONIC` as of the last tick (4 ms at HZ=250): a third of the price of the exact clock.
#[inline(always)]
pub(crate) fn coarse_clock_ns() -> u64 {
    // SAFETY: the helper takes nothing and only reads the clock.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// What user space wants. One look-up a packet, so that a packet meets one generation from beginning to end: user space
/// never changes one that the program can see, and the kernel waits for all programs before it returns to whoever
/// exchanged it.
#[inline(always)]
pub(crate) fn settings() -> Option<&'static ShieldSettings> {
    let raw = SETTINGS.get(0)?.get(0)?;
    // SAFETY: that many words, aligned, of a type that any bytes make: user space writes nothing else there.
    Some(unsafe { &*core::ptr::from_ref(raw).cast::<ShieldSettings>() })
}

/// This CPU's tally of `outcome` on this interface.
#[inline(always)]
pub(crate) fn tally(outcome: Outcome, spared: bool) -> Option<&'static mut Tally> {
    let index = opaque(outcome as u32) + if spared { Totals::SLOTS as u32 } else { 0 };
    let totals = TOTALS.get_ptr_mut(slot())?;
    // SAFETY: a live per-CPU element; XDP programs do not interrupt each other on one CPU, so nobody else holds it.
    Some(unsafe { (*totals).place(index as usize) })
}

/// This CPU's memory.
#[inline(always)]
pub(crate) fn cpu() -> Option<Shared<'static, CpuState>> {
    shared(CPU.get_ptr_mut(0))
}

/// All CPUs' SYNs.
#[inline(always)]
pub(crate) fn pressure() -> Option<Shared<'static, Pressure>> {
    shared(PRESSURE.get_ptr_mut(0))
}

/// A cell of the sketch.
#[inline(always)]
pub(crate) fn cell(index: u32) -> Option<Shared<'static, u32>> {
    let pair = SKETCH.get_ptr_mut(index / 2)?;
    // SAFETY: one of the two cells of a live element.
    shared(Some(unsafe {
        pair.cast::<u32>().add((index & 1) as usize)
    }))
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

/// A source's state.
#[inline(always)]
pub(crate) fn source(key: u64) -> Option<Shared<'static, SourceState>> {
    shared(SOURCES.get_ptr_mut(key.to_be()))
}

/// A new state. A full memory or a bucket locked by another CPU can refuse it: the packet then goes uncounted here (not in
/// the totals), which is better than waiting in the packet path.
#[inline(always)]
pub(crate) fn add_source(key: u64, now_ns: u64) -> Option<Shared<'static, SourceState>> {
    // If another CPU was first, its state is found.
    let _ = SOURCES.insert(
        key.to_be(),
        SourceState::first_seen_at(now_ns),
        u64::from(BPF_NOEXIST),
    );
    source(key)
}

/// A prefix's state.
#[inline(always)]
pub(crate) fn prefix(key: u64) -> Option<Shared<'static, PrefixState>> {
    shared(PREFIXES.get_ptr_mut(key.to_be()))
}

/// As [`add_source`].
#[inline(always)]
pub(crate) fn add_prefix(key: u64, now_ns: u64) -> Option<Shared<'static, PrefixState>> {
    let _ = PREFIXES.insert(
        key.to_be(),
        PrefixState::first_seen_at(now_ns),
        u64::from(BPF_NOEXIST),
    );
    prefix(key)
}

/// Whether an address is this host's.
#[inline(always)]
pub(crate) fn is_own(mapped: [u64; 2]) -> bool {
    OWN.get_ptr(in_network_order(mapped)).is_some()
}

/// As [`is_own`], without a look-up for the address that this CPU found last, in this generation of the settings and this
/// epoch.
#[inline(always)]
pub(crate) fn is_own_again(mapped: [u64; 2], generation: u64, epoch: u32) -> bool {
    let Some(last) = LAST_OWN.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: as in `tally`.
    let last = unsafe { &mut *last };
    let [head, tail] = in_network_order(mapped);
    let not_epoch = !u64::from(epoch);
    if last.address[1] == tail
        && last.address[0] == head
        && last.not_generation == !generation
        && last.not_epoch == not_epoch
    {
        return true;
    }
    // The key lies where it is kept: there is little room on the stack.
    last.address = [head, tail];
    let is_own = OWN.get_ptr(&last.address).is_some();
    last.not_generation = if is_own { !generation } else { generation };
    last.not_epoch = not_epoch;
    is_own
}

/// Words of the pre-tests number `array`; all bits set if there are none, which promises nothing.
#[inline(always)]
pub(crate) fn bits<const N: usize>(array: u32, words: [u32; N]) -> [u64; N] {
    let Some(bits) = BITS.get(array) else {
        return [u64::MAX; N];
    };
    words.map(|word| match bits.get(word) {
        Some(word) => *word,
        None => u64::MAX,
    })
}

/// Blocked IPv4 address.
#[inline(always)]
pub(crate) fn block4(set: u32, address: u32) -> Option<Shared<'static, Entry>> {
    entry(BLOCK4.get(set)?.get_ptr_mut(address.to_be()))
}

/// Blocked IPv6 address or /64.
#[inline(always)]
pub(crate) fn block6(set: u32, key: [u64; 2]) -> Option<Shared<'static, Entry>> {
    entry(BLOCK6.get(set)?.get_ptr_mut(in_network_order(key)))
}

/// Blocked IPv4 prefix.
#[inline(always)]
pub(crate) fn block_lpm4(
    set: u32,
    address: u32,
    prefix_len: u32,
) -> Option<Shared<'static, Entry>> {
    covering(BLOCK_LPM4.get(set)?, &key4(address, prefix_len))
}

/// Blocked IPv6 prefix.
#[inline(always)]
pub(crate) fn block_lpm6(
    set: u32,
    address: [u64; 2],
    prefix_len: u32,
) -> Option<Shared<'static, Entry>> {
    covering(BLOCK_LPM6.get(set)?, &key6(address, prefix_len))
}

/// Allowed IPv4 prefix.
#[inline(always)]
pub(crate) fn allow_lpm4(
    set: u32,
    address: u32,
    prefix_len: u32,
) -> Option<Shared<'static, Entry>> {
    covering(ALLOW_LPM4.get(set)?, &key4(address, prefix_len))
}

/// Allowed IPv6 prefix.
#[inline(always)]
pub(crate) fn allow_lpm6(
    set: u32,
    address: [u64; 2],
    prefix_len: u32,
) -> Option<Shared<'static, Entry>> {
    covering(ALLOW_LPM6.get(set)?, &key6(address, prefix_len))
}

/// The longest prefix of a trie that covers the first bits of `key`. aya-ebpf lends what a trie holds for reading only.
#[inline(always)]
fn covering<K>(trie: &Prefixes<K>, key: &Key<K>) -> Option<Shared<'static, Entry>> {
    let trie = core::ptr::from_ref(trie).cast_mut();
    // SAFETY: a live trie, and a key of its type.
    let entry = unsafe { bpf_map_lookup_elem(trie.cast(), core::ptr::from_ref(key).cast()) };
    shared(Some(entry.cast::<Entry>()))
}

#[inline(always)]
fn entry(raw: Option<*mut RawEntry>) -> Option<Shared<'static, Entry>> {
    shared(raw.map(<*mut RawEntry>::cast))
}

#[inline(always)]
fn key4(address: u32, prefix_len: u32) -> Key<[u32; 2]> {
    Key::new(prefix_len, [address.to_be(), 0])
}

#[inline(always)]
fn key6([head, tail]: [u64; 2], prefix_len: u32) -> Key<[u32; 4]> {
    let (head, tail) = (head.to_be(), tail.to_be());
    let words = [
        head as u32,
        (head >> 32) as u32,
        tail as u32,
        (tail >> 32) as u32,
    ];
    Key::new(prefix_len, words)
}

#[inline(always)]
fn in_network_order([head, tail]: [u64; 2]) -> [u64; 2] {
    [head.to_be(), tail.to_be()]
}

#[inline(always)]
fn shared<T>(value: Option<*mut T>) -> Option<Shared<'static, T>> {
    // SAFETY: a map's value stays readable and writable while the program runs, whatever becomes of its element: an element
    // that is deleted or evicted meanwhile may belong to another key, which then gains what was meant for this one. User
    // space never writes into it except whole elements at once.
    NonNull::new(value?).map(|value| unsafe { Shared::from_ptr(value) })
}
