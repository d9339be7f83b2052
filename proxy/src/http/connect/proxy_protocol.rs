//! The PROXY protocol towards origin servers: who is on whose behalf, in the first bytes of a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::balance::ProxyProtocol;

/// Both ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Ends {
    pub(in crate::http) client: SocketAddr,
    /// Where the client connected to.
    pub(in crate::http) weir: SocketAddr,
}

impl Ends {
    /// Those of `client`, if it is another one than the peer: on whose behalf that connects. Its port is not known.
    pub(in crate::http) fn of(self, client: IpAddr) -> Self {
        if client == self.source() {
            return self;
        }
        Self {
            client: SocketAddr::new(client, 0),
            ..self
        }
    }

    /// Address of the client, IPv4 as such.
    pub(in crate::http) fn source(self) -> IpAddr {
        self.client.ip().to_canonical()
    }
}

/// Says to a server that the connection is for a client with `ends`.
pub(super) async fn announce(
    stream: &mut TcpStream,
    version: ProxyProtocol,
    ends: Ends,
) -> io::Result<()> {
    stream.write_all(&header(version, ends)?).await
}

/// Says to a server that the connection is weir's own, for no client.
pub(in crate::http) async fn announce_local(
    stream: &mut TcpStream,
    version: ProxyProtocol,
) -> io::Result<()> {
    let header: &[u8] = match version {
        ProxyProtocol::Off => return Ok(()),
        ProxyProtocol::V1 => b"PROXY UNKNOWN\r\n",
        ProxyProtocol::V2 => LOCAL,
    };
    stream.write_all(header).await
}

pub(super) fn header(version: ProxyProtocol, ends: Ends) -> io::Result<Vec<u8>> {
    let addresses = one_family(ends);
    match version {
        ProxyProtocol::Off => Ok(Vec::new()),
        ProxyProtocol::V1 => Ok(v1::Addresses::from(addresses).to_string().into_bytes()),
        ProxyProtocol::V2 => {
            let command = v2::Version::Two | v2::Command::Proxy;
            v2::Builder::with_addresses(command, v2::Protocol::Stream, addresses).build()
        }
    }
}

/// The header has room for one family. A dual-stack socket has IPv4 clients as IPv6; only where the ends still differ, the
/// IPv4 one is written as IPv6 (RFC 4291 §2.5.5.2).
fn one_family(ends: Ends) -> (SocketAddr, SocketAddr) {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, weir) = (canonical(ends.client), canonical(ends.weir));
    if client.is_ipv4() == weir.is_ipv4() {
        return (client, weir);
    }
    (mapped(client), mapped(weir))
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Version 2: signature, command LOCAL, no family, no addresses.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, weir: &str) -> Ends {
        Ends {
            client: client.parse().expect("an address"),
            weir: weir.parse().expect("an address"),
        }
    }

    #[test]
    fn version_1_is_a_line_of_one_family() {
        for (client, weir, expected) in [
            (
                "192.0.2.1:1000",
                "198.51.100.1:443",
                "PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\r\n",
            ),
            (
                "[::ffff:192.0.2.1]:1000",
                "[::ffff:198.51.100.1]:443",
                "PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\r\n",
            ),
            (
                "[2001:db8::1]:1000",
                "[2001:db8::2]:443",
                "PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n",
            ),
            (
                "192.0.2.1:1000",
                "[2001:db8::2]:443",
                "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1000 443\r\n",
            ),
        ] {
            let header = header(ProxyProtocol::V1, ends(client, weir)).expect("fits");
            assert_eq!(String::from_utf8(header).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn version_2_has_signature_command_family_length_and_addresses() {
        let ends = ends("192.0.2.1:1000", "198.51.100.1:443");
        let header = header(ProxyProtocol::V2, ends).expect("fits");
        let expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\x03\xe8\x01\xbb";
        assert_eq!(header, expected);
    }

    #[test]
    fn version_2_of_ipv6_is_36_bytes_of_addresses() {
        let header = header(
            ProxyProtocol::V2,
            ends("[2001:db8::1]:1", "[2001:db8::2]:2"),
        );
        let header = header.expect("fits");
        assert_eq!(header[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(header.len(), 16 + 36);
    }
}
