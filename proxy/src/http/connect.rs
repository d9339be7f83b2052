//! Opens connections to origin servers.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::fault::Fault;
use super::pool::{Lease, Link, Open, Pool, Server};

/// A new connection to `server`, within its limits and `timeouts.connect`.
pub(super) async fn connect(pool: &Rc<Pool>, server: &Server) -> Result<Lease, Fault> {
    let open = pool.open(server).ok_or(Fault::ConnectionLimitReached)?;
    let timeout = server.upstream.settings.timeouts.connect;
    let stream = tokio::time::timeout(timeout, dial(server))
        .await
        .map_err(|_elapsed| Fault::ConnectionTimeout)??;
    handshake(stream, pool, server, open).await
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

async fn handshake(
    stream: TcpStream,
    pool: &Rc<Pool>,
    server: &Server,
    open: Open,
) -> Result<Lease, Fault> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(RESPONSE_FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_closed| Fault::ConnectionTerminated)?;
    let task = tokio::task::spawn_local(async move {
        // Counted until the socket is closed.
        let _open = open;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "origin connection ended");
        }
    });
    let link = Link::new(sender, task.abort_handle());
    Ok(pool.lease(link, server.clone()))
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
