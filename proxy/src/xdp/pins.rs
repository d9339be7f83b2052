//! The pin directory: `<pin_dir>/v<ABI>/`, with a file per map and one per guarded interface (`link-<interface>`).
//!
//! Names and file operations only; what the files hold is read by `maps` and `links`. The pins are what outlives weir:
//! as long as they are there, the kernel goes on filtering.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind as IoKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use weir_common::ABI_VERSION;

use super::{ErrorKind, ShieldError};

/// The pins of this weir's ABI version.
#[derive(Debug, Clone)]
pub(super) struct PinDir {
    root: PathBuf,
    layout: PathBuf,
}

/// The right to change maps and links below a pin directory, or to be the weir that guards with it. Released when dropped, or when the process dies.
#[derive(Debug)]
#[must_use]
pub(super) struct Lock(#[expect(dead_code, reason = "closing it is what releases the lock")] File);

/// The pin of one interface's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkPin {
    pub(super) interface: String,
    pub(super) path: PathBuf,
}

impl PinDir {
    /// The directory an earlier weir made.
    pub(super) fn open(root: &Path) -> Result<Self, ShieldError> {
        let pins = Self::at(root);
        match fs::metadata(&pins.layout) {
            Ok(_) => Ok(pins),
            Err(error) if error.kind() == IoKind::NotFound => Err(ShieldError::not_attached(root)),
            Err(error) => Err(io_error("read", &pins.layout, &error)),
        }
    }

    /// The directory, made if it is not there yet. It must be on a bpffs.
    pub(super) fn create(root: &Path) -> Result<Self, ShieldError> {
        let pins = Self::at(root);
        require_bpffs(root)?;
        // Root only: whoever can open a pin can edit the lists.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&pins.layout)
            .map_err(|error| io_error("create", &pins.layout, &error))?;
        Ok(pins)
    }

    fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            layout: root.join(format!("v{ABI_VERSION}")),
        }
    }

    /// Where the map `name` is pinned.
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.layout.join(name)
    }

    /// Where a map is pinned that is about to replace the one called `name`.
    pub(super) fn next_map(&self, name: &str) -> PathBuf {
        self.layout.join(format!("{name}{NEXT}"))
    }

    /// Where the map is pinned that lies in the map of maps `name` at `index`.
    pub(super) fn inner(&self, name: &str, index: u32) -> PathBuf {
        self.layout.join(format!("{name}-{index}"))
    }

    /// Where a map is pinned that is about to be put into the map of maps `name` at `index`, in place of another.
    pub(super) fn next_inner(&self, name: &str, index: u32) -> PathBuf {
        self.layout.join(format!("{name}-{index}{INCOMING}"))
    }

    /// The error for a directory that lacks the pin of a map that should be there.
    pub(super) fn incomplete(&self, pin: &Path) -> ShieldError {
        if !self.layout.exists() {
            return ShieldError::detached(&self.root);
        }
        ShieldError::failed(
            format!("the map {} is missing", pin.display()),
            "start weir: it makes the map anew",
        )
    }

    /// Where the link of `interface` is pinned.
    pub(super) fn link(&self, interface: &str) -> PathBuf {
        self.layout.join(format!("{LINK}{}", encode(interface)))
    }

    /// Waits until no other process (a weir that attaches, a `weir block`) changes what lies here.
    ///
    /// A read-modify-write of a map value is two system calls, so two writers could undo each other's change: each holds
    /// this lock meanwhile. `flock(2)` works on the directory although the files in it cannot be opened.
    pub(super) fn lock(&self) -> Result<Lock, ShieldError> {
        let directory = File::open(&self.layout).map_err(|error| match error.kind() {
            IoKind::NotFound => ShieldError::detached(&self.root),
            _ => io_error("open", &self.layout, &error),
        })?;
        wait_for(directory, &self.layout)
    }

    /// Makes this process the one weir that guards with these pins, for as long as it holds what it gets. Commands that
    /// edit lists do not need it.
    pub(super) fn own(&self) -> Result<Lock, ShieldError> {
        let root = File::open(&self.root).map_err(|error| io_error("open", &self.root, &error))?;
        match root.try_lock() {
            Ok(()) => Ok(Lock(root)),
            Err(TryLockError::WouldBlock) => Err(ShieldError::failed(
                format!(
                    "another running weir guards with the pins below {}",
                    self.root.display()
                ),
                "stop it first, or set another `pin_dir` in [shield]",
            )),
            Err(TryLockError::Error(error)) => Err(io_error("lock", &self.root, &error)),
        }
    }

    /// The link pins of every ABI version, this one's first.
    pub(super) fn links(&self) -> Result<Vec<LinkPin>, ShieldError> {
        let mut links = Vec::new();
        for directory in self.layouts()? {
            for path in list(&directory)? {
                let name = path.file_name().and_then(|name| name.to_str());
                if let Some(interface) = name.and_then(|name| name.strip_prefix(LINK)) {
                    let interface = decode(interface);
                    links.push(LinkPin { interface, path });
                }
            }
        }
        Ok(links)
    }

    /// Makes the maps pinned at [`Self::next_map`] the ones pinned at [`Self::map`].
    pub(super) fn commit(&self, names: &[&str]) -> Result<(), ShieldError> {
        for name in names {
            let (from, to) = (self.next_map(name), self.map(name));
            fs::rename(&from, &to).map_err(|error| io_error("replace", &to, &error))?;
        }
        Ok(())
    }

    /// Removes maps that were to replace others and never did.
    pub(super) fn discard_next(&self) -> Result<(), ShieldError> {
        for path in list(&self.layout)? {
            if path.to_string_lossy().ends_with(NEXT) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// The directories of other ABI versions, with the version.
    pub(super) fn other_layouts(&self) -> Result<Vec<(u32, PathBuf)>, ShieldError> {
        let others = self.layouts()?.into_iter();
        Ok(others
            .filter(|directory| *directory != self.layout)
            .filter_map(|directory| Some((version(&directory)?, directory)))
            .collect())
    }

    /// Removes the directories of other ABI versions with the maps in them.
    pub(super) fn remove_other_layouts(&self) -> Result<(), ShieldError> {
        for directory in self.layouts()? {
            if directory != self.layout {
                remove_directory(&directory)?;
            }
        }
        Ok(())
    }

    /// Removes every pin of this ABI version, and the directory.
    pub(super) fn remove_layout(&self) -> Result<(), ShieldError> {
        remove_directory(&self.layout)
    }

    /// Removes every pin of every ABI version, and the directories.
    pub(super) fn remove_layouts(&self) -> Result<(), ShieldError> {
        self.layouts()?
            .iter()
            .try_for_each(|layout| remove_directory(layout))
    }

    /// Removes the directory above, unless it is a mount point or holds something that is not weir's.
    pub(super) fn remove_root(&self) {
        // Left behind it is an empty directory; not worth failing for.
        let _ = fs::remove_dir(&self.root);
    }

    /// Directories named `v<number>`, this ABI's first if it is there.
    fn layouts(&self) -> Result<Vec<PathBuf>, ShieldError> {
        let mut layouts: Vec<PathBuf> = list(&self.root)?
            .into_iter()
            .filter(|path| version(path).is_some())
            .collect();
        layouts.sort_by_key(|path| *path != self.layout);
        Ok(layouts)
    }
}

/// Whether anything is pinned below `root`, whatever its ABI version.
pub(super) fn any(root: &Path) -> Result<Option<PinDir>, ShieldError> {
    match fs::metadata(root) {
        Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", root, &error)),
        Ok(_) => {}
    }
    let pins = PinDir::at(root);
    let found = !pins.layouts()?.is_empty();
    Ok(found.then_some(pins))
}

/// Removes one pin; one that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<(), ShieldError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != IoKind::NotFound => Err(io_error("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Moves a pin within the bpffs.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), ShieldError> {
    fs::rename(from, to).map_err(|error| io_error("move", from, &error))
}

/// The ABI version of a directory named `v<number>`.
fn version(directory: &Path) -> Option<u32> {
    let name = directory.file_name()?.to_str()?;
    name.strip_prefix('v')?.parse().ok()
}

/// Waits as [`PinDir::lock`] does for whoever changes what is pinned in `directory`, of whatever ABI version.
pub(super) fn lock(directory: &Path) -> Result<Lock, ShieldError> {
    let file = File::open(directory).map_err(|error| io_error("open", directory, &error))?;
    wait_for(file, directory)
}

fn wait_for(directory: File, path: &Path) -> Result<Lock, ShieldError> {
    for _ in 0..LOCK_ATTEMPTS {
        match directory.try_lock() {
            Ok(()) => return Ok(Lock(directory)),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(io_error("lock", path, &error)),
        }
    }
    Err(ShieldError::failed(
        format!(
            "another weir has been changing what is pinned below {} for {} s",
            path.display(),
            (LOCK_PAUSE * LOCK_ATTEMPTS).as_secs()
        ),
        "look for a stopped weir process (`ps -C weir`), and try again",
    ))
}

