//! What the lab must take back from the host: processes, namespaces, mounts, directories. Each is registered before it
//! is made and released by its [`Guard`]; [`release_all`] is the way out when a signal ends the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Something that outlives this process unless it is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A child process that this process has not waited for.
    Process(i32),
    /// A named network namespace.
    Namespace(String),
    /// A mount point.
    Mount(PathBuf),
    /// A directory with all that is in it.
    Directory(PathBuf),
}

/// Releases its resource when dropped.
#[derive(Debug)]
pub struct Guard(Resource);

impl Guard {
    /// Registers `resource`; call it before making the thing, so that a signal in between finds it.
    pub fn new(resource: Resource) -> Self {
        registry().push(resource.clone());
        Self(resource)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut registry = registry();
        if let Some(at) = registry.iter().rposition(|known| *known == self.0) {
            registry.swap_remove(at);
            release(&self.0);
        }
    }
}

/// Runs `make`, which registers what it makes, to its end: [`release_all`] waits for it. Otherwise something that is half
/// made when a signal comes (an `ip netns add` under way, a child not yet registered, a file in a directory that is being
/// removed) would stay behind. Not to be nested.
pub fn uninterrupted<T>(make: impl FnOnce() -> T) -> T {
    let _making = MAKING.read().unwrap_or_else(PoisonError::into_inner);
    make()
}

/// Forgets a process that was waited for: its id may be another's by now.
pub fn forget_process(pid: i32) {
    registry().retain(|known| *known != Resource::Process(pid));
}

/// Releases everything, processes first. Nothing can be registered or released by others any more afterwards: the
/// caller is about to exit.
pub fn release_all() {
    // Held until the exit: nothing new is begun.
    std::mem::forget(MAKING.write().unwrap_or_else(PoisonError::into_inner));
    let mut registry = registry();
    let resources = std::mem::take(&mut *registry);
    // Another thread that registers or releases from here on waits for the exit.
    std::mem::forget(registry);
    let (processes, others): (Vec<_>, Vec<_>) = resources
        .into_iter()
        .partition(|known| matches!(known, Resource::Process(_)));
    for resource in processes.iter().chain(others.iter().rev()) {
        release(resource);
    }
}

/// Removes the namespaces and directories that a lab left behind when it was killed with SIGKILL.
pub fn sweep_dead_labs() {
    for name in names_in(Path::new(NAMESPACES)) {
        if owner_is_dead(&name) {
            for pid in pids_in_namespace(&name) {
                release(&Resource::Process(pid));
            }
            release(&Resource::Namespace(name));
        }
    }
    let temporary = std::env::temp_dir();
    for name in names_in(&temporary) {
        if owner_is_dead(&name) {
            let directory = temporary.join(name);
            release(&Resource::Mount(directory.join("bpf")));
            release(&Resource::Directory(directory));
        }
    }
}

/// What the names of everything a lab makes start with; the process id follows.
pub const PREFIX: &str = "weir-lab-";

fn registry() -> MutexGuard<'static, Vec<Resource>> {
    // A panic elsewhere must not keep the rest from being released.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Errors are ignored: a resource that was registered but not yet made is no failure, and there is nobody to tell.
fn release(resource: &Resource) {
    match resource {
        Resource::Process(pid) => {
            let pid = Pid::from_raw(*pid);
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
        Resource::Namespace(name) => {
            let _ = Command::new("ip")
                .args(["netns", "del", name])
                .stderr(Stdio::null())
                .status();
        }
        Resource::Mount(point) => {
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
        Resource::Directory(path) => {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether `name` is of the form `weir-lab-<pid>-…` and no process has that id.
fn owner_is_dead(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

fn pids_in_namespace(name: &str) -> Vec<i32> {
    Command::new("ip")
        .args(["netns", "pids", name])
        .stderr(Stdio::null())
        .output()
        .map(|output| {
            String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect()
        })
        .unwrap_or_default()
}

const NAMESPACES: &str = "/run/netns";
static MAKING: RwLock<()> = RwLock::new(());
static REGISTRY: Mutex<Vec<Resource>> = Mutex::new(Vec::new());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_labs_whose_process_is_gone_are_swept() {
        let own = format!("{PREFIX}{}-0", std::process::id());
        assert!(!owner_is_dead(&own));
        assert!(owner_is_dead(&format!("{PREFIX}999999999-0-gw")));
        assert!(!owner_is_dead("weir-lab-notapid-0"));
        assert!(!owner_is_dead("somebody-else-999999999"));
    }

    #[test]
    fn what_is_being_made_is_released_once_it_is_made() {
        let path = std::env::temp_dir().join(format!("{PREFIX}{}-slow", std::process::id()));
        let (begun, begins) = std::sync::mpsc::sync_channel(0);
        let (go_on, goes_on) = std::sync::mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            let path = &path;
            scope.spawn(move || {
                uninterrupted(|| {
                    let guard = Guard::new(Resource::Directory(path.clone()));
                    begun.send(()).expect("somebody waits");
                    goes_on.recv().expect("somebody sends");
                    std::fs::create_dir(path).expect("the directory is new");
                    drop(guard);
                });
            });
            begins.recv().expect("the maker sends");
            assert!(MAKING.try_write().is_err(), "release_all would not wait");
            go_on.send(()).expect("the maker waits");
        });
        assert!(!path.exists());
    }

    #[test]
    fn dropping_the_guard_removes_the_directory() {
        let path = std::env::temp_dir().join(format!("{PREFIX}{}-guard", std::process::id()));
        let guard = Guard::new(Resource::Directory(path.clone()));
        std::fs::create_dir(&path).expect("the directory is new");
        drop(guard);
        assert!(!path.exists());
    }
}
