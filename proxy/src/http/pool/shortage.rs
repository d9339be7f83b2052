//! Connections that wait for requests in one worker while another worker lacks one, as their server has as many as it may
//! over all workers: those who have one to spare close it.

use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::{Pool, Server};

/// Where the workers tell each other that one of them lacks a connection; to which server, its `wanted` says. Touched only
/// when a server is at its limit.
#[derive(Debug, Default)]
pub struct Shortage(Notify);

impl Pool {
    /// There may be no more connections to `server`, and none here is idle: who has one that is may close it. Says so once
    /// until somebody does.
    pub(super) fn lack(&self, server: &Server) {
        let number = self.number();
        if server.origin().wanted.swap(number, Ordering::Relaxed) != number {
            self.shortage.0.notify_waiters();
        }
    }

    /// There may be one more connection to `server`: nobody is to close another for this worker.
    pub(super) fn lack_no_more(&self, server: &Server) {
        let wanted = &server.origin().wanted;
        let number = self.number();
        if wanted.load(Ordering::Relaxed) == number {
            // If somebody else wants one by now, that stays.
            let _ = wanted.compare_exchange(number, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Unlike any other pool's, and never 0.
    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Returns when a worker lacks a connection; asked for before looking, it misses none.
    pub(super) fn lacking(&self) -> tokio::sync::futures::Notified<'_> {
        self.shortage.0.notified()
    }

    /// Whether a connection to `server` that nobody uses is to be closed for another worker's sake: not if a request waits
    /// for one here.
    pub(super) fn gives_way(&self, server: &Server) -> bool {
        let wanted = &server.origin().wanted;
        let by = wanted.load(Ordering::Relaxed);
        by != 0
            && by != self.number()
            && !self.is_awaited(&server.upstream)
            && wanted
                .compare_exchange(by, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Closes an idle connection, if there is one, to each server that another worker lacks one to.
    pub(super) fn give_way(&self) {
        let mut spared = Vec::new();
        let mut idle = self.idle.borrow_mut();
        for connections in idle.values_mut() {
            let Some(oldest) = connections.first() else {
                continue;
            };
            if self.gives_way(&oldest.server) {
                spared.push(connections.remove(0));
            }
        }
        drop(idle);
        let shared = self.shared.borrow();
        for shelf in shared.values() {
            let unused = shelf.connections.iter().find(|one| one.is_unused());
            if let Some(unused) = unused
                && self.gives_way(&shelf.server)
            {
                unused.close();
            }
        }
    }
}
