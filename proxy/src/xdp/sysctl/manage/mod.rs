//! Writes switches and puts them back.
//!
//! The order is what makes it safe to die at any point: a value is recorded before it is overwritten, and forgotten after it
//! is back. What is recorded and was never written is recognised: the switch still has its previous value.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use weir_common::settings::CookieMode;

use super::assess::{Consent, judge};
use super::host::{self, Host};
use super::memory::{Change, Memory, Record};
use super::{Assessment, Finding, Sysctl};

/// What [`settle`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Of the switches as they are now: `writes` is empty, and what could not be written is among the findings.
    pub assessment: Assessment,
    /// What was changed, a sentence each, without their full stops.
    pub news: Vec<String>,
}

/// What [`restore`] came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// What was put back or deliberately left, a sentence each, without their full stops.
    pub news: Vec<String>,
    /// What could not be put back.
    pub findings: Vec<Finding>,
}

/// Brings the switches to what cookies of `mode` need, if `manage` gives the operator's consent, and puts back those that
/// an earlier call set and that are not needed, or not allowed, any more. For the start and each reload; in between,
/// [`assess`](super::assess()) tells whether somebody changed them.
///
/// `state_dir` must be there. It remembers across restarts of weir what each switch was; a value that an operator set since
/// counts as the newer wish, so that is what will be put back.
pub fn settle(mode: CookieMode, manage: bool, state_dir: &Path) -> Settled {
    match Host::here() {
        Ok(host) => settle_at(&host, mode, manage, state_dir),
        Err(error) => Settled {
            assessment: Assessment {
                findings: vec![no_proc(&error)],
                ..judge(mode, Consent::Useless, &host::found())
            },
            news: Vec::new(),
        },
    }
}

/// Puts back every switch that still is what weir set it to; for `weir detach`, when no cookie is sent any more. Cookies
/// that clients have yet to answer stay good: for that the kernel asks no more of `tcp_syncookies` than not to be 0.
pub fn restore(state_dir: &Path) -> Restored {
    match Host::here() {
        Ok(host) => restore_at(&host, state_dir),
        Err(error) => Restored {
            news: Vec::new(),
            findings: vec![no_proc(&error)],
        },
    }
}

fn settle_at(host: &Host, mode: CookieMode, manage: bool, state_dir: &Path) -> Settled {
    let consent = if manage {
        Consent::Given
    } else {
        Consent::None
    };
    let wanted = judge(mode, consent, &host.found()).wants;
    let memory = Memory::of(state_dir);
    let mut done = Restored::default();
    match memory.load() {
        Ok(record) => {
            // Another boot's or network namespace's switches are gone with it, or not ours to touch.
            let values = record
                .filter(|record| record.place == host.place)
                .map(|record| record.values)
                .unwrap_or_default();
            let mut manager = Manager {
                host,
                memory: &memory,
                values,
                done: &mut done,
            };
            manager.put_back(&wanted);
            manager.set(&wanted);
        }
        // Writing now would lose what the file holds.
        Err(error) => done.findings.push(unreadable(&memory, &error)),
    }
    let consent = match consent {
        Consent::Given => Consent::Useless,
        Consent::Useless | Consent::None => consent,
    };
    let mut assessment = judge(mode, consent, &host.found());
    assessment.findings.splice(0..0, done.findings);
    Settled {
        assessment,
        news: done.news,
    }
}

fn restore_at(host: &Host, state_dir: &Path) -> Restored {
    let memory = Memory::of(state_dir);
    let mut done = Restored::default();
    match memory.load() {
        Ok(None) => {}
        Ok(Some(record)) if record.place.boot != host.place.boot => {
            // The host was started anew since, and its switches with it.
            let nothing = Record {
                place: record.place,
                values: BTreeMap::new(),
            };
            if let Err(error) = memory.store(&nothing) {
                done.findings.push(unwritable(&memory, &error));
            }
        }
        Ok(Some(record)) if record.place != host.place => done.news.push(format!(
            "{} is about another network namespace ({}), whose sysctls are left alone",
            memory.path().display(),
            record.place.namespace
        )),
        Ok(Some(record)) => Manager {
            host,
            memory: &memory,
            values: record.values,
            done: &mut done,
        }
        .put_back(&[]),
        Err(error) => done.findings.push(unreadable(&memory, &error)),
    }
    done
}

