//! `run`: builds weir and becomes it.

use std::ffi::OsString;
use std::process::Command;

use crate::workspace::Workspace;
use crate::{build, exec};

/// `args` are weir's own.
pub(crate) fn run(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    build::run(workspace)?;
    exec::replace(Command::new(workspace.release("weir")).args(args))
}
