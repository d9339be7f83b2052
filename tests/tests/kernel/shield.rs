//! The loaded program with small, private maps: configure, run one frame, read what it left behind.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray, PerCpuValues, RingBuf};
use aya::programs::Xdp;
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader, TestRun as _, TestRunOptions};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use weir_common::source::sketch::CELLS;
use weir_common::{
    CpuState, PrefixState, Pressure, Sample, ShieldSettings, SourceState, Totals, batch, maps,
};
use weir_ebpf::verdict;

use crate::sets::{Bits, Set};

/// Slot the program counts under in these tests: not 0, so that ignoring it would show.
pub(crate) const SLOT: u32 = 5;

/// `enum xdp_action`, as far as the shield uses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Drop = 1,
    Pass = 2,
    Tx = 3,
}

impl From<verdict::Action> for Action {
    fn from(action: verdict::Action) -> Self {
        match action {
            verdict::Action::Pass | verdict::Action::Spare => Self::Pass,
            verdict::Action::Drop => Self::Drop,
            verdict::Action::Answer => Self::Tx,
        }
    }
}

/// What the loader tells the program once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interface {
    Ethernet,
    Loopback,
    /// A port of a bridge, bond or VRF.
    Port,
}

/// The program and its maps.
pub(crate) struct Shield {
    ebpf: Ebpf,
    load_time: Duration,
    settings: ArrayOfMaps<MapData, Array<MapData, ShieldSettings>>,
    generation: Array<MapData, ShieldSettings>,
    sets: [Set; 2],
    bits: [Bits; 2],
    totals: PerCpuArray<MapData, Totals>,
    sources: HashMap<MapData, [u8; 8], SourceState>,
    prefixes: HashMap<MapData, [u8; 8], PrefixState>,
    sketch: Array<MapData, [u32; 2]>,
    sketch_fd: OwnedFd,
    cpu: PerCpuArray<MapData, CpuState>,
    pressure: Array<MapData, Pressure>,
    own: HashMap<MapData, [u8; 16], u32>,
    samples: RingBuf<MapData>,
    samples_lost: PerCpuArray<MapData, u64>,
}

impl Shield {
    pub(crate) fn load() -> Self {
        Self::load_for(Interface::Ethernet)
    }

