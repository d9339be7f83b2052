//! What the doctor says.

use std::io;

use serde::Serialize;

/// One thing that was looked at. The names of its fields are those of `weir doctor --json` and are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, one word, stable: `kernel`, `mtu`, ...
    pub check: &'static str,
    /// The interface it is about; none: the host.
    pub interface: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, without its full stop.
    pub found: String,
    /// Why it matters, one sentence without its full stop.
    pub why: String,
    /// What to do about it; a command to type where one does it. None if nothing has to be done or nothing can.
    pub fix: Option<String>,
}

/// How bad a finding is, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing, or could not be looked at.
    Note,
    /// The shield works, but with less than this host could give it.
    Warning,
    /// The shield does not start, or does not do its job.
    Problem,
}

impl Severity {
    /// As in `weir doctor`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// Why something could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// EPERM or EACCES.
    #[error("not permitted")]
    NotPermitted,
    /// It is not there.
    #[error("there is none")]
    Absent,
    /// Anything else, in the system's words.
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for Unseen {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Finding {
    pub(super) fn new(
        check: &'static str,
        severity: Severity,
        found: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            check,
            interface: None,
            severity,
            found: found.into(),
            why: why.into(),
            fix: None,
        }
    }

    /// `what` could not be looked at.
    pub(super) fn unseen(
        check: &'static str,
        what: &str,
        unseen: &Unseen,
        why: impl Into<String>,
    ) -> Self {
        let finding = Self::new(
            check,
            Severity::Note,
            format!("could not look at {what}: {unseen}"),
            why,
        );
        match unseen {
            Unseen::NotPermitted => finding.fix("sudo weir doctor"),
            Unseen::Absent | Unseen::Failed(_) => finding,
        }
    }

    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    pub(super) fn on(self, interface: &str) -> Self {
        Self {
            interface: Some(interface.to_owned()),
            ..self
        }
    }
}
