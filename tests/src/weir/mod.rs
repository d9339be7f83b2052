//! The `weir` binary in the lab's gateway: its configuration file, its process, its command line.

mod config;
mod successor;

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

pub use config::Config;
pub use successor::write_successor;

use crate::cleanup::uninterrupted;
use crate::process::Process;
use crate::topology::Lab;
use crate::wait;

/// weir in the lab's gateway, running or not: its command line works either way. Killed when dropped.
#[derive(Debug)]
pub struct Weir<'lab> {
    lab: &'lab Lab,
    binary: PathBuf,
    config: PathBuf,
    /// Behind `run`.
    arguments: Vec<String>,
    process: Option<Process>,
}

/// What a command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    pub(crate) fn of(output: &std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl<'lab> Weir<'lab> {
    /// Starts weir with `config` and waits until it is ready.
    pub fn start(lab: &'lab Lab, config: &Config) -> Result<Self> {
        Self::start_text(lab, &config.text(lab))
    }

    /// Starts weir with a configuration file of this text and waits until it is ready.
    pub fn start_text(lab: &'lab Lab, text: &str) -> Result<Self> {
        let mut weir = Self::prepare(lab, text)?;
        weir.resume()?;
        Ok(weir)
    }

    /// Writes the configuration, starts nothing.
    pub fn prepare(lab: &'lab Lab, text: &str) -> Result<Self> {
        let config = lab.directory().join("weir.toml");
        uninterrupted(|| std::fs::write(&config, text))?;
        Ok(Self {
            lab,
            binary: binary(),
            config,
            arguments: Vec::new(),
            process: None,
        })
    }

    /// Starts with these arguments from now on.
    #[must_use]
    pub fn with_arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        self
    }

    /// Runs this binary from now on, for what is started and for commands.
    pub fn install(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Replaces the configuration file; the running weir does not know yet.
    pub fn rewrite(&self, text: &str) -> Result<()> {
        Ok(uninterrupted(|| std::fs::write(&self.config, text))?)
    }

    /// Starts the process and waits until it is ready.
    pub fn resume(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "weir runs already");
        let more = self.arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = ["run"].into_iter().chain(more).collect();
        let process = uninterrupted(|| {
            let child = self.command(&arguments, |command| {
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    // A Ctrl-C at the terminal is for the lab; it ends weir in its own way.
                    .process_group(0)
                    .spawn()
            })?;
            Process::watch(child)
        })?;
        self.process = Some(process);
        wait::until(START, "weir to be ready", || {
            let process = self.process.as_mut().context("started above")?;
            if let Some(status) = process.exited()? {
                let log = process.log();
                self.process = None;
                bail!("weir did not start ({status}): {log}");
            }
            Ok(self.is_ready())
        })
        .with_context(|| format!("its log: {}", self.log()))
    }

    /// Whether the admin socket says so.
    pub fn is_ready(&self) -> bool {
        self.admin("/readyz")
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// GET on the admin socket; the response as it comes.
    pub fn admin(&self, path: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.lab.directory().join("run/admin.sock"))?;
        stream.set_read_timeout(Some(COMMAND))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Ends the process without any chance to do something about it.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait_for_exit(COMMAND).map(drop)
    }

    /// Asks for a graceful end and waits for it.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_for_exit(START)
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("weir does not run")?;
        Ok(kill(process.pid()?, signal)?)
    }

    /// Waits until the process ends by itself.
    pub fn wait_for_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let process = self.process.as_mut().context("weir does not run")?;
        let status = wait::within(limit, "weir to end", || process.exited())?;
        self.process = None;
        Ok(status)
    }

    /// What the running weir has written to its standard error so far.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Runs a command of weir's and waits for it.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments, |command| command.stdin(Stdio::null()).output())?;
        Ok(Output::of(&output))
    }

    /// Runs a command as if in an ssh session from `peer`.
    pub fn run_over_ssh(&self, peer: IpAddr, arguments: &[&str]) -> Result<Output> {
        let session = format!("{peer} 50022 {peer} 22");
        let output = self.command(arguments, |command| {
            command.env("SSH_CONNECTION", &session);
            command.stdin(Stdio::null()).output()
        })?;
        Ok(Output::of(&output))
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        ensure!(output.code == 0, "weir {}: {output:?}", arguments.join(" "));
        Ok(output.stdout)
    }

    /// Runs a command with `--json` that must succeed.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ok(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// `weir drops`: packets counted under `reason` on all interfaces.
    pub fn counted(&self, reason: &str) -> Result<u64> {
        packets_of(&self.json(&["drops"])?, reason)
    }

    /// `weir drops`: packets that came in on `interface`, whatever became of them.
    pub fn arrived(&self, interface: &str) -> Result<u64> {
        let drops = self.json(&["drops"])?;
        let rows = drops["interfaces"].as_array().context("no interfaces")?;
        let row = rows
            .iter()
            .find(|row| row["interface"] == interface)
            .with_context(|| format!("{interface} is not among {drops}"))?;
        let packets = |part: &str| row[part]["packets"].as_u64().context("no packets");
        Ok(packets("dropped")? + packets("passed")?)
    }

    /// `weir list block`: the entry for `network`, if there is one.
    pub fn block_of(&self, network: &str) -> Result<Option<Value>> {
        let entries = self.json(&["list", "block"])?;
        let entries = entries["entries"].as_array().context("no entries")?;
        Ok(entries
            .iter()
            .find(|entry| entry["network"] == network)
            .cloned())
    }

    /// Builds a command line inside the gateway's namespace and hands it to `then` there.
    fn command<T: Send>(
        &self,
        arguments: &[&str],
        then: impl FnOnce(&mut Command) -> std::io::Result<T> + Send,
    ) -> Result<T> {
        self.lab
            .gateway
            .run(|| {
                // The thread is in the namespace and so is its child, but /sys and with it the bpffs stay visible:
                // `ip netns exec` would hide them.
                let resolv_conf = self.lab.resolv_conf();
                if resolv_conf.exists() {
                    put_in_place(&resolv_conf, Path::new("/etc/resolv.conf"))?;
                }
                let mut command = Command::new(&self.binary);
                command
                    .args(arguments)
                    .arg("--config")
                    .arg(&self.config)
                    .env("NO_COLOR", "1");
                then(&mut command)
            })?
            .with_context(|| format!("starting {}", self.binary.display()))
    }
}

/// Has the calling thread, and who it starts, see `file` as `place`; goes with the thread and its children.
fn put_in_place(file: &Path, place: &Path) -> std::io::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    // Where it is a link, what it leads to.
    let place = place.canonicalize()?;
    Ok(mount(Some(file), &place, none, MsFlags::MS_BIND, none)?)
}

/// Packets that `drops`, an answer of `weir drops --json`, has under `reason`.
pub fn packets_of(drops: &Value, reason: &str) -> Result<u64> {
    let outcomes = drops["outcomes"].as_array().context("no outcomes")?;
    outcomes
        .iter()
        .find(|outcome| outcome["reason"] == reason)
        .and_then(|outcome| outcome["packets"].as_u64())
        .with_context(|| format!("no {reason} in {drops}"))
}

/// `WEIR_BIN`, or what `cargo xtask build` made.
pub fn binary() -> PathBuf {
    std::env::var_os("WEIR_BIN").map_or_else(|| workspace().join("target/release/weir"), Into::into)
}

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
}

/// Longest start, and longest graceful end.
const START: Duration = Duration::from_mins(1);
const COMMAND: Duration = Duration::from_secs(30);