/// One pass over the switches.
struct Manager<'a> {
    host: &'a Host,
    memory: &'a Memory,
    /// What the file holds, or is about to.
    values: BTreeMap<Sysctl, Change>,
    done: &'a mut Restored,
}

impl Manager<'_> {
    /// Puts back what is recorded and not wanted.
    fn put_back(&mut self, wanted: &[(Sysctl, u32)]) {
        let before = self.values.len();
        for (sysctl, change) in self.values.clone() {
            if !wanted.iter().any(|(wanted, _)| *wanted == sysctl)
                && self.put_back_one(sysctl, change)
            {
                self.values.remove(&sysctl);
            }
        }
        if self.values.len() != before {
            self.record();
        }
    }

    /// Whether it is done with.
    fn put_back_one(&mut self, sysctl: Sysctl, Change { previous, set }: Change) -> bool {
        match self.host.get(sysctl) {
            Ok(value) if value == previous => true,
            Ok(value) if value != set => {
                self.done.news.push(format!(
                    "left {sysctl} at {value}: somebody changed it after weir had set it to {set}"
                ));
                true
            }
            Ok(_) => match self.host.set(sysctl, previous) {
                Ok(()) => {
                    let news = format!("set {sysctl} back to {previous}");
                    self.done.news.push(news);
                    true
                }
                Err(error) => {
                    self.failed("set", sysctl, previous, &error);
                    false
                }
            },
            Err(error) => {
                self.failed("read", sysctl, previous, &error);
                false
            }
        }
    }

    /// Sets what is wanted and is not so.
    fn set(&mut self, wanted: &[(Sysctl, u32)]) {
        let mut writes = Vec::new();
        for &(sysctl, set) in wanted {
            match self.host.get(sysctl) {
                Ok(value) if value == set => {}
                Ok(previous) => {
                    self.values.insert(sysctl, Change { previous, set });
                    writes.push((sysctl, Change { previous, set }));
                }
                Err(error) => self.failed("read", sysctl, set, &error),
            }
        }
        if writes.is_empty() || !self.record() {
            return;
        }
        let mut failed = false;
        for (sysctl, Change { previous, set }) in writes {
            match self.host.set(sysctl, set) {
                Ok(()) => {
                    let news = format!("set {sysctl} to {set}, it was {previous}");
                    self.done.news.push(news);
                }
                Err(error) => {
                    self.failed("set", sysctl, set, &error);
                    self.values.remove(&sysctl);
                    failed = true;
                }
            }
        }
        if failed {
            self.record();
        }
    }

    fn failed(&mut self, verb: &str, sysctl: Sysctl, value: u32, error: &io::Error) {
        self.done.findings.push(Finding {
            sentence: format!("cannot {verb} {sysctl}: {error}"),
            fix: format!(
                "`sysctl -w {sysctl}={value}` as root; for a container, from the host or by its runtime (`docker run --sysctl`)"
            ),
        });
    }

    /// Whether the file holds it now.
    fn record(&mut self) -> bool {
        let record = Record {
            place: self.host.place.clone(),
            values: self.values.clone(),
        };
        let stored = self.memory.store(&record);
        if let Err(error) = &stored {
            self.done.findings.push(unwritable(self.memory, error));
        }
        stored.is_ok()
    }
}

fn no_proc(error: &io::Error) -> Finding {
    Finding {
        sentence: format!("cannot tell this network namespace from others: {error}"),
        fix: "mount procfs on /proc".to_owned(),
    }
}

fn unreadable(memory: &Memory, error: &io::Error) -> Finding {
    let path = memory.path().display();
    Finding {
        sentence: format!(
            "cannot read {path}, where weir noted what sysctls were before it set them: {error}"
        ),
        fix: "look at it, set what it names by hand (`sysctl -w`), and remove it; until then weir sets none"
            .to_owned(),
    }
}

fn unwritable(memory: &Memory, error: &io::Error) -> Finding {
    let path = memory.path().display();
    Finding {
        sentence: format!(
            "cannot write {path}, where weir notes what sysctls were before it sets them: {error}"
        ),
        fix: "make `[process] state_dir` a directory that weir may write to".to_owned(),
    }
}

#[cfg(test)]
mod tests;
