//! The header of the PROXY protocol that weir writes, for whoever reads it back.

use std::net::SocketAddr;

use super::Ends;
use super::proxy_protocol::header;
use crate::balance::ProxyProtocol;

/// What an origin is told of a connection, in versions 1 and 2.
pub fn announced(client: SocketAddr, weir: SocketAddr) -> [Vec<u8>; 2] {
    [ProxyProtocol::V1, ProxyProtocol::V2].map(|version| {
        let ends = Ends { client, weir };
        header(version, ends).expect("every pair of addresses has a header")
    })
}
