//! The kernel: its age, its BPF switches, and the place for the pins.

use super::super::facts::{Facts, Kernel};
use super::super::{Finding, Severity, Unseen};

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let kernel = &facts.kernel;
    vec![
        release(kernel),
        jit(kernel),
        jit_harden(kernel),
        unprivileged_bpf(kernel),
        btf(kernel),
        bpffs(facts),
    ]
}

/// Oldest kernel, major and minor: the newest thing that the program needs.
const OLDEST: (u32, u32) = (5, 18);

fn release(kernel: &Kernel) -> Finding {
    let why = "the shield needs Linux 5.18: the ring buffer of samples came with 5.8, XDP links that can be pinned with \
               5.9, the coarse clock with 5.11, frames in several buffers with 5.18";
    let release = &kernel.release;
    match version(release) {
        None => Finding::new(
            "kernel",
            Severity::Note,
            format!("the kernel calls itself `{release}`, which names no version"),
            why,
        ),
        Some(version) if version < OLDEST => Finding::new(
            "kernel",
            Severity::Problem,
            format!("Linux {release} is too old"),
            why,
        )
        .fix("boot a kernel from 5.18 on"),
        Some(_) => Finding::new("kernel", Severity::Ok, format!("Linux {release}"), why),
    }
}

/// `6.1.0-18-amd64` as (6, 1).
pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn jit(kernel: &Kernel) -> Finding {
    let why =
        "without the JIT compiler every packet is judged by an interpreter, several times slower";
    match &kernel.jit_enable {
        Ok(0) => Finding::new("jit", Severity::Warning, "net.core.bpf_jit_enable is 0", why)
            .fix("sysctl -w net.core.bpf_jit_enable=1"),
        Ok(2) => Finding::new(
            "jit",
            Severity::Warning,
            "net.core.bpf_jit_enable is 2",
            "2 writes every compiled program into the kernel's log, for those who debug the compiler",
        )
        .fix("sysctl -w net.core.bpf_jit_enable=1"),
        Ok(value) => Finding::new(
            "jit",
            Severity::Ok,
            format!("net.core.bpf_jit_enable is {value}"),
            why,
        ),
        Err(unseen) => hidden("jit", "net.core.bpf_jit_enable", unseen, why),
    }
}

fn jit_harden(kernel: &Kernel) -> Finding {
    let why = "2 blinds the constants of every program, weir's too, at a cost for each packet; 1 does it for programs of \
               unprivileged users only";
    match &kernel.jit_harden {
        Ok(2) => Finding::new(
            "jit-harden",
            Severity::Warning,
            "net.core.bpf_jit_harden is 2",
            why,
        )
        .fix("sysctl -w net.core.bpf_jit_harden=1, and start weir anew"),
        Ok(value) => Finding::new(
            "jit-harden",
            Severity::Ok,
            format!("net.core.bpf_jit_harden is {value}"),
            why,
        ),
        Err(unseen) => hidden("jit-harden", "net.core.bpf_jit_harden", unseen, why),
    }
}

/// A switch of the whole kernel that is shown in the host's network namespace only.
fn hidden(check: &'static str, switch: &str, unseen: &Unseen, why: &str) -> Finding {
    match unseen {
        Unseen::Absent => Finding::new(
            check,
            Severity::Note,
            format!("{switch} is not shown in this network namespace"),
            why,
        ),
        Unseen::NotPermitted | Unseen::Failed(_) => Finding::unseen(check, switch, unseen, why),
    }
}

fn unprivileged_bpf(kernel: &Kernel) -> Finding {
    let why = "weir loads its program with capabilities, so nobody else has to be able to, and BPF of unprivileged users \
               is a way to read kernel memory by speculation";
    match &kernel.unprivileged_bpf_disabled {
        Ok(0) => Finding::new(
            "unprivileged-bpf",
            Severity::Warning,
            "kernel.unprivileged_bpf_disabled is 0: any user may load BPF programs",
            why,
        )
        .fix("sysctl -w kernel.unprivileged_bpf_disabled=2"),
        Ok(value) => Finding::new(
            "unprivileged-bpf",
            Severity::Ok,
            format!("kernel.unprivileged_bpf_disabled is {value}"),
            why,
        ),
        Err(unseen) => Finding::unseen(
            "unprivileged-bpf",
            "kernel.unprivileged_bpf_disabled",
            unseen,
            why,
        ),
    }
}

fn btf(kernel: &Kernel) -> Finding {
    let why = "weir does not need it; bpftool and other BPF programs do";
    if kernel.btf {
        Finding::new("btf", Severity::Ok, "the kernel carries its BTF", why)
    } else {
        Finding::new(
            "btf",
            Severity::Note,
            "the kernel carries no BTF (/sys/kernel/btf/vmlinux)",
            why,
        )
    }
}

