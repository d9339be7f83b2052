//! `demo`: everything from nothing: installs, builds, and becomes the demo, which makes its own lab and removes it.

use std::ffi::OsString;
use std::process::Command;

use crate::workspace::Workspace;
use crate::{build, exec, host, setup, step};

/// `args` are the demo's own.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    host::require_root(
        "demo",
        "it makes network namespaces and loads a packet filter",
    )?;
    setup::run(setup::Extent::Work)?;
    build::run(workspace)?;
    step::loud("demo", || {
        exec::check(exec::cargo(workspace).args([
            "build",
            "--release",
            "--package",
            "weir-tests",
            "--bin",
            "weir-demo",
        ]))
    })?;
    exec::replace(
        Command::new(workspace.release("weir-demo"))
            .current_dir(workspace.root())
            .env("WEIR_BIN", workspace.release("weir"))
            .args(args),
    )
}
