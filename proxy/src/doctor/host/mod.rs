//! Gathers the facts: `/proc`, `/sys`, rtnetlink and ethtool's netlink. It changes nothing, needs no root, and notes
//! what it may not see instead of failing.

mod device;
mod files;
mod generic;
mod links;
mod memory;

use std::collections::BTreeMap;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::{SysconfVar, geteuid, sysconf};

use self::files::{number, sysctl};
use super::facts::{Capabilities, Facts, Kernel, Process, Sysctls, Wanted};
use super::{Device, Unseen};
use crate::xdp::{self, ErrorKind};

/// Looks at the host that this process runs on, in its network namespace.
pub fn look(wanted: Wanted) -> Facts {
    let mut facts = Facts {
        kernel: kernel(&wanted.pin_dir),
        process: process(),
        memory: memory::look(),
        sysctls: sysctls(),
        addresses: xdp::addresses::list().map_or_else(|e| Err(e.into()), |list| Ok(list.len())),
        links: links::all().map_err(Unseen::from),
        devices: BTreeMap::new(),
        own_programs: own_programs(&wanted.pin_dir),
        wanted,
    };
    facts.devices = devices(&facts);
    facts
}

fn kernel(pin_dir: &Path) -> Kernel {
    Kernel {
        release: nix::sys::utsname::uname().map_or_else(
            |_| String::new(),
            |name| name.release().to_string_lossy().into_owned(),
        ),
        cpus: cpus(),
        jit_enable: sysctl("net/core/bpf_jit_enable"),
        jit_harden: sysctl("net/core/bpf_jit_harden"),
        unprivileged_bpf_disabled: sysctl("kernel/unprivileged_bpf_disabled"),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        bpffs: is_bpffs(pin_dir),
    }
}

/// CPUs that are on, whatever this process may use of them.
fn cpus() -> u32 {
    sysconf(SysconfVar::_NPROCESSORS_ONLN)
        .ok()
        .flatten()
        .and_then(|cpus| u32::try_from(cpus).ok())
        .unwrap_or(1)
}

fn is_bpffs(pin_dir: &Path) -> Result<bool, Unseen> {
    use nix::errno::Errno;
    let mut refused = None;
    for ancestor in pin_dir.ancestors() {
        match statfs(ancestor) {
            Ok(found) => return Ok(found.filesystem_type() == BPF_FS_MAGIC),
            // What lies above a directory that only root may enter is on the same file system more often than not.
            Err(Errno::ENOENT | Errno::EACCES) => {}
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or(Unseen::Absent, |error| {
        Unseen::from(std::io::Error::from(error))
    }))
}

fn process() -> Process {
    Process {
        root: geteuid().is_root(),
        user_namespace: files::text("/proc/self/uid_map").map(|map| !files::maps_everyone(&map)),
        capabilities: files::text("/proc/self/status").and_then(|status| {
            let set = |name| files::capability_set(&status, name);
            match (set("CapEff"), set("CapBnd")) {
                (Some(effective), Some(bounding)) => Ok(Capabilities {
                    effective,
                    bounding,
                }),
                _ => Err(Unseen::Absent),
            }
        }),
        open_files: getrlimit(Resource::RLIMIT_NOFILE)
            .map(|(_, hard)| hard)
            .map_err(|error| Unseen::from(std::io::Error::from(error))),
    }
}

fn sysctls() -> Sysctls {
    Sysctls {
        tcp_syncookies: sysctl("net/ipv4/tcp_syncookies"),
        tcp_timestamps: sysctl("net/ipv4/tcp_timestamps"),
        tcp_rmem_max: files::text("/proc/sys/net/ipv4/tcp_rmem").and_then(|text| {
            let largest = text.split_whitespace().nth(2);
            largest.map_or(Err(Unseen::Absent), number)
        }),
        rmem_max: sysctl("net/core/rmem_max"),
        somaxconn: sysctl("net/core/somaxconn"),
        conntrack_tcp_loose: sysctl("net/netfilter/nf_conntrack_tcp_loose"),
        unprivileged_port_start: sysctl("net/ipv4/ip_unprivileged_port_start"),
    }
}

fn own_programs(pin_dir: &Path) -> Result<Vec<u32>, Unseen> {
    xdp::pinned_programs(pin_dir).map_err(|error| match error.kind {
        ErrorKind::NotPermitted => Unseen::NotPermitted,
        ErrorKind::NotAttached | ErrorKind::Failed => Unseen::Failed(error.message),
    })
}

/// The devices of the interfaces that are looked at, and of their members.
fn devices(facts: &Facts) -> BTreeMap<u32, Device> {
    let mut devices = BTreeMap::new();
    let examined = facts.examined().into_iter().flatten();
    for link in examined.flat_map(|link| [vec![link], facts.members(link)].concat()) {
        devices
            .entry(link.index)
            .or_insert_with(|| device::look(link));
    }
    devices
}
