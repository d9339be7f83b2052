//! The program in the kernel and the same code on the host, side by side: both judge the same frames at the same time of
//! the same clock, and have to agree on every action and on everything they remember.
//!
//! The program reads the coarse clock, which stands still between two ticks. If it shows the same before and after a run,
//! the host knows the program's time to the nanosecond; if it ticked once meanwhile, both times are tried.

use std::fmt::Write as _;
use std::net::IpAddr;

use weir_common::source::sketch::CELLS;
use weir_common::{CpuState, Entry, Outcome, PrefixState, Pressure, ShieldSettings, SourceState};
use weir_common::{Totals, bits};
use weir_ebpf::host::{self, HostWorld, Lists, Sockets};

use crate::rules::{Rule, source};
use crate::sets::octets;
use crate::shield::{Action, Interface, Shield, coarse_clock_ns};

/// What a shield is told before frames arrive.
#[derive(Clone)]
pub(crate) struct Plan {
    /// `lists` and `own` are filled in.
    pub(crate) settings: Box<ShieldSettings>,
    pub(crate) rules: Vec<Rule>,
    /// This host's addresses.
    pub(crate) own: Vec<IpAddr>,
}

/// Both, and what was run.
pub(crate) struct Pair {
    pub(crate) shield: Shield,
    pub(crate) host: HostWorld,
    settings: Box<ShieldSettings>,
    rules: Vec<host::Rule>,
    runs: Vec<Run>,
    /// The frames of all runs, one behind the other.
    frames: Vec<u8>,
    /// Whether the host knows every cell of the sketch that the kernel has written: both went the same way since they forgot.
    agreed: bool,
}

/// One frame that the kernel has judged.
#[derive(Clone, Copy)]
struct Run {
    frame_at: usize,
    frame_len: usize,
    first_buffer: usize,
    /// The clock before and after.
    earliest_ns: u64,
    latest_ns: u64,
    action: Action,
}

/// Whether both agree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Comparison {
    Agree,
    /// They differ, but the clock ticked within a run: it has to be run again.
    Undecided,
    Disagree(String),
}

impl Pair {
    pub(crate) fn load() -> Self {
        Self::load_for(Interface::Ethernet)
    }

    pub(crate) fn load_for(interface: Interface) -> Self {
        let mut host = HostWorld::default();
        host.loopback = interface == Interface::Loopback;
        host.as_another = interface == Interface::Port;
        Self {
            shield: Shield::load_for(interface),
            host,
            settings: Box::new(ShieldSettings::OPEN),
            rules: Vec::new(),
            runs: Vec::new(),
            frames: Vec::new(),
            agreed: true,
        }
    }

    /// Makes every pre-test of the second array say "perhaps".
    pub(crate) fn untest_second_array(&mut self) {
        self.shield.bits(1).untest();
    }

    /// What both are to believe about this host's sockets.
    pub(crate) fn script(&mut self, sockets: Sockets) {
        self.host.sockets = sockets;
    }

    /// Both forget all packets, and follow `plan` from now on.
    pub(crate) fn configure(&mut self, plan: &Plan) {
        self.forget();
        let now_ns = coarse_clock_ns();
        self.rules = plan.rules.iter().map(|rule| rule.at(now_ns)).collect();
        let mut settings = plan.settings.clone();
        let seed = settings.seed;
        let lists = Lists::of(&self.rules, &settings);
        settings.lists = lists.populated();
        settings.own = own_filter(&plan.own, seed);
        // What the program remembers of the last plan's addresses is void with its generation.
        settings.generation = self.settings.generation + 1;
        let own = plan.own.iter().map(|&address| source(address).mapped());
        self.host.own = own.collect();
        let own: Vec<_> = self.host.own.iter().map(|&mapped| octets(mapped)).collect();

        self.shield.write_own(&own);
        self.shield.bits(settings.bits).fill(&lists);
        self.shield.set(settings.set).fill(&self.rules);
        self.shield.write_settings(&settings);
        self.settings = settings;
    }

