//! The packet filter's user side: loads, attaches and pins the program; reads and edits its maps.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use weir_common::Policy;

/// `[shield]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Interfaces to guard; empty = no packet filter.
    pub interfaces: Vec<String>,
    /// How to attach. Default auto.
    pub mode: Mode,
    /// Default true. False: count and sample what would be dropped, drop nothing.
    pub enforce: bool,
    /// Directory on a bpffs for the pins; a subdirectory with the ABI version is made below it. Default `/sys/fs/bpf/weir`.
    pub pin_dir: PathBuf,
    /// Allowed prefixes.
    pub allow: Vec<IpNet>,
    /// Blocked prefixes.
    pub block: Vec<IpNet>,
    /// Default duration of command-line and detection blocks. Default 1 h.
    pub block_for: Duration,
    /// Malformed packets. Default drop.
    pub malformed: Policy,
    /// Fragments. Default drop.
    pub fragments: Policy,
    /// Map capacities.
    pub tables: Tables,
}

/// `[shield] mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Native, or generic if the driver refuses.
    Auto,
    /// Native or an error.
    Native,
    /// Generic.
    Generic,
}

/// `[shield.tables]`: capacities, entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// Sources with counters, per address family. 1,024 to 16,777,216.
    pub sources: u32,
    /// Exact blocked addresses, per map. 1,024 to 16,777,216.
    pub blocks: u32,
    /// Prefixes per list and address family. 64 to 1,048,576.
    pub prefixes: u32,
}

use std::path::Path;

use weir_common::{Entry, Outcome, Sample, SourceCounters, Totals};

/// What went wrong with the packet filter. Each message is one sentence that names the thing, and a hint follows.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ShieldError {
    /// One sentence, without its full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// For exit codes.
    pub kind: ErrorKind,
}

/// Classes of [`ShieldError`] that callers treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No shield was ever attached: there are no pins.
    NotAttached,
    /// EPERM or EACCES.
    NotPermitted,
    /// Anything else.
    Failed,
}

/// How the program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// In the stack, after the skb is allocated.
    Generic,
}

/// One guarded interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub ifindex: u32,
    /// Slot in the TOTALS map.
    pub slot: u32,
    /// Mode.
    pub mode: AttachedMode,
    /// Why not native, in the driver's error, when `mode` was auto and it is generic.
    pub fallback: Option<String>,
    /// Kernel id of the attached program.
    pub program_id: u32,
}

/// Allow or block list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Beats the blocklist.
    Allow,
    /// Dropped.
    Block,
}

/// An entry together with what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedEntry {
    /// Which list.
    pub list: List,
    /// Address or prefix.
    pub network: IpNet,
    /// Entry.
    pub entry: Entry,
}

/// Counters of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRow {
    /// IPv4 /32 or IPv6 /64.
    pub network: IpNet,
    /// Counters.
    pub counters: SourceCounters,
}

/// Typed view of the pinned maps: what the running weir and the command line share. Every method is a few system
/// calls; none is for a worker thread.
pub struct Maps {}

impl Maps {
    /// Opens the maps pinned below `pin_dir`, after comparing each one's type and sizes with what this weir expects.
    pub fn open(pin_dir: &Path) -> Result<Self, ShieldError> {
        let _ = pin_dir;
        todo!()
    }

    /// Adds or replaces an entry. `duration` `None` = for ever. An entry for `network` in the list that ends later is
    /// kept, unless `origin` is the same or `cli`.
    pub fn insert(
        &self,
        list: List,
        network: IpNet,
        duration: Option<Duration>,
        origin: &str,
        reason: &str,
        now_ns: u64,
    ) -> Result<(), ShieldError> {
        let _ = (list, network, duration, origin, reason, now_ns);
        todo!()
    }

    /// Removes an entry; false if there was none.
    pub fn remove(&self, list: List, network: IpNet) -> Result<bool, ShieldError> {
        let _ = (list, network);
        todo!()
    }

    /// All live entries of `list`, sorted by network.
    pub fn entries(&self, list: List, now_ns: u64) -> Result<Vec<ListedEntry>, ShieldError> {
        let _ = (list, now_ns);
        todo!()
    }

    /// Removes entries that expired. Returns how many.
    pub fn sweep(&self, now_ns: u64) -> Result<usize, ShieldError> {
        let _ = now_ns;
        todo!()
    }

    /// Makes the entries of origin `config` in both lists equal to the settings', leaving others alone.
    pub fn reconcile_config(&self, settings: &Settings, now_ns: u64) -> Result<(), ShieldError> {
        let _ = (settings, now_ns);
        todo!()
    }

    /// Per-interface totals, summed over CPUs: (interface name, totals), by slot.
    pub fn totals(&self) -> Result<Vec<(String, Totals)>, ShieldError> {
        todo!()
    }

    /// Every source that has counters. Up to `[shield.tables] sources` rows a family, unsorted.
    pub fn sources(&self) -> Result<Vec<SourceRow>, ShieldError> {
        todo!()
    }

    /// Counters of the source that `address` belongs to.
    pub fn source(&self, address: std::net::IpAddr) -> Result<Option<SourceRow>, ShieldError> {
        let _ = address;
        todo!()
    }

    /// Whether packets are dropped or only counted.
    pub fn enforcing(&self) -> Result<bool, ShieldError> {
        todo!()
    }
}

/// A decoded sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropSample {
    /// Interface name.
    pub interface: String,
    /// Why.
    pub outcome: Outcome,
    /// As it lay in the ring.
    pub sample: Sample,
}

/// The attached packet filter. Owned by the control thread; dropping it leaves everything attached and pinned.
pub struct Shield {}

impl Shield {
    /// Loads, attaches to every interface and pins, or takes over what an earlier weir pinned, atomically and with all
    /// entries and counters. On error nothing new stays attached.
    pub fn attach(settings: &Settings) -> Result<Self, ShieldError> {
        let _ = settings;
        todo!()
    }

    /// Guarded interfaces.
    pub fn interfaces(&self) -> &[Interface] {
        todo!()
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        todo!()
    }

    /// Applies what may change at run time: enforce, policies, config entries.
    pub fn reconfigure(&mut self, settings: &Settings) -> Result<(), ShieldError> {
        let _ = settings;
        todo!()
    }

    /// Takes the samples out of the ring, at most `max`. Never blocks.
    pub fn samples(&mut self, max: usize) -> Vec<DropSample> {
        let _ = max;
        todo!()
    }

    /// Interfaces that vanished or lost the program, each with a sentence why; tries to attach again where it can.
    pub fn check(&mut self) -> Vec<(String, String)> {
        todo!()
    }
}

/// Takes the program off every interface pinned below `pin_dir` and removes the pins. Returns the interfaces' names.
pub fn detach(pin_dir: &Path) -> Result<Vec<String>, ShieldError> {
    let _ = pin_dir;
    todo!()
}
