//! One worker: a thread with a current-thread runtime, its own listeners, upstream connections and counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::SyncSender;

use arc_swap::ArcSwap;

use super::Site;
use crate::detect::Source;

/// What a worker is made of. Everything shared is immutable, a sharded store or atomics.
pub struct Context {
    /// 0-based number of the worker.
    pub index: usize,
    /// Listening sockets of this worker (SO_REUSEPORT, non-blocking) with their settings.
    pub listeners: Vec<(std::net::TcpListener, Arc<crate::net::ListenSettings>)>,
    /// The current site.
    pub site: Arc<ArcSwap<Site>>,
    /// The current TLS settings (certificates by name); `None` when no listener speaks TLS.
    pub tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// The cache, shared by all workers.
    pub store: Arc<crate::cache::Store>,
    /// Connections per listener and source, over all workers.
    pub admission: Arc<crate::net::Admission>,
    /// What detection is told; bounded. A full channel loses the report, counted in `counters.reports_lost`.
    pub reports: SyncSender<Report>,
    /// Access log lines; bounded, a full queue loses lines, counted.
    pub access: crate::telemetry::AccessLog,
    /// This worker's counters.
    pub counters: Arc<Counters>,
    /// Tells the worker to stop.
    pub stop: tokio::sync::watch::Receiver<Stop>,
}

/// Stages of the end of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Serve.
    Run,
    /// Accept no more; finish what is under way, then return.
    Drain,
    /// Return now.
    Now,
}

/// (rule, source, hits) of one worker since its last report, at most every 25 ms.
#[derive(Debug)]
pub struct Report {
    /// Site generation the rule indices belong to.
    pub generation: u64,
    /// Rule index, source, hits.
    pub hits: Vec<(usize, Source, u32)>,
}

/// One worker's counters. Only that worker writes them; relaxed loads and stores.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections refused for a limit.
    pub refused: AtomicU64,
    /// Connections open.
    pub open: AtomicUsize,
    /// TLS handshakes completed.
    pub handshakes: AtomicU64,
    /// TLS handshakes failed or timed out.
    pub handshakes_failed: AtomicU64,
    /// Requests, by class of the status sent: index 0 = 1xx … 4 = 5xx.
    pub responses: [AtomicU64; 5],
    /// Reports to detection that found the channel full.
    pub reports_lost: AtomicU64,
}

/// Runs a worker on the calling thread until it is stopped and drained.
pub fn run(context: Context) -> std::io::Result<()> {
    drop(context);
    todo!()
}
