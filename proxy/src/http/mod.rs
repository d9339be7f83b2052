//! The request path: server, pipeline, forwarding, upstream connections, faults.

mod activity;
mod body;
mod cached;
mod choice;
mod conclude;
mod connect;
mod connection;
mod course;
mod fault;
mod fields;
mod filters;
mod forward;
mod frames;
mod framing;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod outgoing;
mod patience;
mod pipeline;
mod pool;
pub mod probe;
mod protocol;
mod served;
mod server;
mod stalls;
mod target;
mod tasks;
mod upgrade;
pub mod worker;

pub use pool::Shortage;
pub use upgrade::Upgrades;

use std::sync::Arc;

pub use filters::{FileError, Filters};

/// What a worker serves by: one immutable snapshot, replaced whole on reload. A request loads it once.
#[derive(Debug)]
pub struct Site {
    /// Which requests are refused.
    pub requests: crate::route::RequestSettings,
    /// Routes.
    pub routes: crate::route::Table,
    /// What the routes need beside their settings.
    pub filters: Arc<Filters>,
    /// Upstreams; a route's `upstream` is an index into it.
    pub upstreams: Vec<Arc<crate::balance::Upstream>>,
    /// TLS towards the servers of each upstream that has some.
    pub origin_tls: Vec<Option<Arc<crate::tls::OriginTls>>>,
    /// Detection rules.
    pub rules: Arc<crate::detect::Rules>,
    /// Increases with each reload, so that workers can tell that their rotations and rule indices are of another site.
    pub generation: u64,
}
