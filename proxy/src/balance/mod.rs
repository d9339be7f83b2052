//! Which origin server gets a request. Decides only: connections live in `http`.

use std::time::Duration;

/// One `[[upstream]]`: a group of origin servers that serve the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Unique name.
    pub name: String,
    /// At least one.
    pub servers: Vec<ServerSettings>,
    /// Passive ejection.
    pub eject: EjectSettings,
    /// Bounds towards each origin server.
    pub limits: UpstreamLimits,
    /// Timeouts towards each origin server.
    pub timeouts: UpstreamTimeouts,
}

/// One origin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Host name or address literal, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Share of requests relative to the upstream's other servers. 1 to 256, default 1.
    pub weight: u32,
}

/// `eject`: when a server is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EjectSettings {
    /// Failures in a row (connect error, connection lost before a response) that eject. Default 5; a refused or timed-out connect counts.
    pub failures: u32,
    /// How long. Default 30 s.
    pub duration: Duration,
    /// Most servers of the upstream that may be ejected at once, in percent. Default 50; when more fail, all are tried.
    pub max_percent: u32,
}

/// `limits` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Connections to each server, over all workers. Default 1000; over it: 503 with `connection_limit_reached`.
    pub connections: usize,
}

/// `timeouts` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Name look-up and TCP connect. Default 1 s; over it: 504.
    pub connect: Duration,
    /// Request sent to response head, and between parts of the response content. Default 30 s; over it: 504 or a reset.
    pub response: Duration,
    /// How long an unused connection is kept. Default 60 s.
    pub idle: Duration,
}

/// A group of origin servers and what is known of each. Shared by all workers; health is atomics. Kept over a reload
/// when name and servers are unchanged.
#[derive(Debug)]
pub struct Upstream {
    /// As configured.
    pub settings: UpstreamSettings,
    /// In the order of `settings.servers`.
    pub servers: Vec<OriginServer>,
}

/// One origin server's shared state.
#[derive(Debug)]
pub struct OriginServer {
    /// As configured.
    pub settings: ServerSettings,
    /// `host:port`, brackets around IPv6: for logs and the pool's key.
    pub authority: String,
    /// Requests sent to it.
    pub requests: std::sync::atomic::AtomicU64,
    /// Requests that failed there.
    pub failures: std::sync::atomic::AtomicU64,
    /// Open connections to it, over all workers.
    pub connections: std::sync::atomic::AtomicUsize,
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

/// Servers already tried for one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tried(u64);

impl Upstream {
    /// All servers healthy. `epoch` is any instant not after the first `now`.
    pub fn new(settings: UpstreamSettings, epoch: std::time::Instant) -> Self {
        let _ = (settings, epoch);
        todo!()
    }

    /// Notes how an attempt at `servers[index]` ended. Returns true when this ejects the server.
    pub fn report(&self, index: usize, attempt: Attempt, now: std::time::Instant) -> bool {
        let _ = (index, attempt, now);
        todo!()
    }

    /// State of `servers[index]`.
    pub fn health(&self, index: usize, now: std::time::Instant) -> Health {
        let _ = (index, now);
        todo!()
    }
}

/// One worker's place in an upstream's rotation: smooth weighted round robin.
#[derive(Debug)]
pub struct RoundRobin {}

impl RoundRobin {
    /// A rotation that starts at a place derived from `seed`, so that workers do not march in step.
    pub fn new(upstream: &Upstream, seed: u64) -> Self {
        let _ = (upstream, seed);
        todo!()
    }

    /// The next server that is neither in `tried` nor ejected; when all are ejected, the next not in `tried`. `None`
    /// when all were tried. Marks it in `tried`.
    pub fn pick(
        &mut self,
        upstream: &Upstream,
        tried: &mut Tried,
        now: std::time::Instant,
    ) -> Option<usize> {
        let _ = (upstream, tried, now);
        todo!()
    }
}
