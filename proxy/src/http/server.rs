//! From an accepted socket to an HTTP connection: TLS, choice of protocol, hyper, and the end of it.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::activity::{FIRST_REQUEST_GRACE, Http};
use super::connection::{Connection, End, Serve, drive};
use super::fields::{Client, Scheme};
use super::pipeline::respond;
use super::worker::{Worker, add};
use crate::net::{ClientStream, HttpVersions, ListenSettings, Permit, Transport};

/// One listener's settings, made ready for serving.
pub(super) struct Listener {
    pub(super) settings: Arc<ListenSettings>,
    http1: http1::Builder,
    http2: http2::Builder<LocalExecutor>,
    tls: Option<Tls>,
}

/// TLS settings with this listener's protocols in ALPN, remade when the shared ones are replaced.
struct Tls {
    shared: Arc<ArcSwap<ServerConfig>>,
    own: RefCell<(Arc<ServerConfig>, TlsAcceptor)>,
    protocols: Vec<Vec<u8>>,
}

impl Listener {
    /// `tls` is needed by listeners that speak it.
    pub(super) fn new(
        settings: Arc<ListenSettings>,
        tls: Option<&Arc<ArcSwap<ServerConfig>>>,
    ) -> io::Result<Self> {
        let tls = match (settings.transport, tls) {
            (Transport::Cleartext, _) => None,
            (Transport::Tls, Some(shared)) => Some(Tls::new(shared, settings.http)),
            (Transport::Tls, None) => {
                let text = format!(
                    "{} speaks TLS but there is no certificate",
                    settings.address
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        Ok(Self {
            http1: http1_builder(&settings),
            http2: http2_builder(&settings),
            tls,
            settings,
        })
    }

    /// Serves one accepted socket to its end.
    pub(super) async fn serve(
        &self,
        worker: Rc<Worker>,
        stream: TcpStream,
        peer: SocketAddr,
        _permit: Permit,
    ) {
        // Without it a response's last small segment waits for the acknowledgement of the one before.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        match &self.tls {
            Some(tls) => self.serve_tls(tls, worker, stream, peer).await,
            None => self.serve_cleartext(worker, stream, peer).await,
        }
    }

    async fn serve_tls(&self, tls: &Tls, worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
        let handshake = tls.acceptor().accept(stream);
        let timeout = self.settings.limits.handshake_timeout;
        let Ok(Ok(stream)) = tokio::time::timeout(timeout, handshake).await else {
            add(&worker.counters.handshakes_failed);
            return;
        };
        add(&worker.counters.handshakes);
        let http = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Http::Two,
            Some(_) => Http::One,
            None if self.settings.http.http1 => Http::One,
            None => Http::Two,
        };
        let connection = self.connection(worker, peer, Scheme::Https, http);
        self.serve_http(stream, Bytes::new(), connection).await;
    }

    async fn serve_cleartext(&self, worker: Rc<Worker>, mut stream: TcpStream, peer: SocketAddr) {
        let (http, read_ahead) = match self.settings.http {
            HttpVersions { http2: false, .. } => (Http::One, Bytes::new()),
            HttpVersions { http1: false, .. } => (Http::Two, Bytes::new()),
            _ => match self.sniff(&worker, &mut stream).await {
                Some(sniffed) => sniffed,
                None => return,
            },
        };
        let connection = self.connection(worker, peer, Scheme::Http, http);
        self.serve_http(stream, read_ahead, connection).await;
    }

    /// Waits for the first bytes as an idle connection waits for its next request, and for the rest as for a head.
    async fn sniff(&self, worker: &Worker, stream: &mut TcpStream) -> Option<(Http, Bytes)> {
        let limits = &self.settings.limits;
        let mut read = BytesMut::with_capacity(PREFACE.len());
        let drained = async {
            worker.draining().await;
            tokio::time::sleep(FIRST_REQUEST_GRACE).await;
        };
        tokio::select! {
            biased;
            first = read_some(stream, &mut read) => first.ok()?,
            () = tokio::time::sleep(limits.idle_timeout) => return None,
            () = drained => return None,
        }
        let sniffed = tokio::time::timeout(limits.header_timeout, sniff(stream, read)).await;
        sniffed.ok()?.ok()
    }

    fn connection(
        &self,
        worker: Rc<Worker>,
        peer: SocketAddr,
        scheme: Scheme,
        http: Http,
    ) -> Rc<Connection> {
        let source = peer.ip().to_canonical();
        Rc::new(Connection::new(
            worker,
            Arc::clone(&self.settings),
            Client::new(source, scheme),
            source,
            http,
        ))
    }

    async fn serve_http<S>(&self, stream: S, read_ahead: Bytes, connection: Rc<Connection>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let write_timeout = self.settings.limits.write_timeout;
        let stream = ClientStream::new(stream, read_ahead, Rc::clone(&connection), write_timeout);
        let io = TokioIo::new(stream);
        let service = {
            let connection = Rc::clone(&connection);
            service_fn(move |request| respond(Rc::clone(&connection), request))
        };
        let end = match connection.http() {
            Http::One => {
                let mut serving = self.http1.serve_connection(io, service);
                let end = drive(Pin::new(&mut serving), &connection).await;
                if matches!(end, End::SlowHead) {
                    let stream = serving.into_parts().io.into_inner();
                    // In the middle of the last response it would be taken for a part of it.
                    if !stream.is_blocked() {
                        refuse_slow_head(stream).await;
                    }
                }
                end
            }
            Http::Two => {
                let mut serving = self.http2.serve_connection(io, service);
                drive(Pin::new(&mut serving), &connection).await
            }
        };
        note(&end, &connection);
    }
}

impl Tls {
    fn new(shared: &Arc<ArcSwap<ServerConfig>>, versions: HttpVersions) -> Self {
        let mut protocols = Vec::new();
        if versions.http2 {
            protocols.push(b"h2".to_vec());
        }
        if versions.http1 {
            protocols.push(b"http/1.1".to_vec());
        }
        let config = shared.load_full();
        let acceptor = acceptor(&config, &protocols);
        Self {
            shared: Arc::clone(shared),
            own: RefCell::new((config, acceptor)),
            protocols,
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let shared = self.shared.load();
        let mut own = self.own.borrow_mut();
        if !Arc::ptr_eq(&shared, &own.0) {
            *own = (Arc::clone(&shared), acceptor(&shared, &self.protocols));
        }
        own.1.clone()
    }
}

fn acceptor(config: &ServerConfig, protocols: &[Vec<u8>]) -> TlsAcceptor {
    let mut config = config.clone();
    config.alpn_protocols = protocols.to_vec();
    TlsAcceptor::from(Arc::new(config))
}

fn http1_builder(settings: &ListenSettings) -> http1::Builder {
    let limits = &settings.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // `Connection` keeps the deadlines of heads: hyper's would run while idle, too.
        .header_read_timeout(None)
        .max_headers(limits.header_fields)
        .max_header_size(limits.header_bytes)
        // hyper reads a head and content through one buffer; it must hold the largest head.
        .max_buf_size(BUFFER_BYTES_MAX.max(limits.header_bytes + 1));
    builder
}

fn http2_builder(settings: &ListenSettings) -> http2::Builder<LocalExecutor> {
    let limits = &settings.limits;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX);
    builder
}

/// Tells HTTP/2 with prior knowledge (RFC 9113 §3.3) from HTTP/1 by the first bytes, which are handed on.
async fn sniff(stream: &mut TcpStream, mut read: BytesMut) -> io::Result<(Http, Bytes)> {
    while PREFACE.starts_with(&read) {
        if read.len() == PREFACE.len() {
            return Ok((Http::Two, read.freeze()));
        }
        read_some(stream, &mut read).await?;
    }
    Ok((Http::One, read.freeze()))
}

/// Reads at least one byte and no more than the preface has.
async fn read_some(stream: &mut TcpStream, read: &mut BytesMut) -> io::Result<()> {
    let mut limited = stream.take((PREFACE.len() - read.len()) as u64);
    match limited.read_buf(read).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// RFC 9110 §15.5.9. Best effort: a client this slow may not read it.
async fn refuse_slow_head<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let refusal = async {
        stream.write_all(REQUEST_TIMEOUT).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refusal).await;
}

fn note(end: &End, connection: &Connection) {
    match end {
        End::Done(Ok(())) => {}
        End::Done(Err(error)) => {
            // hyper answered a head that it could not parse: 400, 414 or 431.
            if error.is_parse() {
                connection.worker.counters.responses[3].fetch_add(1, Ordering::Relaxed);
            }
            tracing::debug!(client = %connection.source, %error, "connection failed");
        }
        End::SlowHead | End::Overdue => {
            tracing::debug!(client = %connection.source, ?end, "connection closed");
        }
    }
}

impl<I, S, B> Serve for http1::Connection<I, S>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl<I, S, B> Serve for http2::Connection<I, S, LocalExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    LocalExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// Runs a connection's streams beside it, on the worker's thread. A panic in one ends that one.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Per HTTP/1 connection and direction.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Request content in flight per stream: what one stream can make a worker hold.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// And per connection.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Response content queued per stream beyond the client's window.
const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Streams that were reset before they were looked at; over it the connection is closed (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 20;
/// Finds dead clients while requests are in flight; idle ones are closed by their own deadline.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
