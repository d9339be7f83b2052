//! What `[[upstream]]` says. Every part has its defaults here, and the configuration takes them from here.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderName;

/// One `[[upstream]]`: a group of origin servers that serve the same content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Unique name.
    pub name: String,
    /// At most [`SERVERS_MAX`](super::SERVERS_MAX); at least one, or a service.
    pub servers: Vec<ServerSettings>,
    /// Services that more servers are found by. They are added to `servers` as they are found.
    pub services: Vec<ServiceSettings>,
    /// What is spoken with them.
    pub transport: UpstreamTransport,
    /// How a server is chosen.
    pub balance: Policy,
    /// Keeps a client with the server it had first. Default off.
    pub sticky: Option<StickySettings>,
    /// Active health checks. Default none.
    pub health: Option<HealthSettings>,
    /// Passive ejection.
    pub eject: EjectSettings,
    /// When fewer than this share of the servers (drained ones apart) are healthy, health is ignored and all are used:
    /// the rest could not carry the load. In percent, 0 to 100, default 50; 0 = never.
    pub panic_percent: u32,
    /// How long a server that returns takes to get its full share again. Default 0: at once.
    pub slow_start: Duration,
    /// Further attempts after one that failed.
    pub retry: RetrySettings,
    /// Bounds towards each origin server.
    pub limits: UpstreamLimits,
    /// Timeouts towards each origin server.
    pub timeouts: UpstreamTimeouts,
}

/// A name whose SRV records (RFC 2782) are servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Of its servers.
    pub scheme: Scheme,
    /// Such as `_http._tcp.example.com`.
    pub name: String,
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

/// `balance`: how a server is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Policy {
    /// In turn, by weight; each worker has a turn of its own.
    #[default]
    RoundRobin,
    /// Of two at random, the one with fewer requests in flight for its weight.
    LeastRequests,
    /// Of three at random, the one that is expected to answer soonest.
    PeakEwma,
    /// At random, by weight.
    Random,
    /// By a property of the request, so that equal requests meet the same server.
    Maglev(HashOn),
}

/// `hash_on`: what equal requests have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HashOn {
    /// The client's IPv4 address or IPv6 /64.
    #[default]
    ClientIp,
    /// Path and query.
    Uri,
    /// A field's first value.
    Header(HeaderName),
    /// A cookie's value.
    Cookie(String),
}

/// `sticky`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StickySettings {
    /// Name of the cookie.
    pub cookie: String,
}

/// `health`: active checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSettings {
    /// What is asked.
    pub probe: ProbeKind,
    /// From one check of a server to the next, give or take a tenth. Default 2 s.
    pub interval: Duration,
    /// Longest check, connecting included. Default 1 s.
    pub timeout: Duration,
    /// Checks in a row that must succeed to bring a server back. Default 2.
    pub rise: u32,
    /// Checks in a row that must fail to take it out. Default 3.
    pub fall: u32,
}

/// What a health check asks of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// To accept a connection.
    Tcp,
    /// To answer `GET path`.
    Http {
        /// Path and query.
        path: String,
        /// `Host`; `None` = the server's own host and port.
        host: Option<String>,
        /// Statuses that count as success.
        expect: Expect,
    },
}

/// Statuses, as ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect(pub Vec<RangeInclusive<u16>>);

/// `eject`: when a server is left out for how it does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EjectSettings {
    /// Failures in a row (connect error, connection lost before a response) that eject. Default 5; a refused or timed-out connect counts.
    pub failures: u32,
    /// Share of a server's requests, in percent, that end in a failure, a 5xx or no response in time, from which on it is
    /// ejected, unless the others do hardly better. Default 50; 0 = never.
    pub error_percent: u32,
    /// Time over which that share is taken. Default 10 s.
    pub window: Duration,
    /// Fewest requests within the window for the share to mean anything. Default 20.
    pub min_requests: u32,
    /// How long. Default 30 s. After it the server is tried again; the first failure then ejects it anew, for twice as long.
    pub duration: Duration,
    /// Longest ejection. Default 5 min.
    pub duration_max: Duration,
    /// Most servers of the upstream that may be ejected at once, in percent, rounded down, but one of two or more.
    /// 0 ejects none. Default 50; the servers that fail beyond it go on being tried.
    pub max_percent: u32,
}

/// `retry`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySettings {
    /// Most further servers that are asked for one request. Default 2.
    pub attempts: u32,
    /// Most retries relative to requests over 10 s, in percent, on top of 10 a second. Default 20.
    pub budget_percent: u32,
}

/// `limits` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Connections to each server, over all workers. Default 1000. When all servers have theirs, requests wait.
    pub connections: usize,
    /// Requests that may wait for a connection, in each worker. Default 1000; over it: 503 with
    /// `connection_limit_reached`.
    pub pending: usize,
}

/// `timeouts` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// TCP connect. Default 1 s; over it: 504.
    pub connect: Duration,
    /// Longest wait for a connection when all servers have as many as they may. Default 1 s; over it: 503.
    pub pending: Duration,
    /// Request sent to response head, and between parts of the response content. Default 30 s; over it: 504 or a reset.
    pub response: Duration,
    /// Between parts of a stream, if longer than `response`: of the content of server-sent events and of gRPC, and in
    /// calls over HTTP/2 of what the client sends, too. Default 5 min.
    pub stream: Duration,
    /// How long an unused connection is kept. Default 60 s.
    pub idle: Duration,
    /// How long a connection is used for new requests, give or take a tenth. Default 10 min.
    pub max_age: Duration,
}

impl UpstreamSettings {
    /// Everything but name and servers by default.
    pub fn new(name: impl Into<String>, servers: Vec<ServerSettings>) -> Self {
        Self {
            name: name.into(),
            servers,
            services: Vec::new(),
            transport: UpstreamTransport::default(),
            balance: Policy::default(),
            sticky: None,
            health: None,
            eject: EjectSettings::default(),
            panic_percent: 50,
            slow_start: Duration::ZERO,
            retry: RetrySettings::default(),
            limits: UpstreamLimits::default(),
            timeouts: UpstreamTimeouts::default(),
        }
    }
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            probe: ProbeKind::Tcp,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        }
    }
}

impl Default for Expect {
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl Expect {
    /// Whether `status` counts as success.
    pub fn accepts(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl Default for EjectSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            error_percent: 50,
            window: Duration::from_secs(10),
            min_requests: 20,
            duration: Duration::from_secs(30),
            duration_max: Duration::from_mins(5),
            max_percent: 50,
        }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 2,
            budget_percent: 20,
        }
    }
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            connections: 1000,
            pending: 1000,
        }
    }
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            pending: Duration::from_secs(1),
            response: Duration::from_secs(30),
            stream: Duration::from_mins(5),
            idle: Duration::from_mins(1),
            max_age: Duration::from_mins(10),
        }
    }
}