fn bpffs(facts: &Facts) -> Finding {
    let pin_dir = facts.wanted.pin_dir.display();
    let why = "the pins there keep the shield, its lists and its counters when weir stops, crashes or is upgraded";
    match &facts.kernel.bpffs {
        Ok(true) => Finding::new(
            "bpffs",
            Severity::Ok,
            format!("{pin_dir} is on a BPF file system"),
            why,
        ),
        Ok(false) => Finding::new(
            "bpffs",
            Severity::Problem,
            format!("{pin_dir} is not on a BPF file system"),
            why,
        )
        .fix(if facts.wanted.pin_dir.starts_with(BPFFS) {
            format!("mount -t bpf bpf {BPFFS}")
        } else {
            format!("mkdir -p {pin_dir} && mount -t bpf bpf {pin_dir}")
        }),
        Err(unseen) => Finding::unseen("bpffs", &pin_dir.to_string(), unseen, why),
    }
}

/// Where a bpffs is by convention.
const BPFFS: &str = "/sys/fs/bpf";

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, the};
    use super::*;

    #[test]
    fn a_release_is_read_as_far_as_it_names_a_version() {
        for (release, expected) in [
            ("6.18.44", Some((6, 18))),
            ("5.18.0-rc1+", Some((5, 18))),
            ("5.15.0-91-generic", Some((5, 15))),
            ("6.1-custom", Some((6, 1))),
            ("custom", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn a_kernel_before_5_18_is_a_problem() {
        for (release, severity) in [
            ("4.19.0", Severity::Problem),
            ("5.17.15", Severity::Problem),
            ("5.18.0", Severity::Ok),
            ("6.1.0-18-amd64", Severity::Ok),
            ("custom", Severity::Note),
        ] {
            let mut facts = facts();
            facts.kernel.release = release.to_owned();
            assert_eq!(the(&facts, "kernel").severity, severity, "{release}");
        }
    }

    #[test]
    fn a_jit_that_is_off_or_traced_is_worth_a_warning_and_has_a_command() {
        for (value, severity) in [
            (0, Severity::Warning),
            (1, Severity::Ok),
            (2, Severity::Warning),
        ] {
            let mut facts = facts();
            facts.kernel.jit_enable = Ok(value);
            let finding = the(&facts, "jit");
            assert_eq!(finding.severity, severity, "{value}");
            let fixed = finding.fix.as_deref() == Some("sysctl -w net.core.bpf_jit_enable=1");
            assert_eq!(fixed, severity == Severity::Warning, "{value}");
        }
    }

    #[test]
    fn hardening_of_every_program_is_worth_a_warning() {
        for (value, severity) in [(0, Severity::Ok), (1, Severity::Ok), (2, Severity::Warning)] {
            let mut facts = facts();
            facts.kernel.jit_harden = Ok(value);
            assert_eq!(the(&facts, "jit-harden").severity, severity, "{value}");
        }
    }

    #[test]
    fn bpf_for_everyone_is_worth_a_warning() {
        let mut facts = facts();
        facts.kernel.unprivileged_bpf_disabled = Ok(0);
        assert_eq!(the(&facts, "unprivileged-bpf").severity, Severity::Warning);
    }

    #[test]
    fn a_kernel_without_btf_is_only_noted() {
        let mut facts = facts();
        facts.kernel.btf = false;
        assert_eq!(the(&facts, "btf").severity, Severity::Note);
    }

    #[test]
    fn a_pin_directory_that_is_not_on_a_bpffs_is_a_problem_with_the_mount_to_type() {
        for (pin_dir, fix) in [
            ("/sys/fs/bpf/weir", "mount -t bpf bpf /sys/fs/bpf"),
            (
                "/run/pins",
                "mkdir -p /run/pins && mount -t bpf bpf /run/pins",
            ),
        ] {
            let mut facts = facts();
            facts.wanted.pin_dir = pin_dir.into();
            facts.kernel.bpffs = Ok(false);
            let finding = the(&facts, "bpffs");
            assert_eq!(finding.severity, Severity::Problem);
            assert_eq!(finding.fix.as_deref(), Some(fix));
        }
    }

    #[test]
    fn what_may_not_be_seen_is_noted_with_the_way_to_see_it() {
        let mut facts = facts();
        facts.kernel.jit_harden = Err(Unseen::NotPermitted);
        let finding = the(&facts, "jit-harden");
        assert_eq!(finding.severity, Severity::Note);
        assert_eq!(
            finding.found,
            "could not look at net.core.bpf_jit_harden: not permitted"
        );
        assert_eq!(finding.fix.as_deref(), Some("sudo weir doctor"));

        facts.kernel.jit_harden = Err(Unseen::Absent);
        let found = the(&facts, "jit-harden").found;
        assert!(found.ends_with("in this network namespace"), "{found}");
    }
}
