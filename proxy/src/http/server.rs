//! From an accepted socket to an HTTP connection: TLS, choice of protocol, hyper, and the end of it.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::activity::{FIRST_REQUEST_GRACE, Http};
use super::connect::Ends;
use super::connection::{Connection, End, Opened, ServerName, drive};
use super::fields::{Certificate, Client, Scheme};
use super::pipeline::respond;
use super::protocol::{LocalExecutor, http1_builder, http2_builder};
use super::served;
use super::worker::{Worker, add};
use crate::clock;
use crate::detect::{Event, Offence};
use crate::net::{
    Announced, ClientStream, Cut, HttpVersions, ListenSettings, Permit, Refused, Socket, Transport,
    announced,
};
use crate::tls::{Acceptor, ClientOffer, Credentials, Identity};

/// One listener's settings, made ready for serving.
pub(super) struct Listener {
    pub(super) settings: Arc<ListenSettings>,
    http1: http1::Builder,
    http2: http2::Builder<LocalExecutor>,
    tls: Option<Acceptor>,
    /// Since when connections are no longer wanted under these settings.
    pub(super) retired: Rc<Cell<Option<Instant>>>,
}

impl Listener {
    /// `credentials` are for listeners that speak TLS.
    pub(super) fn new(
        settings: Arc<ListenSettings>,
        credentials: &Arc<ArcSwap<Credentials>>,
    ) -> Self {
        let tls = match settings.transport {
            Transport::Cleartext => None,
            Transport::Tls => Some(Acceptor::new(
                credentials,
                settings.tls.clone(),
                alpn(settings.http),
            )),
        };
        Self {
            http1: http1_builder(&settings),
            http2: http2_builder(&settings),
            tls,
            settings,
            retired: Rc::default(),
        }
    }

    /// Whether `peer` has to say first who is behind it.
    pub(super) fn is_announced(&self, peer: IpAddr) -> bool {
        self.settings.proxy_protocol_from.contains(peer)
    }

    /// Serves one accepted socket to its end.
    pub(super) async fn serve(
        &self,
        worker: Rc<Worker>,
        mut stream: TcpStream,
        peer: SocketAddr,
        mut permit: Permit,
    ) {
        // Without it a response's last small segment waits for the acknowledgement of the one before.
        let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else {
            return;
        };
        let handshake_ends = clock::now() + self.settings.limits.handshake_timeout;
        let mut source = peer.ip().to_canonical();
        if self.is_announced(source) {
            let reading = announced(&mut stream);
            match tokio::time::timeout_at(handshake_ends.into(), reading).await {
                Ok(Ok(Announced::Client(client))) => source = client,
                Ok(Ok(Announced::Nobody)) => {}
                Ok(Err(error)) => return unannounced(source, &error),
                Err(_) => return unannounced(source, &io::ErrorKind::TimedOut.into()),
            }
            if let Err(refused) = permit.claim(source, &self.settings.limits) {
                return worker.refused(source, refused);
            }
        }
        let ends = Ends {
            client: peer,
            weir: local,
        }
        .of(source);
        self.tell(&worker, source, &Event::Connection);
        match &self.tls {
            Some(tls) => {
                self.serve_tls(tls, worker, stream, ends, &permit, handshake_ends)
                    .await;
            }
            None => self.serve_cleartext(worker, stream, ends).await,
        }
    }

    async fn serve_tls(
        &self,
        tls: &Acceptor,
        worker: Rc<Worker>,
        stream: TcpStream,
        ends: Ends,
        permit: &Permit,
        handshake_ends: Instant,
    ) {
        let source = ends.source();
        let Some(under_way) = permit.handshake(&self.settings.limits) else {
            return worker.refused(source, Refused::HandshakesFull);
        };
        let outcome = self.handshake(tls, stream, handshake_ends).await;
        // What comes after it does not count.
        drop(under_way);
        let (stream, hello) = match outcome {
            Ok(agreed) => agreed,
            Err(failed) => {
                add(&worker.counters.handshakes_failed);
                self.tell(&worker, source, &Event::Offence(Offence::TlsFailure));
                if let Failed::Cleartext(stream) = failed {
                    add(&worker.counters.responses[3]);
                    refuse_cleartext(stream).await;
                }
                return;
            }
        };
        add(&worker.counters.handshakes);
        let connection = self.connection(worker, ends, Scheme::Https, hello);
        self.serve_http(stream, Bytes::new(), connection).await;
    }

    /// Tells detection what was done before there was a connection to speak of.
    fn tell(&self, worker: &Worker, source: IpAddr, event: &Event<'_>) {
        if !self.settings.is_hop(source) {
            worker.tell(source, event);
        }
    }

