//! Maps inside maps of maps. The program finds them there, this process by a pin of their own: from the outer map the
//! kernel gives a number only, and to open a map by its number takes `CAP_SYS_ADMIN`.
//!
//! To put another map into a place in use takes two steps (the place, the pin), and a process may die between them. So the
//! new map is first pinned under a name that says where it belongs, and whoever next wants to write finishes what it
//! finds there ([`Outer::finish`]).

use std::os::fd::AsFd as _;
use std::path::Path;

use aya::maps::{ArrayOfMaps, MapData, MapError};
use aya::pin::PinError;
use weir_common::batch;

use super::super::ShieldError;
use super::super::pins::{self, Lock, PinDir};
use super::shape::Shape;
use super::{duplicate, unusable};

/// A map of maps.
pub(super) struct Outer {
    name: &'static str,
    map: ArrayOfMaps<MapData>,
    fd: std::os::fd::OwnedFd,
}

impl Outer {
    pub(super) fn open(pins: &PinDir, name: &'static str) -> Result<Self, ShieldError> {
        let data = super::open(name, &|name: &str| pins.map(name))?;
        let fd = duplicate(&data)?;
        let map = aya::maps::Map::from_map_data(data)
            .and_then(ArrayOfMaps::try_from)
            .map_err(|error| unusable(name, &error))?;
        Ok(Self { name, map, fd })
    }

    /// Puts the map pinned at [`PinDir::inner`] into its place. The kernel returns when no program uses what was there.
    pub(super) fn put(
        &mut self,
        _lock: &Lock,
        pins: &PinDir,
        index: u32,
    ) -> Result<(), ShieldError> {
        let pin = pins.inner(self.name, index);
        self.set(index, &pin)
    }

    /// Exchanges the map at `index` for the one that `make` pins at the path it gets. On an error the one before is in
    /// force, and stays so.
    pub(super) fn exchange(
        &mut self,
        lock: &Lock,
        pins: &PinDir,
        index: u32,
        make: impl FnOnce(&Path) -> Result<(), ShieldError>,
    ) -> Result<(), ShieldError> {
        let next = pins.next_inner(self.name, index);
        make(&next)?;
        let finished = self.finish(lock, pins, index);
        if finished.is_err() {
            // Whoever takes the lock next would put it into force after all.
            pins::remove(&next)?;
            let before = pins.inner(self.name, index);
            if before.exists() {
                self.set(index, &before)?;
            }
        }
        finished
    }

    /// Finishes an exchange that was begun, if one was.
    pub(super) fn finish(
        &mut self,
        _lock: &Lock,
        pins: &PinDir,
        index: u32,
    ) -> Result<(), ShieldError> {
        let next = pins.next_inner(self.name, index);
        if !next.exists() {
            return Ok(());
        }
        self.set(index, &next)?;
        pins::rename(&next, &pins.inner(self.name, index))
    }

    /// Empties the place and removes the pin, so that the kernel frees the map.
    pub(super) fn clear(
        &mut self,
        _lock: &Lock,
        pins: &PinDir,
        index: u32,
    ) -> Result<(), ShieldError> {
        pins::remove(&pins.inner(self.name, index))?;
        batch::remove(self.fd.as_fd(), &index)
            .map(drop)
            .map_err(|error| ShieldError::kernel(&format!("empty the map `{}`", self.name), &error))
    }

    fn set(&mut self, index: u32, pin: &Path) -> Result<(), ShieldError> {
        let shape =
            Shape::inner(self.name).expect("invariant: every map of maps has an inner shape");
        let (inner, _) = shape.open(pin, None)?;
        self.map
            .set(index, &inner, 0)
            .map_err(|error| unusable(self.name, &error))
    }
}

/// Pins a map that `create` makes; one that was left there by a process that died is removed.
pub(super) fn create(
    name: &str,
    path: &Path,
    create: impl FnOnce() -> Result<(), CreateError>,
) -> Result<(), ShieldError> {
    pins::remove(path)?;
    create().map_err(|error| match error {
        CreateError::Map(error) => ShieldError::kernel(&format!("make the map `{name}`"), &error),
        CreateError::Pin(error) => {
            ShieldError::kernel(&format!("pin the map {}", path.display()), &error)
        }
    })
}

/// Why there is no new map.
pub(super) enum CreateError {
    Map(MapError),
    Pin(PinError),
}

impl From<MapError> for CreateError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<PinError> for CreateError {
    fn from(error: PinError) -> Self {
        Self::Pin(error)
    }
}
