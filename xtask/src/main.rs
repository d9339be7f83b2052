//! `cargo xtask`: weir's build, its lab and its house rules. One file per subcommand; every step says how long it took,
//! and running anything twice is cheap.
#![allow(
    clippy::disallowed_methods,
    reason = "the house rules on clocks and tasks are the proxy's; this tool times its own steps"
)]

mod bench;
mod build;
mod demo;
mod ebpf;
mod exec;
mod fmt;
mod fuzz;
mod fuzz_targets;
mod host;
mod kernels;
mod lint;
mod peers;
mod run;
mod setup;
mod step;
mod test;
mod tidy;
mod toolchain;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// weir's build, lab and house rules
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: the eBPF compiler, bpf-linker, the tools that tests and demo call
    Setup {
        /// Also what only CI needs: cargo-deny, rustfmt, clippy
        #[arg(long)]
        ci: bool,
    },
    /// Build the packet filter into target/ebpf/weir.bpf.o
    BuildEbpf,
    /// Build target/release/weir, the packet filter embedded
    Build,
    /// Build weir and become it
    Run {
        /// Arguments of weir
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Shield a lab of network namespaces from a flood and show it (root)
    Demo {
        /// Arguments of the demo
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Measure on this machine, beside what else does the same work
    Bench {
        /// What
        bench: bench::Bench,
        /// Arguments of the bench, such as the groups to measure
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Search for inputs that break a parser: libFuzzer on the targets of the crate `fuzz`
    Fuzz(fuzz_targets::FuzzTargets),
    /// Hold the packet filter in the kernel against the same code on the host, with random frames (root)
    FuzzShield(fuzz::Fuzz),
    /// Run the tests: without a ring unit, kernel and net, innermost first
    Test {
        /// Which ring
        ring: Option<test::Ring>,
        /// Of the ring `kernels`: only this one, such as 6.1, or `newest`; may be given more than once
        #[arg(long = "kernel", value_name = "SERIES")]
        kernels: Vec<kernels::Series>,
        /// Arguments of the test binaries, such as part of a test's name
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Formatting, clippy, rustdoc, cargo-deny and tidy; changes nothing
    Lint,
    /// Check the house rules that no other tool knows
    Tidy {
        /// Record the present kernel ABI in proxy-common/ABI
        #[arg(long)]
        bless: bool,
    },
    /// Format everything
    Fmt,
}

fn main() -> ExitCode {
    let task = CommandLine::parse().task;
    let result = Workspace::find().and_then(|workspace| dispatch(task, &workspace));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task, workspace: &Workspace) -> anyhow::Result<()> {
    match task {
        Task::Setup { ci } => {
            if ci {
                setup::run(setup::Extent::Ci)?;
            }
            setup::run(setup::Extent::Net)?;
            peers::run(workspace)
        }
        Task::BuildEbpf => ebpf::run(workspace),
        Task::Build => build::run(workspace),
        Task::Run { args } => run::run(workspace, &args),
        Task::Demo { args } => demo::run(workspace, &args),
        Task::Bench { bench, args } => bench::run(workspace, bench, &args),
        Task::Fuzz(fuzz) => fuzz_targets::run(workspace, &fuzz),
        Task::FuzzShield(fuzz) => fuzz::run(workspace, &fuzz),
        Task::Test {
            ring,
            kernels,
            args,
        } => test::run(workspace, ring, &kernels, &args),
        Task::Lint => lint::run(workspace),
        Task::Tidy { bless } => tidy::run(workspace, bless),
        Task::Fmt => fmt::run(workspace),
    }
}
