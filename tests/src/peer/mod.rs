//! Programs of others that weir meets in the field: nginx and HAProxy as servers in namespaces of the lab, each in the
//! foreground, with a configuration, a directory and a log of its own; curl and nghttp as clients.
//!
//! `cargo xtask setup` gets them: the servers below `target/peers`, since an installed one would start with the host.

mod haproxy;
mod nginx;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::cleanup::uninterrupted;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::topology::Lab;
use crate::wait;
use crate::weir::{Output, workspace};

pub use nginx::Nginx;

/// A server program of others, running. Killed when dropped.
#[derive(Debug)]
pub struct Peer {
    process: Process,
}

impl Peer {
    /// Starts `command` in `namespace` and waits until it is `ready`.
    fn start(
        namespace: &Namespace,
        command: &mut Command,
        ready: impl Fn() -> bool,
    ) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let process = uninterrupted(|| {
            let child = namespace
                .run(|| {
                    command
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::piped())
                        .process_group(0)
                        .spawn()
                })?
                .with_context(|| format!("starting {name}"))?;
            Process::watch(child)
        })?;
        let mut peer = Self { process };
        wait::until(PATIENCE, &format!("{name} to be ready"), || {
            if let Some(status) = peer.process.exited()? {
                bail!("{name} did not start ({status}): {}", peer.log());
            }
            Ok(ready())
        })?;
        Ok(peer)
    }

    /// What it wrote to its standard error so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The requests that it has logged as answered so far; see [`nginx`](Self::nginx) and [`haproxy`](Self::haproxy).
    pub fn requests(&self) -> Result<Vec<Value>> {
        self.log()
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    /// The same, once there are `count`: a request is logged after it was answered.
    pub fn first_requests(&self, count: usize) -> Result<Vec<Value>> {
        wait::within(PATIENCE, &format!("{count} requests in the log"), || {
            Ok(Some(self.requests()?).filter(|requests| requests.len() >= count))
        })
        .with_context(|| self.log())
    }
}

/// Runs a client program in `namespace` to its end, which the program must bound itself.
pub fn run(namespace: &Namespace, name: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(program(name)?);
    command.args(arguments).stdin(Stdio::null());
    let output = namespace.run(|| command.output())?;
    Ok(Output::of(
        &output.with_context(|| format!("starting {name}"))?,
    ))
}

/// Starts a client program in `namespace`, whose standard output can be read while it runs.
pub fn spawn(namespace: &Namespace, name: &str, arguments: &[&str]) -> Result<Child> {
    let mut command = Command::new(program(name)?);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    namespace
        .run(|| command.spawn())?
        .with_context(|| format!("starting {name}"))
}

/// The program `name`: as `cargo xtask setup` unpacked it, else the host's.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    [shelf().join("usr/sbin")]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| {
            let package = PACKAGES.iter().find(|(program, _)| *program == name);
            let package = package.map_or(name, |(_, package)| package);
            format!("`{name}` is missing: `cargo xtask setup` gets it (Debian's package {package})")
        })
}

/// A new directory for a server in the lab's.
fn directory(lab: &Lab, name: &str) -> Result<PathBuf> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = lab.directory().join(format!("{name}-{number}"));
    uninterrupted(|| std::fs::create_dir(&directory))
        .with_context(|| format!("making {}", directory.display()))?;
    Ok(directory)
}

/// Where `cargo xtask setup` unpacks servers.
fn shelf() -> PathBuf {
    workspace().join("target/peers")
}

fn write(path: &Path, text: &str) -> Result<()> {
    uninterrupted(|| std::fs::write(path, text))
        .with_context(|| format!("writing {}", path.display()))
}

/// Debian's packages of programs that are named otherwise.
const PACKAGES: [(&str, &str); 2] = [("nghttp", "nghttp2-client"), ("h2load", "nghttp2-client")];
static NEXT: AtomicU32 = AtomicU32::new(0);
/// Longest start, and longest time until a request is logged.
const PATIENCE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named_with_what_gets_it() {
        let error = program("no-such-peer").expect_err("there is none");
        let text = error.to_string();
        assert!(text.contains("`no-such-peer` is missing"), "{text}");
        assert!(text.contains("cargo xtask setup"), "{text}");
    }
}
