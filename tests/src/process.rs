//! A running server program.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use nix::unistd::Pid;

use crate::cleanup::{Guard, Resource, forget_process};

/// A server's process: its log is read as it comes, and it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    _guard: Guard,
}

impl Process {
    /// `child`'s standard error must be piped.
    pub(crate) fn watch(mut child: Child) -> Result<Self> {
        let pid = i32::try_from(child.id())?;
        let guard = Guard::new(Resource::Process(pid));
        let stderr = child.stderr.take().context("stderr is piped")?;
        let log = Arc::<Mutex<String>>::default();
        let theirs = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                if log.len() < LONGEST_LOG {
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        Ok(Self {
            child,
            log,
            _guard: guard,
        })
    }

    /// For signals.
    pub(crate) fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    /// How it ended, once it has.
    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if status.is_some() {
            forget_process(i32::try_from(self.child.id())?);
        }
        Ok(status)
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Bytes of the log that are kept.
const LONGEST_LOG: usize = 1 << 20;
