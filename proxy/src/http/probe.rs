//! One health check of an origin server: over a connection of its own, so that it says whether new ones can be made, and
//! spoken as requests are: with the upstream's TLS, protocol and PROXY header.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Site;
use super::connect::{OriginStream, Transport, announce_local};
use crate::balance::{
    HealthSettings, OriginServer, ProbeKind, Protocol, ProxyProtocol, Scheme, Upstream,
    UpstreamTransport,
};
use crate::tls::{HandshakeFailure, Offer, OriginTls};

/// Why a check failed, in words for the operator; they do not name the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The name has no addresses.
    #[error("name not found")]
    NotFound,
    /// No connection.
    #[error("{0}")]
    Connect(&'static str),
    /// A connection, but no TLS over it.
    #[error("{0}")]
    Tls(&'static str),
    /// Not done within `health.timeout`.
    #[error("timed out")]
    TimedOut,
    /// A connection, but no response.
    #[error("no valid response")]
    Invalid,
    /// A response with a status that is none of `health.expect`.
    #[error("status {0}")]
    Status(u16),
    /// weir has no descriptor or memory for the connection, which says nothing of the server.
    #[error("no descriptor or memory for a connection")]
    Starved,
}

/// How the servers of an upstream are spoken with.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    transport: UpstreamTransport,
    tls: Option<&'a OriginTls>,
}

impl<'a> Way<'a> {
    /// As `site` has it; `None` if it no longer has `upstream`.
    pub fn of(site: &'a Site, upstream: &Arc<Upstream>) -> Option<Self> {
        let mut upstreams = site.upstreams.iter();
        let index = upstreams.position(|one| Arc::ptr_eq(one, upstream))?;
        Some(Self {
            transport: upstream.settings.transport,
            tls: site.origin_tls[index].as_deref(),
        })
    }
}

/// Checks `server`. Runs in a `LocalSet`.
pub async fn probe(
    server: &OriginServer,
    way: Way<'_>,
    settings: &HealthSettings,
) -> Result<(), Failed> {
    let check = async {
        let mut stream = connect(server).await?;
        announce_local(&mut stream, way.transport.send_proxy_protocol)
            .await
            .map_err(|error| Failed::Connect(in_words(error.kind())))?;
        match &settings.probe {
            ProbeKind::Tcp => Ok(()),
            ProbeKind::Http { path, host, expect } => {
                let host = host.as_deref().unwrap_or(&server.authority);
                let (stream, version) = secure(stream, server, way).await?;
                let status = match version {
                    Version::Http1 => ask_http1(stream, path, host).await?,
                    Version::Http2 => ask_http2(stream, server.settings.scheme, path, host).await?,
                };
                if expect.accepts(status) {
                    Ok(())
                } else {
                    Err(Failed::Status(status))
                }
            }
        }
    };
    tokio::time::timeout(settings.timeout, check)
        .await
        .unwrap_or(Err(Failed::TimedOut))
}

async fn connect(server: &OriginServer) -> Result<TcpStream, Failed> {
    let mut outcome = Err(Failed::NotFound);
    for address in server.addresses().iter() {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if is_ours(&error) => return Err(Failed::Starved),
            Err(error) => outcome = Err(Failed::Connect(in_words(error.kind()))),
        }
    }
    outcome
}

/// Whether this process or host lacks what a connection needs.
fn is_ours(error: &io::Error) -> bool {
    let ours = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    let code = error.raw_os_error();
    code.is_some_and(|code| ours.contains(&Errno::from_raw(code)))
}

/// What is spoken over a connection.
enum Version {
    Http1,
    Http2,
}

/// TLS if the server has it, and the version that requests to it would have.
async fn secure(
    stream: TcpStream,
    server: &OriginServer,
    way: Way<'_>,
) -> Result<(OriginStream, Version), Failed> {
    let UpstreamTransport {
        protocol,
        send_proxy_protocol,
    } = way.transport;
    let offer = match (protocol, send_proxy_protocol) {
        (Protocol::Auto, ProxyProtocol::Off) => Offer::Either,
        (Protocol::Auto | Protocol::Http1, _) => Offer::Http1,
        (Protocol::H2 | Protocol::H2c, _) => Offer::Http2,
    };
    if server.settings.scheme == Scheme::Http {
        let version = match offer {
            Offer::Http1 | Offer::Either => Version::Http1,
            Offer::Http2 => Version::Http2,
        };
        let stream = OriginStream::new(Transport::Cleartext(stream));
        return Ok((stream, version));
    }
    let tls = way.tls.ok_or(Failed::Tls("no TLS settings"))?;
    let stream = tls
        .connect(&server.settings.host, offer, stream)
        .await
        .map_err(|error| tls_failed(server, &error))?;
    let version = match (stream.get_ref().1.alpn_protocol(), offer) {
        (Some(b"h2"), _) => Version::Http2,
        (_, Offer::Http1 | Offer::Either) => Version::Http1,
        // RFC 9113 §3.2: HTTP/2 over TLS is what ALPN says it is.
        (_, Offer::Http2) => return Err(Failed::Tls("no HTTP/2 in ALPN")),
    };
    let stream = OriginStream::new(Transport::Tls(Box::new(stream)));
    Ok((stream, version))
}

