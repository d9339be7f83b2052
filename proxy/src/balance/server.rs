//! One origin server: what all workers know of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use super::health::{Ejection, Probed};
use super::latency::Latency;
use super::{ServerSettings, Upstream};

/// One origin server's shared state. Kept over a reload that does not change its settings.
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
    /// The worker that lacks a connection to it, as there are as many as there may be; 0 = none. `http` sets and takes it.
    pub wanted: AtomicUsize,
    /// Where it can be reached; for a name, as looked up last. Whoever looks it up stores them.
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// Whether they are known as well as they will be for now.
    looked_up: AtomicBool,
    /// Requests that have not come to the end of their response.
    in_flight: AtomicU32,
    pub(super) latency: Latency,
    pub(super) ejection: Ejection,
    pub(super) probed: Probed,
    drained: AtomicBool,
    /// When checks or the operator brought it back, in milliseconds since the upstream's epoch; 0 = it was never away.
    returned_ms: AtomicU64,
}

/// A request under way to a server; dropping it uncounts.
#[derive(Debug)]
pub struct InFlight {
    upstream: Arc<Upstream>,
    index: usize,
}

impl OriginServer {
    pub(super) fn new(settings: ServerSettings) -> Self {
        let ServerSettings { host, port, .. } = &settings;
        let authority = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let literal = host.parse::<IpAddr>().ok();
        let addresses = literal.map(|address| SocketAddr::new(address, *port));
        Self {
            authority,
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            addresses: ArcSwap::from_pointee(addresses.into_iter().collect()),
            looked_up: AtomicBool::new(literal.is_some()),
            in_flight: AtomicU32::new(0),
            latency: Latency::default(),
            ejection: Ejection::default(),
            probed: Probed::default(),
            drained: AtomicBool::new(false),
            returned_ms: AtomicU64::new(0),
            settings,
        }
    }

    /// Where it can be reached now; empty = its name has not been found yet.
    pub fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.addresses.load_full()
    }

    /// Its name was looked up. An empty answer changes nothing: the last good one may still be right.
    pub fn resolved(&self, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() && **self.addresses.load() != addresses {
            self.addresses.store(Arc::new(addresses));
        }
        self.looked_up.store(true, Ordering::Relaxed);
    }

    /// Whether its name has been looked up, found or not.
    pub fn is_looked_up(&self) -> bool {
        self.looked_up.load(Ordering::Relaxed)
    }

    /// Whether its name has to be looked up.
    pub fn is_named(&self) -> bool {
        self.settings.host.parse::<IpAddr>().is_err()
    }

    /// Requests that have not come to the end of their response, over all workers.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    pub(super) fn set_drained(&self, drained: bool) -> bool {
        self.drained.swap(drained, Ordering::Relaxed) != drained
    }

    pub(super) fn returned(&self, now_ms: u64) {
        self.returned_ms.store(now_ms.max(1), Ordering::Relaxed);
    }

    /// When it was brought back last or its last ejection ended; `None` = it was never away.
    pub(super) fn back_since_ms(&self) -> Option<u64> {
        let returned_ms = self.returned_ms.load(Ordering::Relaxed);
        let back_ms = returned_ms.max(self.ejection.until_ms());
        (back_ms > 0).then_some(back_ms)
    }
}

impl InFlight {
    pub(super) fn new(upstream: Arc<Upstream>, index: usize) -> Self {
        upstream.servers[index]
            .in_flight
            .fetch_add(1, Ordering::Relaxed);
        Self { upstream, index }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.upstream.servers[self.index]
            .in_flight
            .fetch_sub(1, Ordering::Relaxed);
    }
}
