//! The host's sockets, as a script says.

use std::collections::HashSet;

use crate::parse::Ip;
use crate::parse::tcp::Segment;

/// Who listens, and who is connected. Listeners and UDP sockets are bound to no address.
#[derive(Clone, Default, Debug)]
pub struct Sockets {
    /// TCP ports with a listener.
    pub listeners: HashSet<u16>,
    /// UDP ports with a socket.
    pub udp: HashSet<u16>,
    /// Connections, established or closing.
    pub connections: HashSet<Connection>,
    /// What listeners answer SYNs with; `None`: the kernel makes no cookies.
    pub cookie: Option<u32>,
    /// Sequence numbers of ACKs that complete a connection.
    pub completed: HashSet<u32>,
}

/// A connection, as the segments of its client show it; addresses [as mapped](weir_common::Source::mapped).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Connection {
    /// Source address and port.
    pub source: ([u64; 2], u16),
    /// Destination address and port.
    pub destination: ([u64; 2], u16),
}

impl Sockets {
    pub(super) fn is_connected(&self, ip: &Ip, segment: &Segment) -> bool {
        self.connections.contains(&Connection {
            source: (ip.source().mapped(), segment.source_port),
            destination: (ip.destination().mapped(), segment.destination_port),
        })
    }

    pub(super) fn is_for_listener(&self, ip: &Ip, segment: &Segment) -> bool {
        self.listeners.contains(&segment.destination_port) && !self.is_connected(ip, segment)
    }
}
