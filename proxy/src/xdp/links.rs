//! Pinned links: which interface each one guards now, if any.
//!
//! A link outlives its interface: when that is removed, the link stays pinned and attached to nothing, and an interface
//! that later gets the same name is unguarded. So a link's state is asked of the kernel, never read off its name.

use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};

use super::interface::{self, Attached, Link};
use super::pins::{LinkPin, PinDir};
use super::{AttachedMode, Mode, ShieldError};

/// A pinned link and what it is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pinned {
    pub(super) pin: LinkPin,
    pub(super) program_id: u32,
    pub(super) state: State,
}

/// Where a link is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To the interface with this index, in this network namespace.
    Here(u32),
    /// To an interface of another network namespace.
    Elsewhere,
    /// Its interface is gone.
    Gone,
}

/// How an interface gets its program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is attached.
    Attach,
    /// An earlier weir's link is; its program is exchanged without a gap.
    TakeOver { pin: PathBuf, mode: AttachedMode },
    /// An earlier weir's link is, in a mode that is no longer wanted.
    Reattach { pin: PathBuf, was: AttachedMode },
    /// A program that is not weir's is, and stays.
    Foreign(u32),
    /// A program that is not weir's is, and is to go.
    Replace(Attached),
}

/// The state of every pinned link.
pub(super) fn pinned(pins: &PinDir) -> Result<Vec<Pinned>, ShieldError> {
    pins.links()?.into_iter().map(read).collect()
}

/// What to do about `link`, given everything that is pinned.
pub(super) fn decide(link: &Link, pinned: &[Pinned], wanted: Mode) -> Step {
    let ours = |id: u32| {
        pinned
            .iter()
            .find(|p| p.program_id == id && p.state == State::Here(link.index))
    };
    if let Some(foreign) = link.programs.iter().find(|p| ours(p.program_id).is_none()) {
        return Step::Foreign(foreign.program_id);
    }
    let attached = link
        .programs
        .iter()
        .find_map(|p| Some((ours(p.program_id)?, link.mode_of(p.program_id)?)));
    let Some((pinned, mode)) = attached else {
        return Step::Attach;
    };
    let pin = pinned.pin.path.clone();
    // Auto keeps a generic attachment: to try native again would leave the interface unguarded meanwhile, at every start.
    match (wanted, mode) {
        (Mode::Auto, _)
        | (Mode::Native, AttachedMode::Native)
        | (Mode::Generic, AttachedMode::Generic) => Step::TakeOver { pin, mode },
        _ => Step::Reattach { pin, was: mode },
    }
}

/// Opens the link pinned at `pin`.
pub(super) fn open(pin: &Path) -> Result<FdLink, ShieldError> {
    PinnedLink::from_pin(pin)
        .map(FdLink::from)
        .map_err(|error| ShieldError::kernel(&format!("open the link {}", pin.display()), &error))
}

fn read(pin: LinkPin) -> Result<Pinned, ShieldError> {
    let link = open(&pin.path)?;
    let info = link.info().map_err(|error| {
        ShieldError::kernel(&format!("read the link {}", pin.path.display()), &error)
    })?;
    let program_id = info.program_id();
    let found = match ifindex(info.id()) {
        Some(0) => None,
        Some(index) => Some((interface::by_index(index), State::Elsewhere)),
        // Without /proc the name is all there is to go by.
        None => Some((interface::by_name(&pin.interface), State::Gone)),
    };
    let state = match found {
        None => State::Gone,
        Some((link, otherwise)) => match link {
            Err(error) => return Err(ShieldError::kernel("ask rtnetlink for a link", &error)),
            Ok(Some(link)) if link.mode_of(program_id).is_some() => State::Here(link.index),
            Ok(_) => otherwise,
        },
    };
    Ok(Pinned {
        pin,
        program_id,
        state,
    })
}