    /// Loads the program, in a network namespace of the calling thread's own and on one CPU: sockets are looked up there,
    /// and its memory is per CPU.
    pub(crate) fn load_for(interface: Interface) -> Self {
        enter_empty_namespace();
        pin_to_one_cpu();
        let path = object();
        let object = std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "cannot read the eBPF object {}: {error}; build it with `cargo xtask build-ebpf`",
                path.display()
            )
        });
        let loopback = u32::from(interface == Interface::Loopback);
        let as_another = u32::from(interface == Interface::Port);
        let mut ebpf = EbpfLoader::new()
            .override_global("SLOT", &SLOT, true)
            .override_global("LOOPBACK", &loopback, true)
            .override_global("AS_ANOTHER", &as_another, true)
            .map_max_entries(maps::SOURCES, STATES_MAX)
            .map_max_entries(maps::PREFIXES, STATES_MAX)
            .map_max_entries(maps::NOTES, 16)
            .load(&object)
            .expect("the kernel takes the maps (this test needs root)");
        let start = Instant::now();
        program(&mut ebpf)
            .load()
            .expect("the verifier accepts the program");
        let load_time = start.elapsed();
        let sketch = ebpf
            .take_map(maps::SKETCH)
            .expect("the object has a sketch");
        let Map::Array(data) = &sketch else {
            panic!("{} is not an array", maps::SKETCH)
        };
        let sketch_fd = data.fd().as_fd().try_clone_to_owned();
        let sketch_fd = sketch_fd.expect("a descriptor can be duplicated");
        let generation = Array::create(1, 0).expect("the kernel makes an array");
        let sets = [0, 1].map(|index| Set::install(&mut ebpf, index));
        let bits = [0, 1].map(|index| Bits::install(&mut ebpf, index));
        let mut shield = Self {
            load_time,
            settings: take(&mut ebpf, maps::SETTINGS),
            generation,
            sets,
            bits,
            totals: take(&mut ebpf, maps::TOTALS),
            sources: take(&mut ebpf, maps::SOURCES),
            prefixes: take(&mut ebpf, maps::PREFIXES),
            sketch_fd,
            sketch: Array::try_from(sketch).expect("the sketch is an array"),
            cpu: take(&mut ebpf, maps::CPU),
            pressure: take(&mut ebpf, maps::PRESSURE),
            own: take(&mut ebpf, maps::OWN),
            samples: take(&mut ebpf, maps::SAMPLES),
            samples_lost: take(&mut ebpf, maps::SAMPLES_LOST),
            ebpf,
        };
        shield.exchange_settings(&ShieldSettings::OPEN);
        shield
    }

    /// Instructions that the verifier walked, and how long loading took.
    pub(crate) fn verification(&mut self) -> (u32, Duration) {
        let instructions = program(&mut self.ebpf)
            .info()
            .expect("the program is loaded")
            .verified_instruction_count()
            .expect("this kernel counts verified instructions");
        (instructions, self.load_time)
    }

    /// Puts a new generation into force, as user space does.
    pub(crate) fn exchange_settings(&mut self, settings: &ShieldSettings) {
        let mut generation = Array::create(1, 0).expect("the kernel makes an array");
        generation
            .set(0, settings, 0)
            .expect("the array has an element");
        self.settings
            .set(0, &generation, 0)
            .expect("SETTINGS takes such an array");
        self.generation = generation;
    }

    /// Writes into the generation in force. Only right while no packet is under way; but exchanging it waits for a grace
    /// period of RCU.
    pub(crate) fn write_settings(&mut self, settings: &ShieldSettings) {
        self.generation
            .set(0, settings, 0)
            .expect("the array has an element");
    }

    /// The set of lists that settings with this number in `set` put into force.
    pub(crate) fn set(&mut self, index: u8) -> &mut Set {
        &mut self.sets[usize::from(index & 1)]
    }

    /// The pre-tests that settings with this number in `bits` put into force.
    pub(crate) fn bits(&mut self, index: u8) -> &mut Bits {
        &mut self.bits[usize::from(index & 1)]
    }

    /// Makes these the host's addresses, as mapped.
    pub(crate) fn write_own(&mut self, own: &[[u8; 16]]) {
        let old: Vec<_> = self.own.keys().filter_map(Result::ok).collect();
        for key in old {
            self.own.remove(&key).expect("the key was just listed");
        }
        for key in own {
            self.own.insert(key, 0, 0).expect("OWN has room");
        }
    }

    /// Runs the program once; returns the XDP action. The kernel wants at least an Ethernet header.
    pub(crate) fn run(&self, frame: &[u8]) -> Action {
        self.test_run(TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::default()
        })
        .0
    }

    /// Runs the program on a frame of which only the first `first_buffer` bytes lie in the first buffer.
    pub(crate) fn run_split(&self, frame: &[u8], first_buffer: usize) -> Action {
        self.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&split_at(first_buffer)),
            ..TestRunOptions::default()
        })
        .0
    }

    /// Whether this kernel's test runs can [split](Shield::run_split) a frame: since 6.18.
    pub(crate) fn can_split(&self) -> bool {
        // ARP is never dropped.
        let mut frame = [0; 64];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        self.program()
            .test_run(TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(&split_at(32)),
                ..TestRunOptions::default()
            })
            .is_ok()
    }

    /// Runs the program once; returns what the frame has become, too.
    pub(crate) fn run_through(&self, frame: &[u8]) -> (Action, Vec<u8>) {
        let mut out = vec![0; 1 << 17];
        let (action, len) = self.test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        });
        out.truncate(len);
        (action, out)
    }

    /// Runs the program `repeat` times on the same frame; returns the last XDP action.
    pub(crate) fn run_times(&self, frame: &[u8], repeat: u32) -> Action {
        self.test_run(TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::default()
        })
        .0
    }

    fn test_run(&self, options: TestRunOptions<'_>) -> (Action, usize) {
        let result = self
            .program()
            .test_run(options)
            .expect("BPF_PROG_TEST_RUN takes the frame");
        let action = match result.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            3 => Action::Tx,
            other => panic!("the program returned action {other}"),
        };
        let len = usize::try_from(result.data_size_out).expect("a length fits usize");
        (action, len)
    }

    fn program(&self) -> &Xdp {
        self.ebpf
            .program("weir")
            .expect("the object has a program named weir")
            .try_into()
            .expect("weir is an XDP program")
    }

    /// Totals of [`SLOT`] over all CPUs.
    pub(crate) fn totals(&self) -> Totals {
        let mut sum = Totals::ZERO;
        for totals in self.totals.get(&SLOT, 0).expect("the slot exists").iter() {
            sum.add(totals);
        }
        sum
    }

    /// Every source's state by key.
    pub(crate) fn sources(&self) -> Vec<(u64, SourceState)> {
        rows(&self.sources)
    }

    /// Every prefix's state by key.
    pub(crate) fn prefixes(&self) -> Vec<(u64, PrefixState)> {
        rows(&self.prefixes)
    }

    /// A cell of the sketch.
    pub(crate) fn cell(&self, index: u32) -> u32 {
        let pair = self.sketch.get(&(index / 2), 0);
        pair.expect("the sketch has the cell")[(index & 1) as usize]
    }

    /// Every cell of the sketch that is not 0.
    pub(crate) fn cells_in_use(&self) -> Vec<(u32, u32)> {
        let mut cells = Vec::new();
        let (any, all) = ((0_u32, [0_u32; 2]), CELLS as usize / 2);
        batch::walk(self.sketch_fd.as_fd(), any, all, |pair, bits| {
            let pair = (pair * 2..).zip(bits);
            cells.extend(pair.filter(|(_, bits)| *bits != 0));
        })
        .expect("the sketch can be read");
        cells
    }

    /// The memory of the CPU that this thread runs on.
    pub(crate) fn cpu(&self) -> CpuState {
        let all = self.cpu.get(&0, 0).expect("CPU has an element");
        *all.iter()
            .max_by_key(|cpu| cpu.epoch)
            .expect("there is a CPU")
    }

    pub(crate) fn pressure(&self) -> Pressure {
        self.pressure.get(&0, 0).expect("PRESSURE has an element")
    }

    /// Forgets everything that packets left behind, these cells of the sketch among it, and those beside them.
    pub(crate) fn forget(&mut self, cells: impl IntoIterator<Item = u32>) {
        clear(&mut self.sources);
        clear(&mut self.prefixes);
        let mut pairs: Vec<u32> = cells.into_iter().map(|cell| cell / 2).collect();
        pairs.dedup();
        batch::update(
            self.sketch_fd.as_fd(),
            &pairs,
            &vec![[0_u32; 2]; pairs.len()],
        )
        .expect("the cells exist");
        self.cpu
            .set(0, on_all_cpus(CpuState::default()), 0)
            .expect("CPU has an element");
        self.totals
            .set(SLOT, on_all_cpus(Totals::ZERO), 0)
            .expect("the slot exists");
        self.pressure
            .set(0, Pressure::default(), 0)
            .expect("PRESSURE has an element");
    }

    /// Takes every sample out of the ring.
    pub(crate) fn samples(&mut self) -> Vec<Sample> {
        std::iter::from_fn(|| {
            let record = self.samples.next()?;
            Some(Sample::from_bytes(&record).expect("a record of SAMPLES is a sample"))
        })
        .collect()
    }

    /// Samples the ring had no room for, over all CPUs.
    pub(crate) fn samples_lost(&self) -> u64 {
        self.samples_lost
            .get(&0, 0)
            .expect("SAMPLES_LOST has an element")
            .iter()
            .sum()
    }
}

