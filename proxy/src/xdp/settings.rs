//! `[shield]`, resolved: what the configuration hands to the packet filter.

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
