//! Something read from files, kept current while the files change: the last that was good stays in use.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CertificateError;

/// `value` as made of `settings`' files when they were last good.
#[derive(Debug)]
pub(super) struct Watched<S, T> {
    pub(super) settings: S,
    pub(super) value: Arc<T>,
    /// Why the files as they are now are not what is in use.
    pub(super) error: Option<CertificateError>,
    /// The files when they were last read.
    read: Stamps,
    /// The files when they were last looked at, if they differ from what was read.
    changed: Option<Stamps>,
}

/// Names its files.
pub(super) trait Files {
    fn files(&self) -> Vec<&PathBuf>;
}

/// What tells one state of a file from another, for each file; `None`: it is not there.
type Stamps = Vec<Option<Stamp>>;

/// Device, inode, size, and times of the last change of content and of the file itself: one of them differs after a write in place as
/// after a rename or a changed symbolic link.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl<S: Files + Clone + PartialEq, T> Watched<S, T> {
    /// Reads the files, unless one of `known` is what they would give.
    pub(super) fn new(
        settings: &S,
        known: &[Self],
        load: impl FnOnce(&S) -> Result<T, CertificateError>,
    ) -> Result<Self, CertificateError> {
        // Before reading: what is written meanwhile is then seen as a change.
        let stamps = stamps(settings);
        let known = known.iter().find(|known| {
            known.settings == *settings && known.error.is_none() && known.read == stamps
        });
        let value = match known {
            Some(known) => Arc::clone(&known.value),
            None => Arc::new(load(settings)?),
        };
        Ok(Self {
            settings: settings.clone(),
            value,
            error: None,
            read: stamps,
            changed: None,
        })
    }

    /// Reads the files again if they changed since they were read and not since they were last looked at: a pair that is
    /// just being replaced is left alone. Whether `value` is another one.
    pub(super) fn refresh(&mut self, load: impl FnOnce(&S) -> Result<T, CertificateError>) -> bool {
        let stamps = stamps(&self.settings);
        if stamps == self.read {
            self.changed = None;
            return false;
        }
        if self.changed.as_ref() != Some(&stamps) {
            self.changed = Some(stamps);
            return false;
        }
        self.changed = None;
        self.read = stamps;
        match load(&self.settings) {
            Ok(value) => {
                self.value = Arc::new(value);
                self.error = None;
                true
            }
            Err(error) => {
                tracing::error!(hint = %error.hint, "not reloaded, the last good one stays in use: {error}");
                self.error = Some(error);
                false
            }
        }
    }
}

fn stamps(settings: &impl Files) -> Stamps {
    settings
        .files()
        .into_iter()
        .map(|file| stamp(file))
        .collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let at = fs::metadata(file).ok()?;
    Some((
        at.dev(),
        at.ino(),
        at.size(),
        (at.mtime(), at.mtime_nsec()),
        (at.ctime(), at.ctime_nsec()),
    ))
}