    /// Both forget all packets.
    pub(crate) fn forget(&mut self) {
        let agreed = self.agreed || self.compare() == Comparison::Agree;
        self.shield.set(self.settings.set).reset();
        if agreed {
            self.shield
                .forget(self.host.cells().into_iter().map(|(cell, _)| cell));
        } else {
            self.shield.forget(0..CELLS);
        }
        self.host.forget();
        self.agreed = true;
        self.runs.clear();
        self.frames.clear();
    }

    /// Runs a frame in the kernel; the host follows when it is [compared](Self::compare).
    pub(crate) fn run(&mut self, frame: &[u8]) -> Action {
        self.record(frame, usize::MAX, |shield| shield.run(frame))
    }

    /// Runs a frame of which only the first `first_buffer` bytes lie in the first buffer.
    pub(crate) fn run_split(&mut self, frame: &[u8], first_buffer: usize) -> Action {
        self.record(frame, first_buffer, |shield| {
            shield.run_split(frame, first_buffer)
        })
    }

    fn record(
        &mut self,
        frame: &[u8],
        first_buffer: usize,
        run: impl FnOnce(&Shield) -> Action,
    ) -> Action {
        let earliest_ns = coarse_clock_ns();
        let action = run(&self.shield);
        let latest_ns = coarse_clock_ns();
        self.runs.push(Run {
            frame_at: self.frames.len(),
            frame_len: frame.len(),
            first_buffer: first_buffer.min(FIRST_BUFFER_MAX),
            earliest_ns,
            latest_ns,
            action,
        });
        self.frames.extend_from_slice(frame);
        self.agreed = false;
        action
    }

    /// Lets the host judge what the kernel has judged since both forgot.
    pub(crate) fn compare(&mut self) -> Comparison {
        let ticked = |run: &Run| run.latest_ns - run.earliest_ns;
        let unsure: Vec<usize> = (0..self.runs.len())
            .filter(|&run| ticked(&self.runs[run]) != 0)
            .collect();
        let mut least: Option<String> = None;
        for choice in 0..1_u32 << unsure.len().min(UNSURE_MAX) {
            let late = |run: usize| {
                let place = unsure.iter().position(|&other| other == run);
                place.is_some_and(|place| choice >> place & 1 != 0)
            };
            match self.replay(late) {
                None => {
                    self.agreed = true;
                    return Comparison::Agree;
                }
                Some(other)
                    if least
                        .as_ref()
                        .is_some_and(|least| least.len() <= other.len()) => {}
                Some(other) => least = Some(other),
            }
        }
        // The program reads the clock more than once a packet, and a tick may fall between; so nothing but a run without
        // one proves a fault.
        if unsure.is_empty() {
            Comparison::Disagree(least.expect("at least one choice was tried"))
        } else {
            Comparison::Undecided
        }
    }

    /// The host as it was before the first frame.
    fn rewind(&mut self) {
        self.host.forget();
        self.host.lists = Lists::of(&self.rules, &self.settings);
        self.host.lists.untested = self.shield.bits(self.settings.bits).is_untested();
    }

    /// The host judges everything anew and says what differs. `late`: runs that fell behind the tick within them.
    fn replay(&mut self, late: impl Fn(usize) -> bool) -> Option<String> {
        self.rewind();
        for (number, run) in self.runs.iter().enumerate() {
            let frame = &self.frames[run.frame_at..run.frame_at + run.frame_len];
            let now_ns = if late(number) {
                run.latest_ns
            } else {
                run.earliest_ns
            };
            self.host.first_buffer.set(run.first_buffer);
            let decision = self.host.judge(frame, &self.settings, now_ns);
            if Action::from(decision.action) != run.action {
                return Some(format!(
                    "frame {number}: host {decision:?}, kernel {:?}",
                    run.action
                ));
            }
        }
        let host = Memory::of_host(&self.host, &self.rules);
        let kernel = self.memory_of_kernel();
        host.difference(&kernel)
    }

