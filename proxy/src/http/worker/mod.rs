//! One worker: a thread with a current-thread runtime, its own listeners, upstream connections and counters.

mod accept;
mod local;
mod reports;

pub(super) use local::{View, Worker, add};

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::SyncSender;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use super::Site;
use super::server::Listener;
use crate::detect::Source;

/// What a worker is made of. Everything shared is immutable, a sharded store or atomics.
pub struct Context {
    /// 0-based number of the worker.
    pub index: usize,
    /// Listening sockets of this worker (SO_REUSEPORT, non-blocking) with their settings.
    pub listeners: Vec<(std::net::TcpListener, Arc<crate::net::ListenSettings>)>,
    /// The current site.
    pub site: Arc<ArcSwap<Site>>,
    /// Certificates and what else TLS needs, as they are now.
    pub credentials: Arc<ArcSwap<crate::tls::Credentials>>,
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
    pub stop: watch::Receiver<Stop>,
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
pub fn run(context: Context) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUPS_MAX)
        .build()?;
    let local = LocalSet::new();
    let outcome = local.block_on(&runtime, serve(context));
    // What is left had its time; its guards still need the runtime.
    drop(local);
    // A name look-up may hang in a thread of its own.
    runtime.shutdown_background();
    outcome
}

async fn serve(mut context: Context) -> io::Result<()> {
    let listeners = std::mem::take(&mut context.listeners);
    let mut stop = context.stop.clone();
    let credentials = Arc::clone(&context.credentials);
    let worker = Rc::new(Worker::new(context));
    let mut accepting = JoinSet::new();
    for (number, (socket, settings)) in listeners.into_iter().enumerate() {
        let listener = Rc::new(Listener::new(settings, &credentials));
        let socket = tokio::net::TcpListener::from_std(socket)?;
        let accept = accept::run(Rc::clone(&worker), number, socket, listener, stop.clone());
        accepting.spawn_local(accept);
    }
    // A closed channel means that nobody is left to serve for.
    let stopped = stop.wait_for(|stop| *stop != Stop::Run).await;
    let how = stopped.map_or(Stop::Now, |how| *how);
    if how == Stop::Drain {
        worker.drain();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop == Stop::Now) => {}
            () = drained(&worker, &mut accepting) => {}
        }
    }
    worker.report();
    Ok(())
}

/// Waits until what was accepted is served.
async fn drained(worker: &Worker, accepting: &mut JoinSet<()>) {
    while accepting.join_next().await.is_some() {}
    worker.idle().await;
}

/// Name look-ups at a time: the only thing that runs in threads of its own.
const LOOKUPS_MAX: usize = 8;
