//! `build`: the packet filter, then `target/release/weir` around it.

use crate::workspace::Workspace;
use crate::{ebpf, exec, step};

/// Builds both. Cargo decides what is stale; the object's time stamp moves only when its bytes do.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    ebpf::run(workspace)?;
    step::loud("weir", || {
        exec::check(exec::cargo(workspace).args(["build", "--release", "--package", "weir"]))
    })
}
