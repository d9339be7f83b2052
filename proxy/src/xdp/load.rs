//! Loads the embedded program, one instance per interface, over the pinned maps.

use std::collections::BTreeSet;
use std::path::PathBuf;

use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use nix::sys::signal::{SigSet, SigmaskHow};
use weir_common::maps;

use super::interface::{Kind, Link, ReceivedAs};
use super::maps::shape::{Fit, Shape};
use super::object::OBJECT;
use super::pins::PinDir;
use super::{ShieldError, Tables, error};

/// A program in the kernel, not attached yet. What it is attached by later keeps it there.
pub(super) struct Loaded {
    ebpf: Ebpf,
    pub(super) id: u32,
}

impl Loaded {
    pub(super) fn program(&mut self) -> Result<&mut Xdp, ShieldError> {
        program(&mut self.ebpf)
    }
}

/// Which map is pinned where, while an attach is under way.
pub(super) struct Placement<'a> {
    pins: &'a PinDir,
    /// Maps that are pinned with another capacity than the settings give, so new ones take their place.
    pub(super) resized: BTreeSet<&'static str>,
    /// No map was pinned before.
    pub(super) fresh: bool,
}

impl<'a> Placement<'a> {
    /// Compares what is pinned with `tables`.
    pub(super) fn of(pins: &'a PinDir, tables: &Tables) -> Result<Self, ShieldError> {
        let mut resized = BTreeSet::new();
        let mut fresh = true;
        for shape in Shape::ALL {
            let path = pins.map(shape.name);
            if path.exists() {
                fresh = false;
                if shape.open(&path, Some(tables))?.1 == Fit::Resized {
                    resized.insert(shape.name);
                }
            }
        }
        Ok(Self {
            pins,
            resized,
            fresh,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        if self.resized.contains(name) {
            self.pins.next_map(name)
        } else {
            self.pins.map(name)
        }
    }
}

/// Whether this weir can attach at all.
pub(super) fn require_object() -> Result<&'static [u8], ShieldError> {
    OBJECT.ok_or_else(|| {
        ShieldError::failed(
            "this weir was built without its packet filter",
            "build it with `cargo xtask build`",
        )
    })
}

/// Loads the program for `link`, which is counted in `slot`. Maps that are not pinned yet are made and pinned.
pub(super) fn load(
    placement: &Placement<'_>,
    tables: &Tables,
    slot: u32,
    link: &Link,
) -> Result<Loaded, ShieldError> {
    let object = require_object()?;
    let mut loader = EbpfLoader::new();
    loader.override_global("SLOT", &slot, true);
    let loopback = u32::from(link.kind == Kind::Loopback);
    loader.override_global("LOOPBACK", &loopback, true);
    let as_another = u32::from(link.received_as == ReceivedAs::Another);
    loader.override_global("AS_ANOTHER", &as_another, true);
    for name in maps::ALL {
        loader.map_pin_path(name, placement.path(name));
    }
    // The others have the capacities that the object gives them.
    for shape in Shape::ALL.iter().filter(|shape| shape.key().is_some()) {
        loader.map_max_entries(shape.name, shape.entries(tables));
    }
    let mut ebpf = loader.load(object).map_err(|error| refused(&error))?;
    let program = program(&mut ebpf)?;
    let loaded = {
        let _held = HeldSignals::hold();
        program.load()
    };
    loaded.map_err(|error| {
        if let ProgramError::LoadError { verifier_log, .. } = &error {
            tracing::debug!(%verifier_log, "the kernel's verifier refused the packet filter");
            if let Some(error) = ShieldError::verifier(&verifier_log.to_string()) {
                return error;
            }
        }
        ShieldError::kernel("load the packet filter", &error)
    })?;
    let id = program
        .info()
        .map_err(|error| ShieldError::kernel("read the packet filter's id", &error))?
        .id();
    Ok(Loaded { ebpf, id })
}

/// While this lives, signals to the calling thread wait.
///
/// The kernel's verifier gives up (EAGAIN) when one is pending, and aya then tries again with the verifier's log on, which
/// takes seconds: a SIGTERM or SIGHUP during the start must not cost those, nor a few of them the start.
struct HeldSignals(Option<SigSet>);

impl HeldSignals {
    fn hold() -> Self {
        // Without it the load is slower, at worst.
        Self(SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        if let Some(before) = self.0
            && let Err(error) = before.thread_set_mask()
        {
            tracing::error!(%error, "cannot take signals again");
        }
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, ShieldError> {
    ebpf.program_mut(PROGRAM)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| broken(&format!("it has no XDP program `{PROGRAM}`")))
}

fn refused(error: &EbpfError) -> ShieldError {
    match error {
        EbpfError::MapError(_) if error::errno(error).is_some() => {
            ShieldError::kernel("make the packet filter's maps", error)
        }
        EbpfError::MapError(_) | EbpfError::ProgramError(_) | EbpfError::FileError { .. } => {
            ShieldError::kernel("load the packet filter", error)
        }
        _ => broken(&error.to_string()),
    }
}

fn broken(why: &str) -> ShieldError {
    ShieldError::failed(
        format!("the embedded packet filter is broken: {why}"),
        "build weir anew with `cargo xtask build`",
    )
}

/// Name of the program in the object.
pub(super) const PROGRAM: &str = "weir";

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn signals_wait_while_held_and_come_again_afterwards() {
        let waits = || {
            let mask = SigSet::thread_get_mask().expect("readable");
            [Signal::SIGTERM, Signal::SIGHUP].map(|signal| mask.contains(signal))
        };
        let before = waits();
        let held = HeldSignals::hold();
        assert_eq!(waits(), [true, true]);
        drop(held);
        assert_eq!(waits(), before);
    }
}
