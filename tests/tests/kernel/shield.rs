//! The loaded program with small, private maps: configure, run one frame, read what was counted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, Pod, TestRun as _, TestRunOptions};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use weir_common::{Entry, Sample, ShieldSettings, SourceCounters, Totals, maps};

use crate::rules::{Place, Rule};

/// Slot the program counts under in these tests: not 0, so that ignoring it would show.
pub(crate) const SLOT: u32 = 5;

/// `enum xdp_action`, as far as the shield uses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Drop = 1,
    Pass = 2,
}

/// Per-source counters by key: 4 bytes IPv4, 8 bytes IPv6.
pub(crate) type Sources = BTreeMap<Vec<u8>, SourceCounters>;

/// The program and its maps.
pub(crate) struct Shield {
    ebpf: Ebpf,
}

impl Shield {
    pub(crate) fn load() -> Self {
        let path = object();
        let object = std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "cannot read the eBPF object {}: {error}; build it with `cargo xtask build-ebpf`",
                path.display()
            )
        });
        let mut loader = EbpfLoader::new();
        loader.override_global("SLOT", &SLOT, true);
        for name in [
            maps::SOURCES4,
            maps::SOURCES6,
            maps::BLOCK4,
            maps::BLOCK6,
            maps::BLOCK6_64,
            maps::BLOCK_LPM4,
            maps::BLOCK_LPM6,
            maps::ALLOW_LPM4,
            maps::ALLOW_LPM6,
        ] {
            loader.map_max_entries(name, 1024);
        }
        let mut ebpf = loader
            .load(&object)
            .expect("the kernel takes the maps (this test needs root)");
        let program: &mut Xdp = ebpf
            .program_mut("weir")
            .expect("the object has a program named weir")
            .try_into()
            .expect("weir is an XDP program");
        program.load().expect("the verifier accepts the program");
        Self { ebpf }
    }

    /// Writes the settings with the `lists` bits of exactly the maps that `rules` fill, and makes them the only rules.
    pub(crate) fn configure(&mut self, settings: ShieldSettings, rules: &[Rule]) {
        self.clear_lists();
        let now_ns = now_ns();
        for rule in rules {
            self.insert(rule, &rule.entry(now_ns));
        }
        self.write_settings(with_lists(settings, rules));
    }

    /// Writes the settings as they are.
    pub(crate) fn write_settings(&mut self, settings: ShieldSettings) {
        Array::<_, ShieldSettings>::try_from(self.map(maps::SETTINGS))
            .expect("SETTINGS is an array")
            .set(0, settings, 0)
            .expect("SETTINGS has an element");
    }

    /// Runs the program once; returns the XDP action. The kernel wants at least an Ethernet header.
    pub(crate) fn run(&self, frame: &[u8]) -> Action {
        self.run_times(frame, 1)
    }

    /// Runs the program `repeat` times on the same frame; returns the last XDP action.
    pub(crate) fn run_times(&self, frame: &[u8], repeat: u32) -> Action {
        let program: &Xdp = self
            .ebpf
            .program("weir")
            .expect("the object has a program named weir")
            .try_into()
            .expect("weir is an XDP program");
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                repeat,
                ..Default::default()
            })
            .expect("BPF_PROG_TEST_RUN takes the frame");
        match result.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            other => panic!("the program returned action {other}"),
        }
    }

    /// Totals of [`SLOT`] over all CPUs.
    pub(crate) fn totals(&self) -> Totals {
        let array = PerCpuArray::<_, Totals>::try_from(self.map_ref(maps::TOTALS))
            .expect("TOTALS is a per-CPU array");
        let mut sum = Totals::ZERO;
        for totals in array.get(&SLOT, 0).expect("TOTALS has the slot").iter() {
            sum.add(totals);
        }
        sum
    }

    /// Every source's counters.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources::new();
        self.collect_sources::<[u8; 4]>(maps::SOURCES4, &mut sources);
        self.collect_sources::<[u8; 8]>(maps::SOURCES6, &mut sources);
        sources
    }

    /// Takes every sample out of the ring.
    pub(crate) fn samples(&mut self) -> Vec<Sample> {
        let mut ring = RingBuf::try_from(self.map(maps::SAMPLES)).expect("SAMPLES is a ring");
        std::iter::from_fn(|| {
            let record = ring.next()?;
            Some(Sample::from_bytes(&record).expect("a record of SAMPLES is a sample"))
        })
        .collect()
    }

    /// Samples the ring had no room for, over all CPUs.
    pub(crate) fn samples_lost(&self) -> u64 {
        PerCpuArray::<_, u64>::try_from(self.map_ref(maps::SAMPLES_LOST))
            .expect("SAMPLES_LOST is a per-CPU array")
            .get(&0, 0)
            .expect("SAMPLES_LOST has an element")
            .iter()
            .sum()
    }

    fn insert(&mut self, rule: &Rule, entry: &Entry) {
        let len = u32::from(rule.network.prefix_len());
        match rule.place() {
            Place::AllowLpm4(address) => self.insert_lpm(maps::ALLOW_LPM4, len, address, entry),
            Place::AllowLpm6(address) => self.insert_lpm(maps::ALLOW_LPM6, len, address, entry),
            Place::BlockLpm4(address) => self.insert_lpm(maps::BLOCK_LPM4, len, address, entry),
            Place::BlockLpm6(address) => self.insert_lpm(maps::BLOCK_LPM6, len, address, entry),
            Place::Block4(address) => self.insert_hash(maps::BLOCK4, address, entry),
            Place::Block6(address) => self.insert_hash(maps::BLOCK6, address, entry),
            Place::Block6Prefix(prefix) => self.insert_hash(maps::BLOCK6_64, prefix, entry),
        }
    }

    fn insert_lpm<K: Pod>(&mut self, name: &str, prefix_len: u32, address: K, entry: &Entry) {
        LpmTrie::<_, K, Entry>::try_from(self.map(name))
            .expect("a prefix list is a trie")
            .insert(&Key::new(prefix_len, address), entry, 0)
            .expect("the trie takes the entry");
    }

    fn insert_hash<K: Pod>(&mut self, name: &str, key: K, entry: &Entry) {
        HashMap::<_, K, Entry>::try_from(self.map(name))
            .expect("an exact list is a hash map")
            .insert(key, entry, 0)
            .expect("the map takes the entry");
    }

    fn clear_lists(&mut self) {
        self.clear_lpm::<[u8; 4]>(maps::ALLOW_LPM4);
        self.clear_lpm::<[u8; 16]>(maps::ALLOW_LPM6);
        self.clear_lpm::<[u8; 4]>(maps::BLOCK_LPM4);
        self.clear_lpm::<[u8; 16]>(maps::BLOCK_LPM6);
        self.clear_hash::<[u8; 4]>(maps::BLOCK4);
        self.clear_hash::<[u8; 16]>(maps::BLOCK6);
        self.clear_hash::<[u8; 8]>(maps::BLOCK6_64);
    }

    fn clear_lpm<K: Pod>(&mut self, name: &str) {
        let mut trie =
            LpmTrie::<_, K, Entry>::try_from(self.map(name)).expect("a prefix list is a trie");
        let keys: Vec<Key<K>> = trie.keys().filter_map(Result::ok).collect();
        for key in keys {
            trie.remove(&key).expect("the key was just listed");
        }
    }

    fn clear_hash<K: Pod>(&mut self, name: &str) {
        let mut map =
            HashMap::<_, K, Entry>::try_from(self.map(name)).expect("an exact list is a hash map");
        let keys: Vec<K> = map.keys().filter_map(Result::ok).collect();
        for key in keys {
            map.remove(&key).expect("the key was just listed");
        }
    }

    fn collect_sources<K: Pod + AsRef<[u8]>>(&self, name: &str, sources: &mut Sources) {
        let map = HashMap::<&MapData, K, SourceCounters>::try_from(self.map_ref(name))
            .expect("source counters are an LRU hash map");
        for row in &map {
            let (key, counters) = row.expect("nothing removes sources during a test");
            sources.insert(key.as_ref().to_vec(), counters);
        }
    }

    fn map(&mut self, name: &str) -> &mut Map {
        self.ebpf
            .map_mut(name)
            .unwrap_or_else(|| panic!("the object has no map named {name}"))
    }

    fn map_ref(&self, name: &str) -> &Map {
        self.ebpf
            .map(name)
            .unwrap_or_else(|| panic!("the object has no map named {name}"))
    }
}

