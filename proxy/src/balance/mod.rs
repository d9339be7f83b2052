//! Which origin server gets a request. Decides only: connections live in `http`.

mod health;
mod round_robin;
mod upstream;

pub use round_robin::{RoundRobin, Tried};
pub use upstream::{Attempt, Health, OriginServer, Upstream};

use std::time::Duration;

/// Most servers an upstream may have: requests remember the servers they tried in 64 bits. Configuration refuses more;
/// servers past it would never be picked.
pub const SERVERS_MAX: usize = 64;

/// One `[[upstream]]`: a group of origin servers that serve the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Unique name.
    pub name: String,
    /// At least one, at most [`SERVERS_MAX`].
    pub servers: Vec<ServerSettings>,
    /// What is spoken with them.
    pub transport: UpstreamTransport,
    /// Passive ejection.
    pub eject: EjectSettings,
    /// Bounds towards each origin server.
    pub limits: UpstreamLimits,
    /// Timeouts towards each origin server.
    pub timeouts: UpstreamTimeouts,
}

/// How an upstream's origin servers are spoken with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpstreamTransport {
    /// `protocol`
    pub protocol: Protocol,
    /// `send_proxy_protocol`
    pub send_proxy_protocol: ProxyProtocol,
}

/// `send_proxy_protocol` of an upstream: whether connections begin with a client's address. Each is then that client's
/// connection's alone, and HTTP/1.1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No. The default.
    #[default]
    Off,
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// `protocol` of an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 or HTTP/1.1 over TLS as ALPN says, HTTP/1.1 over cleartext. The default.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 over TLS (RFC 9113 §3.2).
    H2,
    /// HTTP/2 over cleartext with prior knowledge (RFC 9113 §3.3).
    H2c,
}

/// Scheme of an origin server's URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Cleartext.
    #[default]
    Http,
    /// TLS.
    Https,
}

/// One origin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Whether it speaks TLS.
    pub scheme: Scheme,
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
    /// How long. Default 30 s. After it the server is tried again; the first failure then ejects it anew.
    pub duration: Duration,
    /// Most servers of the upstream that may be ejected at once, in percent, rounded down, but one of two or more.
    /// 0 ejects none. Default 50; the servers that fail beyond it go on being tried.
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
    /// Name look-up, TCP connect, TLS handshake and HTTP/2's settings. Default 1 s; over it: 504.
    pub connect: Duration,
    /// Request sent to response head, and between parts of the response content. Default 30 s; over it: 504 or a reset.
    pub response: Duration,
    /// How long an unused connection is kept. Default 60 s.
    pub idle: Duration,
}
