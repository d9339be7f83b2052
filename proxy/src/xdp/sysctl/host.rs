//! `/proc/sys`, and which boot and network namespace its switches belong to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Found, Sysctl};

/// Where the switches are. Tests have a directory of their own.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// `/proc/sys`
    pub(super) sys: PathBuf,
    /// Whose switches these are.
    pub(super) place: Place,
}

/// What a value belongs to: it is gone with either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// `kernel.random.boot_id`: random, for as long as the kernel runs.
    pub(super) boot: String,
    /// The network namespace, as `/proc/thread-self/ns/net` names it. Its number may come again, in another boot or when
    /// the namespace is gone.
    pub(super) namespace: String,
}

/// The switches of this thread's network namespace.
pub fn found() -> Found {
    read(Path::new(SYS))
}

impl Host {
    /// This thread's.
    pub(super) fn here() -> io::Result<Self> {
        let namespace = fs::read_link("/proc/thread-self/ns/net")?;
        Ok(Self {
            sys: SYS.into(),
            place: Place {
                boot: fs::read_to_string("/proc/sys/kernel/random/boot_id")?
                    .trim()
                    .to_owned(),
                namespace: namespace.to_string_lossy().into_owned(),
            },
        })
    }

    /// All switches of interest.
    pub(super) fn found(&self) -> Found {
        read(&self.sys)
    }

    /// One switch.
    pub(super) fn get(&self, sysctl: Sysctl) -> io::Result<u32> {
        let text = fs::read_to_string(self.path(sysctl))?;
        text.trim()
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Sets one switch.
    pub(super) fn set(&self, sysctl: Sysctl, value: u32) -> io::Result<()> {
        fs::write(self.path(sysctl), format!("{value}\n"))
    }

    fn path(&self, sysctl: Sysctl) -> PathBuf {
        self.sys.join(match sysctl {
            Sysctl::Syncookies => SYNCOOKIES,
            Sysctl::Timestamps => TIMESTAMPS,
        })
    }
}

fn read(sys: &Path) -> Found {
    let nth = |key: &str, index| {
        let text = fs::read_to_string(sys.join(key)).ok()?;
        text.split_whitespace().nth(index)?.parse().ok()
    };
    Found {
        tcp_syncookies: nth(SYNCOOKIES, 0),
        tcp_timestamps: nth(TIMESTAMPS, 0),
        tcp_window_scaling: nth("net/ipv4/tcp_window_scaling", 0),
        tcp_sack: nth("net/ipv4/tcp_sack", 0),
        tcp_ecn: nth("net/ipv4/tcp_ecn", 0),
        tcp_rmem_max: nth("net/ipv4/tcp_rmem", 2),
        rmem_max: nth("net/core/rmem_max", 0),
    }
}

const SYS: &str = "/proc/sys";
const SYNCOOKIES: &str = "net/ipv4/tcp_syncookies";
const TIMESTAMPS: &str = "net/ipv4/tcp_timestamps";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switches_of_this_host_are_read() {
        let found = found();
        assert!(found.tcp_timestamps.is_some_and(|value| value <= 2));
        assert!(found.tcp_window_scaling.is_some());
        assert!(found.tcp_sack.is_some());
        assert!(found.tcp_ecn.is_some());
        assert!(found.tcp_rmem_max.is_some_and(|bytes| bytes > 2));
        let place = Host::here().expect("procfs").place;
        assert!(place.namespace.starts_with("net:["), "{place:?}");
        assert_eq!(place.boot.len(), 36, "{place:?}");
    }
}
