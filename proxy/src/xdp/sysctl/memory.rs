//! What the switches were before weir set them, in `<state_dir>/sysctls.json`. Written before a switch is, and by renaming,
//! so whenever weir dies the file is whole and at least as long as the truth.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Sysctl;
use super::host::Place;

/// The file.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
}

/// What it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Whose switches these are.
    #[serde(flatten)]
    pub(super) place: Place,
    /// Those that weir has set, or was about to.
    pub(super) values: BTreeMap<Sysctl, Change>,
}

/// A switch that weir has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    /// What it was.
    pub(super) previous: u32,
    /// What weir set it to.
    pub(super) set: u32,
}

impl Memory {
    /// The one in `state_dir`.
    pub(super) fn of(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("sysctls.json"),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was recorded, if anything was.
    pub(super) fn load(&self) -> io::Result<Option<Record>> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces what was recorded. A record of nothing is no file.
    pub(super) fn store(&self, record: &Record) -> io::Result<()> {
        if record.values.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let mut bytes = serde_json::to_vec(record)?;
        bytes.push(b'\n');
        let next = self.path.with_extension("json.new");
        let mut file = File::create(&next)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&next, &self.path)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}
