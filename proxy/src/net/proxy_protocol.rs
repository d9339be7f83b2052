//! PROXY protocol, versions 1 and 2: who is behind a balancer that passes TCP on. Read in full before anything else, and
//! never a byte more. The formats are the crate's to parse; how much is read and how long it may be is decided here.

use std::io;
use std::net::IpAddr;

use ppp::{v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    /// The connection is this client's.
    Client(IpAddr),
    /// The balancer's own connection (a health check), or a client without an internet address: the peer stays who it is.
    Nobody,
}

/// What came is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY protocol header where one is required")]
pub(crate) struct NoHeader;

/// Reads the header in front of everything else; `stream` is then where the client's own bytes begin. Takes as long as
/// the peer does: give it a deadline.
pub(crate) async fn announced(stream: &mut TcpStream) -> io::Result<Announced> {
    let mut seen = Vec::with_capacity(V1_BYTES_MAX);
    loop {
        let known = seen.len();
        // Looked at first, because what follows the header is not ours to take.
        seen.resize(bytes_max(&seen), 0);
        let more = stream.peek(&mut seen[known..]).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.truncate(known + more);
        let length = length(&seen).map_err(invalid)?;
        let take = length.map_or(seen.len(), |length| length.min(seen.len()));
        stream.read_exact(&mut seen[known..take]).await?;
        seen.truncate(take);
        if length == Some(seen.len()) {
            return parse(&seen).map_err(invalid);
        }
    }
}

fn invalid(error: NoHeader) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// How much of the stream may be looked at, after `seen`.
pub(super) fn bytes_max(seen: &[u8]) -> usize {
    if seen.starts_with(v2::PROTOCOL_PREFIX) {
        V2_BYTES_MAX
    } else {
        V1_BYTES_MAX
    }
}

/// Length of the header that `seen` begins with; `None` while that cannot be said.
pub(super) fn length(seen: &[u8]) -> Result<Option<usize>, NoHeader> {
    let begins = |prefix: &[u8]| {
        let common = prefix.len().min(seen.len());
        seen[..common] == prefix[..common]
    };
    if begins(v2::PROTOCOL_PREFIX) {
        let Some(size) = seen.get(V2_LENGTH_AT..V2_HEAD_BYTES) else {
            return Ok(None);
        };
        let length = V2_HEAD_BYTES + usize::from(size[0]) * 256 + usize::from(size[1]);
        return (length <= V2_BYTES_MAX)
            .then_some(Some(length))
            .ok_or(NoHeader);
    }
    if begins(v1::PROTOCOL_PREFIX.as_bytes()) {
        let line = &seen[..seen.len().min(V1_BYTES_MAX)];
        return match line.iter().position(|byte| *byte == b'\n') {
            Some(end) => Ok(Some(end + 1)),
            None if line.len() == V1_BYTES_MAX => Err(NoHeader),
            None => Ok(None),
        };
    }
    Err(NoHeader)
}

/// A whole header.
pub(super) fn parse(header: &[u8]) -> Result<Announced, NoHeader> {
    if header.starts_with(v2::PROTOCOL_PREFIX) {
        let header = v2::Header::try_from(header).map_err(|_malformed| NoHeader)?;
        return match (header.command, header.protocol) {
            (v2::Command::Local, _) => Ok(Announced::Nobody),
            (v2::Command::Proxy, v2::Protocol::Datagram) => Err(NoHeader),
            (v2::Command::Proxy, _) => Ok(match header.addresses {
                v2::Addresses::IPv4(addresses) => client(addresses.source_address.into()),
                v2::Addresses::IPv6(addresses) => client(addresses.source_address.into()),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => Announced::Nobody,
            }),
        };
    }
    let header = v1::Header::try_from(header).map_err(|_malformed| NoHeader)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(addresses) => client(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => client(addresses.source_address.into()),
        v1::Addresses::Unknown => Announced::Nobody,
    })
}

fn client(address: IpAddr) -> Announced {
    Announced::Client(address.to_canonical())
}

