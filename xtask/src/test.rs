//! `test`: the rings, innermost first. A ring that cannot run here is an error that says why, never a silent skip.

use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::ValueEnum;

use crate::kernels::{self, Series};
use crate::step::Seconds;
use crate::workspace::Workspace;
use crate::{build, ebpf, exec, fuzz, host, peers, setup, step};

/// How far from the code a test stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ring {
    /// Functions and modules, on the host
    Unit,
    /// The packet filter in the kernel, packet by packet (root)
    Kernel,
    /// weir in a lab of network namespaces (root)
    Net,
    /// The ring `kernel` on other kernels, emulated; minutes, and only when asked for
    Kernels,
}

impl Ring {
    /// What a change has to pass.
    const DEFAULT: [Self; 3] = [Self::Unit, Self::Kernel, Self::Net];

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Kernel => "kernel",
            Self::Net => "net",
            Self::Kernels => "kernels",
        }
    }

    /// Why it needs root, if it does.
    fn needs_root(self) -> Option<&'static str> {
        match self {
            Self::Unit | Self::Kernels => None,
            Self::Kernel => Some("the kernel ring loads the packet filter"),
            Self::Net => Some("the net ring makes network namespaces and loads the packet filter"),
        }
    }
}

/// Runs `ring`, or the three by default until one fails. `series` narrows the ring of kernels; `args` go to the test
/// binaries.
pub(crate) fn run(
    workspace: &Workspace,
    ring: Option<Ring>,
    series: &[Series],
    args: &[OsString],
) -> anyhow::Result<()> {
    if !series.is_empty() && ring != Some(Ring::Kernels) {
        bail!("`--kernel` is of the ring `kernels`: `cargo xtask test kernels --kernel …`");
    }
    let (command, rings) = match ring {
        Some(ring) => (format!("test {}", ring.name()), vec![ring]),
        None => ("test".to_owned(), Ring::DEFAULT.to_vec()),
    };
    // Before the first ring: who waits for the unit tests wants to know at once that the others will not run.
    for ring in &rings {
        if let Some(why) = ring.needs_root() {
            host::require_root(&command, why)?;
        }
    }
    setup::run(match ring {
        Some(Ring::Kernels) => setup::Extent::Kernels,
        Some(Ring::Net) | None => setup::Extent::Net,
        Some(Ring::Unit | Ring::Kernel) => setup::Extent::Work,
    })?;
    if rings.contains(&Ring::Net) {
        peers::run(workspace)?;
    }
    ebpf::run(workspace)?;

    let mut outcomes = Vec::new();
    let mut result = Ok(());
    for &ring in &rings {
        let start = Instant::now();
        result = step::loud(&format!("ring {}", ring.name()), || match ring {
            Ring::Unit => unit(workspace, args),
            Ring::Kernel => kernel(workspace, args),
            Ring::Net => net(workspace, args),
            Ring::Kernels => kernels::run(workspace, series, args),
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
        step::say(&format!("ring {:<7} {outcome}", ring.name()));
    }
}

/// Everything that runs in the test process itself, the proxy's integration tests on loopback included. `tidy` sees to it
/// that no crate has tests elsewhere.
fn unit(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    let mut tests = exec::cargo(workspace);
    tests
        .args([
            "test",
            "--workspace",
            "--lib",
            "--bin",
            "weir",
            "--bin",
            "xtask",
        ])
        .args(["--test", "it", "--test", "allocations"])
        .args(["--no-fail-fast", "--"]);
    exec::check(tests.args(args))?;
    let mut examples = exec::cargo(workspace);
    examples.args(["test", "--workspace", "--doc", "--"]);
    exec::check(examples.args(args))
}

fn kernel(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    let mut ring = end_to_end(workspace, "kernel");
    if std::env::var_os(fuzz::SECONDS).is_none() {
        ring.env(fuzz::SECONDS, FUZZ_SECONDS);
    }
    exec::check(ring.args(args))
}

/// Unit tests that need a network namespace of their own, then the binary that ships. One test at a time: each has a lab of its own, and floods take all cores.
fn net(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    let mut ignored = exec::cargo(workspace);
    ignored.args(["test", "--workspace", "--lib", "--", "--ignored"]);
    exec::check(ignored.args(args))?;
    build::run(workspace)?;
    exec::check(
        end_to_end(workspace, "net")
            .env("WEIR_BIN", workspace.release("weir"))
            .arg("--test-threads=1")
            .args(args),
    )
}

/// `cargo test` of one binary of the end-to-end crate. The whole workspace is selected, so that dependencies have the
/// same features as in the unit ring and are not compiled a second time.
pub(crate) fn end_to_end(workspace: &Workspace, binary: &str) -> Command {
    let mut command = exec::cargo(workspace);
    command.args(["test", "--workspace", "--test", binary, "--"]);
    command
}

/// How long the kernel ring fuzzes, unless `WEIR_FUZZ_SECONDS` says otherwise.
const FUZZ_SECONDS: &str = "120";
