//! `weir run`

use super::args::PlaceArgs;
use super::check::complain;
use super::exit::{CliError, Exit};
use crate::app::{self, ConfigSource};

/// Runs weir in the foreground until it is told to stop.
pub(super) fn run(place: &PlaceArgs) -> Result<(), CliError> {
    let source = ConfigSource {
        // Whoever reads status or the log may be in another directory.
        path: std::path::absolute(place.config()).unwrap_or_else(|_| place.config().to_owned()),
        pin_dir: place.pin_dir.clone(),
        run_dir: place.run_dir.clone(),
    };
    let settings = source.load().map_err(|invalid| {
        complain(&invalid);
        CliError::Reported(Exit::Usage)
    })?;
    app::run(settings, source).map_err(CliError::from)
}
