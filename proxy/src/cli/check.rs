//! `weir check`

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::args::Format;
use super::exit::{CliError, Exit};
use super::output::{Out, note};
use crate::app;
use crate::config::{self, Invalid, Settings};

/// `weir check --json`
#[derive(Serialize)]
struct Checked<'a> {
    file: String,
    ok: bool,
    problems: &'a [config::Problem],
}

/// Reads `path` as `run` would and says everything that is wrong with it.
pub(super) fn check(path: &Path, format: Format, out: &mut Out) -> Result<(), CliError> {
    let loaded = config::load(path);
    if format == Format::Json {
        out.json(&Checked {
            file: path.display().to_string(),
            ok: loaded.is_ok(),
            problems: loaded
                .as_ref()
                .err()
                .map_or(&[], |invalid| &invalid.problems),
        })?;
    }
    match loaded {
        Ok(settings) => {
            if format == Format::Text {
                out.line(summary(path, &settings))?;
            }
            out.flush()?;
            // The configuration is valid wherever its files are, so this is no error: it may run on another host.
            if let Err(error) = app::check_certificates(&settings) {
                note(format!("weir would not start here: {error}"));
            }
            Ok(())
        }
        Err(invalid) => {
            if format == Format::Text {
                complain(&invalid);
            }
            Err(CliError::Reported(Exit::Usage))
        }
    }
}

/// Every problem on stderr, and how many there are.
pub(super) fn complain(invalid: &Invalid) {
    // A closed stderr leaves the exit code to tell.
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{}", invalid.report());
    let _ = writeln!(stderr, "error: {invalid}");
}

fn summary(path: &Path, settings: &Settings) -> String {
    let counted = |number: usize, noun: &str| match number {
        1 => format!("1 {noun}"),
        other => format!("{other} {noun}s"),
    };
    format!(
        "{}: ok ({}, {}, {}, {}, {})",
        path.display(),
        counted(settings.routes.len(), "route"),
        counted(settings.upstreams.len(), "upstream"),
        counted(settings.listen.len(), "listener"),
        counted(settings.shield.interfaces.len(), "guarded interface"),
        counted(settings.detect.len(), "detection rule"),
    )
}
