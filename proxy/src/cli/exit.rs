//! How a command ends: exit codes, and what is said on the way out.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::admin::client::ClientError;
use crate::admin::socket::{BindError, BindErrorKind};
use crate::admin::{Failure, FailureKind};
use crate::app::CertificateError;
use crate::config;
use crate::xdp::{ErrorKind, ShieldError};

/// Exit codes of the contract; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// The operation failed.
    Failed = 1,
    /// Usage or invalid configuration.
    Usage = 2,
    /// No running weir (and no pinned shield) to talk to.
    NotRunning = 3,
    /// Not permitted.
    NotPermitted = 4,
}

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum CliError {
    /// To be said in a sentence and a hint.
    Said {
        /// Without its full stop.
        message: String,
        /// What to do about it; empty if there is nothing to add.
        hint: String,
        /// How the process exits.
        exit: Exit,
    },
    /// The command has said everything itself.
    Reported(Exit),
    /// Nobody reads stdout any more (`weir list | head -1`): that is no failure.
    OutputClosed,
}

impl CliError {
    /// An error with its hint.
    pub(super) fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Said {
            message: message.into(),
            hint: hint.into(),
            exit,
        }
    }

    /// Says it and returns the exit code.
    pub(super) fn report(&self, stderr: &mut impl Write) -> ExitCode {
        // A closed stderr leaves the exit code to tell.
        match self {
            Self::Said {
                message,
                hint,
                exit,
            } => {
                let _ = writeln!(stderr, "error: {message}");
                if !hint.is_empty() {
                    let _ = writeln!(stderr, "hint: {hint}");
                }
                ExitCode::from(*exit as u8)
            }
            Self::Reported(exit) => ExitCode::from(*exit as u8),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::new(
            Exit::Failed,
            format!("cannot write the output: {error}"),
            "",
        )
    }
}

impl From<ShieldError> for CliError {
    fn from(error: ShieldError) -> Self {
        Self::new(shield_exit(error.kind), error.message, error.hint)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::NotRunning { .. } => Self::new(
                Exit::NotRunning,
                message,
                "start it with `weir run`, or say where it is with --run-dir or --config",
            ),
            ClientError::NotPermitted { .. } => Self::new(
                Exit::NotPermitted,
                message,
                "use sudo, or join the group `weir`",
            ),
            ClientError::Refused { status, error } => {
                let exit = match status {
                    http::StatusCode::FORBIDDEN => Exit::NotPermitted,
                    http::StatusCode::BAD_REQUEST => Exit::Usage,
                    _ => Exit::Failed,
                };
                Self::new(exit, message, error.hint)
            }
            ClientError::Reload(failed) => {
                let exit = if failed.problems.is_empty() {
                    Exit::Failed
                } else {
                    Exit::Usage
                };
                Self::new(exit, message, failed.hint)
            }
            ClientError::Broken { .. } => Self::new(
                Exit::Failed,
                message,
                "see weir's log; it may be busy, or of another version",
            ),
        }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let exit = match failure.kind {
            FailureKind::Invalid => Exit::Usage,
            FailureKind::NotPermitted => Exit::NotPermitted,
            FailureKind::NotFound | FailureKind::NoShield | FailureKind::Failed => Exit::Failed,
        };
        Self::new(exit, failure.error, failure.hint)
    }
}

