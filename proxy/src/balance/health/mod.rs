//! Whether a server gets requests: what they tell of it (`eject`), and what health checks tell (`probed`).

mod eject;
mod probed;

use std::sync::Arc;
use std::time::Duration;

pub(super) use eject::{Ejection, Rule};
pub(super) use probed::Probed;

/// How an attempt at an origin server ended, as far as its health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A response head came, this long after the server was asked.
    Responded(Duration),
    /// A response came, but a 5xx; or none came in time.
    Errored(Duration),
    /// Connect refused or timed out, or the connection was lost before a response.
    Failed,
}

/// One server's state for status output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Gets requests.
    Healthy,
    /// Left out for this much longer.
    Ejected(Duration),
    /// Health checks fail, for this reason.
    Unhealthy(Arc<str>),
    /// Left out by the operator.
    Drained,
}

/// What a health check changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The server is back.
    Up,
    /// The server is out.
    Down,
}
