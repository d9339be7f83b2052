//! `tidy`.
use crate::workspace::Workspace;
pub(crate) fn run(_: &Workspace, _: bool) -> anyhow::Result<()> {
    Ok(())
}
