//! Something read from files, kept current while the files change: the last that was good stays in use.

use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::io::ErrorKind;
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
    /// The files when what is in them was last read; `None`: they could not be, so they are to be read again.
    read: Option<Stamps>,
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

impl<S: Files + Clone + Eq + Hash, T> Watched<S, T> {
    /// For [`Self::new`], once for many: comparing each with each takes longer than all else of a reload.
    pub(super) fn by_settings(known: &[Self]) -> HashMap<&S, &Self> {
        known.iter().map(|known| (&known.settings, known)).collect()
    }

    /// Reads the files, unless one of `known` is what they would give.
    pub(super) fn new(
        settings: &S,
        known: &HashMap<&S, &Self>,
        load: impl FnOnce(&S) -> Result<T, CertificateError>,
    ) -> Result<Self, CertificateError> {
        // Before reading: what is written meanwhile is then seen as a change.
        let stamps = stamps(settings);
        let known = known.get(settings);
        let known =
            known.filter(|known| known.error.is_none() && known.read.as_ref() == Some(&stamps));
        let value = match known {
            Some(known) => Arc::clone(&known.value),
            None => Arc::new(load(settings)?),
        };
        Ok(Self {
            settings: settings.clone(),
            value,
            error: None,
            read: Some(stamps),
            changed: None,
        })
    }

    /// Reads the files again if they changed since they were read and not since they were last looked at: a pair that is
    /// just being replaced is left alone. Whether `value` is another one.
    pub(super) fn refresh(&mut self, load: impl FnOnce(&S) -> Result<T, CertificateError>) -> bool {
        let stamps = stamps(&self.settings);
        if self.read.as_ref() == Some(&stamps) {
            self.changed = None;
            return false;
        }
        if self.changed.as_ref() != Some(&stamps) {
            self.changed = Some(stamps);
            return false;
        }
        self.changed = None;
        match load(&self.settings) {
            Ok(value) => {
                self.read = Some(stamps);
                self.value = Arc::new(value);
                self.error = None;
                true
            }
            Err(error) => {
                // What could not be read, for want of a descriptor say, may be readable soon though no file changes.
                self.read = (error.kind == ErrorKind::InvalidData).then_some(stamps);
                self.complain(error);
                false
            }
        }
    }

    /// Says so once, however often it is looked at.
    fn complain(&mut self, error: CertificateError) {
        let known = self.error.as_ref();
        if known.is_none_or(|known| known.to_string() != error.to_string()) {
            tracing::error!(hint = %error.hint, "not reloaded, the last good one stays in use: {error}");
        }
        self.error = Some(error);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, PartialEq, Eq, Hash)]
    struct File(PathBuf);

    impl Files for File {
        fn files(&self) -> Vec<&PathBuf> {
            vec![&self.0]
        }
    }

    #[test]
    fn what_could_not_be_read_is_read_again_though_the_file_is_the_same() {
        let path = std::env::temp_dir().join(format!("weir-watched-{}", std::process::id()));
        fs::write(&path, "one").expect("a temporary file");
        let failed = |kind| CertificateError {
            path: path.clone(),
            message: "cannot be read".to_owned(),
            hint: String::new(),
            kind,
        };
        let mut watched =
            Watched::new(&File(path.clone()), &HashMap::new(), |_| Ok(1)).expect("loads");
        fs::write(&path, "another").expect("a temporary file");
        let other = || Err(failed(ErrorKind::Other));
        assert!(!watched.refresh(|_| unreachable!("it may still be written")));
        assert!(!watched.refresh(|_| other()));
        assert!(watched.error.is_some());
        assert!(!watched.refresh(|_| unreachable!("not at once")));
        assert!(watched.refresh(|_| Ok(2)));
        assert!(watched.error.is_none());
        assert_eq!(*watched.value, 2);

        // What is in it does not get better by looking.
        fs::write(&path, "a bad one").expect("a temporary file");
        assert!(!watched.refresh(|_| unreachable!("it may still be written")));
        assert!(!watched.refresh(|_| Err(failed(ErrorKind::InvalidData))));
        for _ in 0..3 {
            assert!(!watched.refresh(|_| unreachable!("the file is the same")));
        }
        assert_eq!(*watched.value, 2);
        fs::remove_file(&path).expect("a temporary file");
    }
}
