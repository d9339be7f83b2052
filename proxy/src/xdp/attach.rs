//! Attaches one loaded program to one interface, by a pinned bpf link.
//!
//! Only a bpf link will do: it can be pinned, so the filter outlives weir, and its program can be exchanged without a
//! packet slipping through. aya falls back to an attachment by netlink, which can do neither; that is undone.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aya::programs::links::FdLink;
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, loaded_links};
use nix::errno::Errno;

use super::error::{errno, kernel_hint};
use super::interface::{self, Attached, Hook, Link};
use super::load::{Loaded, PROGRAM};
use super::{AttachedMode, Mode, ShieldError, links, pins, program_name};

/// How an attachment turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) mode: AttachedMode,
    /// Why not native, if that was tried or would have been.
    pub(super) fallback: Option<String>,
}

/// Attaches `loaded` to `link`, which has no program, and pins the bpf link at `pin`.
pub(super) fn attach(
    loaded: &mut Loaded,
    link: &Link,
    wanted: Mode,
    pin: &Path,
) -> Result<Outcome, ShieldError> {
    let (mode, fallback, attached) = match wanted {
        Mode::Generic => (
            AttachedMode::Generic,
            None,
            create(loaded, link, AttachedMode::Generic),
        ),
        Mode::Native => (
            AttachedMode::Native,
            None,
            create(loaded, link, AttachedMode::Native),
        ),
        Mode::Auto => match create(loaded, link, AttachedMode::Native) {
            Err(Refusal::Driver(error)) => {
                let why = reason(&error, link);
                let attached = create(loaded, link, AttachedMode::Generic);
                (AttachedMode::Generic, Some(why), attached)
            }
            attached => (AttachedMode::Native, None, attached),
        },
    };
    let attached = attached.map_err(|refusal| refusal.explain(link, mode))?;
    verify(loaded, link, mode)?;
    // A pin that is there already holds the link to an interface that is gone.
    pins::remove(pin)?;
    attached
        .pin(pin)
        .map_err(|error| ShieldError::kernel(&format!("pin the link {}", pin.display()), &error))?;
    Ok(Outcome { mode, fallback })
}

/// Exchanges the program of the link pinned at `pin`, atomically, and moves the pin to `target`.
pub(super) fn take_over(
    loaded: &mut Loaded,
    link: &Link,
    mode: AttachedMode,
    pin: &Path,
    target: &Path,
) -> Result<(), ShieldError> {
    let fail = |error: &(dyn std::error::Error + 'static)| {
        ShieldError::kernel(
            &format!("exchange the packet filter of interface `{}`", link.name),
            error,
        )
    };
    let attached = XdpLink::try_from(links::open(pin)?).map_err(|error| fail(&error))?;
    loaded
        .program()?
        .attach_to_link(attached)
        .map_err(|error| fail(&error))?;
    if pin != target {
        pins::rename(pin, target)?;
    }
    verify(loaded, link, mode)
}

/// Removes the link pinned at `pin` and waits until the kernel has taken its program off the interface `index`.
pub(super) fn detach(pin: &Path, index: u32, program_id: u32) -> Result<(), ShieldError> {
    pins::remove(pin)?;
    // The kernel frees an unlinked pin after a grace period.
    for _ in 0..DETACH_ATTEMPTS {
        match interface::by_index(index) {
            Ok(Some(link)) if link.mode_of(program_id).is_some() => thread::sleep(DETACH_PAUSE),
            _ => return Ok(()),
        }
    }
    Err(ShieldError::failed(
        format!(
            "the packet filter (program {program_id}) is still on interface {index} although its pin is gone"
        ),
        "another process holds its link open; find it with `bpftool link list` and end it",
    ))
}

/// The error for an interface that something else filters.
pub(super) fn foreign(link: &Link, program_id: u32) -> ShieldError {
    // CAP_BPF attaches, but listing programs takes more.
    let name = program_name(program_id).unwrap_or_else(|| "name unknown".to_owned());
    let hint = if name == PROGRAM {
        "it may be another weir's, with another `pin_dir`: `weir detach` with that one's configuration, or `weir run --replace` if that one is gone".to_owned()
    } else {
        let attached = link.programs.iter().find(|p| p.program_id == program_id);
        let word = match attached.map(|program| program.hook) {
            Some(Hook::Generic) => "xdpgeneric",
            Some(Hook::Offloaded) => "xdpoffload",
            Some(Hook::Native) | None => "xdp",
        };
        format!(
            "end what attached it (`bpftool prog show id {program_id}`); if nothing that runs did, `weir run --replace` takes it off, as does `ip link set dev {} {word} off`",
            link.name
        )
    };
    ShieldError::failed(
        format!(
            "interface `{}` already has an XDP program that is not weir's: `{name}`, id {program_id}",
            link.name
        ),
        hint,
    )
}

/// Takes the program of somebody else off `link`.
///
/// One that was attached by netlink goes like that. One that hangs on a bpf link can be taken off by whoever holds the
/// link only, and the kernel says so.
pub(super) fn remove_foreign(link: &Link, foreign: Attached) -> Result<(), ShieldError> {
    let id = foreign.program_id;
    let mode = match foreign.hook {
        Hook::Native => AttachedMode::Native,
        Hook::Generic => AttachedMode::Generic,
        Hook::Offloaded => return Err(self::foreign(link, id)),
    };
    let removed = interface::clear(link.index, mode);
    let held =
        removed.as_ref().err().and_then(io::Error::raw_os_error) == Some(Errno::EBUSY as i32);
    removed.map_err(|error| {
        let what = format!("take XDP program {id} off interface `{}`", link.name);
        let mut error = ShieldError::kernel(&what, &error);
        if held {
            error.hint = match link_of(id) {
                Some(held) => format!(
                    "it hangs on a bpf link: end what made it, or `bpftool link detach id {held}`"
                ),
                None => "it hangs on a bpf link: end what made it; `bpftool link list` shows it"
                    .to_owned(),
            };
        }
        error
    })?;
    tracing::warn!(
        interface = link.name,
        program_id = id,
        "took another XDP program off"
    );
    Ok(())
}