    pub(crate) fn memory_of_kernel(&mut self) -> Memory {
        let set = self.settings.set;
        let entries = self
            .rules
            .iter()
            .map(|rule| self.shield.set(set).entry(rule))
            .collect();
        let cells = self.host.cells().into_iter();
        Memory {
            totals: self.shield.totals(),
            sources: self.shield.sources(),
            prefixes: self.shield.prefixes(),
            cells: cells
                .map(|(cell, _)| (cell, self.shield.cell(cell)))
                .collect(),
            cpu: without_samples(self.shield.cpu()),
            pressure: self.shield.pressure(),
            entries,
        }
    }
}

/// Everything that packets leave behind.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) totals: Totals,
    pub(crate) sources: Vec<(u64, SourceState)>,
    pub(crate) prefixes: Vec<(u64, PrefixState)>,
    pub(crate) cells: Vec<(u32, u32)>,
    pub(crate) cpu: CpuState,
    pub(crate) pressure: Pressure,
    /// Of every rule, in its order.
    pub(crate) entries: Vec<Entry>,
}

impl Memory {
    fn of_host(host: &HostWorld, rules: &[host::Rule]) -> Self {
        let entry = |rule| host.lists.entry(rule).expect("the rule was inserted");
        Self {
            totals: host.totals(),
            sources: host.sources.all(),
            prefixes: host.prefixes.all(),
            cells: host.cells(),
            cpu: without_samples(host.cpu.get()),
            pressure: host.pressure.get(),
            entries: rules.iter().map(entry).collect(),
        }
    }

    fn difference(&self, kernel: &Self) -> Option<String> {
        if self == kernel {
            return None;
        }
        let mut text = String::new();
        for outcome in Outcome::ALL {
            for (word, host, kernel) in [
                ("", self.totals.done(outcome), kernel.totals.done(outcome)),
                (
                    " spared",
                    self.totals.spared(outcome),
                    kernel.totals.spared(outcome),
                ),
            ] {
                if host != kernel {
                    let name = outcome.as_str();
                    let _ = write!(text, "{name}{word}: host {host:?}, kernel {kernel:?}; ");
                }
            }
        }
        differ(&mut text, "source", &self.sources, &kernel.sources);
        differ(&mut text, "prefix", &self.prefixes, &kernel.prefixes);
        differ(&mut text, "cell", &self.cells, &kernel.cells);
        differ(&mut text, "cpu", &[self.cpu], &[kernel.cpu]);
        differ(&mut text, "pressure", &[self.pressure], &[kernel.pressure]);
        differ(&mut text, "entry", &self.entries, &kernel.entries);
        Some(text)
    }
}

fn differ<T: PartialEq + std::fmt::Debug>(text: &mut String, what: &str, host: &[T], kernel: &[T]) {
    // Writing to a string cannot fail.
    for only in host.iter().filter(|&row| !kernel.contains(row)) {
        let _ = write!(text, "{what}, host only: {only:x?}; ");
    }
    for only in kernel.iter().filter(|&row| !host.contains(row)) {
        let _ = write!(text, "{what}, kernel only: {only:x?}; ");
    }
}

/// Whether there was room for a sample is not the verdict's to know.
fn without_samples(cpu: CpuState) -> CpuState {
    CpuState { skipped: 0, ..cpu }
}

fn own_filter(own: &[IpAddr], seed: u64) -> [u64; weir_common::settings::OWN_WORDS] {
    let mut words = [0; weir_common::settings::OWN_WORDS];
    for &address in own {
        let probe = bits::own(source(address), seed);
        let word = usize::try_from(probe.word).expect("one of eight");
        words[word] |= probe.mask;
    }
    words
}

/// What `BPF_PROG_TEST_RUN` puts into the first buffer at most: a page without head room and tail room.
pub(crate) const FIRST_BUFFER_MAX: usize = 4096 - 256 - 320;
/// Runs with a tick within them whose both times are tried.
const UNSURE_MAX: usize = 6;
