//! Network namespaces: made with iproute2 under names of this process, entered by threads of their own.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, setns};

use crate::cleanup::{Guard, Resource, uninterrupted};
use crate::pipe::feed;

/// A network namespace with `lo` up and nothing else. Removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: Arc<File>,
    _guard: Guard,
}

impl Namespace {
    /// Makes the namespace `name`, which must be new on this host.
    pub fn create(name: String) -> Result<Self> {
        let guard = Guard::new(Resource::Namespace(name.clone()));
        uninterrupted(|| run_ip(&["netns", "add", &name], ""))?;
        let path = Path::new("/run/netns").join(&name);
        let handle = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let namespace = Self {
            name,
            handle: Arc::new(handle),
            _guard: guard,
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name that `ip netns` shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs iproute2 commands in the namespace, one a line, without the leading `ip`.
    pub fn ip(&self, commands: &str) -> Result<()> {
        run_ip(&["-netns", &self.name, "-batch", "-"], commands)
            .with_context(|| format!("in namespace {}", self.name))
    }

    /// Sets a sysctl such as `net/ipv4/ip_forward` in the namespace.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.run(|| std::fs::write(&path, value))?
            .with_context(|| format!("writing {value} to {}", path.display()))
    }

    /// Runs `work` on a thread of its own inside the namespace and waits for it. Sockets it opens and processes it
    /// starts belong to the namespace. A panic in `work` continues here.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| enter(&self.handle).map(|()| work()));
            entered
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts `work` on a thread of its own inside the namespace; returns when the thread has entered it.
    pub fn spawn<T: Send + 'static>(
        &self,
        thread: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let handle = Arc::clone(&self.handle);
        let (entered, result) = std::sync::mpsc::sync_channel(1);
        let thread = Builder::new().name(thread.into()).spawn(move || {
            let outcome = enter(&handle);
            let inside = outcome.is_ok();
            // The receiver waits below, so this cannot fail.
            let _ = entered.send(outcome);
            assert!(inside, "the thread could not enter its namespace");
            work()
        })?;
        result.recv().context("the thread ended early")??;
        Ok(thread)
    }
}

/// One sentence if this process may not make namespaces, mounts and XDP programs.
pub fn require_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lab makes network namespaces, mounts a bpffs and loads XDP programs, so it must run as root"
    );
    Ok(())
}

fn enter(handle: &File) -> Result<()> {
    setns(handle, CloneFlags::CLONE_NEWNET).context("entering the network namespace")
}

fn run_ip(arguments: &[&str], input: &str) -> Result<()> {
    feed(Command::new("ip").args(arguments), input).map(drop)
}