/// The bpf link that holds the program `id`, if this process may list links.
fn link_of(id: u32) -> Option<u32> {
    loaded_links()
        .flatten()
        .find(|link| link.program_id() == id)
        .map(|link| link.id())
}

/// Why there is no link.
enum Refusal {
    /// The driver, or the kernel on its behalf, does not do this mode.
    Driver(ProgramError),
    /// Something was attached since we looked.
    Occupied,
    /// The kernel attaches by netlink only.
    NoLink,
    /// Anything that another mode does not cure.
    Other(ShieldError),
}

impl Refusal {
    fn explain(self, link: &Link, mode: AttachedMode) -> ShieldError {
        let name = &link.name;
        match self {
            Self::Other(error) => error,
            Self::NoLink => ShieldError::failed(
                format!("the kernel cannot attach to interface `{name}` by a bpf link"),
                kernel_hint(),
            ),
            Self::Occupied => match interface::by_name(name) {
                Ok(Some(now)) if !now.programs.is_empty() => {
                    foreign(&now, now.programs[0].program_id)
                }
                _ => ShieldError::failed(
                    format!("interface `{name}` was busy with another XDP program"),
                    "try again",
                ),
            },
            Self::Driver(error) => {
                let (word, hint) = match mode {
                    AttachedMode::Native => (
                        "native",
                        "set `[shield] mode` to \"auto\" or \"generic\", or lower the MTU and switch LRO off",
                    ),
                    AttachedMode::Generic => ("generic", "the kernel's log (`dmesg`) may say more"),
                };
                ShieldError::failed(
                    format!(
                        "interface `{name}` refuses {word} XDP: {}",
                        reason(&error, link)
                    ),
                    hint,
                )
            }
        }
    }
}

fn create(loaded: &mut Loaded, link: &Link, mode: AttachedMode) -> Result<FdLink, Refusal> {
    let program = loaded.program().map_err(Refusal::Other)?;
    let how = match mode {
        AttachedMode::Native => XdpMode::Driver,
        AttachedMode::Generic => XdpMode::Skb,
    };
    let attached = program
        .attach_to_if_index(link.index, how)
        .and_then(|id| program.take_link(id));
    match attached {
        Ok(attached) => FdLink::try_from(attached).map_err(|_not_a_bpf_link| {
            // Dropped like this a netlink attachment stays on the interface.
            match interface::clear(link.index, mode) {
                Ok(()) => Refusal::NoLink,
                Err(error) => Refusal::Other(ShieldError::kernel(
                    &format!("take the packet filter off interface `{}` again", link.name),
                    &error,
                )),
            }
        }),
        Err(error) => Err(match errno(&error) {
            Some(Errno::EBUSY | Errno::EEXIST) => Refusal::Occupied,
            Some(Errno::EPERM | Errno::EACCES | Errno::ENODEV) => Refusal::Other(
                ShieldError::kernel(&format!("attach to interface `{}`", link.name), &error),
            ),
            _ => Refusal::Driver(error),
        }),
    }
}

/// Asks rtnetlink whether the program hangs where it should.
fn verify(loaded: &Loaded, link: &Link, mode: AttachedMode) -> Result<(), ShieldError> {
    let now = interface::by_index(link.index)
        .map_err(|error| ShieldError::kernel("ask rtnetlink for a link", &error))?;
    if now.and_then(|now| now.mode_of(loaded.id)) == Some(mode) {
        return Ok(());
    }
    Err(ShieldError::failed(
        format!(
            "interface `{}` does not show the packet filter although the kernel attached it",
            link.name
        ),
        "something else changes the interface at the same time; try again",
    ))
}

/// The driver's error, in words where they are known.
fn reason(error: &ProgramError, link: &Link) -> String {
    match errno(error) {
        Some(Errno::EOPNOTSUPP) => "the driver has no native XDP (EOPNOTSUPP)".to_owned(),
        // veth says so, and drivers that cannot take frames in several buffers.
        Some(Errno::ERANGE) => format!("MTU {} is too large for the driver (ERANGE)", link.mtu),
        Some(errno) => {
            // By netlink the driver can give its reason in words.
            let said = match error {
                ProgramError::XdpError(error) => format!(": {error}"),
                _ => String::new(),
            };
            format!("{} ({errno:?}, at MTU {}){said}", errno.desc(), link.mtu)
        }
        None => error.to_string(),
    }
}

/// 2 s in all.
const DETACH_ATTEMPTS: u32 = 400;
/// See [`DETACH_ATTEMPTS`].
const DETACH_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn the_drivers_reason_names_what_the_operator_can_change() {
        let link = Link {
            name: "eth0".to_owned(),
            index: 2,
            mtu: 9000,
            kind: interface::Kind::Link,
            received_as: interface::ReceivedAs::Itself,
            programs: Vec::new(),
        };
        for (errno, words) in [
            (Errno::EOPNOTSUPP, "no native XDP"),
            (Errno::ERANGE, "MTU 9000 is too large"),
            (Errno::EINVAL, "at MTU 9000"),
        ] {
            let error = ProgramError::SyscallError(SyscallError {
                call: "bpf_link_create",
                io_error: io::Error::from(errno),
            });
            let reason = reason(&error, &link);
            assert!(reason.contains(words), "{reason}");
            assert!(reason.contains(&format!("{errno:?}")), "{reason}");
        }
    }
}
