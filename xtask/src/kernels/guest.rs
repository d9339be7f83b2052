//! One guest: made, booted, and judged by what its console says.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use super::initramfs::Parts;
use super::machine;
use super::report::Report;
use super::series::Series;
use crate::step::{self, Seconds};

/// What all guests have, whatever their kernel.
pub(super) struct Guest<'a> {
    /// Where the initramfs and the consoles' texts go.
    pub(super) directory: &'a Path,
    pub(super) parts: Parts<'a>,
    /// Arguments of the test binary.
    pub(super) args: &'a [OsString],
}

/// What became of one kernel.
pub(super) struct Outcome {
    /// Its release, or what was asked for if it never told.
    pub(super) kernel: String,
    /// In a line; `Ok` if it is as it should be.
    pub(super) verdict: Result<String, String>,
}

impl Outcome {
    /// There is no such kernel, or it could not be started.
    pub(super) fn not_run(series: Series, error: &anyhow::Error) -> Self {
        Self {
            kernel: series.to_string(),
            verdict: Err(format!("not run: {error:#}")),
        }
    }
}

impl Guest<'_> {
    /// Runs the ring on the image `kernel` of `series`.
    pub(super) fn run(&self, series: Series, kernel: &Path) -> Outcome {
        let began = Instant::now();
        let console = self.directory.join(format!("{series}/console.log"));
        let text = step::quiet(&format!("boot {series} and run the ring"), || {
            self.boot(series, kernel, &console)
        });
        let took = Seconds(began.elapsed());
        let report = match text {
            Ok(text) => Report::read(&text),
            Err(error) => return Outcome::not_run(series, &error),
        };
        let verdict = if series.is_supported() {
            judge(&report)
        } else {
            judge_unsupported(&report)
        };
        Outcome {
            kernel: report.release.unwrap_or_else(|| series.to_string()),
            verdict: match verdict {
                Ok(line) => Ok(format!("{line}; took {took}")),
                Err(line) => Err(format!(
                    "{line}; took {took}; its console is in {}",
                    console.display()
                )),
            },
        }
    }

    fn boot(&self, series: Series, kernel: &Path, console: &Path) -> anyhow::Result<String> {
        // A kernel that cannot take the program is asked once, not by every test.
        let only_load = [OsString::from(LOAD_TEST)];
        let args = if series.is_supported() {
            self.args
        } else {
            &only_load
        };
        let initramfs = self.directory.join("initramfs");
        fs::write(&initramfs, self.parts.pack(args)?)
            .with_context(|| format!("cannot write {}", initramfs.display()))?;
        machine::boot(kernel, &initramfs, console)
    }
}

/// A kernel that has what weir needs loads the program, and all tests pass.
fn judge(report: &Report) -> Result<String, String> {
    let Some(exit) = report.exit else {
        return Err(NO_END.to_owned());
    };
    let load = load(report);
    let tests = format!("{} passed, {} failed", report.passed, report.failed);
    match exit {
        0 if report.passed == 0 => Err("no test ran: does the name given match any?".to_owned()),
        0 => Ok(format!("{load}; {tests}")),
        _ if report.failures.is_empty() => {
            Err(format!("{load}; {tests}; the ring exited with {exit}"))
        }
        _ => Err(format!("{load}; {tests}: {}", named(&report.failures))),
    }
}

/// Whether the program loads, and what that took or why it does not.
fn load(report: &Report) -> String {
    if let Some(verifier) = &report.verifier {
        return format!("loads ({verifier})");
    }
    let refused = report
        .failures
        .iter()
        .any(|name| name.starts_with(LOAD_TEST));
    match &report.complaint {
        Some(complaint) if refused => format!("does not load ({complaint})"),
        Some(complaint) => format!("whether it loads was not asked ({complaint})"),
        None => "whether it loads was not asked".to_owned(),
    }
}

/// The first few names.
fn named(failures: &[String]) -> String {
    let shown = failures.len().min(NAMES_MAX);
    let names = failures[..shown].join(", ");
    match failures.len() - shown {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// A kernel that lacks what weir needs refuses the program, and says so in an error.
fn judge_unsupported(report: &Report) -> Result<String, String> {
    match (report.exit, &report.complaint) {
        (None, _) => Err(NO_END.to_owned()),
        (Some(0), _) => {
            Err("takes the program, or was not asked to: README says that it needs 5.18".to_owned())
        }
        (Some(_), Some(complaint)) => Ok(format!("refuses it, as it has to ({complaint})")),
        (Some(exit), None) => Err(format!("the ring exited with {exit} and no reason")),
    }
}

/// Part of the name of the test that does nothing but load the program.
const LOAD_TEST: &str = "verifier::";

/// Failed tests that the summary names.
const NAMES_MAX: usize = 3;

const NO_END: &str = "the guest did not get to its end: it died, or had to be switched off";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supported_kernel_has_to_pass_everything() {
        let passed = Report {
            verifier: Some("1 instruction".to_owned()),
            passed: 12,
            exit: Some(0),
            ..Report::default()
        };
        assert_eq!(
            judge(&passed),
            Ok("loads (1 instruction); 12 passed, 0 failed".to_owned())
        );
        let failed = Report {
            verifier: Some("1 instruction".to_owned()),
            passed: 11,
            failed: 1,
            failures: vec!["verdicts::it".to_owned()],
            exit: Some(101),
            ..Report::default()
        };
        assert_eq!(
            judge(&failed),
            Err("loads (1 instruction); 11 passed, 1 failed: verdicts::it".to_owned())
        );
    }

    #[test]
    fn a_program_that_is_refused_is_told_from_one_that_was_not_loaded() {
        let refused = Report {
            complaint: Some("EACCES".to_owned()),
            failed: 4,
            failures: ["a::it", "b::it", "c::it", "verifier::it"]
                .map(str::to_owned)
                .to_vec(),
            exit: Some(101),
            ..Report::default()
        };
        assert_eq!(
            judge(&refused),
            Err(
                "does not load (EACCES); 0 passed, 4 failed: a::it, b::it, c::it and 1 more"
                    .to_owned()
            )
        );
        let filtered = Report {
            passed: 1,
            exit: Some(0),
            ..Report::default()
        };
        assert_eq!(
            judge(&filtered),
            Ok("whether it loads was not asked; 1 passed, 0 failed".to_owned())
        );
    }

    #[test]
    fn a_guest_that_did_not_finish_or_ran_nothing_failed() {
        assert!(judge(&Report::default()).is_err());
        assert!(judge_unsupported(&Report::default()).is_err());
        let nothing = Report {
            exit: Some(0),
            ..Report::default()
        };
        assert!(judge(&nothing).is_err());
    }

    #[test]
    fn a_kernel_that_is_too_old_has_to_refuse_and_say_why() {
        let refused = Report {
            failed: 1,
            complaint: Some("EINVAL".to_owned()),
            exit: Some(101),
            ..Report::default()
        };
        assert!(judge_unsupported(&refused).is_ok());
        let silent = Report {
            complaint: None,
            ..refused
        };
        assert!(judge_unsupported(&silent).is_err());
        let accepted = Report {
            passed: 1,
            exit: Some(0),
            ..Report::default()
        };
        assert!(judge_unsupported(&accepted).is_err());
    }
}
