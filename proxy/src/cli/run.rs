//! `weir run`

use super::args::{PlaceArgs, RunArgs};
use super::check::complain;
use super::exit::{CliError, Exit};
use crate::app::{self, ConfigSource};
use crate::xdp::Replace;

/// Runs weir in the foreground until it is told to stop.
pub(super) fn run(place: &PlaceArgs, args: &RunArgs) -> Result<(), CliError> {
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
    let replace = if args.replace {
        Replace::Foreign
    } else {
        Replace::Nothing
    };
    app::run(settings, source, replace).map_err(CliError::from)
}
