//! An upstream's shared state: its origin servers, their counters and their health.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::health::{Ejection, Judgement};
use super::{EjectSettings, ServerSettings, UpstreamSettings};

/// A group of origin servers and what is known of each. Shared by all workers; health is atomics. Kept over a reload
/// when name and servers are unchanged.
#[derive(Debug)]
pub struct Upstream {
    /// As configured.
    pub settings: UpstreamSettings,
    /// In the order of `settings.servers`.
    pub servers: Vec<OriginServer>,
    epoch: Instant,
    /// Held only while a server is being ejected, so that two workers that eject two servers at once cannot exceed
    /// `max_percent` together.
    ejecting: Mutex<()>,
}

/// One origin server's shared state.
#[derive(Debug)]
pub struct OriginServer {
    /// As configured.
    pub settings: ServerSettings,
    /// `host:port`, brackets around IPv6: for logs and the pool's key.
    pub authority: String,
    /// Attempts that were reported. [`Upstream::report`] counts.
    pub requests: AtomicU64,
    /// Those of them that failed. [`Upstream::report`] counts.
    pub failures: AtomicU64,
    /// Open connections to it, over all workers. `http` counts.
    pub connections: AtomicUsize,
    ejection: Ejection,
}

/// How an attempt at an origin server ended, as far as its health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A response head came.
    Responded,
    /// Connect refused or timed out, or the connection was lost before a response.
    Failed,
}

/// One server's state for status output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Gets requests.
    Healthy,
    /// Left out for this much longer.
    Ejected(Duration),
}

impl Upstream {
    /// All servers healthy. `epoch` is any instant not after the first `now`.
    pub fn new(settings: UpstreamSettings, epoch: Instant) -> Self {
        let servers = settings.servers.iter().cloned().map(OriginServer::new);
        Self {
            servers: servers.collect(),
            settings,
            epoch,
            ejecting: Mutex::new(()),
        }
    }

    /// Notes how an attempt at `servers[index]` ended, once per attempt. Returns true when this ejects the server.
    ///
    /// An attempt that ends while its server is ejected is counted but changes nothing: it may have begun before, on a
    /// connection that outlived the server's listener.
    pub fn report(&self, index: usize, attempt: Attempt, now: Instant) -> bool {
        let Some(server) = self.servers.get(index) else {
            return false;
        };
        let now_ms = self.millis(now);
        server.requests.fetch_add(1, Ordering::Relaxed);
        match attempt {
            Attempt::Responded => {
                server.ejection.responded(now_ms);
                false
            }
            Attempt::Failed => {
                server.failures.fetch_add(1, Ordering::Relaxed);
                match server.ejection.failed(self.settings.eject.failures, now_ms) {
                    Judgement::Keep => false,
                    Judgement::Eject => self.eject(server, now_ms),
                }
            }
        }
    }

    /// State of `servers[index]`.
    pub fn health(&self, index: usize, now: Instant) -> Health {
        let now_ms = self.millis(now);
        match self.servers.get(index).map(|s| s.ejection.left_ms(now_ms)) {
            None | Some(0) => Health::Healthy,
            Some(left_ms) => Health::Ejected(Duration::from_millis(left_ms)),
        }
    }

    /// Milliseconds since this upstream's epoch: what the atomics hold.
    pub(super) fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.epoch))
    }

    /// Whether `servers[index]` is left out at `now_ms`.
    pub(super) fn is_ejected(&self, index: usize, now_ms: u64) -> bool {
        self.servers
            .get(index)
            .is_some_and(|server| server.ejection.left_ms(now_ms) > 0)
    }

    fn eject(&self, server: &OriginServer, now_ms: u64) -> bool {
        let _one_at_a_time = self.ejecting.lock();
        let ejected = self
            .servers
            .iter()
            .filter(|s| s.ejection.left_ms(now_ms) > 0);
        if ejected.count() >= most_ejected(&self.settings.eject, self.servers.len()) {
            return false;
        }
        let until_ms = now_ms.saturating_add(millis(self.settings.eject.duration));
        server.ejection.eject(now_ms, until_ms)
    }
}

impl OriginServer {
    fn new(settings: ServerSettings) -> Self {
        let ServerSettings { host, port, .. } = &settings;
        let authority = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Self {
            settings,
            authority,
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            ejection: Ejection::default(),
        }
    }
}

/// How many of `servers` may be ejected at once.
fn most_ejected(settings: &EjectSettings, servers: usize) -> usize {
    let percent = settings.max_percent.min(100) as usize;
    match servers * percent / 100 {
        0 if percent > 0 && servers >= 2 => 1,
        most => most,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests;
