//! Memory of the host and the limits of the control groups above this process (versions 1 and 2).

use std::path::{Path, PathBuf};

use super::super::facts::{CgroupMemory, Memory};
use super::files;
use crate::doctor::Unseen;

/// Memory as it is now.
pub(super) fn look() -> Memory {
    let meminfo = files::text("/proc/meminfo");
    let value = |name| {
        let text = meminfo.as_ref().map_err(Clone::clone)?;
        meminfo_bytes(text, name).ok_or(Unseen::Absent)
    };
    Memory {
        total: value("MemTotal"),
        available: value("MemAvailable"),
        cgroup: files::text("/proc/self/cgroup")
            .ok()
            .and_then(|text| tightest(&groups(&text), Path::new(ROOT))),
    }
}

/// A field of `/proc/meminfo`, bytes.
fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let kibibytes = files::field(meminfo, name)?.strip_suffix(" kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Where a control group's memory files are, below the mount point of control groups.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    /// The hierarchy's directory, `""` or `memory`.
    hierarchy: &'static str,
    path: PathBuf,
    limit: &'static str,
    used: &'static str,
}

/// The groups of `/proc/<pid>/cgroup` (cgroups(7)) that can limit memory.
fn groups(text: &str) -> Vec<Group> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let path = PathBuf::from(path.strip_prefix('/')?);
            if id == "0" && controllers.is_empty() {
                Some(Group {
                    hierarchy: "",
                    path,
                    limit: "memory.max",
                    used: "memory.current",
                })
            } else if controllers.split(',').any(|name| name == "memory") {
                Some(Group {
                    hierarchy: "memory",
                    path,
                    limit: "memory.limit_in_bytes",
                    used: "memory.usage_in_bytes",
                })
            } else {
                None
            }
        })
        .collect()
}

/// The limit that leaves least, of `groups` and all above them below the mount point `root`.
fn tightest(groups: &[Group], root: &Path) -> Option<CgroupMemory> {
    let directories = groups.iter().flat_map(|group| {
        let hierarchy = root.join(group.hierarchy);
        group
            .path
            .ancestors()
            .map(move |path| (group, hierarchy.join(path)))
    });
    directories
        .filter_map(|(group, directory)| {
            // Version 2 writes `max` for none, version 1 a number near the largest.
            let limit = files::number(&files::text(directory.join(group.limit)).ok()?).ok()?;
            let used = files::number(&files::text(directory.join(group.used)).ok()?).ok()?;
            (limit < UNLIMITED).then_some(CgroupMemory { limit, used })
        })
        .min_by_key(|memory| memory.limit.saturating_sub(memory.used))
}

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// What version 1 calls a limit from here on is none: bytes, an exbibyte.
const UNLIMITED: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn meminfo_counts_in_kibibytes() {
        let meminfo = "MemTotal:        8037216 kB\nMemAvailable:    7000000 kB\n";
        assert_eq!(meminfo_bytes(meminfo, "MemAvailable"), Some(7_168_000_000));
        assert_eq!(meminfo_bytes(meminfo, "SwapFree"), None);
    }

    #[test]
    fn both_versions_of_control_groups_are_found() {
        let groups = groups("4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/system.slice/weir.service\n");
        let found: Vec<_> = groups
            .iter()
            .map(|group| (group.limit, group.path.to_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("memory.limit_in_bytes", Some("a/b")),
                ("memory.max", Some("system.slice/weir.service")),
            ]
        );
    }

    #[test]
    fn the_limit_that_leaves_least_counts_wherever_above_it_is() {
        let root = std::env::temp_dir().join(format!("weir-doctor-{}", std::process::id()));
        let inner = root.join("slice/service");
        fs::create_dir_all(&inner).expect("makes directories");
        for (directory, limit, used) in [
            (root.join("slice"), "1000\n", "900\n"),
            (inner.clone(), "500\n", "100\n"),
        ] {
            fs::write(directory.join("memory.max"), limit).expect("writes");
            fs::write(directory.join("memory.current"), used).expect("writes");
        }
        let groups = groups("0::/slice/service\n");
        let found = tightest(&groups, &root);
        fs::write(root.join("slice/memory.max"), "max\n").expect("writes");
        let without = tightest(&groups, &root);
        fs::remove_dir_all(&root).expect("removes them");
        let memory = |limit, used| Some(CgroupMemory { limit, used });
        assert_eq!((found, without), (memory(1000, 900), memory(500, 100)));
    }
}
