//! Whose program is on an interface: for those who only want to know.

use std::path::Path;

use aya::programs::loaded_programs;

use super::{ShieldError, links, pins};

/// Name of the loaded BPF program `id`. None also if it has no name or this process may not list programs, which takes
/// `CAP_SYS_ADMIN` (`BPF_PROG_GET_NEXT_ID`).
pub fn program_name(id: u32) -> Option<String> {
    loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(ToOwned::to_owned))
        .filter(|name| !name.is_empty())
}

/// Ids of the programs that the links pinned below `pin_dir` hold; none if nothing is pinned there.
pub fn pinned_programs(pin_dir: &Path) -> Result<Vec<u32>, ShieldError> {
    let Some(pins) = pins::any(pin_dir)? else {
        return Ok(Vec::new());
    };
    let pinned = links::pinned(&pins)?;
    Ok(pinned.iter().map(|pinned| pinned.program_id).collect())
}