/// `settings` with the `lists` bits of the maps that `rules` fill.
pub(crate) fn with_lists(settings: ShieldSettings, rules: &[Rule]) -> ShieldSettings {
    let lists = rules.iter().fold(0, |bits, rule| bits | rule.place().bit());
    ShieldSettings { lists, ..settings }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    u64::try_from(std::time::Duration::from(now).as_nanos()).expect("uptime is below 584 years")
}

/// `WEIR_EBPF_OBJECT`, or where `cargo xtask build-ebpf` puts the object.
fn object() -> PathBuf {
    std::env::var_os("WEIR_EBPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/weir.bpf.o"),
        PathBuf::from,
    )
}

/// Keeps the calling thread, which is one test's, on the CPU it may use first: the program's budgets are per CPU.
pub(crate) fn pin_to_one_cpu() {
    let this_thread = Pid::from_raw(0);
    let usable = sched_getaffinity(this_thread).expect("a thread may ask for its CPUs");
    let first = (0..CpuSet::count())
        .find(|cpu| usable.is_set(*cpu).unwrap_or(false))
        .expect("a running thread has a CPU");
    let mut one = CpuSet::new();
    one.set(first).expect("the number came from a set");
    sched_setaffinity(this_thread, &one).expect("a thread may give up CPUs");
}
