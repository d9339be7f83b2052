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
use super::{ErrorKind, Interface, Replace, Settings, ShieldError, attach, bring_up, watch};

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

    /// Takes the program off every interface and removes the pins: none is to be guarded any more. Returns the interfaces'
    /// names; none if that was done before, or by hand. What was opened of the maps goes with whoever holds it.
    pub fn release(&mut self) -> Result<Vec<String>, ShieldError> {
        if self.interfaces.is_empty() {
            return Ok(Vec::new());
        }
        let names = match detach(&self.settings.pin_dir) {
            Err(error) if error.kind == ErrorKind::NotAttached => Vec::new(),
            other => other?,
        };
        self.interfaces.clear();
        self.trouble.clear();
        Ok(names)
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

/// What became of what an earlier weir pinned, when no interface is to be guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// There was nothing.
    None,
    /// Taken off these interfaces, and the pins removed.
    Detached(Vec<String>),
    /// Somebody else's, for this reason.
    LeftAlone(String),
}

/// [`detach`] for a weir that is to guard nothing, of what an earlier one left below `pin_dir`. What another running weir
/// guards with, what guards another network namespace, and what is no link of a weir's stays.
pub fn release(pin_dir: &Path) -> Result<Leftover, ShieldError> {
    let Some(pins) = pins::any(pin_dir)? else {
        return Ok(Leftover::None);
    };
    let _own = match pins.own() {
        Ok(own) => own,
        Err(error) => return Ok(Leftover::LeftAlone(error.message)),
    };
    let pinned = links::pinned(&pins)?;
    if let Some(pinned) = pinned.iter().find(|p| p.state == State::Elsewhere) {
        return Ok(Leftover::LeftAlone(format!(
            "{} is the link of a weir in another network namespace",
            pinned.pin.path.display()
        )));
    }
    if pinned.is_empty() {
        return Ok(Leftover::None);
    }
    detach(pin_dir).map(Leftover::Detached)
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