    async fn handshake(
        &self,
        tls: &Acceptor,
        stream: TcpStream,
        ends: Instant,
    ) -> Result<(TlsStream<TcpStream>, Hello), Failed> {
        let first = tokio::time::timeout_at(ends.into(), speaks_cleartext(&stream)).await;
        if let Ok(Ok(true)) = first {
            return Err(Failed::Cleartext(stream));
        }
        let offer = tls.current().ok_or(Failed::Otherwise)?;
        let handshake = offer.acceptor.accept(stream);
        let outcome = tokio::time::timeout_at(ends.into(), handshake).await;
        let Ok(Ok(stream)) = outcome else {
            return Err(Failed::Otherwise);
        };
        let hello = self.hello(tls, &offer, &stream).ok_or(Failed::Otherwise)?;
        Ok((stream, hello))
    }

    /// What was agreed on; `None` if the client's certificate is of no use.
    fn hello(
        &self,
        tls: &Acceptor,
        offer: &ClientOffer,
        stream: &TlsStream<TcpStream>,
    ) -> Option<Hello> {
        let session = stream.get_ref().1;
        let identity = match session.peer_certificates().and_then(<[_]>::first) {
            Some(leaf) => Some(Identity::of(leaf)?),
            None => None,
        };
        if identity
            .as_ref()
            .is_some_and(|identity| identity.is_expired(clock::wall()))
        {
            return None;
        }
        Some(Hello {
            http: match session.alpn_protocol() {
                Some(b"h2") => Http::Two,
                Some(_) => Http::One,
                None if self.settings.http.http1 => Http::One,
                None => Http::Two,
            },
            server_name: session.server_name().map(|name| ServerName {
                name: name.into(),
                served: tls.served(offer, Some(name)),
            }),
            certificate: identity.as_ref().map(Certificate::new),
        })
    }

    async fn serve_cleartext(&self, worker: Rc<Worker>, mut stream: TcpStream, ends: Ends) {
        let (http, read_ahead) = match self.settings.http {
            HttpVersions { http2: false, .. } => (Http::One, Bytes::new()),
            HttpVersions { http1: false, .. } => (Http::Two, Bytes::new()),
            _ => match self.sniff(&worker, &mut stream).await {
                Some(sniffed) => sniffed,
                None => return,
            },
        };
        let connection = self.connection(worker, ends, Scheme::Http, Hello::cleartext(http));
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
        ends: Ends,
        scheme: Scheme,
        hello: Hello,
    ) -> Rc<Connection> {
        let source = ends.source();
        let opened = Opened {
            source,
            client: Client::new(source, scheme).with_certificate(hello.certificate),
            ends,
            http: hello.http,
            server_name: hello.server_name,
            retired: Rc::clone(&self.retired),
        };
        Rc::new(Connection::new(worker, Arc::clone(&self.settings), opened))
    }

    async fn serve_http<S>(&self, stream: S, read_ahead: Bytes, connection: Rc<Connection>)
    where
        S: Socket,
    {
        let write_timeout = self.settings.limits.write_timeout;
        let stream = ClientStream::new(stream, read_ahead, Rc::clone(&connection), write_timeout);
        let io = TokioIo::new(stream);
        let respond = {
            let connection = Rc::clone(&connection);
            move |request| respond(Rc::clone(&connection), request)
        };
        let end = match connection.http() {
            Http::One => {
                let handover = connection.handover();
                let mut serving = self.http1.serve_connection(io, service_fn(respond));
                let end = drive(Pin::new(&mut serving), &connection).await;
                let parts = serving.into_parts();
                let stream = parts.io.into_inner();
                match handover.tunnel() {
                    Some(tunnel) if matches!(end, End::Done(Ok(()))) => {
                        tunnel.run(stream.rewound(parts.read_buf)).await;
                    }
                    _ => finish_http1(&end, stream, &connection).await,
                }
                end
            }
            Http::Two => {
                // Boxed: a stream passes through several hands before it is a task, and each would copy kilobytes.
                let service = service_fn(move |request| Box::pin(respond(request)));
                let mut serving = self.http2.serve_connection(io, service);
                let end = drive(Pin::new(&mut serving), &connection).await;
                if matches!(end, End::Unread | End::Flood(_)) {
                    connection.reset_on_close();
                }
                end
            }
        };
        note(&end, &connection);
    }
}

/// Why there is no TLS with a client.
enum Failed {
    /// It speaks HTTP without.
    Cleartext(TcpStream),
    /// Too slow, gone, or nothing both sides agree on.
    Otherwise,
}

/// What is known of a connection before its first request.
struct Hello {
    http: Http,
    server_name: Option<ServerName>,
    certificate: Option<Certificate>,
}

impl Hello {
    fn cleartext(http: Http) -> Self {
        Self {
            http,
            server_name: None,
            certificate: None,
        }
    }
}

