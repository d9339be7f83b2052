//! The attached packet filter: brings it up, keeps it up, takes it down.

use std::path::Path;

use aya::maps::{MapData, RingBuf};
use weir_common::maps;

use super::links::{self, State};
use super::load::{self, Placement};
use super::maps::Maps;
use super::pins::{self, Lock, PinDir};
use super::samples::{self, DropSample};
use super::sysctl::Assessment;
use super::{Interface, Replace, Settings, ShieldError, attach, bring_up, watch};

/// The attached packet filter. Owned by the control thread; dropping it leaves everything attached and pinned.
pub struct Shield {
    pub(super) settings: Settings,
    pub(super) pins: PinDir,
    pub(super) maps: Maps,
    pub(super) interfaces: Vec<Interface>,
    /// What [`Shield::check`] last said about each interface.
    pub(super) trouble: Vec<Option<String>>,
    ring: RingBuf<MapData>,
    /// Two weirs on one set of pins would take the interfaces from each other.
    _own: Lock,
}

impl Shield {
    /// Loads, attaches to every interface and pins, or takes over what an earlier weir pinned, atomically and with all
    /// entries and counters. On error nothing new stays attached.
    ///
    /// Interfaces that an earlier weir guarded and the settings do not name are let go. Maps whose capacity changed are
    /// replaced by new ones: entries are copied, per-source counters start anew. Entries of a weir with maps of an earlier
    /// version are taken over.
    pub fn attach(settings: &Settings, replace: Replace) -> Result<Self, ShieldError> {
        load::require_object()?;
        if settings.interfaces.is_empty() {
            return Err(ShieldError::failed(
                "there is no interface to guard",
                "name at least one in `[shield] interfaces`",
            ));
        }
        let pins = PinDir::create(&settings.pin_dir)?;
        let own = pins.own()?;
        let lock = pins.lock()?;
        pins.discard_next()?;
        let placement = Placement::of(&pins, &settings.tables)?;
        let (maps, interfaces) = bring_up::run(settings, replace, &pins, &placement, &lock)?;
        let ring = RingBuf::try_from(aya::maps::Map::RingBuf(super::maps::open(
            maps::SAMPLES,
            &|name: &str| pins.map(name),
        )?))
        .map_err(|error| ShieldError::kernel("read the map `SAMPLES`", &error))?;
        Ok(Self {
            settings: settings.clone(),
            trouble: vec![None; interfaces.len()],
            pins,
            maps,
            interfaces,
            ring,
            _own: own,
        })
    }

    /// Guarded interfaces.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Applies what may change at run time, as one generation: enforce, policies, limits, config entries, the lists'
    /// capacities, and what was `found` of SYN cookies. On an error nothing has changed.
    pub fn reconfigure(
        &mut self,
        settings: &Settings,
        found: &Assessment,
    ) -> Result<(), ShieldError> {
        let lock = self.pins.lock()?;
        self.maps.configure(&lock, settings, Some(found))
    }

    /// Takes the samples out of the ring, at most `max`. Never blocks.
    pub fn samples(&mut self, max: usize) -> Vec<DropSample> {
        let interfaces = &self.interfaces;
        samples::take(&mut self.ring, max, |slot| {
            let interface = interfaces.iter().find(|interface| interface.slot == slot);
            interface.map_or_else(
                || format!("slot {slot}"),
                |interface| interface.name.clone(),
            )
        })
    }

    /// Interfaces that vanished or lost the program, each with a sentence why; tries to attach again where it can.
    ///
    /// Each change is told once, also the one for the better.
    pub fn check(&mut self) -> Vec<(String, String)> {
        watch::check(self)
    }

    /// What is wrong with interfaces as of the last [`Shield::check`]: (name, sentence).
    pub fn troubles(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self
            .interfaces
            .iter()
            .map(|interface| interface.name.as_str());
        names
            .zip(&self.trouble)
            .filter_map(|(name, trouble)| Some((name, trouble.as_deref()?)))
    }
}

/// Takes the program off every interface pinned below `pin_dir` and removes the pins. Returns the interfaces' names.
pub fn detach(pin_dir: &Path) -> Result<Vec<String>, ShieldError> {
    let Some(pins) = pins::any(pin_dir)? else {
        return Err(ShieldError::not_attached(pin_dir));
    };
    // Pins of another ABI version only: there is nothing that this weir's commands could be editing.
    let _lock = pins.lock().ok();
    let mut names = Vec::new();
    for pinned in links::pinned(&pins)? {
        match pinned.state {
            State::Here(index) => attach::detach(&pinned.pin.path, index, pinned.program_id)?,
            State::Elsewhere | State::Gone => pins::remove(&pinned.pin.path)?,
        }
        names.push(pinned.pin.interface);
    }
    pins.remove_layouts()?;
    pins.remove_root();
    Ok(names)
}
