//! The worker threads: started with everything they share, watched, drained.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::http::Site;
use crate::http::worker::{self, Counters, Report, Stop};
use crate::{balance, cache, http, net, telemetry, tls};

/// What all workers share: immutable snapshots, sharded stores, queues.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) site: Arc<ArcSwap<Site>>,
    pub(super) credentials: Arc<ArcSwap<tls::Credentials>>,
    pub(super) store: Arc<cache::Store>,
    pub(super) access: telemetry::AccessLog,
    pub(super) secret: balance::Secret,
    pub(super) upgrades: Arc<http::Upgrades>,
}

/// How a worker ended.
#[derive(Debug, thiserror::Error)]
#[error("worker {index} ended: {why}")]
pub(super) struct Exit {
    index: usize,
    why: String,
}

/// The running workers.
pub(super) struct Workers {
    listeners: watch::Sender<Vec<Arc<net::Listener>>>,
    stop: watch::Sender<Stop>,
    /// Bounded by the number of workers: each sends once.
    exits: mpsc::Receiver<Exit>,
    counters: Vec<Arc<Counters>>,
}

impl Workers {
    /// `count` threads.
    pub(super) fn start(
        count: usize,
        listeners: Vec<Arc<net::Listener>>,
        shared: &Shared,
        reports: &SyncSender<Report>,
    ) -> anyhow::Result<Self> {
        let (stop, stopped) = watch::channel(Stop::Run);
        let (ended, exits) = mpsc::channel(count.max(1));
        let (listeners, listening) = watch::channel(listeners);
        let shortage = Arc::<http::Shortage>::default();
        let mut workers = Self {
            listeners,
            stop,
            exits,
            counters: Vec::new(),
        };
        for index in 0..count {
            let counters = Arc::new(Counters::default());
            workers.counters.push(Arc::clone(&counters));
            let context = worker::Context {
                index,
                listeners: listening.clone(),
                site: Arc::clone(&shared.site),
                credentials: Arc::clone(&shared.credentials),
                store: Arc::clone(&shared.store),
                reports: reports.clone(),
                access: shared.access.clone(),
                upgrades: Arc::clone(&shared.upgrades),
                shortage: Arc::clone(&shortage),
                counters,
                stop: stopped.clone(),
            };
            let ended = ended.clone();
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    let why = run_caught(context);
                    // The receiver is gone only when weir is already ending.
                    let _late = ended.try_send(Exit { index, why });
                })
                .with_context(|| format!("cannot start the thread of worker {index}"))?;
        }
        Ok(workers)
    }

    /// Where to tell the workers what to listen on.
    pub(super) fn listeners(&self) -> watch::Sender<Vec<Arc<net::Listener>>> {
        self.listeners.clone()
    }

    /// The workers' counters, in order.
    pub(super) fn counters(&self) -> Vec<Arc<Counters>> {
        self.counters.clone()
    }

    /// Waits until a worker ends.
    pub(super) async fn next_exit(&mut self) -> Exit {
        self.exits.recv().await.unwrap_or(Exit {
            index: 0,
            why: "all are gone".to_owned(),
        })
    }

    /// Lets workers finish what is under way, for at most `limit`; then ends them.
    pub(super) async fn drain(&self, limit: Duration) {
        self.stop.send_replace(Stop::Drain);
        if tokio::time::timeout(limit, self.stop.closed())
            .await
            .is_err()
        {
            tracing::warn!("the drain time is over: ending what is still under way");
            self.stop_now().await;
        }
    }

    /// Ends workers at once.
    pub(super) async fn stop_now(&self) {
        /// Long enough for a worker to leave its loop; past it the process ends under it.
        const GRACE: Duration = Duration::from_secs(2);
        self.stop.send_replace(Stop::Now);
        // Whoever is still there after the grace is cut off by the end of the process.
        let _cut_off = tokio::time::timeout(GRACE, self.stop.closed()).await;
    }
}

/// A worker's panic becomes a sentence; its sockets close, and the control thread ends weir in an orderly way.
fn run_caught(context: worker::Context) -> String {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| worker::run(context))) {
        Ok(Ok(())) => "told to stop".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map(|text| format!("panicked: {text}"))
            .or_else(|| {
                panic
                    .downcast_ref::<String>()
                    .map(|text| format!("panicked: {text}"))
            })
            .unwrap_or_else(|| "panicked".to_owned()),
    }
}
