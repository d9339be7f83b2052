//! Where the admin API listens: the socket file with its lock, and the optional TCP port.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, Group, Uid, User};

/// File name of the admin socket in `run_dir`.
pub const SOCKET_NAME: &str = "admin.sock";
/// Group whose members may use the admin socket, if the host has it.
pub const GROUP: &str = "weir";

/// Something the admin server can listen on. Sockets are bound but not yet tied to a runtime.
#[derive(Debug)]
pub enum Listener {
    /// The admin socket: everything, for those whom [`SO_PEERCRED`](https://man7.org/linux/man-pages/man7/unix.7.html)
    /// identifies as root, weir's own user or a member of [`GROUP`].
    Unix(Socket),
    /// `[admin] listen`: reading only, for whoever can connect.
    Tcp(std::net::TcpListener),
}

/// The bound socket file. Dropping it removes the file.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Held as long as the socket: two weirs never share a `run_dir`. The kernel releases it however weir ends.
    _lock: Flock<File>,
}

/// Why the admin API cannot listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BindError {
    /// One sentence, without its full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// For exit codes.
    pub kind: BindErrorKind,
}

/// Classes of [`BindError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindErrorKind {
    /// Another weir uses the directory.
    Running,
    /// EPERM or EACCES.
    NotPermitted,
    /// Anything else.
    Failed,
}

/// Where the admin socket of `run_dir` is.
pub fn path(run_dir: &Path) -> PathBuf {
    run_dir.join(SOCKET_NAME)
}

impl Listener {
    /// Binds `run_dir/admin.sock` with mode 0660, making `run_dir` when it is missing and replacing a socket that a
    /// dead weir left. Refuses when another weir holds the directory's lock or something answers on the socket.
    pub fn unix(run_dir: &Path) -> Result<Self, BindError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(run_dir)
            .map_err(|error| failed("cannot make the directory", run_dir, &error))?;
        let lock = lock(run_dir)?;
        let path = path(run_dir);
        refuse_if_taken(&path)?;

        // Bound under another name and renamed: the socket is never there with the wrong mode, and a stale one is
        // replaced in one step.
        let fresh = run_dir.join(".admin.sock.new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("cannot remove", &fresh, &error));
            }
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&fresh)
            .map_err(|error| failed("cannot bind the admin socket", &path, &error))?;
        publish(&listener, &fresh, &path)
            .map_err(|error| failed("cannot set up the admin socket", &path, &error))?;
        Ok(Self::Unix(Socket {
            listener,
            path,
            _lock: lock,
        }))
    }

    /// Binds `[admin] listen`.
    pub fn tcp(address: SocketAddr) -> Result<Self, BindError> {
        let bound = std::net::TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        bound.map(Self::Tcp).map_err(|error| BindError {
            message: format!("cannot listen on {address} for the admin API: {error}"),
            hint: "choose another address for `listen` in [admin], or stop what uses it".to_owned(),
            kind: kind(&error),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The lock is still held, so the file is ours. One that is gone already is no loss.
        let _ = fs::remove_file(&self.path);
    }
}

fn lock(run_dir: &Path) -> Result<Flock<File>, BindError> {
    let path = run_dir.join("weir.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| failed("cannot open the lock file", &path, &error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => running(run_dir),
        other => failed("cannot lock", &path, &other.into()),
    })
}

/// The lock says no other weir is alive; this looks whether anything else uses the name.
fn refuse_if_taken(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("cannot look at", path, &error)),
        Ok(found) if !found.file_type().is_socket() => Err(BindError {
            message: format!("{} is there and is no socket", path.display()),
            hint: "move it away, or set another `run_dir` in [process]".to_owned(),
            kind: BindErrorKind::Failed,
        }),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(running(path)),
        Ok(_) => Ok(()),
    }
}

fn publish(listener: &UnixListener, fresh: &Path, path: &Path) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    if let Some(group) = group() {
        // Without the right to give it to the group, the socket is for root and weir's own user alone.
        if let Err(error) = std::os::unix::fs::chown(fresh, None, Some(group.as_raw())) {
            tracing::debug!(%error, group = GROUP, "admin socket keeps its group");
        }
    }
    fs::set_permissions(fresh, fs::Permissions::from_mode(0o660))?;
    fs::rename(fresh, path)
}

/// Whether a peer with these credentials may use the admin socket.
pub(super) fn permits(peer_uid: u32, peer_gid: u32) -> bool {
    if peer_uid == 0 || peer_uid == nix::unistd::geteuid().as_raw() {
        return true;
    }
    // A user database look-up on the control thread; only peers that the file's mode let through get here.
    group().is_some_and(|gid| gid.as_raw() == peer_gid || is_member(Uid::from_raw(peer_uid)))
}

fn group() -> Option<Gid> {
    Group::from_name(GROUP)
        .ok()
        .flatten()
        .map(|group| group.gid)
}

fn is_member(uid: Uid) -> bool {
    let user = User::from_uid(uid).ok().flatten();
    let group = Group::from_name(GROUP).ok().flatten();
    user.zip(group)
        .is_some_and(|(user, group)| user.gid == group.gid || group.mem.contains(&user.name))
}

fn running(what: &Path) -> BindError {
    BindError {
        message: format!("another weir is running with {}", what.display()),
        hint: "stop it first, or set another `run_dir` in [process]".to_owned(),
        kind: BindErrorKind::Running,
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> BindError {
    BindError {
        message: format!("{what} {}: {error}", path.display()),
        hint: match kind(error) {
            BindErrorKind::NotPermitted => "run weir as root or set a `run_dir` it may write to",
            BindErrorKind::Running | BindErrorKind::Failed => {
                "set a short `run_dir` in [process] on a file system that can hold sockets"
            }
        }
        .to_owned(),
        kind: kind(error),
    }
}

fn kind(error: &io::Error) -> BindErrorKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied => BindErrorKind::NotPermitted,
        _ => BindErrorKind::Failed,
    }
}
