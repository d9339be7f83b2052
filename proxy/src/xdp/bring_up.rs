//! Attaching to all interfaces as one step: everything that can fail without touching an interface comes first, then
//! what can be undone, and the exchange of programs that already filter last.

use std::path::Path;

use weir_common::{InterfaceSlot, Text, maps};

use super::attach::{self, Outcome};
use super::interface::Link;
use super::links::Step;
use super::load::{self, Loaded, Placement};
use super::maps::{Maps, pinned_slots};
use super::pins::{self, Lock, PinDir};
use super::plan::{self, Plan};
use super::{AttachedMode, Interface, Mode, Replace, Settings, ShieldError, slots};
use crate::clock;

/// Attaches as `settings` say. On error nothing new stays attached, and what was attached stays so.
pub(super) fn run(
    settings: &Settings,
    replace: Replace,
    pins: &PinDir,
    placement: &Placement<'_>,
    lock: &Lock,
) -> Result<(Maps, Vec<Interface>), ShieldError> {
    let prepared = prepare(settings, replace, pins, placement, lock);
    let mut ready = match prepared {
        Ok(ready) => ready,
        Err(error) => {
            tidy(pins, placement);
            return Err(error);
        }
    };
    let before = ready.maps.slots()?;
    ready.write_slots(lock)?;
    let resized: Vec<&str> = placement.resized.iter().copied().collect();
    match ready.attach_all(settings, pins) {
        Ok(outcomes) => {
            pins.commit(&resized)?;
            ready.let_go(lock)?;
            pins.remove_other_layouts()?;
            let interfaces = ready.interfaces(outcomes);
            Ok((ready.maps, interfaces))
        }
        Err(failure) => {
            ready.restore_slots(lock, &before)?;
            if failure.moved {
                // Programs that run already use the new maps; the command line must find those.
                pins.commit(&resized)?;
            } else {
                tidy(pins, placement);
            }
            Err(failure.error)
        }
    }
}

/// Programs are loaded and maps filled; no interface has been touched.
struct Ready {
    plan: Plan,
    /// As `plan.guard`.
    loaded: Vec<Loaded>,
    /// As `plan.guard`.
    slots: Vec<u32>,
    maps: Maps,
}

/// Why not all interfaces were attached to.
struct Failure {
    error: ShieldError,
    /// At least one interface that was guarded before is so by the new program now.
    moved: bool,
}

fn prepare(
    settings: &Settings,
    replace: Replace,
    pins: &PinDir,
    placement: &Placement<'_>,
    lock: &Lock,
) -> Result<Ready, ShieldError> {
    let plan = plan::make(settings, pins, replace)?;
    let names: Vec<&str> = plan.guard.iter().map(|(l, _)| l.name.as_str()).collect();
    let taken = pinned_slots(&pins.map(maps::INTERFACES))?;
    let slots = slots::assign(&taken, &names).ok_or_else(|| {
        ShieldError::failed(
            format!(
                "`[shield] interfaces` names {} interfaces; one weir guards at most {}",
                names.len(),
                maps::MAX_INTERFACES
            ),
            "name fewer interfaces",
        )
    })?;
    let loaded = slots
        .iter()
        .zip(&plan.guard)
        .map(|(slot, (link, _))| load::load(placement, &settings.tables, *slot, link))
        .collect::<Result<Vec<_>, _>>()?;

    for name in &placement.resized {
        tracing::info!(
            map = name,
            "its capacity changed: a new one takes its place and counts anew"
        );
    }
    let maps = Maps::open_or_make(pins, lock, |name| placement.path(name))?;
    // Before the first packet is judged, not after.
    maps.adopt_earlier(lock, &settings.tables, clock::kernel_now_ns())?;
    maps.configure(lock, settings, None)?;
    Ok(Ready {
        plan,
        loaded,
        slots,
        maps,
    })
}

impl Ready {
    fn write_slots(&mut self, lock: &Lock) -> Result<(), ShieldError> {
        for ((link, _), slot) in self.plan.guard.iter().zip(&self.slots) {
            self.maps.set_slot(lock, *slot, slot_of(link))?;
        }
        Ok(())
    }

    /// Takes back the slots of interfaces that had none of weir's programs before.
    fn restore_slots(&mut self, lock: &Lock, before: &[InterfaceSlot]) -> Result<(), ShieldError> {
        for ((_, step), slot) in self.plan.guard.iter().zip(&self.slots) {
            if *step == Step::Attach {
                self.maps.set_slot(lock, *slot, before[*slot as usize])?;
            }
        }
        Ok(())
    }

