//! What the checks judge: a host as it was seen at one moment, and what is wanted of it. Plain values; `host` fills them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Unseen;
use crate::xdp::{AttachedMode, Mode};

/// What weir is to do on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What to look at.
    pub interfaces: Interfaces,
    /// `[shield] mode`.
    pub mode: Mode,
    /// `[shield] pin_dir`.
    pub pin_dir: PathBuf,
    /// Kernel memory that the shield's maps take when they are full, bytes.
    pub map_bytes: u64,
    /// Connections of all listeners together: the sum of `[limits] connections`.
    pub connections: u64,
    /// TCP ports of the listeners.
    pub ports: Vec<u16>,
}

/// Which interfaces to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// `[shield] interfaces`.
    Named(Vec<String>),
    /// Every one that is up, but for loopback: nobody said which.
    Up {
        /// Why nobody said, without its full stop.
        because: String,
    },
}

/// A host, and what is wanted of it.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What weir is to do.
    pub wanted: Wanted,
    /// Kernel and its switches.
    pub kernel: Kernel,
    /// The process that looked.
    pub process: Process,
    /// Memory.
    pub memory: Memory,
    /// Switches of the network namespace.
    pub sysctls: Sysctls,
    /// Addresses of the network namespace, all interfaces together.
    pub addresses: Result<usize, Unseen>,
    /// Every interface of the network namespace, or why they could not be read.
    pub links: Result<Vec<Link>, Unseen>,
    /// What is known beyond that of the interfaces that are looked at, and of those below them, by index.
    pub devices: BTreeMap<u32, Device>,
    /// Ids of the XDP programs that links pinned below `pin_dir` hold: an earlier or the running weir's.
    pub own_programs: Result<Vec<u32>, Unseen>,
}

/// The kernel and its BPF switches.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// CPUs that are on.
    pub cpus: u32,
    /// `net.core.bpf_jit_enable`: 0 off, 1 on, 2 on and traced.
    pub jit_enable: Result<u64, Unseen>,
    /// `net.core.bpf_jit_harden`: 0 off, 1 for programs of the unprivileged, 2 for all.
    pub jit_harden: Result<u64, Unseen>,
    /// `kernel.unprivileged_bpf_disabled`: 0 anyone may load BPF, 1 and 2 the privileged only.
    pub unprivileged_bpf_disabled: Result<u64, Unseen>,
    /// Whether the kernel carries its own BTF.
    pub btf: bool,
    /// Whether `pin_dir`, or the nearest directory above it that exists, is on a bpffs.
    pub bpffs: Result<bool, Unseen>,
}

/// The process that looked. weir itself may run as another user and with other limits.
#[derive(Debug, Clone)]
pub struct Process {
    /// Whether its effective user is root.
    pub root: bool,
    /// Whether it lives in a user namespace other than the host's.
    pub user_namespace: Result<bool, Unseen>,
    /// Capabilities it has and may ever have.
    pub capabilities: Result<Capabilities, Unseen>,
    /// `RLIMIT_NOFILE`, the hard limit, to which weir raises the soft one.
    pub open_files: Result<u64, Unseen>,
}

/// Sets of capabilities, bit by number (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// In effect.
    pub effective: u64,
    /// The most that a program started here can get.
    pub bounding: u64,
}

/// Memory, bytes.
#[derive(Debug, Clone)]
pub struct Memory {
    /// `MemTotal`
    pub total: Result<u64, Unseen>,
    /// `MemAvailable`
    pub available: Result<u64, Unseen>,
    /// The tightest limit of the control groups above this process; none: no limit was found.
    pub cgroup: Option<CgroupMemory>,
}

/// A control group's memory limit, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupMemory {
    /// `memory.max`
    pub limit: u64,
    /// What of it is in use.
    pub used: u64,
}

/// Network switches. `Absent` where the network namespace or the kernel has no such switch.
#[derive(Debug, Clone)]
pub struct Sysctls {
    /// `net.ipv4.tcp_syncookies`
    pub tcp_syncookies: Result<u64, Unseen>,
    /// `net.ipv4.tcp_timestamps`
    pub tcp_timestamps: Result<u64, Unseen>,
    /// The third of `net.ipv4.tcp_rmem`: largest receive buffer, bytes.
    pub tcp_rmem_max: Result<u64, Unseen>,
    /// `net.core.rmem_max`, bytes.
    pub rmem_max: Result<u64, Unseen>,
    /// `net.core.somaxconn`: longest queue of connections not accepted yet.
    pub somaxconn: Result<u64, Unseen>,
    /// `net.netfilter.nf_conntrack_tcp_loose`; absent: no connection tracking.
    pub conntrack_tcp_loose: Result<u64, Unseen>,
    /// `net.ipv4.ip_unprivileged_port_start`: lowest port that takes no capability.
    pub unprivileged_port_start: Result<u64, Unseen>,
}

