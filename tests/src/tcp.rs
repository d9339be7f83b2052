//! TCP connections with chosen ends, and what the kernel says of them; raw sockets that see frames as they come.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::namespace::Namespace;
use crate::wait;

/// What two hosts agreed on when they connected, as `ss` tells (its options with `-o` alone) of a socket's `TCP_INFO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Bytes of content in the segments it sends.
    pub mss: u32,
    /// Window scales of its peer and of its own (RFC 7323 §2).
    pub scales: Option<String>,
    /// Selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Timestamps (RFC 7323 §3).
    pub timestamps: bool,
}

impl Negotiated {
    /// Of the connection in `namespace` from `local` to `peer`; `None` if it is not established.
    pub fn of(namespace: &Namespace, local: SocketAddr, peer: SocketAddr) -> Result<Option<Self>> {
        let (local, peer) = (local.to_string(), peer.to_string());
        let output = namespace.run(|| {
            Command::new("ss")
                .args(["-tnioOH", "state", "established"])
                .args(["src", &local, "dst", &peer])
                .output()
        })??;
        ensure!(output.status.success(), "ss: {output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() {
            return Ok(None);
        }
        let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
        Ok(Some(Self {
            mss: value("mss:").context("no MSS")?.parse()?,
            scales: value("wscale:").map(str::to_owned),
            sack: words.contains(&"sack"),
            timestamps: words.contains(&"ts"),
        }))
    }
}

/// A TCP socket bound to `source`, whose port 0 is any. Must run inside the namespace that has the address.
pub fn socket(source: SocketAddr, protocol: Protocol) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(source), Type::STREAM, Some(protocol))?;
    socket.set_reuse_address(true)?;
    socket
        .bind(&source.into())
        .with_context(|| format!("binding {source}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Connects from `source` to `server`. Must run inside the namespace that has the source.
pub fn connect(source: SocketAddr, server: SocketAddr) -> Result<TcpStream> {
    let socket = socket(source, Protocol::TCP)?;
    socket
        .connect_timeout(&server.into(), PATIENCE)
        .with_context(|| format!("connecting {source} to {server}"))?;
    Ok(socket.into())
}

/// Whether the other end of `stream` answers: sends a byte and expects it back.
pub fn echoes(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"?")?;
    let mut answer = [0];
    stream.read_exact(&mut answer).context("no echo")?;
    ensure!(&answer == b"?");
    Ok(())
}

/// A server that sends back what it gets, one thread a connection, until dropped. What it gets after a `!` it does not send
/// back: it closes.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Listens at `address` in `namespace`.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let listener = namespace.run(|| TcpListener::bind(address))?;
        let listener = listener.with_context(|| format!("listening at {address}"))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::<AtomicBool>::default();
        let theirs = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        std::thread::spawn(|| serve(stream));
                    }
                    Err(_) => std::thread::sleep(STEP),
                }
            }
        });
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(mut stream: TcpStream) {
    // Linux gives accepted sockets no flags of the listener's, but be sure.
    let _ = stream.set_nonblocking(false);
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if buffer[..length].contains(&b'!') || stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only accepts.
            let _ = thread.join();
        }
    }
}

/// A packet socket that sees the frames of one VLAN, or those without a tag, as they come into a namespace.
#[derive(Debug)]
pub struct Tap(Socket);

impl Tap {
    /// Watches in `namespace` from now on: frames tagged with `vlan`, or untagged ones. Those that the namespace sends itself
    /// are seen, too.
    pub fn open(namespace: &Namespace, vlan: Option<u16>) -> Result<Self> {
        namespace.run(|| {
            let all = Protocol::from(i32::from(ETH_P_ALL.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all))?;
            // The kernel takes a tag off the frame and keeps it beside: a filter can ask for it.
            let present = SockFilter::new(LOAD_ABSOLUTE_WORD, 0, 0, VLAN_TAG_PRESENT);
            let tag = SockFilter::new(LOAD_ABSOLUTE_WORD, 0, 0, VLAN_TAG);
            let all = SockFilter::new(RETURN, 0, 0, u32::from(u16::MAX));
            let none = SockFilter::new(RETURN, 0, 0, 0);
            let filter = match vlan {
                None => vec![present, SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0), all, none],
                Some(id) => vec![
                    present,
                    SockFilter::new(JUMP_IF_EQUAL, 2, 0, 0),
                    tag,
                    SockFilter::new(JUMP_IF_EQUAL, 1, 0, u32::from(id)),
                    none,
                    all,
                ],
            };
            socket.attach_filter(&filter)?;
            socket.set_read_timeout(Some(STEP))?;
            Ok(Self(socket))
        })?
    }

    /// The next frame that `wanted` is true of, without its tag; `limit` is how long to wait for it.
    pub fn next(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let started = Instant::now();
        wait::within(limit, "a frame", || {
            let mut buffer = [0; 2048];
            loop {
                match (&self.0).read(&mut buffer) {
                    Ok(length) if wanted(&buffer[..length]) => {
                        return Ok(Some(buffer[..length].to_vec()));
                    }
                    Ok(_) if started.elapsed() < limit => {}
                    Ok(_) => return Ok(None),
                    Err(error) if is_timeout(&error) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
        })
    }
}

/// The ports, sequence and acknowledgement number and control bits of an untagged frame with TCP over IP without IP options.
pub fn tcp_of(frame: &[u8]) -> Option<Segment> {
    let ip = frame.get(14..)?;
    let (at, protocol, addresses) = match frame[12..14] {
        [0x08, 0x00] => (20, *ip.get(9)?, ipv4_of(ip)?),
        [0x86, 0xdd] => (40, *ip.get(6)?, ipv6_of(ip)?),
        _ => return None,
    };
    let tcp = ip.get(at..at + 20).filter(|_| protocol == 6)?;
    let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
    let half = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    Some(Segment {
        source: (addresses.0, half(0)).into(),
        destination: (addresses.1, half(2)).into(),
        sequence: word(4),
        acknowledgement: word(8),
        flags: tcp[13],
    })
}

/// A TCP segment's fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Control bits.
    pub flags: u8,
}

fn ipv4_of(ip: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let address = |at: usize| <[u8; 4]>::try_from(ip.get(at..at + 4)?).ok();
    Some((address(12)?.into(), address(16)?.into()))
}

fn ipv6_of(ip: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let address = |at: usize| <[u8; 16]>::try_from(ip.get(at..at + 16)?).ok();
    Some((address(8)?.into(), address(24)?.into()))
}

/// Whether nothing came in time.
pub fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Longest wait for a connection or an answer.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(5);
const ETH_P_ALL: u16 = 3;
/// Classic BPF (`linux/filter.h`): load a word from a fixed place, jump, return.
const LOAD_ABSOLUTE_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_VLAN_TAG` and `SKF_AD_VLAN_TAG_PRESENT`: places that are no places.
const VLAN_TAG: u32 = 0xffff_f000 + 44;
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;
