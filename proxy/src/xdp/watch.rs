//! Keeps the filter attached: an interface that is removed and made again comes back without it.

use super::bring_up::slot_of;
use super::interface::{self, Link};
use super::links::{self, Step};
use super::load::{self, Placement};
use super::{Interface, Shield, ShieldError, attach};

/// How an interface is found.
enum Health {
    /// Our program is attached.
    Guarded(Link),
    /// The interface is there, without our program.
    Bare(Link),
    /// The sentence to tell.
    Trouble(String),
}

/// See [`Shield::check`].
pub(super) fn check(shield: &mut Shield) -> Vec<(String, String)> {
    let mut news = Vec::new();
    for index in 0..shield.interfaces.len() {
        let name = shield.interfaces[index].name.clone();
        let (trouble, told) = match health(&shield.interfaces[index]) {
            Health::Guarded(link) => match (follow(shield, index, &link), &shield.trouble[index]) {
                (Err(error), _) => (Some(error.message), None),
                (Ok(()), Some(_)) => (None, Some(format!("interface `{name}` is guarded again"))),
                (Ok(()), None) => (None, None),
            },
            Health::Bare(link) => match recover(shield, index, &link) {
                Ok(told) => (None, Some(told)),
                Err(error) => (Some(error.message), None),
            },
            Health::Trouble(trouble) => (Some(trouble), None),
        };
        let changed = trouble.is_some() && trouble != shield.trouble[index];
        news.extend(told.into_iter().map(|told| (name.clone(), told)));
        if changed {
            news.extend(trouble.clone().map(|trouble| (name, trouble)));
        }
        shield.trouble[index] = trouble;
    }
    news
}

fn health(interface: &Interface) -> Health {
    let name = &interface.name;
    match interface::by_name(name) {
        Err(error) => Health::Trouble(format!("cannot ask rtnetlink for `{name}`: {error}")),
        Ok(None) => Health::Trouble(format!(
            "interface `{name}` is gone; weir attaches to it again when it is back"
        )),
        Ok(Some(link)) => {
            if link.index == interface.ifindex && link.mode_of(interface.program_id).is_some() {
                Health::Guarded(link)
            } else {
                Health::Bare(link)
            }
        }
    }
}

/// Tells the program what changed about `link`: its MTU.
fn follow(shield: &mut Shield, index: usize, link: &Link) -> Result<(), ShieldError> {
    let slot = shield.interfaces[index].slot;
    let before = shield.maps.slot(slot)?;
    let now = slot_of(link);
    // A slot that bears another name is another weir's by now.
    if before == now || before.name != now.name {
        return Ok(());
    }
    let lock = shield.pins.lock()?;
    shield.maps.set_slot(&lock, slot, now)
}

/// Gets `link` its program back, or says why not. Returns what happened.
fn recover(shield: &mut Shield, index: usize, link: &Link) -> Result<String, ShieldError> {
    let name = &link.name;
    let pin = shield.pins.link(name);
    if !pin.exists() {
        // Somebody wanted it off: `weir detach` removes the pin, an interface that goes away does not.
        return Err(ShieldError::failed(
            format!("the packet filter was detached from interface `{name}`"),
            "restart weir to attach it again",
        ));
    }
    let lock = shield.pins.lock()?;
    let pinned = links::pinned(&shield.pins)?;
    match links::decide(link, &pinned, shield.settings.mode) {
        Step::Foreign(program_id) | Step::Replace(interface::Attached { program_id, .. }) => {
            Err(attach::foreign(link, program_id))
        }
        Step::TakeOver { mode, .. } | Step::Reattach { was: mode, .. } => {
            let interface = &mut shield.interfaces[index];
            interface.ifindex = link.index;
            interface.mode = mode;
            interface.program_id = link.programs[0].program_id;
            Ok(format!(
                "another weir has taken over the packet filter of interface `{name}`"
            ))
        }
        Step::Attach => {
            let placement = Placement::of(&shield.pins, &shield.settings.tables)?;
            let slot = shield.interfaces[index].slot;
            let mut loaded = load::load(&placement, &shield.settings.tables, slot, link)?;
            shield.maps.set_slot(&lock, slot, slot_of(link))?;
            let outcome = attach::attach(&mut loaded, link, shield.settings.mode, &pin)?;
            let interface = &mut shield.interfaces[index];
            interface.ifindex = link.index;
            interface.mode = outcome.mode;
            interface.fallback = outcome.fallback;
            interface.program_id = loaded.id;
            Ok(format!(
                "interface `{name}` was made anew; the packet filter is attached to it again"
            ))
        }
    }
}
