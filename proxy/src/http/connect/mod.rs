//! Opens connections to origin servers: name, TCP, TLS, and the protocol that both sides speak.

#[cfg(feature = "fuzzing")]
pub(super) mod fuzz;
mod proxy_protocol;
mod stream;

pub(super) use proxy_protocol::{Ends, announce_local};
pub(super) use stream::{HeadBudget, OriginStream, Transport};

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::fault::Fault;
use super::pool::{Joined, Lease, Open, Pool, Server, h1, h2};
use crate::balance::{Protocol, Scheme};
use crate::clock;
use crate::tls::{HandshakeFailure, Offer, OriginTls};

/// A server, and how it is to be reached for one request.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) server: &'a Server,
    /// Its upstream's, if any.
    pub(super) tls: Option<&'a OriginTls>,
    pub(super) speak: Speak,
    /// The client, if connections to the server carry its address.
    pub(super) client: Option<Ends>,
}

/// Which versions will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speak {
    /// What the upstream's `protocol` says.
    Any,
    /// HTTP/1.1, because the request is to be upgraded.
    Http1,
}

/// What will be spoken, as far as it is known before a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Http1,
    Http2,
    /// The server says in ALPN.
    Negotiate,
}

/// A connection to `target`, or a stream of one that has just been made, within the server's limits and
/// `timeouts.connect`. While a connection that can be shared is being made, others wait for it instead of making one each,
/// and fail with it if it fails.
pub(super) async fn connect(pool: &Rc<Pool>, target: Target<'_>) -> Result<Lease, Fault> {
    let timeout = target.server.upstream.settings.timeouts.connect;
    let deadline = clock::now() + timeout;
    let plan = plan(target)?;
    if plan == Plan::Http1 {
        return by(deadline, open(pool, target, plan)).await?;
    }
    loop {
        match pool.join(target.server, clock::now()) {
            Joined::Stream(lease) => return Ok(lease),
            Joined::Wait(dialed) => {
                if let Some(fault) = by(deadline, dialed.outcome()).await? {
                    return Err(fault);
                }
            }
            Joined::Dial(dialing) => {
                let outcome = by(deadline, open(pool, target, plan)).await.flatten();
                // At the limit others may still find a stream that has come free: they ask again.
                if let (Some(dialing), Err(fault)) = (dialing, &outcome)
                    && *fault != Fault::ConnectionLimitReached
                {
                    dialing.fail(*fault);
                }
                return outcome;
            }
        }
    }
}

async fn by<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, Fault> {
    tokio::time::timeout_at(deadline.into(), work)
        .await
        .map_err(|_elapsed| Fault::ConnectionTimeout)
}

fn plan(target: Target<'_>) -> Result<Plan, Fault> {
    let protocol = target.server.upstream.settings.transport.protocol;
    let scheme = target.server.origin().settings.scheme;
    if target.client.is_some() {
        return Ok(Plan::Http1);
    }
    match (protocol, target.speak) {
        (Protocol::Http1, _) | (Protocol::Auto, Speak::Http1) => Ok(Plan::Http1),
        (Protocol::H2 | Protocol::H2c, Speak::Http1) => Err(Fault::UpgradeUnsupported),
        (Protocol::H2 | Protocol::H2c, Speak::Any) => Ok(Plan::Http2),
        (Protocol::Auto, Speak::Any) => Ok(match scheme {
            Scheme::Http => Plan::Http1,
            Scheme::Https => Plan::Negotiate,
        }),
    }
}

/// A new connection.
async fn open(pool: &Rc<Pool>, target: Target<'_>, plan: Plan) -> Result<Lease, Fault> {
    let server = target.server;
    let open = pool.open(server).ok_or(Fault::ConnectionLimitReached)?;
    let mut stream = dial(server).await?;
    if let Some(client) = target.client {
        let version = server.upstream.settings.transport.send_proxy_protocol;
        proxy_protocol::announce(&mut stream, version, client)
            .await
            .map_err(|error| connect_fault(&error))?;
    }
    let (transport, negotiated) = match server.origin().settings.scheme {
        Scheme::Http => (Transport::Cleartext(stream), None),
        Scheme::Https => secure(stream, target, plan).await?,
    };
    let stream = OriginStream::new(transport);
    match (plan, negotiated) {
        (Plan::Http2, _) | (Plan::Negotiate, Some(Negotiated::Http2)) => {
            let shared = h2::handshake(stream, server, open).await?;
            Ok(pool.share(server, shared))
        }
        (Plan::Http1 | Plan::Negotiate, _) => {
            if plan == Plan::Negotiate {
                pool.speaks_http1(server);
            }
            handshake_http1(stream, pool, target, open).await
        }
    }
}

