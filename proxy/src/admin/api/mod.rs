//! The admin API's JSON, as the server writes and the client reads it. Names here are stable: scripts rely on them.
//!
//! Fields are only added, never renamed or removed. Durations are seconds with milliseconds, sizes bytes, and enums
//! the words of the contract. The kernel's clock is monotonic, so times are told relative to the answer.

mod certs;
mod counters;
mod drain;
mod lists;
mod status;

use serde::{Deserialize, Serialize};

pub use certs::{Certificate, Certificates};
pub use counters::{
    Drops, InterfaceTally, OutcomeTally, Sample, Source, SourceDrops, SourceOrder, Sources,
    SourcesQuery, Tally, Verdict,
};
pub use drain::{DrainRequest, Drained};
pub use lists::{BlockRequest, Change, ChangeKind, Changed, Entries, Entry, List, NetworksRequest};
pub use status::{
    Attack, Cache, Connections, Detect, Feed, Health, Interface, Listener, Mode, Responses, Server,
    Shield, State, Status, Tls, Upgrades, Upstream, Upstreams,
};

/// `POST /v1/reload`, done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Configuration file.
    pub config: String,
    /// Generation in use from now on.
    pub generation: u64,
    /// Routes in use.
    pub routes: usize,
    /// Upstreams in use.
    pub upstreams: usize,
    /// Key paths that differ from what runs and take effect only at the next start.
    pub needs_restart: Vec<String>,
}

/// `POST /v1/reload`, refused (422 when `problems` says why, else 500): nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct ReloadFailed {
    /// One sentence, without its full stop.
    pub error: String,
    /// What to do about it; empty if there is nothing to add.
    pub hint: String,
    /// What is wrong with the configuration file.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// One thing wrong with a configuration file. Also in `weir check --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// From 1; 0 = the file as a whole.
    pub line: usize,
    /// Key path.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Any answer with status 4xx or 5xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// One sentence, without its full stop.
    pub error: String,
    /// What to do about it; empty if there is nothing to add.
    pub hint: String,
}
