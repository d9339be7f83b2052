//! `[shield]`, resolved: what the configuration hands to the packet filter.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use weir_common::Policy;
use weir_common::settings::CookieMode;

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
    /// Files of networks to block.
    pub feeds: Vec<Feed>,
    /// Sanity checks.
    pub sanity: Sanity,
    /// UDP source ports of reflectors. At most 1,024. Default 53, 123, 161, 389, 1900, 11211.
    pub amplification_ports: Vec<u16>,
    /// Ports that limits and cookies never touch, and whose established connections a block does not end. At most 64.
    /// Default 22.
    pub failsafe_ports: Vec<u16>,
    /// UDP destination ports where QUIC is served or forwarded: datagrams to them are judged by [`Sanity::quic`]. At most 64.
    /// Default 443.
    pub quic_ports: Vec<u16>,
    /// Whether weir sets the sysctls that SYN cookies need, and restores them on detach. Default false.
    pub manage_sysctls: bool,
    /// Limits per source and per prefix.
    pub limits: Limits,
    /// SYN cookies.
    pub syn_cookies: SynCookies,
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

/// `[[shield.feeds]]`: a file of networks to block, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Entries of it have the origin `feed:<name>`; at most 26 bytes.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// How often it is looked at again. 1 s to 1 week; default 1 h.
    pub refresh: Duration,
}

/// `[shield.sanity]` and `shield.fragments`: what to do with each class of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sanity {
    /// Malformed packets. Default drop.
    pub malformed: Policy,
    /// `shield.fragments`. Default drop.
    pub fragments: Policy,
    /// TCP flags that no stack sends together. Default drop.
    pub bad_flags: Policy,
    /// Own, martian and land sources. Default drop.
    pub spoofed: Policy,
    /// UDP from `amplification_ports`. Default drop.
    pub amplification: Policy,
    /// ICMP types nobody needs. Default drop.
    pub icmp: Policy,
    /// What opens no QUIC connection that could be, to `quic_ports`. Default drop.
    pub quic: Policy,
    /// UDP to this host without a listener. Default pass.
    pub closed_ports: Policy,
    /// Neither IPv4, IPv6, ARP nor PPPoE. Default pass.
    pub non_ip: Policy,
    /// PPPoE. Default pass.
    pub pppoe: Policy,
    /// Whether what is inside IPIP, 6in4 and GRE is judged too. Default false.
    pub inner_headers: bool,
}

/// `[shield.limits]`: per source; a prefix may have `prefix_factor` times as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Packets. Default 50,000 a second, burst 100,000.
    pub packets: Option<Rate>,
    /// New connections: SYNs and QUIC Initials. Default 200, 400.
    pub syn: Option<Rate>,
    /// UDP datagrams. Default 2,000, 4,000.
    pub udp: Option<Rate>,
    /// ICMP messages. Default 50, 100.
    pub icmp: Option<Rate>,
    /// Bytes of frames. Default 125 MiB, 250 MiB.
    pub bytes: Option<Rate>,
    /// How many times one source's rate and burst an IPv4 /24 or IPv6 /48 may use. 1 to 65,536; default 16.
    pub prefix_factor: u32,
}

/// A rate a second and what may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// A second; 1 to 2^40.
    pub rate: u64,
    /// At once: from 20 ms of the rate (the kernel's coarse clock steps up to 10 ms) to 30 s of it.
    pub burst: u64,
}

/// `[shield.syn_cookies]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynCookies {
    /// Default auto.
    pub mode: CookieMode,
    /// SYNs a second over all sources at which `auto` begins. 1 to 100,000,000; default 5,000.
    pub start: u32,
}

/// `[shield.tables]`: capacities, entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables {
    /// Sources with counters and limits, both address families together. 1,024 to 16,777,216.
    pub sources: u32,
    /// Exact blocked addresses, per address family. 1,024 to 16,777,216.
    pub blocks: u32,
    /// Blocked prefixes, per address family. 64 to 1,048,576.
    pub prefixes: u32,
}

impl Tables {
    /// Allowed addresses and prefixes, per address family: an allowlist is the shorter list.
    pub const fn allowed_prefixes(&self) -> u32 {
        self.prefixes.div_ceil(2)
    }
}
