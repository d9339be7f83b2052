//! What a weir that is started here may do, and how much it may take.

use weir_common::maps::OWN_MAX;

use super::super::facts::{Capabilities, CgroupMemory, Facts};
use super::super::{Finding, Severity};

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![capabilities(facts)];
    findings.extend(low_ports(facts));
    findings.push(open_files(facts));
    findings.push(memory(facts));
    findings.extend(cgroup(facts));
    findings.extend(addresses(facts));
    findings
}

/// Whether the shield can know all of this host's addresses.
fn addresses(facts: &Facts) -> Option<Finding> {
    let why = "packets from and to an address that the shield does not know as the host's own pass as if it were \
               somebody else's: a forged one is not told apart, and SYN cookies are not sent for it";
    match &facts.addresses {
        Ok(count) if *count <= OWN_MAX as usize => None,
        Ok(count) => Some(
            Finding::new(
                "own-addresses",
                Severity::Warning,
                format!("this host has {count} addresses, and the shield has room for {OWN_MAX}"),
                why,
            )
            .fix("route the prefix to this host (`ip route add local PREFIX dev lo`) instead of adding each address"),
        ),
        Err(unseen) => Some(Finding::unseen(
            "own-addresses",
            "this host's addresses",
            unseen,
            why,
        )),
    }
}

/// A capability by name and number (capabilities(7)).
struct Capability {
    name: &'static str,
    number: u32,
}

/// What loading and attaching take.
const SHIELD: [Capability; 3] = [
    Capability {
        name: "CAP_BPF",
        number: 39,
    },
    Capability {
        name: "CAP_NET_ADMIN",
        number: 12,
    },
    Capability {
        name: "CAP_PERFMON",
        number: 38,
    },
];
/// In place of the three: the kernel takes it for each of them.
const SYS_ADMIN: u32 = 21;
/// Ports below `ip_unprivileged_port_start`.
const NET_BIND_SERVICE: u32 = 10;

fn has(set: u64, number: u32) -> bool {
    set & (1 << number) != 0
}

/// The names of the shield's capabilities that are not in `set`.
fn missing(set: u64) -> Vec<&'static str> {
    if has(set, SYS_ADMIN) {
        return Vec::new();
    }
    SHIELD
        .iter()
        .filter(|capability| !has(set, capability.number))
        .map(|capability| capability.name)
        .collect()
}

fn capabilities(facts: &Facts) -> Finding {
    let why = "CAP_BPF and CAP_PERFMON load the program, CAP_NET_ADMIN attaches it; CAP_SYS_ADMIN does for all three";
    let Capabilities {
        effective,
        bounding,
    } = match &facts.process.capabilities {
        Ok(capabilities) => *capabilities,
        Err(unseen) => return Finding::unseen("capabilities", "the capabilities", unseen, why),
    };
    if facts.process.user_namespace == Ok(true) {
        return Finding::new(
            "capabilities",
            Severity::Problem,
            "this process lives in a user namespace",
            "the kernel loads BPF programs for processes of the host's user namespace only, whatever their capabilities",
        )
        .fix("run weir on the host, or in a container without user namespace");
    }
    let withheld = missing(bounding);
    if !withheld.is_empty() {
        return Finding::new(
            "capabilities",
            Severity::Problem,
            format!("nothing that is started here can get {}", withheld.join(", ")),
            why,
        )
        .fix("in a container: --cap-add BPF --cap-add NET_ADMIN --cap-add PERFMON; under systemd: CapabilityBoundingSet=, as in weir.service");
    }
    let lacking = missing(effective);
    if lacking.is_empty() {
        return Finding::new(
            "capabilities",
            Severity::Ok,
            "loading and attaching are permitted",
            why,
        );
    }
    // Another user, or systemd, may well have them.
    let severity = if facts.process.root {
        Severity::Problem
    } else {
        Severity::Warning
    };
    Finding::new(
        "capabilities",
        severity,
        format!("this user has no {}", lacking.join(", ")),
        why,
    )
    .fix("start weir as root or by its systemd unit, which grants them; `sudo weir doctor` looks as root")
}

