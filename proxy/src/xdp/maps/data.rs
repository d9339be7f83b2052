//! One pinned map, whatever lies in it: opened, described, and what goes wrong with it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use aya::maps::{Map, MapData, MapError};
use nix::errno::Errno;

use super::super::ShieldError;
use super::super::error::errno;
use super::shape::Shape;

/// The map `name` as its shape says, at the path that `path` gives.
pub(in super::super) fn open(
    name: &str,
    path: &impl Fn(&str) -> PathBuf,
) -> Result<MapData, ShieldError> {
    let shape = Shape::of(name).expect("invariant: every map weir opens has a shape");
    Ok(shape.open(&path(name), None)?.0)
}

pub(super) fn typed<T>(name: &str, path: &impl Fn(&str) -> PathBuf) -> Result<T, ShieldError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let data = open(name, path)?;
    Map::from_map_data(data)
        .and_then(T::try_from)
        .map_err(|error| unusable(name, &error))
}

pub(super) fn capacity(map: &MapData) -> Result<u32, ShieldError> {
    let info = map
        .info()
        .map_err(|error| ShieldError::kernel("read a map's capacity", &error))?;
    Ok(info.max_entries())
}

/// A descriptor of its own for batches; aya's maps keep theirs to themselves.
pub(super) fn duplicate(map: &MapData) -> Result<OwnedFd, ShieldError> {
    let fd = map.fd().as_fd().try_clone_to_owned();
    fd.map_err(|error| ShieldError::kernel("duplicate a map's descriptor", &error))
}

pub(super) fn unusable(name: &str, error: &MapError) -> ShieldError {
    failure("use", name, error)
}

/// A system call failed that was to do `verb` to the map `name`.
pub(super) fn failure(
    verb: &str,
    name: &str,
    error: &(dyn std::error::Error + 'static),
) -> ShieldError {
    ShieldError::kernel(&format!("{verb} the map `{name}`"), error)
}

/// A hash map that is full says E2BIG, a trie ENOSPC.
pub(super) fn is_full(error: &MapError) -> bool {
    matches!(errno(error), Some(Errno::E2BIG | Errno::ENOSPC))
}
