//! Generations of the settings: a packet is judged by one of them from beginning to end, so none is changed that the
//! program can see. A new one is written into a map of its own, which takes the old one's place.

use std::path::Path;

use aya::maps::{Array, Map, MapData};
use weir_common::{ShieldSettings, maps};

use super::super::ShieldError;
use super::super::pins::{Lock, PinDir};
use super::inner::{self, Outer};
use super::shape::Shape;
use super::unusable;

/// The map of maps that holds the generation in force.
pub(super) struct Generations {
    outer: Outer,
}

impl Generations {
    pub(super) fn open(pins: &PinDir) -> Result<Self, ShieldError> {
        Ok(Self {
            outer: Outer::open(pins, maps::SETTINGS)?,
        })
    }

    /// Finishes a change that a process began that died.
    pub(super) fn finish(&mut self, lock: &Lock, pins: &PinDir) -> Result<(), ShieldError> {
        self.outer.finish(lock, pins, PLACE)
    }

    /// Puts `settings` into force, as the generation after the one that it is made of.
    pub(super) fn publish(
        &mut self,
        lock: &Lock,
        pins: &PinDir,
        settings: &ShieldSettings,
    ) -> Result<(), ShieldError> {
        let settings = ShieldSettings {
            generation: settings.generation + 1,
            ..*settings
        };
        self.outer.exchange(lock, pins, PLACE, |path| {
            // Pinned last: whoever finds it there puts it into force.
            inner::create(maps::SETTINGS, path, || {
                let mut map = Array::<_, ShieldSettings>::create(1, 0)?;
                map.set(0, settings, 0)?;
                Ok(map.pin(path)?)
            })
        })
    }
}

/// The settings in force; `None` if there are none yet.
pub(super) fn read(pins: &PinDir) -> Result<Option<ShieldSettings>, ShieldError> {
    read_at(&pins.inner(maps::SETTINGS, PLACE))
}

fn read_at(path: &Path) -> Result<Option<ShieldSettings>, ShieldError> {
    let shape = Shape::inner(maps::SETTINGS).expect("invariant: the settings have a shape");
    let Some((data, _)) = shape.find(path, None)? else {
        return Ok(None);
    };
    let read = Map::from_map_data(data)
        .and_then(Array::<MapData, ShieldSettings>::try_from)
        .and_then(|map| map.get(&0, 0));
    read.map(Some)
        .map_err(|error| unusable(maps::SETTINGS, &error))
}

/// A key for the hashes, which nobody outside can know.
pub(super) fn random_seed() -> Result<u64, ShieldError> {
    let mut seed = [0; 8];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut seed)
        .map_err(|_no_randomness| {
            ShieldError::failed("the kernel gives no random numbers", "try again")
        })?;
    Ok(u64::from_ne_bytes(seed))
}

/// Index of the one place.
const PLACE: u32 = 0;