fn low_ports(facts: &Facts) -> Option<Finding> {
    let lowest = facts
        .wanted
        .ports
        .iter()
        .copied()
        .filter(|port| *port != 0)
        .min()?;
    let why = "ports below net.ipv4.ip_unprivileged_port_start take CAP_NET_BIND_SERVICE";
    let (Ok(start), Ok(capabilities)) = (
        &facts.sysctls.unprivileged_port_start,
        &facts.process.capabilities,
    ) else {
        return None;
    };
    let finding = |severity, found: String| Finding::new("low-ports", severity, found, why);
    if u64::from(lowest) >= *start {
        return Some(finding(
            Severity::Ok,
            format!("port {lowest} is open to every user"),
        ));
    }
    if has(capabilities.effective, NET_BIND_SERVICE) {
        return Some(finding(
            Severity::Ok,
            format!("listening on port {lowest} is permitted"),
        ));
    }
    let severity = if facts.process.root {
        Severity::Problem
    } else {
        Severity::Warning
    };
    Some(
        finding(
            severity,
            format!("this user may not listen on port {lowest}"),
        )
        .fix("start weir as root or by its systemd unit, which grants CAP_NET_BIND_SERVICE"),
    )
}

/// Descriptors beside those of connections: listeners, maps, logs, certificates while they are read.
const OTHER_FILES: u64 = 256;

fn open_files(facts: &Facts) -> Finding {
    let connections = facts.wanted.connections;
    let needed = connections.saturating_mul(2).saturating_add(OTHER_FILES);
    let why = format!(
        "[limits] connections allows {connections} clients, and each takes a descriptor on its own side and often one \
         towards an origin; a weir that has none left accepts nobody"
    );
    match &facts.process.open_files {
        Ok(limit) if *limit >= needed => Finding::new(
            "open-files",
            Severity::Ok,
            format!("a process may open {limit} files, weir needs {needed} at most"),
            why,
        ),
        Ok(limit) => Finding::new(
            "open-files",
            Severity::Warning,
            format!("a process started here may open {limit} files, weir may need {needed}"),
            why,
        )
        .fix(format!(
            "in the systemd unit: LimitNOFILE={needed}; in this shell: ulimit -Hn {needed}; or lower [limits] connections"
        )),
        Err(unseen) => Finding::unseen("open-files", "the limit of open files", unseen, why),
    }
}

const MEMORY_WHY: &str = "maps grow as lists do; without memory the kernel refuses new entries, or the whole shield at its start";

fn memory(facts: &Facts) -> Finding {
    let wanted = facts.wanted.map_bytes;
    let (total, available) = match (&facts.memory.total, &facts.memory.available) {
        (Ok(total), Ok(available)) => (*total, *available),
        (Err(unseen), _) | (_, Err(unseen)) => {
            return Finding::unseen("memory", "the memory", unseen, MEMORY_WHY);
        }
    };
    let finding = |severity, found: String| {
        let found = format!(
            "the shield's maps take {} when full, {found}",
            mebibytes(wanted)
        );
        Finding::new("memory", severity, found, MEMORY_WHY)
    };
    let available_now = format!("and {} are available", mebibytes(available));
    if wanted > total {
        let found = format!("the host has {}", mebibytes(total));
        finding(Severity::Problem, found).fix(SMALLER)
    } else if facts.is_attached() {
        finding(Severity::Ok, "and are in use already".to_owned())
    } else if wanted > available {
        finding(Severity::Warning, available_now).fix(SMALLER)
    } else {
        finding(Severity::Ok, available_now)
    }
}

fn cgroup(facts: &Facts) -> Option<Finding> {
    let CgroupMemory { limit, used } = facts.memory.cgroup?;
    let wanted = facts.wanted.map_bytes;
    let left = limit.saturating_sub(used);
    let found = format!(
        "the control group of this process may use {} and has {} left; the shield's maps take {} when full",
        mebibytes(limit),
        mebibytes(left),
        mebibytes(wanted)
    );
    let why = "maps count towards the control group of the process that made them";
    let finding = |severity| Finding::new("memory-limit", severity, found, why);
    Some(if wanted > limit {
        finding(Severity::Problem).fix(format!("raise its memory.max; or {SMALLER}"))
    } else if wanted > left && !facts.is_attached() {
        finding(Severity::Warning).fix(format!("raise its memory.max; or {SMALLER}"))
    } else {
        finding(Severity::Ok)
    })
}