/// Index of the interface that the open link `link_id` is attached to; 0 if that is gone. aya does not pass this on, so
/// it is read where the kernel shows it, in the fdinfo of the link's descriptor.
fn ifindex(link_id: u32) -> Option<u32> {
    fs::read_dir("/proc/self/fdinfo")
        .ok()?
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok())
        .find_map(|fdinfo| ifindex_in(&fdinfo, link_id))
}

fn ifindex_in(fdinfo: &str, link_id: u32) -> Option<u32> {
    let field = |name: &str| {
        fdinfo.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            value.trim().parse::<u32>().ok()
        })
    };
    (field("link_id") == Some(link_id))
        .then(|| field("ifindex"))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::super::interface::{Attached, Hook};
    use super::*;

    fn link(programs: &[(Hook, u32)]) -> Link {
        Link {
            name: "eth0".to_owned(),
            index: 2,
            mtu: 1500,
            kind: interface::Kind::Link,
            received_as: interface::ReceivedAs::Itself,
            programs: programs
                .iter()
                .map(|&(hook, program_id)| Attached { hook, program_id })
                .collect(),
        }
    }

    fn pin(interface: &str, program_id: u32, state: State) -> Pinned {
        let pin = LinkPin {
            interface: interface.to_owned(),
            path: PathBuf::from(format!("/pins/v1/link-{interface}")),
        };
        Pinned {
            pin,
            program_id,
            state,
        }
    }

    #[test]
    fn a_bare_interface_is_attached_to_even_if_a_stale_link_bears_its_name() {
        let stale = pin("eth0", 7, State::Gone);
        assert_eq!(decide(&link(&[]), &[stale], Mode::Auto), Step::Attach);
    }

    #[test]
    fn a_program_that_no_pinned_link_holds_is_foreign() {
        let ours = pin("eth0", 7, State::Here(2));
        for (programs, foreign) in [
            (vec![(Hook::Native, 9)], 9),
            (vec![(Hook::Native, 7), (Hook::Offloaded, 9)], 9),
        ] {
            let step = decide(&link(&programs), std::slice::from_ref(&ours), Mode::Auto);
            assert_eq!(step, Step::Foreign(foreign));
        }
    }

    #[test]
    fn an_earlier_weirs_link_is_taken_over_unless_its_mode_is_no_longer_wanted() {
        use AttachedMode::{Generic, Native};
        let pin = pin("eth0", 7, State::Here(2));
        let path = pin.pin.path.clone();
        let over = |mode| Step::TakeOver {
            pin: path.clone(),
            mode,
        };
        let anew = |was| Step::Reattach {
            pin: path.clone(),
            was,
        };
        for (wanted, hook, step) in [
            (Mode::Auto, Hook::Native, over(Native)),
            (Mode::Auto, Hook::Generic, over(Generic)),
            (Mode::Native, Hook::Native, over(Native)),
            (Mode::Native, Hook::Generic, anew(Generic)),
            (Mode::Generic, Hook::Generic, over(Generic)),
            (Mode::Generic, Hook::Native, anew(Native)),
        ] {
            let decided = decide(&link(&[(hook, 7)]), std::slice::from_ref(&pin), wanted);
            assert_eq!(decided, step, "{wanted:?} {hook:?}");
        }
    }

    #[test]
    fn a_renamed_interface_is_known_by_its_program() {
        let pin = pin("oldname", 7, State::Here(2));
        let step = decide(&link(&[(Hook::Native, 7)]), &[pin], Mode::Auto);
        assert!(matches!(step, Step::TakeOver { .. }), "{step:?}");
    }

    #[test]
    fn the_interface_of_a_link_is_read_from_its_own_fdinfo_only() {
        let fdinfo = "pos:\t0\nflags:\t02000000\nlink_type:\txdp\nlink_id:\t4\nprog_tag:\tab\n\
                      prog_id:\t7\nifindex:\t12\n";
        assert_eq!(ifindex_in(fdinfo, 4), Some(12));
        assert_eq!(ifindex_in(fdinfo, 5), None);
        assert_eq!(ifindex_in("pos:\t0\n", 4), None);
    }
}
