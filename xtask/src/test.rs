//! `test`: the three rings, innermost first. A ring that cannot run here is an error that says why, never a silent skip.

use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::step::Seconds;
use crate::workspace::Workspace;
use crate::{build, ebpf, exec, host, setup, step};

/// How far from the code a test stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ring {
    /// Functions and modules, on the host
    Unit,
    /// The packet filter in the kernel, packet by packet (root)
    Kernel,
    /// weir in a lab of network namespaces (root)
    Net,
}

impl Ring {
    const ALL: [Self; 3] = [Self::Unit, Self::Kernel, Self::Net];

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Kernel => "kernel",
            Self::Net => "net",
        }
    }

    /// Why it needs root, if it does.
    fn needs_root(self) -> Option<&'static str> {
        match self {
            Self::Unit => None,
            Self::Kernel => Some("it loads the packet filter into the kernel"),
            Self::Net => Some("it makes network namespaces and loads the packet filter"),
        }
    }
}

/// Runs `ring`, or all three until one fails. `args` go to the test binaries.
pub(crate) fn run(
    workspace: &Workspace,
    ring: Option<Ring>,
    args: &[OsString],
) -> anyhow::Result<()> {
    let rings = ring.map_or_else(|| Ring::ALL.to_vec(), |ring| vec![ring]);
    // Before the first ring: who waits for the unit tests wants to know at once that the others will not run.
    for ring in &rings {
        if let Some(why) = ring.needs_root() {
            host::require_root(&format!("test {}", ring.name()), why)?;
        }
    }
    setup::run(setup::Extent::Work)?;
    ebpf::run(workspace)?;

    let mut outcomes = Vec::new();
    let mut result = Ok(());
    for &ring in &rings {
        let start = Instant::now();
        result = step::loud(&format!("ring {}", ring.name()), || match ring {
            Ring::Unit => unit(workspace, args),
            Ring::Kernel => kernel(workspace, args),
            Ring::Net => net(workspace, args),
        });
        outcomes.push((result.is_ok(), start.elapsed()));
        if result.is_err() {
            break;
        }
    }
    summarise(&rings, &outcomes);
    result
}

/// One line a ring; `outcomes` ends where a ring failed.
fn summarise(rings: &[Ring], outcomes: &[(bool, Duration)]) {
    for (place, ring) in rings.iter().enumerate() {
        let outcome = match outcomes.get(place) {
            Some((true, took)) => format!("passed in {}", Seconds(*took)),
            Some((false, took)) => format!("FAILED after {}", Seconds(*took)),
            None => "not run".to_owned(),
        };
        step::say(&format!("ring {:<6} {outcome}", ring.name()));
    }
}

fn unit(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    exec::check(
        cargo_test(workspace)
            .args(["--workspace", "--exclude", "weir-tests", "--"])
            .args(args),
    )?;
    exec::check(
        cargo_test(workspace)
            .args(["--package", "weir-tests", "--lib", "--"])
            .args(args),
    )
}

fn kernel(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    exec::check(
        cargo_test(workspace)
            .args(["--package", "weir-tests", "--test", "kernel", "--"])
            .args(args),
    )
}

/// The net ring drives the binary that ships. One test at a time: each loads both cores, and floods are timed.
fn net(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    build::run(workspace)?;
    exec::check(
        cargo_test(workspace)
            .env("WEIR_BIN", workspace.release("weir"))
            .args(["--package", "weir-tests", "--test", "net", "--"])
            .arg("--test-threads=1")
            .args(args),
    )
}

fn cargo_test(workspace: &Workspace) -> Command {
    let mut command = exec::cargo(workspace);
    command.arg("test");
    command
}
