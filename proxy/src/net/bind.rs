//! Listening sockets: one per worker and address, so that the kernel spreads connections over the workers.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::ListenSettings;

/// A socket that has its address and gets no connections yet: a start that fails after this has taken none away from
/// whoever else serves the address.
#[derive(Debug)]
pub struct Bound(Socket);

impl Bound {
    /// Lets connections in.
    pub fn listen(self) -> io::Result<TcpListener> {
        self.0.listen(BACKLOG)?;
        Ok(self.0.into())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.0.local_addr()?.as_socket();
        address.ok_or_else(|| io::Error::other("invariant: bound to an internet address"))
    }
}

/// Binds `settings.address` once per worker with `SO_REUSEPORT` (and, for `[::]`, dual-stack), so that the kernel
/// spreads connections. Port 0 is chosen once and shared by all. Errors name the address.
pub fn bind(settings: &ListenSettings, workers: usize) -> io::Result<Vec<Bound>> {
    let mut address = settings.address;
    (0..workers)
        .map(|_| {
            let bound = bind_one(address).map_err(|error| named(address, &error))?;
            address = bound.local_addr()?;
            Ok(bound)
        })
        .collect()
}

fn bind_one(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    Ok(Bound(socket))
}

fn named(address: SocketAddr, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there",
        io::ErrorKind::AddrNotAvailable => "; no interface of this host has that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "",
    };
    io::Error::new(
        error.kind(),
        format!("cannot listen on {address}: {error}{hint}"),
    )
}

/// Connections the kernel holds for one socket until they are accepted; capped by `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn all_workers_share_the_port_that_the_kernel_chose() {
        let address = "127.0.0.1:0".parse().unwrap();
        let first = bind_one(address).unwrap().listen().unwrap();
        let second = bind_one(first.local_addr().unwrap()).unwrap();
        let second = second.listen().unwrap();
        assert_eq!(first.local_addr().unwrap(), second.local_addr().unwrap());
    }

    #[test]
    fn a_bound_socket_refuses_connections_until_it_listens() {
        let bound = bind_one("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.local_addr().unwrap();
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = bound.listen().unwrap();
        std::net::TcpStream::connect(address).unwrap();
    }

    #[test]
    fn the_error_names_the_address() {
        let error = bind_one("192.0.2.1:1".parse().unwrap()).unwrap_err();
        let text = named("192.0.2.1:1".parse().unwrap(), &error).to_string();
        assert!(text.contains("192.0.2.1:1"), "{text}");
    }
}
