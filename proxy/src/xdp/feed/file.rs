//! A feed's file: read when it is another than the last time, within bounds, and only as a whole.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::{Contents, parse};

/// Largest file, in bytes: 64 MiB.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Which file it is and when it was changed: what is the same has the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Seconds and nanoseconds. Changes also when a tool sets `modified` back.
    status_changed: (i64, i64),
}

/// A feed that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What it says.
    pub contents: Contents,
    /// For the next [`load`].
    pub stamp: Stamp,
}

/// Why a feed was not read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A directory, pipe, socket or device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What it is not.
        path: PathBuf,
    },
    /// More than [`FILE_BYTES_MAX`].
    #[error("{} is larger than 64MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Somebody writes into it: what was read may be half of it.
    #[error("{} changed while it was read", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the feed in `path` unless it is what `known` is of; then `None`. Blocks while it reads: a quarter of a second for
/// a million networks, seconds for the largest file of nonsense.
pub fn load(path: &Path, known: Option<&Stamp>) -> Result<Option<Loaded>, FeedError> {
    load_with(path, known, |file| {
        parse(BufReader::with_capacity(
            BUFFER_BYTES,
            file.take(FILE_BYTES_MAX),
        ))
    })
}

fn load_with(
    path: &Path,
    known: Option<&Stamp>,
    mut read: impl FnMut(&File) -> io::Result<Contents>,
) -> Result<Option<Loaded>, FeedError> {
    let path_buf = || path.to_owned();
    let unreadable = |error| FeedError::Unreadable {
        path: path_buf(),
        error,
    };
    // A file that is replaced by renaming is whole again at the next try, one that is written into may not be for long.
    for _ in 0..TRIES {
        let file = open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(FeedError::NotAFile { path: path_buf() });
        }
        let stamp = Stamp::of(&metadata);
        match decide(&stamp, known) {
            Decision::Keep => return Ok(None),
            Decision::Refuse => return Err(FeedError::TooLarge { path: path_buf() }),
            Decision::Read => {}
        }
        let contents = read(&file).map_err(unreadable)?;
        if Stamp::of(&file.metadata().map_err(unreadable)?) == stamp {
            return Ok(Some(Loaded { contents, stamp }));
        }
    }
    Err(FeedError::Changing { path: path_buf() })
}

impl FeedError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { error, .. } => match error.kind() {
                io::ErrorKind::NotFound => "create it, or remove the feed from `[shield] feeds`",
                io::ErrorKind::PermissionDenied => "let weir's user read it",
                _ => "",
            },
            Self::NotAFile { .. } => "write the feed to a file and name that",
            Self::TooLarge { .. } => "is it a feed? Split it if it is",
            Self::Changing { .. } => {
                "write the new feed to another file beside it and rename that over it"
            }
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            status_changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What to do about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// It says what it said.
    Keep,
    /// It is too large.
    Refuse,
    Read,
}

fn decide(seen: &Stamp, known: Option<&Stamp>) -> Decision {
    if known == Some(seen) {
        Decision::Keep
    } else if seen.bytes > FILE_BYTES_MAX {
        Decision::Refuse
    } else {
        Decision::Read
    }
}

/// Without waiting for a writer, should it be a pipe.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
}