/// What the server chose in ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Negotiated {
    Http1,
    Http2,
}

async fn secure(
    stream: TcpStream,
    target: Target<'_>,
    plan: Plan,
) -> Result<(Transport, Option<Negotiated>), Fault> {
    let tls = target.tls.ok_or(Fault::ProxyInternalError)?;
    let offer = match plan {
        Plan::Http1 => Offer::Http1,
        Plan::Http2 => Offer::Http2,
        Plan::Negotiate => Offer::Either,
    };
    let settings = &target.server.origin().settings;
    let stream = tls
        .connect(&settings.host, offer, stream)
        .await
        .map_err(|error| {
            tracing::debug!(origin = target.server.origin().authority, %error, "TLS handshake failed");
            match HandshakeFailure::of(&error) {
                HandshakeFailure::Certificate => Fault::TlsCertificateError,
                HandshakeFailure::Alert => Fault::TlsAlertReceived,
                HandshakeFailure::Protocol => Fault::TlsProtocolError,
                HandshakeFailure::Closed => Fault::ConnectionRefused,
            }
        })?;
    let negotiated = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Negotiated::Http2,
        _ => Negotiated::Http1,
    };
    if plan == Plan::Http2 && negotiated != Negotiated::Http2 {
        // RFC 9113 §3.2: HTTP/2 over TLS is what ALPN says it is.
        return Err(Fault::TlsProtocolError);
    }
    Ok((Transport::Tls(Box::new(stream)), Some(negotiated)))
}

/// Tries the addresses that its name has, in turn, and begins with another each time.
async fn dial(server: &Server) -> Result<TcpStream, Fault> {
    let origin = server.origin();
    // Names are looked up elsewhere; only the first request after a reload may come too early.
    while !origin.is_looked_up() {
        tokio::time::sleep(LOOKUP_POLL).await;
    }
    let addresses = origin.addresses();
    let first = origin.connections.load(Ordering::Relaxed);
    let mut outcome = Err(Fault::DnsError);
    for number in 0..addresses.len() {
        let address = addresses[first.wrapping_add(number) % addresses.len()];
        outcome = dial_address(address).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn dial_address(address: SocketAddr) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        tracing::debug!(%address, %error, "connect failed");
        connect_fault(&error)
    })?;
    // Heads and small contents are written whole; waiting for acknowledgements only delays them.
    stream
        .set_nodelay(true)
        .map_err(|error| connect_fault(&error))?;
    Ok(stream)
}

async fn handshake_http1(
    stream: OriginStream,
    pool: &Rc<Pool>,
    target: Target<'_>,
    open: Open,
) -> Result<Lease, Fault> {
    let head = stream.head();
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(RESPONSE_FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_closed| Fault::ConnectionTerminated)?;
    let open = Rc::new(open);
    let held = Rc::clone(&open);
    let task = tokio::task::spawn_local(async move {
        // Counted until the socket is closed.
        let _open = held;
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "origin connection ended");
        }
    });
    let until = pool.retirement(target.server);
    let link = h1::Link::new(
        sender,
        task.abort_handle(),
        head,
        open,
        target.client,
        until,
    );
    Ok(pool.lease(link, target.server.clone()))
}

fn connect_fault(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::TimedOut => Fault::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Fault::DestinationIpUnroutable
        }
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            Fault::ConnectionRefused
        }
        // No descriptor, no local port, no memory, not permitted: no other server would fare better.
        _ => Fault::ProxyInternalError,
    }
}

const LOOKUP_POLL: Duration = Duration::from_millis(10);
/// Read buffer and so the largest response head, per connection.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Field lines in a response head; over it: 502.
const RESPONSE_FIELDS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_errors_have_names() {
        for (kind, fault) in [
            (io::ErrorKind::ConnectionRefused, Fault::ConnectionRefused),
            (io::ErrorKind::TimedOut, Fault::ConnectionTimeout),
            (
                io::ErrorKind::HostUnreachable,
                Fault::DestinationIpUnroutable,
            ),
            (io::ErrorKind::AddrNotAvailable, Fault::ProxyInternalError),
        ] {
            assert_eq!(connect_fault(&kind.into()), fault);
        }
    }
}
