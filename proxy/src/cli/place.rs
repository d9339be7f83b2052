//! Where the maps and the admin socket are, from the options, the configuration or the defaults.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use super::args::PlaceArgs;
use super::check::complain;
use super::exit::{CliError, Exit};
use super::output::note;
use crate::admin::client::Client;
use crate::config;
use crate::xdp::Maps;

/// `[shield] pin_dir`'s default.
const PIN_DIR: &str = "/sys/fs/bpf/weir";
/// `[process] run_dir`'s default.
const RUN_DIR: &str = "/run/weir";
/// `[process] state_dir`'s default.
const STATE_DIR: &str = "/var/lib/weir";
/// `[shield] block_for`'s default.
const BLOCK_FOR: Duration = Duration::from_hours(1);

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The pinned maps.
    pub(super) pin_dir: PathBuf,
    /// The admin socket.
    pub(super) run_dir: PathBuf,
    /// What weir remembers across restarts.
    pub(super) state_dir: PathBuf,
    /// Duration of a block when nobody says otherwise and no weir runs.
    pub(super) block_for: Duration,
}

impl Place {
    /// Options beat the configuration, which beats the defaults. A configuration that somebody named must be valid; the
    /// one at the default path is used when it is there, readable and valid.
    pub(super) fn find(args: &PlaceArgs) -> Result<Self, CliError> {
        let path = args.config();
        let mut place = match config::load(path) {
            Ok(settings) => Self {
                pin_dir: settings.shield.pin_dir,
                run_dir: settings.process.run_dir,
                state_dir: settings.process.state_dir,
                block_for: settings.shield.block_for,
            },
            Err(invalid) if args.config_is_explicit() => {
                complain(&invalid);
                return Err(CliError::Reported(Exit::Usage));
            }
            Err(invalid) => {
                if File::open(path).is_ok() {
                    note(format!("{invalid}; using the default directories"));
                }
                Self::default()
            }
        };
        place.apply(args);
        Ok(place)
    }

    /// The same for who has the running weir read the configuration: most of it is not looked at here. `None`: only
    /// [`Place::find`] can tell, or say what is wrong.
    pub(super) fn brief(args: &PlaceArgs) -> Option<Self> {
        let config::Brief { process, shield } = config::brief(args.config())?;
        let mut place = Self {
            pin_dir: shield.pin_dir,
            run_dir: process.run_dir,
            state_dir: process.state_dir,
            block_for: shield.block_for,
        };
        place.apply(args);
        Some(place)
    }

    fn apply(&mut self, args: &PlaceArgs) {
        if let Some(dir) = &args.pin_dir {
            self.pin_dir.clone_from(dir);
        }
        if let Some(dir) = &args.run_dir {
            self.run_dir.clone_from(dir);
        }
    }

    /// The pinned maps, whether a weir runs or not.
    pub(super) fn maps(&self) -> Result<Maps, CliError> {
        Ok(Maps::open(&self.pin_dir)?)
    }

    /// The running weir, if there is one.
    pub(super) fn client(&self) -> Client {
        Client::new(&self.run_dir)
    }
}

impl Default for Place {
    fn default() -> Self {
        Self {
            pin_dir: PIN_DIR.into(),
            run_dir: RUN_DIR.into(),
            state_dir: STATE_DIR.into(),
            block_for: BLOCK_FOR,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::Cli;
    use super::*;

    fn find(line: &str) -> Result<Place, CliError> {
        let cli = Cli::try_parse_from(line.split_whitespace()).expect(line);
        Place::find(&cli.place)
    }

    #[test]
    fn options_beat_everything() {
        let place = find("weir list --pin-dir /a --run-dir /b").expect("a place");
        assert_eq!(place.pin_dir, PathBuf::from("/a"));
        assert_eq!(place.run_dir, PathBuf::from("/b"));
    }

    #[test]
    fn a_configuration_that_was_named_and_is_not_there_is_a_usage_error() {
        let error = find("weir list -c /nonexistent/weir.toml").expect_err("no file");
        assert!(
            matches!(error, CliError::Reported(Exit::Usage)),
            "{error:?}"
        );
    }
}
