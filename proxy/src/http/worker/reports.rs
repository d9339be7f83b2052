//! What a worker tells detection: counted as requests come, sent in batches.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use super::{Counters, Report, add};
use crate::detect::{Batch, Event, Rules, Source};

/// Hits since the last report.
pub(super) struct Reports {
    channel: SyncSender<Report>,
    counters: Arc<Counters>,
    batch: RefCell<Batch>,
    /// Site that the batch's rule indices belong to.
    generation: Cell<u64>,
    scheduled: Cell<bool>,
}

impl Reports {
    pub(super) fn new(
        channel: SyncSender<Report>,
        counters: Arc<Counters>,
        generation: u64,
    ) -> Self {
        Self {
            channel,
            counters,
            batch: RefCell::new(Batch::new(BATCH_MAX)),
            generation: Cell::new(generation),
            scheduled: Cell::new(false),
        }
    }

    /// Counts an event for every rule that wants it. The first hit of a batch starts the clock of its report, so that
    /// an idle worker is never woken for nothing.
    pub(super) fn add(self: &Rc<Self>, rules: &Rules, client: IpAddr, event: &Event<'_>) {
        let mut batch = self.batch.borrow_mut();
        for rule in rules.matching(event) {
            batch.add(rule, Source::of(client));
        }
        if !batch.is_empty() && !self.scheduled.replace(true) {
            tokio::task::spawn_local(send_later(Rc::clone(self)));
        }
    }

    /// Another site: what was counted belongs to the last one's rules.
    pub(super) fn restart(&self, generation: u64) {
        self.send();
        self.generation.set(generation);
    }

    /// Sends what was counted. Never waits: detection that lags must not slow requests.
    pub(super) fn send(&self) {
        let mut batch = self.batch.borrow_mut();
        if batch.is_empty() {
            return;
        }
        let report = Report {
            generation: self.generation.get(),
            hits: batch.drain(),
        };
        if let Err(TrySendError::Full(_)) = self.channel.try_send(report) {
            add(&self.counters.reports_lost);
        }
    }
}

async fn send_later(reports: Rc<Reports>) {
    tokio::time::sleep(INTERVAL).await;
    reports.scheduled.set(false);
    reports.send();
}

/// Different (rule, source) pairs between two reports; 48 bytes each, so 384 KiB a worker.
const BATCH_MAX: usize = 8192;
/// Longest time between a request and detection hearing of it.
const INTERVAL: Duration = Duration::from_millis(25);
