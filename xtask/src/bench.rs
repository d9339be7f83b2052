//! `bench`: measures on this machine and reports. Installs and builds what it needs first.

use std::ffi::OsString;
use std::process::Command;

use clap::ValueEnum;

use crate::workspace::Workspace;
use crate::{ebpf, exec, host, setup, step};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// The packet filter, beside programs in C and nftables (root)
    Shield,
    /// Route look-ups in small and large tables
    Routes,
}

/// `args` are the bench's own.
pub(crate) fn run(workspace: &Workspace, bench: Bench, args: &[OsString]) -> anyhow::Result<()> {
    match bench {
        Bench::Shield => shield(workspace, args),
        Bench::Routes => routes(workspace, args),
    }
}

fn shield(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    host::require_root(
        "bench shield",
        "it makes network namespaces and loads packet filters",
    )?;
    setup::run(setup::Extent::Bench)?;
    ebpf::run(workspace)?;
    build_and_become(workspace, SHIELD, args)
}

fn routes(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    setup::run(setup::Extent::Work)?;
    ebpf::run(workspace)?;
    build_and_become(workspace, ROUTES, args)
}

fn build_and_become(workspace: &Workspace, name: &str, args: &[OsString]) -> anyhow::Result<()> {
    step::loud("bench", || {
        exec::check(
            exec::cargo(workspace)
                .args(["build", "--release", "--package", "weir-tests"])
                .args(["--bin", name]),
        )
    })?;
    exec::replace(
        Command::new(workspace.release(name))
            .current_dir(workspace.root())
            .args(args),
    )
}

const SHIELD: &str = "weir-bench-shield";
const ROUTES: &str = "weir-bench-routes";
