//! The admin API: JSON over HTTP/1.1 on `run_dir/admin.sock`, read-only on `[admin] listen`, and its client.
//!
//! Knows what is asked and how it is answered; what the answer is comes from whoever implements [`Control`].

pub mod api;
pub mod check;
pub mod client;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
pub mod network;
mod query;
mod routes;
pub mod server;
pub mod socket;
#[cfg(test)]
mod tests;
pub mod view;

use std::net::SocketAddr;

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Read-only TCP listener. Default none.
    pub listen: Option<SocketAddr>,
}

/// What the admin API asks of the running weir. Called on the control thread, so no method may block on anything but
/// a few system calls. Methods take `&self`: several connections share one `Rc<impl Control>`.
pub trait Control {
    /// The whole state in one answer.
    fn status(&self) -> api::Status;

    /// Totals per outcome and interface. The server adds [`Control::recent_samples`] to the answer.
    fn drops(&self) -> Result<api::Drops, Failure>;

    /// Per-source counters. [`view::sources`] filters, sorts and cuts.
    fn sources(&self, query: &api::SourcesQuery) -> Result<api::Sources, Failure>;

    /// The live entries of the blocklist, sorted by network.
    fn blocks(&self) -> Result<api::Entries, Failure>;

    /// The live entries of the allowlist, sorted by network.
    fn allows(&self) -> Result<api::Entries, Failure>;

    /// Every upstream and its servers.
    fn upstreams(&self) -> api::Upstreams;

    /// Every certificate.
    fn certs(&self) -> api::Certificates;

    /// Blocks networks, origin `cli`. `request.seconds` `None` means `[shield] block_for`. Networks are canonical (no
    /// host bits, not /0) and the reason fits: the server checked.
    fn block(&self, request: &api::BlockRequest) -> Result<api::Changed, Failure>;

    /// Removes networks from the blocklist.
    fn unblock(&self, request: &api::NetworksRequest) -> Result<api::Changed, Failure>;

    /// Allows networks for ever, origin `cli`. Same promises as for [`Control::block`].
    fn allow(&self, request: &api::NetworksRequest) -> Result<api::Changed, Failure>;

    /// Removes networks from the allowlist.
    fn disallow(&self, request: &api::NetworksRequest) -> Result<api::Changed, Failure>;

    /// Leaves an origin server out; it finishes what it has. Holds over reloads, not over restarts.
    fn drain(&self, request: &api::DrainRequest) -> Result<api::Drained, Failure>;

    /// Takes it in again.
    fn undrain(&self, request: &api::DrainRequest) -> Result<api::Drained, Failure>;

    /// Reads the configuration again. On failure nothing changed.
    fn reload(&self) -> Result<api::Reloaded, api::ReloadFailed>;

    /// Whether weir listens, the shield is attached, and no drain has begun.
    fn ready(&self) -> bool;

    /// The latest sampled drops, newest first, at most 100.
    fn recent_samples(&self) -> Vec<api::Sample>;
}

/// Why [`Control`] could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// For the status code and the command line's exit code.
    pub kind: FailureKind,
    /// One sentence, without its full stop.
    pub error: String,
    /// What to do about it; empty if there is nothing to add.
    pub hint: String,
}

/// Classes of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The request makes no sense: 400.
    Invalid,
    /// There is no such thing: 404.
    NotFound,
    /// weir runs without a packet filter, so there are no maps to read or edit: 503.
    NoShield,
    /// The kernel refused: EPERM or EACCES: 403.
    NotPermitted,
    /// Anything else: 500.
    Failed,
}

impl Failure {
    /// A failure with its hint.
    pub fn new(kind: FailureKind, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            error: error.into(),
            hint: hint.into(),
        }
    }
}
