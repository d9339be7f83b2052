//! `weir run`

use super::args::PlaceArgs;
use super::check::complain;
use super::exit::{CliError, Exit};
use crate::config;

/// Runs weir in the foreground until it is told to stop.
pub(super) fn run(place: &PlaceArgs) -> Result<(), CliError> {
    let path = place.config();
    let mut settings = match config::load(path) {
        Ok(settings) => settings,
        Err(invalid) => {
            complain(&invalid);
            return Err(CliError::Reported(Exit::Usage));
        }
    };
    if let Some(dir) = &place.pin_dir {
        settings.shield.pin_dir.clone_from(dir);
    }
    if let Some(dir) = &place.run_dir {
        settings.process.run_dir.clone_from(dir);
    }
    Err(CliError::new(Exit::Failed, "this build cannot run", ""))
}