fn program(ebpf: &mut Ebpf) -> &mut Xdp {
    ebpf.program_mut("weir")
        .expect("the object has a program named weir")
        .try_into()
        .expect("weir is an XDP program")
}

/// A map of the object, as what it is.
pub(crate) fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> M {
    let map = ebpf
        .take_map(name)
        .unwrap_or_else(|| panic!("the object has no map named {name}"));
    M::try_from(map).unwrap_or_else(|_| panic!("{name} is of another type"))
}

fn rows<V: aya::Pod>(map: &HashMap<MapData, [u8; 8], V>) -> Vec<(u64, V)> {
    let mut rows: Vec<_> = map
        .iter()
        .map(|row| row.expect("nothing else removes states during a test"))
        .map(|(key, state)| (u64::from_be_bytes(key), state))
        .collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    rows
}

fn clear<V: aya::Pod>(map: &mut HashMap<MapData, [u8; 8], V>) {
    let keys: Vec<_> = map.keys().filter_map(Result::ok).collect();
    for key in keys {
        map.remove(&key).expect("the key was just listed");
    }
}

fn on_all_cpus<T: aya::Pod + Clone>(value: T) -> PerCpuValues<T> {
    let cpus = nr_cpus().expect("Linux counts its CPUs");
    PerCpuValues::try_from(vec![value; cpus]).expect("one for each CPU")
}

/// `struct xdp_md` of a frame whose first buffer is that long.
fn split_at(first_buffer: usize) -> [u8; 24] {
    let mut context = [0; 24];
    let len = u32::try_from(first_buffer).expect("a buffer is below 4 GiB");
    context[4..8].copy_from_slice(&len.to_ne_bytes());
    context
}

/// The kernel's own clock, as the program reads it.
pub(crate) fn coarse_clock_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC_COARSE)
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).expect("Linux has this clock");
    u64::try_from(Duration::from(now).as_nanos()).expect("uptime is below 584 years")
}

/// `WEIR_EBPF_OBJECT`, or where `cargo xtask build-ebpf` puts the object.
fn object() -> PathBuf {
    std::env::var_os("WEIR_EBPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/weir.bpf.o"),
        PathBuf::from,
    )
}

/// Moves the calling thread, which is one test's, into a network namespace of its own, without sockets and with its
/// loopback down.
fn enter_empty_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (this test needs root)");
}

/// Keeps the calling thread, which is one test's, on one CPU, each on the next: the program's memory is per CPU.
fn pin_to_one_cpu() {
    static TESTS: AtomicUsize = AtomicUsize::new(0);
    let this_thread = Pid::from_raw(0);
    let usable = sched_getaffinity(this_thread).expect("a thread may ask for its CPUs");
    let usable: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| usable.is_set(*cpu).unwrap_or(false))
        .collect();
    let mut one = CpuSet::new();
    let test = TESTS.fetch_add(1, Ordering::Relaxed);
    one.set(usable[test % usable.len()])
        .expect("the number came from a set");
    sched_setaffinity(this_thread, &one).expect("a thread may give up CPUs");
}

/// States per map: few, and more than any test makes.
pub(crate) const STATES_MAX: u32 = 8192;