/// An interface as rtnetlink shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Index.
    pub index: u32,
    /// Whether it was set up.
    pub is_up: bool,
    /// Whether there is a signal.
    pub has_carrier: bool,
    /// Bytes, without the Ethernet header.
    pub mtu: u32,
    /// What its frames begin with.
    pub layer: Layer,
    /// `veth`, `vlan`, `bond`, ...; none for hardware and loopback.
    pub kind: Option<String>,
    /// Index of what it is stacked upon, or of a veth's peer.
    pub lower: Option<u32>,
    /// Whether `lower` is in another network namespace.
    pub lower_is_elsewhere: bool,
    /// Index of the bond, team or bridge that it is a member of.
    pub controller: Option<u32>,
    /// 802.1Q or 802.1ad identifier of a VLAN sub-interface.
    pub vlan: Option<u16>,
    /// How a bond spreads frames.
    pub bond: Option<BondMode>,
    /// XDP programs, at most one per hook.
    pub programs: Vec<Program>,
    /// The hardware it stands for, if any. Linux 5.14 and newer say it.
    pub hardware: Option<Hardware>,
}

/// A device as `/sys/bus/<bus>/devices/<device>` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// `pci`, `virtio`, ...
    pub bus: String,
    /// `0000:00:03.0`, `virtio2`, ...
    pub device: String,
}

/// What frames of an interface begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// An Ethernet header; on loopback too.
    Ethernet,
    /// The same, and it never leaves the host.
    Loopback,
    /// Something else, in the kernel's word.
    Other(String),
}

/// How a bond spreads frames, as far as XDP cares (`bond_xdp_check`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BondMode {
    /// Native XDP is possible.
    Xdp(String),
    /// It is not.
    NoXdp(String),
}

/// An XDP program on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Kernel id.
    pub id: u32,
    /// Mode; none: offloaded to the card, where weir never attaches.
    pub mode: Option<AttachedMode>,
    /// Name, if this process may see it.
    pub name: Option<String>,
}

/// What driver and hardware of an interface do.
#[derive(Debug, Clone)]
pub struct Device {
    /// The kernel driver; none for interfaces without hardware.
    pub driver: Result<Option<String>, Unseen>,
    /// What XDP the kernel says the driver can do, as configured now. Linux 6.3 and newer say it.
    pub xdp: Result<XdpFeatures, Unseen>,
    /// Offloads.
    pub offloads: Result<Offloads, Unseen>,
    /// Queues.
    pub channels: Result<Channels, Unseen>,
    /// The larger of `net.ipv4.conf.all.rp_filter` and the interface's own: the kernel goes by that.
    pub rp_filter: Result<u64, Unseen>,
}

/// XDP abilities, as of `netdev.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpFeatures {
    /// Native XDP: pass, drop, send back.
    pub native: bool,
    /// Frames in several buffers.
    pub frags: bool,
}

/// Offloads that matter to XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offloads {
    /// Large receive offload: `lro`.
    pub lro: Offload,
    /// GRO in hardware: `rx-gro-hw`.
    pub gro_hw: Offload,
    /// GRO in the stack: `gro`.
    pub gro: Offload,
    /// VLAN tags taken off on receipt: `rxvlan`.
    pub rx_vlan: Offload,
}

/// State of one offload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// Off.
    Off,
    /// On, and can be switched off.
    On,
    /// On for good.
    Fixed,
}

/// Queues of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// Receive queues in use.
    pub rx: u32,
    /// The most it can have.
    pub rx_max: u32,
    /// Whether receive and send queues come in pairs, as `ethtool -L` names them.
    pub pairing: Pairing,
}

/// How `ethtool -L` counts queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// `combined`
    Combined,
    /// `rx` and `tx`
    Separate,
}

impl Pairing {
    /// The word of `ethtool -L`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Combined => "combined",
            Self::Separate => "rx",
        }
    }
}

impl Facts {
    /// The interface with `index`.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links
            .as_ref()
            .ok()?
            .iter()
            .find(|link| link.index == index)
    }

    /// The members of a bond, team or bridge.
    pub fn members(&self, controller: &Link) -> Vec<&Link> {
        self.matching(|link| link.controller == Some(controller.index))
    }

    /// The VLAN sub-interfaces of `link`.
    pub fn vlans(&self, link: &Link) -> Vec<&Link> {
        self.matching(|other| {
            other.vlan.is_some() && !other.lower_is_elsewhere && other.lower == Some(link.index)
        })
    }

    /// The interfaces to look at, in order; an error holds a name that none has.
    pub fn examined(&self) -> Vec<Result<&Link, &str>> {
        let Ok(links) = &self.links else {
            return Vec::new();
        };
        match &self.wanted.interfaces {
            Interfaces::Named(names) => names
                .iter()
                .map(|name| {
                    links
                        .iter()
                        .find(|link| link.name == *name)
                        .ok_or(name.as_str())
                })
                .collect(),
            Interfaces::Up { .. } => links
                .iter()
                .filter(|link| link.is_up && link.layer != Layer::Loopback)
                .map(Ok)
                .collect(),
        }
    }

    /// Whether the configuration said which interfaces to guard.
    pub fn is_guarding_by_name(&self) -> bool {
        matches!(self.wanted.interfaces, Interfaces::Named(_))
    }

    /// Whether a weir's shield is on some interface, running or left by one.
    pub fn is_attached(&self) -> bool {
        self.own_programs.as_ref().is_ok_and(|ids| !ids.is_empty())
    }

    fn matching(&self, matches: impl Fn(&Link) -> bool) -> Vec<&Link> {
        let links = self.links.as_deref().unwrap_or_default();
        links.iter().filter(|link| matches(link)).collect()
    }
}