impl From<anyhow::Error> for CliError {
    /// The message is the whole chain; exit code and hint come from the cause that knows them.
    fn from(error: anyhow::Error) -> Self {
        let mut exit = Exit::Failed;
        let mut hint = String::new();
        for cause in error.chain() {
            if let Some(cause) = cause.downcast_ref::<ShieldError>() {
                (exit, hint) = (shield_exit(cause.kind), cause.hint.clone());
            } else if let Some(cause) = cause.downcast_ref::<BindError>() {
                let kind = match cause.kind {
                    BindErrorKind::NotPermitted => Exit::NotPermitted,
                    BindErrorKind::Running | BindErrorKind::Failed => Exit::Failed,
                };
                (exit, hint) = (kind, cause.hint.clone());
            } else if cause.is::<config::Invalid>() {
                (exit, hint) = (Exit::Usage, "run `weir check` for the details".to_owned());
            } else if let Some(cause) = cause.downcast_ref::<CertificateError>() {
                exit = io_exit(cause.kind);
                hint.clone_from(&cause.hint);
            } else if let Some(cause) = cause.downcast_ref::<io::Error>() {
                exit = io_exit(cause.kind());
                io_hint(cause.kind()).clone_into(&mut hint);
            } else {
                continue;
            }
            break;
        }
        Self::new(exit, format!("{error:#}"), hint)
    }
}

fn shield_exit(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::NotAttached => Exit::NotRunning,
        ErrorKind::NotPermitted => Exit::NotPermitted,
        ErrorKind::Failed => Exit::Failed,
    }
}

fn io_exit(kind: io::ErrorKind) -> Exit {
    match kind {
        io::ErrorKind::PermissionDenied => Exit::NotPermitted,
        _ => Exit::Failed,
    }
}

fn io_hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "run weir as root",
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => {
            "choose another `address` in [[listen]], or free this one; `ss -ltnp` shows who listens"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context as _;

    use super::*;
    use crate::admin::api;

    fn exit_of(error: impl Into<CliError>) -> Option<Exit> {
        match error.into() {
            CliError::Said { exit, .. } | CliError::Reported(exit) => Some(exit),
            CliError::OutputClosed => None,
        }
    }

    fn shield(kind: ErrorKind) -> ShieldError {
        ShieldError {
            message: "cannot open BLOCK4".into(),
            hint: "use sudo".into(),
            kind,
        }
    }

    fn refused(status: u16) -> ClientError {
        ClientError::Refused {
            status: http::StatusCode::from_u16(status).expect("a status"),
            error: api::Error {
                error: "no".into(),
                hint: "yes".into(),
            },
        }
    }

    #[test]
    fn each_cause_has_its_exit_code() {
        let socket = PathBuf::from("/run/weir/admin.sock");
        for (error, exit) in [
            (shield(ErrorKind::NotAttached).into(), Exit::NotRunning),
            (shield(ErrorKind::NotPermitted).into(), Exit::NotPermitted),
            (shield(ErrorKind::Failed).into(), Exit::Failed),
            (
                CliError::from(ClientError::NotRunning {
                    socket: socket.clone(),
                }),
                Exit::NotRunning,
            ),
            (
                ClientError::NotPermitted { socket }.into(),
                Exit::NotPermitted,
            ),
            (refused(403).into(), Exit::NotPermitted),
            (refused(400).into(), Exit::Usage),
            (refused(503).into(), Exit::Failed),
            (io::Error::other("disk full").into(), Exit::Failed),
        ] {
            let text = format!("{error:?}");
            assert_eq!(exit_of(error), Some(exit), "{text}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert_eq!(exit_of(io::Error::from(io::ErrorKind::BrokenPipe)), None);
    }

    #[test]
    fn a_context_around_the_cause_keeps_its_exit_code_and_hint() {
        let error = Err::<(), _>(shield(ErrorKind::NotPermitted))
            .context("cannot start")
            .expect_err("fails");
        let CliError::Said {
            message,
            hint,
            exit,
        } = CliError::from(error)
        else {
            panic!("nothing said");
        };
        assert_eq!(message, "cannot start: cannot open BLOCK4");
        assert_eq!(hint, "use sudo");
        assert_eq!(exit, Exit::NotPermitted);
    }

    #[test]
    fn an_error_is_one_sentence_and_a_hint() {
        let mut said = Vec::new();
        CliError::new(Exit::Failed, "it broke", "mend it").report(&mut said);
        CliError::new(Exit::Failed, "it broke", "").report(&mut said);
        assert_eq!(said, b"error: it broke\nhint: mend it\nerror: it broke\n");
    }
}