    /// The outcomes in the order of `plan.guard`.
    fn attach_all(&mut self, settings: &Settings, pins: &PinDir) -> Result<Vec<Outcome>, Failure> {
        let mut outcomes = vec![None; self.plan.guard.len()];
        let mut moved = false;
        let result = PHASES.iter().try_for_each(|phase| {
            for (index, (link, step)) in self.plan.guard.iter().enumerate() {
                if phase(step) {
                    let target = pins.link(&link.name);
                    let loaded = &mut self.loaded[index];
                    // Even if it fails, the program of this attach may be what guards the interface now.
                    moved |= matches!(step, Step::Reattach { .. } | Step::Replace(_));
                    outcomes[index] = Some(take(loaded, link, step, settings.mode, &target)?);
                    moved |= *step != Step::Attach;
                }
            }
            Ok(())
        });
        let Err(error) = result else {
            return Ok(outcomes.into_iter().flatten().collect());
        };
        for (index, (link, step)) in self.plan.guard.iter().enumerate() {
            if *step == Step::Attach && outcomes[index].is_some() {
                let undone =
                    attach::detach(&pins.link(&link.name), link.index, self.loaded[index].id);
                if let Err(error) = undone {
                    tracing::warn!(%error, "undoing an attach that failed elsewhere");
                }
            }
        }
        Err(Failure { error, moved })
    }

    /// Detaches from interfaces that are no longer configured and frees the slots of those not guarded.
    fn let_go(&mut self, lock: &Lock) -> Result<(), ShieldError> {
        for (pinned, index) in &self.plan.leave {
            let interface = &pinned.pin.interface;
            let path = &pinned.pin.path;
            match index {
                Some(index) => attach::detach(path, *index, pinned.program_id)?,
                None => pins::remove(path)?,
            }
            tracing::info!(interface, "no longer configured: packet filter detached");
        }
        for (slot, interface) in (0..).zip(self.maps.slots()?) {
            if interface.ifindex != 0 && !self.slots.contains(&slot) {
                let freed = InterfaceSlot {
                    ifindex: 0,
                    ..interface
                };
                self.maps.set_slot(lock, slot, freed)?;
            }
        }
        Ok(())
    }

    fn interfaces(&self, outcomes: Vec<Outcome>) -> Vec<Interface> {
        let guard = self.plan.guard.iter().zip(&self.loaded).zip(&self.slots);
        guard
            .zip(outcomes)
            .map(|((((link, _), loaded), slot), outcome)| Interface {
                name: link.name.clone(),
                ifindex: link.index,
                slot: *slot,
                mode: outcome.mode,
                fallback: outcome.fallback,
                program_id: loaded.id,
            })
            .collect()
    }
}

/// The slot's value for `link`.
pub(super) fn slot_of(link: &Link) -> InterfaceSlot {
    InterfaceSlot {
        ifindex: link.index,
        mtu: link.mtu,
        name: Text::truncated(&link.name),
    }
}

fn take(
    loaded: &mut Loaded,
    link: &Link,
    step: &Step,
    wanted: Mode,
    target: &Path,
) -> Result<Outcome, ShieldError> {
    match step {
        Step::Attach => attach::attach(loaded, link, wanted, target),
        Step::TakeOver { pin, mode } => {
            attach::take_over(loaded, link, *mode, pin, target)?;
            let kept = wanted == Mode::Auto && *mode == AttachedMode::Generic;
            Ok(Outcome {
                mode: *mode,
                fallback: kept.then(|| {
                    "taken over from an earlier weir; `weir detach` first to try native".to_owned()
                }),
            })
        }
        Step::Reattach { pin, was } => {
            tracing::warn!(
                interface = link.name,
                ?was,
                ?wanted,
                "the mode changed: unguarded for a moment"
            );
            let id = link
                .programs
                .first()
                .map_or(0, |program| program.program_id);
            attach::detach(pin, link.index, id)?;
            attach::attach(loaded, link, wanted, target).inspect_err(|_| {
                let back = match was {
                    AttachedMode::Native => Mode::Native,
                    AttachedMode::Generic => Mode::Generic,
                };
                if let Err(error) = attach::attach(loaded, link, back, target) {
                    tracing::error!(%error, interface = link.name, "unguarded");
                }
            })
        }
        Step::Replace(foreign) => {
            attach::remove_foreign(link, *foreign)?;
            attach::attach(loaded, link, wanted, target)
        }
        Step::Foreign(id) => Err(attach::foreign(link, *id)),
    }
}

/// Removes what an attempt left that failed before any interface depended on it.
fn tidy(pins: &PinDir, placement: &Placement<'_>) {
    let tidied = if placement.fresh {
        pins.remove_layout().inspect(|()| pins.remove_root())
    } else {
        pins.discard_next()
    };
    if let Err(error) = tidied {
        tracing::warn!(%error, "tidying up after an attach that failed");
    }
}

/// What can be undone first; what leaves an interface unguarded for a moment next; what must not be undone last.
const PHASES: [fn(&Step) -> bool; 3] = [
    |step| matches!(step, Step::Attach | Step::Foreign(_)),
    |step| matches!(step, Step::Reattach { .. } | Step::Replace(_)),
    |step| matches!(step, Step::TakeOver { .. }),
];
