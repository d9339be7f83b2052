//! One worker: a thread with a current-thread runtime, its own listeners, upstream connections and counters.

mod accept;
mod local;
mod reports;

use accept::Accepting;
pub(super) use local::{View, Worker, add};

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::SyncSender;

use arc_swap::ArcSwap;
use tokio::runtime::LocalOptions;
use tokio::sync::watch;

use super::Site;
use crate::detect::Source;

/// What a worker is made of. Everything shared is immutable, a sharded store or atomics.
pub struct Context {
    /// 0-based number of the worker.
    pub index: usize,
    /// What to listen on, as it is now.
    pub listeners: watch::Receiver<Vec<Arc<crate::net::Listener>>>,
    /// The current site.
    pub site: Arc<ArcSwap<Site>>,
    /// Certificates and what else TLS needs, as they are now.
    pub credentials: Arc<ArcSwap<crate::tls::Credentials>>,
    /// The cache, shared by all workers.
    pub store: Arc<crate::cache::Store>,
    /// Upgrades of all workers.
    pub upgrades: Arc<super::Upgrades>,
    /// Where workers say that they lack connections that others may have to spare.
    pub shortage: Arc<super::Shortage>,
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
    // Not a `LocalSet` in an ordinary runtime: that is a scheduler in a scheduler, and each wake-up passes both.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(serve(context))
}

async fn serve(context: Context) -> io::Result<()> {
    let mut listeners = context.listeners.clone();
    let mut stop = context.stop.clone();
    let credentials = Arc::clone(&context.credentials);
    let worker = Rc::new(Worker::new(context));
    let mut accepting = Accepting::new(&worker, credentials, stop.clone());
    let how = loop {
        let wanted = listeners.borrow_and_update().clone();
        accepting.settle(&wanted)?;
        tokio::select! {
            biased;
            // A closed channel means that nobody is left to serve for.
            stopped = stop.wait_for(|stop| *stop != Stop::Run) => {
                break stopped.map_or(Stop::Now, |how| *how);
            }
            Ok(()) = listeners.changed() => {}
        }
    };
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
async fn drained(worker: &Worker, accepting: &mut Accepting) {
    accepting.ended().await;
    worker.idle().await;
}