/// The longest header of version 1, as its specification has it.
const V1_BYTES_MAX: usize = 107;
/// Room for TLVs; one could claim 64 KiB.
const V2_BYTES_MAX: usize = 4096;
/// Signature, version and command, family and protocol, length.
const V2_HEAD_BYTES: usize = 16;
const V2_LENGTH_AT: usize = 14;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, content].concat()
    }

    /// What `bytes` and `REST` announce, sent at once and byte by byte, and that the rest is still there.
    fn read(bytes: &[u8]) -> io::Result<Announced> {
        const REST: &[u8] = b"PROXY rest";
        let read_in = |parts: Vec<Vec<u8>>| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let sender = std::thread::spawn(move || {
                    use std::io::Write as _;
                    let mut stream = std::net::TcpStream::connect(address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    for part in parts {
                        // Refused by now, perhaps.
                        let _ = stream.write_all(&part);
                    }
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                });
                let (mut stream, _) = listener.accept().await.unwrap();
                let outcome = announced(&mut stream).await;
                if outcome.is_ok() {
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).await.unwrap();
                    assert_eq!(rest, REST);
                }
                sender.join().unwrap();
                outcome
            })
        };
        let whole = [bytes, REST].concat();
        let split = read_in(whole.iter().map(|byte| vec![*byte]).collect());
        let at_once = read_in(vec![whole]);
        assert_eq!(split.as_ref().ok(), at_once.as_ref().ok());
        at_once
    }

    #[test]
    fn headers_of_both_versions_name_the_client() {
        let v4: &[u8] = &[198, 18, 0, 1, 192, 0, 2, 1, 0x30, 0x39, 1, 187];
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        let mut mapped = [0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 198, 18, 0, 1]);
        for (header, client) in [
            (
                b"PROXY TCP4 198.18.0.1 192.0.2.1 12345 443\r\n".to_vec(),
                "198.18.0.1",
            ),
            (
                b"PROXY TCP6 2001:db8:: 2001:db8::1 1 443\r\n".to_vec(),
                "2001:db8::",
            ),
            (
                b"PROXY TCP6 ::ffff:198.18.0.1 2001:db8::1 1 443\r\n".to_vec(),
                "198.18.0.1",
            ),
            (v2(0x21, 0x11, v4), "198.18.0.1"),
            (
                v2(0x21, 0x11, &[v4, &[4, 0, 200], &[0; 200]].concat()),
                "198.18.0.1",
            ),
            (v2(0x21, 0x21, &v6), "2001:db8::"),
            (v2(0x21, 0x21, &mapped), "198.18.0.1"),
        ] {
            let announced = read(&header).unwrap();
            assert_eq!(
                announced,
                Announced::Client(client.parse().unwrap()),
                "{header:?}"
            );
        }
    }

    #[test]
    fn local_and_unknown_headers_name_nobody() {
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            v2(0x20, 0x00, &[]),
            v2(0x20, 0x11, &[198, 18, 0, 1, 192, 0, 2, 1, 0, 1, 0, 2]),
            v2(0x21, 0x00, &[]),
            v2(0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(read(&header).unwrap(), Announced::Nobody, "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROX\r\n",
            b"PROXY TCP4 198.18.0.1 192.0.2.1 12345\r\n",
            b"PROXY TCP4 198.18.0.256 192.0.2.1 1 443\r\n",
            b"PROXY TCP4 2001:db8::1 192.0.2.1 1 443\r\n",
            b"PROXY TCP4 198.18.0.1 192.0.2.1 65536 443\r\n",
            b"PROXY TCP4 198.18.0.1 192.0.2.1 1 443\n",
            b"PROXY  TCP4 198.18.0.1 192.0.2.1 1 443\r\n",
            b"proxy TCP4 198.18.0.1 192.0.2.1 1 443\r\n",
            long.as_bytes(),
            &v2(0x11, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x12, &[0; 12]),
            &v2(0x21, 0x41, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x11, &[0; V2_BYTES_MAX]),
            b"\r\n\r\n\0\r\nQUIX",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