fn remove_directory(directory: &Path) -> Result<(), ShieldError> {
    for path in list(directory)? {
        remove(&path)?;
    }
    fs::remove_dir(directory).map_err(|error| io_error("remove", directory, &error))
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, ShieldError> {
    fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(|error| io_error("list", directory, &error))
}

/// `path`, or the nearest directory above it that exists, must be on a bpffs.
fn require_bpffs(path: &Path) -> Result<(), ShieldError> {
    for ancestor in path.ancestors() {
        match statfs(ancestor) {
            Ok(found) if found.filesystem_type() == BPF_FS_MAGIC => return Ok(()),
            Ok(_) => return Err(no_bpffs(path)),
            Err(nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(io_error("read", ancestor, &io::Error::from(error))),
        }
    }
    Err(no_bpffs(path))
}

fn no_bpffs(path: &Path) -> ShieldError {
    let hint = if path.starts_with(BPFFS) {
        format!("mount one: `mount -t bpf bpf {BPFFS}`")
    } else {
        format!(
            "set `[shield] pin_dir` to a directory below {BPFFS}, or mount one: \
             `mkdir -p {0} && mount -t bpf bpf {0}`",
            path.display()
        )
    };
    ShieldError::failed(
        format!(
            "the pin directory {} is not on a BPF file system",
            path.display()
        ),
        hint,
    )
}

fn io_error(verb: &str, path: &Path, error: &io::Error) -> ShieldError {
    let permitted = error.kind() != IoKind::PermissionDenied;
    ShieldError {
        message: format!("cannot {verb} {}: {error}", path.display()),
        hint: if permitted {
            "`[shield] pin_dir` must be a directory on a BPF file system that weir may write to"
        } else {
            "run weir as root, or as the user that owns the pin directory"
        }
        .to_owned(),
        kind: if permitted {
            ErrorKind::Failed
        } else {
            ErrorKind::NotPermitted
        },
    }
}

/// bpffs reserves dots in file names, VLAN interfaces have one (`eth0.100`), and no interface name has a colon.
fn encode(interface: &str) -> String {
    interface.replace('.', ":")
}

fn decode(file: &str) -> String {
    file.replace(':', ".")
}

/// Prefix of the links' file names.
const LINK: &str = "link-";
/// Suffix of the file names of maps that are about to replace others. Map names have no hyphen.
const NEXT: &str = "-next";
/// As [`NEXT`], for a map inside a map of maps. Whoever takes the lock and finds one puts it where it belongs.
const INCOMING: &str = "-incoming";
/// Where a bpffs is mounted on most hosts.
const BPFFS: &str = "/sys/fs/bpf";
/// 5 s in all: an attach with a million entries to copy takes about 3.
const LOCK_ATTEMPTS: u32 = 500;
/// See [`LOCK_ATTEMPTS`].
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_interface_has_a_pin_name_without_a_dot_and_gets_its_name_back() {
        let pins = PinDir::at(Path::new("/pins"));
        let path = pins.link("eth0.100");
        let name = path.strip_prefix("/pins").expect("below the pin directory");
        let name = name.to_str().expect("UTF-8");
        assert_eq!(name, format!("v{ABI_VERSION}/link-eth0:100"));
        assert_eq!(decode("eth0:100"), "eth0.100");
    }

    #[test]
    fn a_directory_that_is_on_no_bpffs_is_refused_with_the_mount_command() {
        let error = PinDir::create(Path::new("/proc/weir/deeper")).expect_err("procfs");
        assert!(error.message.contains("/proc/weir/deeper"), "{error}");
        assert!(error.hint.contains("mount -t bpf bpf"), "{}", error.hint);
        assert_eq!(error.kind, ErrorKind::Failed);
    }

    #[test]
    fn a_missing_pin_directory_means_that_no_shield_is_attached() {
        let root = Path::new("/nonexistent/weir");
        let error = PinDir::open(root).expect_err("no directory");
        assert_eq!(error.kind, ErrorKind::NotAttached);
        assert!(
            error.message.starts_with("no shield is attached"),
            "{error}"
        );
        assert!(any(root).expect("readable").is_none());
        let error = PinDir::at(root).lock().expect_err("no directory any more");
        assert_eq!(error.kind, ErrorKind::NotAttached);
        assert!(error.hint.contains("restart weir"), "{}", error.hint);
    }
}