fn tls_failed(server: &OriginServer, error: &io::Error) -> Failed {
    tracing::debug!(origin = server.authority, %error, "TLS handshake failed");
    Failed::Tls(match HandshakeFailure::of(error) {
        HandshakeFailure::Certificate => "certificate not trusted",
        HandshakeFailure::Alert => "TLS refused",
        HandshakeFailure::Protocol => "no valid TLS",
        HandshakeFailure::Closed => "closed during TLS handshake",
    })
}

/// The status of the response.
async fn ask_http1(stream: OriginStream, path: &str, host: &str) -> Result<u16, Failed> {
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, HeaderValue::from_static("close"))
        .body(Empty::<Bytes>::new())
        .map_err(|_invalid| Failed::Invalid)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_closed| Failed::Invalid)?;
    status(sender.send_request(request), connection).await
}

/// The same. RFC 9113 §8.3.1: `:authority` says what `Host` would.
async fn ask_http2(
    stream: OriginStream,
    scheme: Scheme,
    path: &str,
    host: &str,
) -> Result<u16, Failed> {
    let uri = Uri::builder()
        .scheme(match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
        .authority(host)
        .path_and_query(path)
        .build()
        .map_err(|_invalid| Failed::Invalid)?;
    let request = Request::get(uri)
        .header(USER_AGENT, AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(|_invalid| Failed::Invalid)?;
    let tasks = Rc::new(RefCell::new(JoinSet::new()));
    let (mut sender, connection) = http2::Builder::new(Tasks(Rc::downgrade(&tasks)))
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_closed| Failed::Invalid)?;
    status(sender.send_request(request), connection).await
}

/// Of the response that comes over `connection`, which may end with it in hand.
async fn status<C: Future>(
    response: impl Future<Output = hyper::Result<Response<Incoming>>>,
    connection: C,
) -> Result<u16, Failed> {
    let mut response = std::pin::pin!(response);
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        _ = connection => response.await,
    };
    let response = response.map_err(|_lost| Failed::Invalid)?;
    Ok(response.status().as_u16())
}

/// Runs what hyper wants run for one check. Weak, because the tasks hold it: with the check they end, and the connection
/// with them.
#[derive(Clone)]
struct Tasks(Weak<RefCell<JoinSet<()>>>);

impl<F: Future + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks.borrow_mut().spawn_local(async move {
                future.await;
            });
        }
    }
}

fn in_words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        ErrorKind::TimedOut => "timed out",
        _ => "cannot connect",
    }
}

const AGENT: HeaderValue = HeaderValue::from_static("weir health check");
/// Largest response head.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::balance::{Expect, Secret, ServerSettings, UpstreamSettings};
    use crate::clock;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Checks a server on `port`; `None` = nobody answers there.
    fn check(port: u16, probe_kind: ProbeKind, timeout: Duration) -> Result<(), Failed> {
        let servers = vec![ServerSettings {
            scheme: Scheme::Http,
            host: "127.0.0.1".into(),
            port,
            weight: 1,
        }];
        let settings = UpstreamSettings::new("app", servers);
        let upstream = Upstream::new(settings, Secret::new([7; 16]), clock::now());
        let health = HealthSettings {
            probe: probe_kind,
            timeout,
            ..HealthSettings::default()
        };
        let way = Way {
            transport: upstream.settings.transport,
            tls: None,
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(probe(&upstream.servers[0], way, &health))
    }

    fn http() -> ProbeKind {
        ProbeKind::Http {
            path: "/healthz".into(),
            host: Some("app.internal".into()),
            expect: Expect::default(),
        }
    }

    /// A server that answers one connection with `response`; what it was asked comes back.
    fn answering(response: &'static str) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (port, thread)
    }

    #[test]
    fn the_status_decides() {
        for (response, outcome) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Ok(())),
            ("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", Ok(())),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Err(Failed::Status(404))),
            ("HTTP/1.1 503 Busy\r\n\r\n", Err(Failed::Status(503))),
            ("SSH-2.0-x\r\n\r\n", Err(Failed::Invalid)),
            ("", Err(Failed::Invalid)),
        ] {
            let (port, thread) = answering(response);
            assert_eq!(check(port, http(), PATIENCE), outcome, "{response:?}");
            let request = thread.join().unwrap().to_ascii_lowercase();
            assert!(
                request.starts_with("get /healthz http/1.1\r\n"),
                "{request}"
            );
            assert!(request.contains("host: app.internal\r\n"), "{request}");
        }
    }

    #[test]
    fn a_connection_is_enough_without_a_path_and_a_refusal_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(check(port, ProbeKind::Tcp, PATIENCE), Ok(()));
        drop(listener);
        let refused = Err(Failed::Connect("connection refused"));
        assert_eq!(check(port, ProbeKind::Tcp, PATIENCE), refused);
    }

    #[test]
    fn what_this_host_lacks_is_no_failure_of_a_server() {
        for (errno, ours) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::ENOBUFS, true),
            (Errno::ENOMEM, true),
            (Errno::ECONNREFUSED, false),
            (Errno::ENETUNREACH, false),
            (Errno::ETIMEDOUT, false),
        ] {
            assert_eq!(is_ours(&io::Error::from(errno)), ours, "{errno}");
        }
        assert!(!is_ours(&ErrorKind::TimedOut.into()));
    }

    #[test]
    fn a_server_that_says_nothing_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let outcome = check(port, http(), Duration::from_millis(50));
        assert_eq!(outcome, Err(Failed::TimedOut));
    }
}
