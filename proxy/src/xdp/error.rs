//! What can go wrong with the packet filter, in one sentence and a hint each.

use std::error::Error;
use std::io;
use std::path::Path;

use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::programs::xdp::XdpError;
use aya::util::KernelVersion;
use nix::errno::Errno;

/// What went wrong with the packet filter. Each message is one sentence that names the thing, and a hint follows.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ShieldError {
    /// One sentence, without its full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// For exit codes.
    pub kind: ErrorKind,
}

/// Classes of [`ShieldError`] that callers treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No shield is attached: there are no pins, or not any more.
    NotAttached,
    /// EPERM or EACCES.
    NotPermitted,
    /// Anything else.
    Failed,
}

impl ShieldError {
    pub(super) fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
            kind: ErrorKind::Failed,
        }
    }

    pub(super) fn not_attached(pin_dir: &Path) -> Self {
        Self {
            message: format!(
                "no shield is attached: nothing is pinned below {}",
                pin_dir.display()
            ),
            hint: "start weir with `[shield] interfaces` set, or give the `pin_dir` of the one that runs"
                .to_owned(),
            kind: ErrorKind::NotAttached,
        }
    }

    /// `weir detach` removed the pins that this weir made or found.
    pub(super) fn detached(pin_dir: &Path) -> Self {
        Self {
            message: format!(
                "the shield was detached: nothing is pinned below {} any more",
                pin_dir.display()
            ),
            hint: "restart weir to attach it again".to_owned(),
            kind: ErrorKind::NotAttached,
        }
    }

    /// What the kernel's verifier wrote before it refused the program; nothing if it has not looked at it, as when the
    /// process may not load programs. EACCES is also what it says of an access that it cannot prove safe, so that number
    /// alone says nothing about permissions.
    pub(super) fn verifier(log: &str) -> Option<Self> {
        // The last lines are its statistics.
        let said = log
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty() && !is_statistics(line))?;
        Some(Self {
            message: format!(
                "cannot load the packet filter: the kernel's verifier refused it: {}",
                said.trim()
            ),
            hint: format!(
                "{}; set `level = \"debug\"` in `[log]` to see what the verifier wrote",
                kernel_hint()
            ),
            kind: ErrorKind::Failed,
        })
    }

    /// A system call failed while doing `what` ("create the map `BLOCK4`").
    pub(super) fn kernel(what: &str, error: &(dyn Error + 'static)) -> Self {
        let errno = errno(error);
        let (kind, hint) = match errno {
            Some(Errno::EPERM | Errno::EACCES) => (
                ErrorKind::NotPermitted,
                "run weir as root, or give it the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
                    .to_owned(),
            ),
            Some(Errno::ENOMEM) => (
                ErrorKind::Failed,
                "lower the capacities in `[shield.tables]`, or give weir more memory".to_owned(),
            ),
            _ => (ErrorKind::Failed, kernel_hint()),
        };
        Self {
            message: format!("cannot {what}: {}", cause(error)),
            hint,
            kind,
        }
    }
}

/// Whether a line of the verifier's log counts what it did.
fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time", "stack depth"]
        .iter()
        .any(|start| line.trim_start().starts_with(start))
}

/// The oldest kernel that has everything weir's program and its attachment need. A bpf link for XDP came with 5.9, the
/// coarse clock with 5.11, programs that accept frames in several buffers with 5.18.
const OLDEST_KERNEL: KernelVersion = KernelVersion::new(5, 18, 0);

/// What to do when the kernel refuses for a reason it does not give.
pub(super) fn kernel_hint() -> String {
    if KernelVersion::current().is_ok_and(|version| version >= OLDEST_KERNEL) {
        return "the kernel's log (`dmesg`) may say more".to_owned();
    }
    let release = nix::sys::utsname::uname().map_or_else(
        |_| "this kernel".to_owned(),
        |name| format!("kernel {}", name.release().to_string_lossy()),
    );
    format!("{release} is too old: the packet filter needs 5.18 or newer")
}

/// The error number at the bottom of `error`, if it came from a system call.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        // `source()` of a transparent wrapper skips the wrapped error itself, so those are looked into by type.
        let raw = if let Some(io) = error.downcast_ref::<io::Error>() {
            io.raw_os_error()
        } else if let Some(MapError::IoError(io)) = error.downcast_ref() {
            io.raw_os_error()
        } else if let Some(ProgramError::XdpError(XdpError::NetlinkError(netlink))) =
            error.downcast_ref()
        {
            netlink.raw_os_error()
        } else {
            None
        };
        if let Some(raw) = raw {
            return Some(Errno::from_raw(raw));
        }
        next = error.source();
    }
    None
}

/// `error` and what caused it, shortened to one line: the verifier's log runs over thousands.
fn cause(error: &(dyn Error + 'static)) -> String {
    if let Some(errno) = errno(error) {
        return format!("{} ({errno:?})", errno.desc());
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use aya::maps::MapError;

    use super::*;

    #[test]
    fn a_refused_system_call_is_not_permitted_and_names_the_capabilities() {
        for raw in [Errno::EPERM, Errno::EACCES] {
            let error = MapError::CreateError {
                name: "BLOCK4".to_owned(),
                io_error: io::Error::from(raw),
            };
            let error = ShieldError::kernel("create the map `BLOCK4`", &error);
            assert_eq!(error.kind, ErrorKind::NotPermitted);
            assert!(error.hint.contains("CAP_BPF"), "{}", error.hint);
        }
    }

    #[test]
    fn what_the_verifier_refused_is_told_in_its_own_words_and_is_no_matter_of_permissions() {
        let log = "12: (71) r1 = *(u8 *)(r2 +14)\nR2 invalid mem access 'scalar'\n\
                   verification time 7 usec\nstack depth 8\nprocessed 12 insns (limit 1000000) max_states 0\n";
        let error = ShieldError::verifier(log).expect("the verifier wrote something");
        assert!(matches!(error.kind, ErrorKind::Failed));
        let said = "refused it: R2 invalid mem access 'scalar'";
        assert!(error.message.ends_with(said), "{}", error.message);
        assert!(ShieldError::verifier("").is_none());
    }

    #[test]
    fn the_error_number_is_found_through_wrappers() {
        let io = || io::Error::from(Errno::EBUSY);
        let wrapped: [Box<dyn Error>; 3] = [
            Box::new(io()),
            Box::new(MapError::IoError(io())),
            Box::new(ProgramError::from(aya::sys::SyscallError {
                call: "bpf_link_create",
                io_error: io(),
            })),
        ];
        for error in wrapped {
            assert_eq!(errno(error.as_ref()), Some(Errno::EBUSY), "{error:?}");
        }
    }

    #[test]
    fn a_cause_is_one_line() {
        let error = io::Error::other("first\nsecond");
        assert_eq!(cause(&error), "first");
    }
}
