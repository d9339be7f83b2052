//! `fmt`: formats every crate.

use crate::workspace::Workspace;
use crate::{exec, step};

/// Formats in place.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    step::quiet("format", || {
        exec::check(exec::cargo(workspace).args(["fmt", "--all"]))
    })
}