/// How often a file that changes while it is read is read again at once.
const TRIES: usize = 3;
const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode;

    use super::*;

    /// A folder of a test's own, removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("weir-feed-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a writable temporary folder");
            Self(path)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).expect("a writable folder");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const STAMP: Stamp = Stamp {
        device: 1,
        inode: 2,
        bytes: 3,
        modified: (4, 5),
        status_changed: (6, 7),
    };

    #[test]
    fn only_a_file_that_looks_the_same_in_everything_is_kept() {
        assert_eq!(decide(&STAMP, None), Decision::Read);
        assert_eq!(decide(&STAMP, Some(&STAMP)), Decision::Keep);
        for other in [
            Stamp { device: 9, ..STAMP },
            Stamp { inode: 9, ..STAMP },
            Stamp { bytes: 9, ..STAMP },
            Stamp {
                modified: (4, 9),
                ..STAMP
            },
            Stamp {
                modified: (9, 5),
                ..STAMP
            },
            Stamp {
                status_changed: (6, 9),
                ..STAMP
            },
        ] {
            assert_eq!(decide(&other, Some(&STAMP)), Decision::Read, "{other:?}");
        }
    }

    #[test]
    fn a_file_larger_than_the_bound_is_refused_before_it_is_read() {
        let at = |bytes| decide(&Stamp { bytes, ..STAMP }, None);
        assert_eq!(at(FILE_BYTES_MAX), Decision::Read);
        assert_eq!(at(FILE_BYTES_MAX + 1), Decision::Refuse);

        let folder = Folder::new("large");
        let path = folder.file("feed", "");
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(FILE_BYTES_MAX + 1))
            .expect("a sparse file");
        let error = load(&path, None).expect_err("too large");
        assert!(matches!(error, FeedError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn a_file_is_read_once_and_again_when_it_was_replaced_or_written() {
        let folder = Folder::new("again");
        let path = folder.file("feed", "192.0.2.1\n");
        let first = load(&path, None).expect("readable").expect("not known");
        assert_eq!(first.contents.networks.len(), 1);
        assert_eq!(load(&path, Some(&first.stamp)).expect("readable"), None);

        // As long as the old one.
        let new = folder.file("new", "192.0.2.2\n");
        fs::rename(&new, &path).expect("the same folder");
        let second = load(&path, Some(&first.stamp))
            .expect("readable")
            .expect("another file");
        assert_eq!(
            second.contents.networks,
            ["192.0.2.2/32".parse().expect("a network")]
        );

        folder.file("feed", "192.0.2.2\n192.0.2.3\n");
        let third = load(&path, Some(&second.stamp))
            .expect("readable")
            .expect("longer");
        assert_eq!(third.contents.networks.len(), 2);
        assert_eq!(load(&path, Some(&third.stamp)).expect("readable"), None);
    }

    #[test]
    fn a_file_that_changed_while_it_was_read_is_read_again_and_never_taken_half() {
        let folder = Folder::new("changing");
        let path = folder.file("feed", "192.0.2.1\n");
        let mut tries = 0;
        let read = load_with(&path, None, |file| {
            tries += 1;
            let contents = parse(BufReader::new(file));
            if tries == 1 {
                folder.file("feed", "192.0.2.1\n192.0.2.2\n");
            }
            contents
        });
        let loaded = read.expect("whole at the second try").expect("not known");
        assert_eq!((tries, loaded.contents.networks.len()), (2, 2));

        let mut written = String::new();
        let error = load_with(&path, None, |file| {
            written.push_str("192.0.2.1\n");
            folder.file("feed", &format!("192.0.2.1\n192.0.2.2\n{written}"));
            parse(BufReader::new(file))
        })
        .expect_err("never whole");
        assert!(matches!(error, FeedError::Changing { .. }), "{error}");
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let folder = Folder::new("odd");
        let pipe = folder.0.join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a writable folder");
        for path in [pipe.as_path(), folder.0.as_path(), Path::new("/dev/zero")] {
            let error = load(path, None).expect_err("no file");
            assert!(matches!(error, FeedError::NotAFile { .. }), "{error}");
        }
        let socket = folder.0.join("socket");
        let _listener = UnixListener::bind(&socket).expect("a writable folder");
        load(&socket, None).expect_err("a socket cannot be opened");
    }

    #[test]
    fn a_missing_file_is_told_with_a_hint() {
        let error = load(Path::new("/nonexistent/feed"), None).expect_err("no such file");
        assert!(
            error
                .to_string()
                .starts_with("cannot read /nonexistent/feed: "),
            "{error}"
        );
        assert!(error.hint().starts_with("create it"));
    }
}