/// What a listener offers in ALPN, best first. A client of HTTP/1.0 may offer that alone, and would have its handshake refused
/// (RFC 7301 §3.2).
fn alpn(versions: HttpVersions) -> Vec<Vec<u8>> {
    let offers = [
        (versions.http2, "h2"),
        (versions.http1, "http/1.1"),
        (versions.http1, "http/1.0"),
    ];
    let offered = offers.into_iter().filter(|(offered, _)| *offered);
    offered.map(|(_, name)| name.as_bytes().to_vec()).collect()
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

/// Whether a client begins with a request in cleartext: a record of TLS begins with its type, which is no letter (RFC 8446
/// §5.1). What it sent is still to be read.
async fn speaks_cleartext(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let read = stream.peek(&mut first).await?;
    Ok(read > 0 && first[0].is_ascii_alphabetic())
}

/// Whoever typed `http://` in front of this port learns why it fails. Best effort.
async fn refuse_cleartext(mut stream: TcpStream) {
    let refusal = tokio::time::timeout(REFUSAL_TIMEOUT, stream.write_all(HTTPS_ONLY)).await;
    if let Ok(Ok(())) = refusal {
        linger(stream).await;
    }
}

/// What hyper cannot say of an HTTP/1 connection's end.
async fn finish_http1<S: Socket>(
    end: &End,
    stream: ClientStream<S, Rc<Connection>>,
    connection: &Connection,
) {
    match end {
        // In the middle of the last response a refusal would be taken for a part of it.
        End::SlowHead if !stream.is_blocked() => {
            served::unread(connection, Some(StatusCode::REQUEST_TIMEOUT));
            refuse_slow_head(stream).await;
        }
        End::SlowHead => served::unread(connection, None),
        // A response broke off. To an HTTP/1.0 client the end of the connection is the end of the content (RFC 9112
        // §6.3), so that must not look like an orderly one.
        End::Done(Err(error)) if error.is_user() => stream.get_ref().reset_on_close(),
        End::Done(Err(error)) if error.is_parse() => linger(stream).await,
        End::Done(Ok(())) if connection.owes_content() => linger(stream).await,
        _ => {}
    }
}

/// Reads on for a while after an answer that came before the end of its request, because the kernel would reset the
/// connection over what is unread, and with it the answer (RFC 9112 §9.6).
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let reading = async {
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut unread).await {
                Ok(0) => break,
                Ok(bytes) => left = left.saturating_sub(bytes),
                // Said once, if nobody has read as far.
                Err(error) if Cut::is(&error) => {}
                Err(error) => return Err(error),
            }
        }
        io::Result::Ok(())
    };
    // Best effort; what is still missing then is the client's loss.
    let _ = tokio::time::timeout(LINGER, reading).await;
}

/// RFC 9110 §15.5.9. Best effort: a client this slow may not read it.
async fn refuse_slow_head<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let refusal = async {
        stream.write_all(REQUEST_TIMEOUT).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refusal).await;
}

/// A balancer's fault, not a client's: said aloud, as otherwise nobody would know why nothing works.
fn unannounced(peer: IpAddr, error: &io::Error) {
    tracing::warn!(%peer, %error, "connection closed: proxy_protocol_from lists this peer");
}

fn note(end: &End, connection: &Connection) {
    match end {
        End::Done(Ok(())) => {}
        End::Done(Err(error)) => {
            if error.is_parse() {
                served::unread(connection, answered_by_hyper(error));
            }
            if let Some(offence) = offence(error) {
                connection.offend(offence);
            }
            tracing::debug!(client = %connection.source, %error, "connection failed");
        }
        End::Flood(flood) => {
            connection.offend(Offence::ProtocolError);
            tracing::debug!(client = %connection.source, ?flood, "connection closed");
        }
        End::SlowHead | End::Overdue | End::Unread => {
            if !matches!(end, End::Overdue) {
                connection.offend(Offence::SlowRequest);
            }
            tracing::debug!(client = %connection.source, ?end, "connection closed");
        }
    }
}

/// What hyper told a client whose head it could not parse, if anything.
fn answered_by_hyper(error: &hyper::Error) -> Option<StatusCode> {
    if error.is_parse_version_h2() {
        return None;
    }
    match (error.is_parse_too_large(), error.to_string().as_str()) {
        (true, "URI too long") => Some(StatusCode::URI_TOO_LONG),
        (true, _) => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        (false, _) => Some(StatusCode::BAD_REQUEST),
    }
}

/// What a client did to have its connection end with `error`, if it was the client.
fn offence(error: &hyper::Error) -> Option<Offence> {
    if error.is_parse() {
        return Some(Offence::ProtocolError);
    }
    let cause = std::error::Error::source(error)?;
    let io = match cause.downcast_ref::<h2::Error>() {
        // Found by h2, not told by the client.
        Some(error) if error.is_library() && error.is_go_away() => {
            return Some(Offence::ProtocolError);
        }
        Some(error) => error.get_io(),
        None => cause.downcast_ref(),
    };
    // It left what was written unread for longer than `write_timeout`.
    (io?.kind() == io::ErrorKind::TimedOut).then_some(Offence::SlowRequest)
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const HTTPS_ONLY: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 39\r\n\r\nthis port speaks HTTPS, not plain HTTP\n";
/// How long, and for how much, a refused client is listened to.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 1 << 20;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
