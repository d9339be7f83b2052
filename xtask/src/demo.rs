//! `demo`: everything from nothing: installs, builds, and becomes the demo, which makes its own lab and removes it.

use std::ffi::OsString;
use std::process::Command;

use crate::workspace::Workspace;
use crate::{ebpf, exec, host, setup, step};

/// `args` are the demo's own.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    host::require_root(
        "demo",
        "it makes network namespaces and loads a packet filter",
    )?;
    setup::run(setup::Extent::Work)?;
    ebpf::run(workspace)?;
    step::loud("weir and its demo", || {
        // Both packages at once, so that their dependencies have the same features and are compiled once.
        exec::check(
            exec::cargo(workspace)
                .args(["build", "--release"])
                .args(["--package", "weir", "--package", "weir-tests"])
                .args(["--bin", "weir", "--bin", "weir-demo"]),
        )
    })?;
    exec::replace(
        Command::new(workspace.release("weir-demo"))
            .current_dir(workspace.root())
            .env("WEIR_BIN", workspace.release("weir"))
            .args(args),
    )
}
