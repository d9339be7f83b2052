//! Sockets in the test's network namespace, and what the host is to believe about them.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use weir_ebpf::host::{self, Connection};

use crate::rules::source;

/// Listeners, a connection of each IP version, and UDP sockets; closed when dropped.
pub(crate) struct Sockets {
    /// Listeners and UDP sockets.
    open: Vec<Socket>,
    clients: Vec<TcpStream>,
    script: host::Sockets,
}

impl Sockets {
    /// Opens listeners and UDP sockets on `port` of any address, and connects from each of `pairs`' first to its second.
    /// The calling thread is in a namespace of its own.
    pub(crate) fn open(port: u16, pairs: &[(SocketAddr, IpAddr)]) -> Self {
        ip(&["link", "set", "lo", "up"]);
        // Otherwise a listener makes no cookie before its queue is full.
        std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2").expect("a namespace's sysctl");
        let mut sockets = Self {
            open: Vec::new(),
            clients: Vec::new(),
            script: host::Sockets {
                listeners: [port].into(),
                udp: [port].into(),
                cookie: Some(0),
                ..host::Sockets::default()
            },
        };
        for any in ["0.0.0.0", "::"] {
            let any: IpAddr = any.parse().expect("an address");
            sockets
                .open
                .push(bound(SocketAddr::new(any, port), Type::DGRAM));
            let listener = bound(SocketAddr::new(any, port), Type::STREAM);
            listener.listen(16).expect("a bound socket listens");
            sockets.open.push(listener);
        }
        for &(client, server) in pairs {
            sockets.connect(client, SocketAddr::new(server, port));
        }
        sockets
    }

    /// What the kernel is expected to find, as long as this lives.
    pub(crate) fn script(&self) -> host::Sockets {
        assert_eq!(self.open.len(), 4);
        assert_eq!(self.clients.len() * 2, self.script.connections.len());
        self.script.clone()
    }

    fn connect(&mut self, client: SocketAddr, server: SocketAddr) {
        for address in [client.ip(), server.ip()] {
            let prefix = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
            ip(&["addr", "add", &prefix, "dev", "lo"]);
        }
        let socket = unbound(client, Type::STREAM);
        // The kernel makes an IPv6 address usable, and the route to it, a moment after it is added.
        weir_lab::until(Duration::from_secs(10), "an address", || {
            Ok(socket.bind(&client.into()).is_ok())
        })
        .expect("nobody else is in this namespace");
        weir_lab::until(Duration::from_secs(10), "a connection", || {
            Ok(socket.connect(&server.into()).is_ok())
        })
        .expect("a listener accepts");
        self.clients.push(socket.into());
        let end = |address: SocketAddr| (source(address.ip()).mapped(), address.port());
        for (source, destination) in [(client, server), (server, client)] {
            self.script.connections.insert(Connection {
                source: end(source),
                destination: end(destination),
            });
        }
    }
}

fn bound(address: SocketAddr, kind: Type) -> Socket {
    let socket = unbound(address, kind);
    socket
        .bind(&address.into())
        .expect("nobody else is in this namespace");
    socket
}

/// For an address of this family.
fn unbound(address: SocketAddr, kind: Type) -> Socket {
    let socket =
        Socket::new(Domain::for_address(address), kind, None).expect("the kernel makes a socket");
    if address.is_ipv6() {
        socket.set_only_v6(true).expect("an unbound IPv6 socket");
    }
    socket
}

/// Runs iproute2, or busybox where that is all there is, in the namespace of the calling thread.
fn ip(arguments: &[&str]) {
    let status = Command::new("ip")
        .args(arguments)
        .status()
        .or_else(|_| {
            Command::new("/bin/busybox")
                .arg("ip")
                .args(arguments)
                .status()
        })
        .expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments:?}: {status}");
}