const SMALLER: &str = "lower the capacities in [shield.tables]";

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::super::super::Unseen;
    use super::super::tests::{all, facts, the};
    use super::*;

    fn with(effective: u64, bounding: u64, root: bool) -> Facts {
        let mut facts = facts();
        facts.process.root = root;
        facts.process.capabilities = Ok(Capabilities {
            effective,
            bounding,
        });
        facts
    }

    const EVERY: u64 = (1 << 41) - 1;
    const THREE: u64 = 1 << 39 | 1 << 38 | 1 << 12;

    #[test]
    fn more_addresses_than_the_shield_has_room_for_are_warned_of() {
        let mut facts = facts();
        for (count, told) in [(1, false), (32_768, false), (32_769, true)] {
            facts.addresses = Ok(count);
            let found = all(&facts, "own-addresses");
            assert_eq!(!found.is_empty(), told, "{count}");
        }
        facts.addresses = Ok(100_000);
        let finding = the(&facts, "own-addresses");
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.found.contains("100000"), "{}", finding.found);
    }

    #[test]
    fn the_three_capabilities_or_sys_admin_alone_will_do() {
        for effective in [EVERY, THREE, 1 << SYS_ADMIN] {
            let facts = with(effective, EVERY, false);
            assert_eq!(the(&facts, "capabilities").severity, Severity::Ok);
        }
    }

    #[test]
    fn missing_capabilities_are_named_and_are_a_problem_only_where_nothing_could_grant_them() {
        for (effective, bounding, root, severity, names) in [
            (
                0,
                EVERY,
                false,
                Severity::Warning,
                "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON",
            ),
            (
                THREE & !(1 << 38),
                EVERY,
                false,
                Severity::Warning,
                "CAP_PERFMON",
            ),
            (
                0,
                EVERY,
                true,
                Severity::Problem,
                "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON",
            ),
            (0, 1 << 12, true, Severity::Problem, "CAP_BPF, CAP_PERFMON"),
            (0, 1 << 12, false, Severity::Problem, "CAP_BPF, CAP_PERFMON"),
        ] {
            let finding = the(&with(effective, bounding, root), "capabilities");
            assert_eq!(finding.severity, severity);
            assert!(finding.found.ends_with(names), "{}", finding.found);
            assert!(finding.fix.is_some());
        }
    }

    #[test]
    fn capabilities_of_a_user_namespace_do_not_count() {
        let mut facts = with(EVERY, EVERY, true);
        facts.process.user_namespace = Ok(true);
        assert_eq!(the(&facts, "capabilities").severity, Severity::Problem);
    }

    #[test]
    fn a_low_port_takes_its_capability() {
        for (ports, effective, severity) in [
            (vec![8443, 8080], 0, Severity::Ok),
            (vec![8443, 443], THREE, Severity::Warning),
            (vec![443], 1 << NET_BIND_SERVICE, Severity::Ok),
        ] {
            let mut facts = with(effective, EVERY, false);
            facts.wanted.ports = ports;
            assert_eq!(the(&facts, "low-ports").severity, severity);
        }
        let mut facts = with(0, EVERY, false);
        facts.wanted.ports = Vec::new();
        assert!(all(&facts, "low-ports").is_empty());
    }

    #[test]
    fn fewer_open_files_than_two_a_connection_are_worth_a_warning() {
        let mut facts = facts();
        facts.wanted.connections = 10_000;
        for (limit, severity) in [(20_255, Severity::Warning), (20_256, Severity::Ok)] {
            facts.process.open_files = Ok(limit);
            assert_eq!(the(&facts, "open-files").severity, severity, "{limit}");
        }
        facts.process.open_files = Ok(1024);
        let fix = the(&facts, "open-files").fix.unwrap_or_default();
        assert!(fix.contains("LimitNOFILE=20256"), "{fix}");
    }

    #[test]
    fn maps_that_do_not_fit_into_memory_are_a_warning_and_into_the_host_a_problem() {
        let mut facts = facts();
        facts.wanted.map_bytes = 800 << 20;
        for (total, available, severity) in [
            (4_u64 << 30, 2_u64 << 30, Severity::Ok),
            (4 << 30, 700 << 20, Severity::Warning),
            (512 << 20, 400 << 20, Severity::Problem),
        ] {
            facts.memory.total = Ok(total);
            facts.memory.available = Ok(available);
            assert_eq!(the(&facts, "memory").severity, severity);
        }
        // The running shield's maps are part of what is in use.
        facts.own_programs = Ok(vec![7]);
        facts.memory.total = Ok(4 << 30);
        facts.memory.available = Ok(100 << 20);
        assert_eq!(the(&facts, "memory").severity, Severity::Ok);
        facts.memory.available = Err(Unseen::Absent);
        assert_eq!(the(&facts, "memory").severity, Severity::Note);
    }

    #[test]
    fn a_control_group_too_small_for_the_maps_is_found() {
        let mut facts = facts();
        facts.wanted.map_bytes = 800 << 20;
        for (limit, used, severity) in [
            (2_u64 << 30, 0, Severity::Ok),
            (1 << 30, 300_u64 << 20, Severity::Warning),
            (512 << 20, 0, Severity::Problem),
        ] {
            facts.memory.cgroup = Some(CgroupMemory { limit, used });
            assert_eq!(the(&facts, "memory-limit").severity, severity);
        }
        facts.memory.cgroup = None;
        assert!(all(&facts, "memory-limit").is_empty());
    }
}
