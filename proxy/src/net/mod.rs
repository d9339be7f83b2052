//! Sockets: listeners, connection limits, the client's byte stream. Knows nothing of HTTP semantics.

mod admission;
mod bind;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod listener;
mod networks;
mod proxy_protocol;
mod resolve;
mod stall;
mod stream;

pub use admission::{Admission, Handshake, Permit, Refused};
pub use bind::{Bound, bind};
pub use listener::Listener;
pub use networks::Networks;
pub(crate) use proxy_protocol::{Announced, announced};
pub use resolve::{Found, LookupError, Resolver, Service};
pub(crate) use stall::Stall;
pub(crate) use stream::{ClientStream, Cut, Observe, Socket};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// One `[[listen]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenSettings {
    /// Where to listen. `[::]` is dual-stack.
    pub address: SocketAddr,
    /// TLS or cleartext.
    pub transport: Transport,
    /// What a listener that speaks TLS makes of the certificates.
    pub tls: crate::tls::ListenerSettings,
    /// Who must begin each connection with a PROXY protocol header; from others it is no HTTP and no TLS. Default nobody.
    pub proxy_protocol_from: Networks,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed; of others they are replaced. Default nobody's.
    pub trust_forwarded_from: Networks,
    /// Protocols offered (ALPN on TLS, preface sniffing on cleartext).
    pub http: HttpVersions,
    /// `[limits]`, overridden by the listener's own.
    pub limits: ClientLimits,
}

impl ListenSettings {
    /// Whether `address` is a hop that is trusted to say who its clients are. What comes from itself is nobody's doing that
    /// may be blocked: that would shut all its clients out.
    pub(crate) fn is_hop(&self, address: IpAddr) -> bool {
        self.trust_forwarded_from.contains(address) || self.proxy_protocol_from.contains(address)
    }

    /// Whether `other` differs at most in limits.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let Self {
            address,
            transport,
            tls,
            proxy_protocol_from,
            trust_forwarded_from,
            http,
            limits: _,
        } = self;
        *address == other.address
            && *transport == other.transport
            && *tls == other.tls
            && *proxy_protocol_from == other.proxy_protocol_from
            && *trust_forwarded_from == other.trust_forwarded_from
            && *http == other.http
    }
}

/// Whether a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Cleartext.
    Cleartext,
    /// TLS 1.2 and 1.3.
    Tls,
}

/// HTTP versions a listener offers; at least one is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpVersions {
    /// HTTP/1.0 and 1.1.
    pub http1: bool,
    /// HTTP/2.
    pub http2: bool,
}

impl HttpVersions {
    /// As in `[[listen]] http`, `weir status` and the log.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.http1, "1.1"), (self.http2, "2")]
            .into_iter()
            .filter_map(|(offered, name)| offered.then_some(name))
    }
}

/// `[limits]`: what one client or all clients together may take. All finite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// TCP accept to end of the TLS handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// First byte to end of a request head, in total. Default 10 s.
    pub header_timeout: Duration,
    /// Longest time without progress of a request body. Default 30 s.
    pub body_timeout: Duration,
    /// Least rate of a request body in bytes per second, over the time that weir waits for it, after a grace of 5 s.
    /// Default 500; 0 = any.
    pub min_body_rate: u64,
    /// Longest time a client may leave a response unread. Default 30 s.
    pub write_timeout: Duration,
    /// Keep-alive, and h2 without streams. Default 60 s.
    pub idle_timeout: Duration,
    /// An upgraded connection (WebSocket and the like) over which nothing moves. Default 10 min.
    pub upgrade_idle_timeout: Duration,
    /// Largest request head, in bytes. Default 32 KiB; over it: 431 (RFC 6585 §5).
    pub header_bytes: usize,
    /// Most field lines in a request head. Default 100; over it: 431.
    pub header_fields: usize,
    /// Largest request content, in bytes. Default 100 MiB; over it: 413 (RFC 9110 §15.5.14).
    pub body_bytes: u64,
    /// Concurrent h2 streams per connection. Default 100.
    pub streams: u32,
    /// Open connections of the listener, over all workers. Default 10,000; over it the newest is closed.
    pub connections: usize,
    /// Open connections of one source (IPv4 /32, IPv6 /64) over all workers. Default 1,000.
    pub connections_per_source: usize,
    /// TLS handshakes under way on the listener, over all workers. Default 1,000; over it the newest is closed.
    pub handshakes: usize,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Limits as documented.
    pub(crate) fn limits() -> ClientLimits {
        ClientLimits {
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            min_body_rate: 500,
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(1),
            upgrade_idle_timeout: Duration::from_mins(10),
            header_bytes: 32 << 10,
            header_fields: 100,
            body_bytes: 100 << 20,
            streams: 100,
            connections: 10_000,
            connections_per_source: 1_000,
            handshakes: 1_000,
        }
    }
}
