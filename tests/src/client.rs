//! An HTTPS client with a chosen source address, speaking exactly one HTTP version (by ALPN).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Request, Response, Version, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::pki::{Pki, SERVER_NAME};

/// HTTP version of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Who asks, whom, and how.
#[derive(Clone)]
pub struct Client {
    source: IpAddr,
    server: SocketAddr,
    protocol: Protocol,
    tls: TlsConnector,
    patience: Duration,
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Field lines.
    pub fields: HeaderMap,
    /// Content.
    pub content: Bytes,
    /// From sending the request to the end of the content.
    pub latency: Duration,
    /// Version the response came in.
    pub version: Version,
}

impl Answer {
    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// Which origin made the content: its first word.
    pub fn origin(&self) -> String {
        let text = self.text();
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    /// All lines of the field `name`, joined as RFC 9110 §5.3 says; empty if there is none.
    pub fn field(&self, name: &str) -> String {
        let lines: Vec<_> = self
            .fields
            .get_all(name)
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        lines.join(", ")
    }

    /// Whether weir answered from its store (RFC 9211 §2.1).
    pub fn is_hit(&self) -> bool {
        let status = self.field("cache-status");
        status.split(';').any(|parameter| parameter.trim() == "hit")
    }
}

impl Client {
    /// A client at `source` that will ask `server`.
    pub fn new(pki: &Pki, source: IpAddr, server: SocketAddr, protocol: Protocol) -> Result<Self> {
        Ok(Self {
            source,
            server,
            protocol,
            tls: TlsConnector::from(Arc::clone(&pki.client_config(protocol.alpn())?)),
            patience: PATIENCE,
        })
    }

    /// The same client, waiting at most `patience` for a connection and then for an answer.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Connects and shakes hands, TCP and TLS. Must run inside the namespace that has the source address.
    pub async fn connect(&self) -> Result<Connection> {
        timeout(self.patience, self.shake_hands())
            .await
            .with_context(|| {
                format!(
                    "no connection to {} within {:?}",
                    self.server, self.patience
                )
            })?
    }

    async fn shake_hands(&self) -> Result<Connection> {
        let socket = match self.source {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.set_nodelay(true)?;
        socket
            .bind((self.source, 0).into())
            .with_context(|| format!("binding {}", self.source))?;
        let stream = socket.connect(self.server).await.context("connecting")?;
        let name = ServerName::try_from(SERVER_NAME)?;
        let stream = self.tls.connect(name, stream).await.context("TLS")?;
        if stream.get_ref().1.alpn_protocol() != Some(self.protocol.alpn()) {
            bail!("the server did not agree to {:?}", self.protocol);
        }
        let io = TokioIo::new(stream);
        let sender = match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Connection {
            sender,
            patience: self.patience,
        })
    }

    /// One request on a new connection. Blocks; must run inside the namespace, outside of a runtime.
    pub fn get_blocking(&self, path: &str) -> Result<Answer> {
        self.send_blocking(get(path)?)
    }

    /// As [`get_blocking`](Self::get_blocking), any request; its target must be in origin form.
    pub fn send_blocking(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        blocking(async { self.connect().await?.send(request).await })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {} ({:?})", self.source, self.server, self.protocol)
    }
}

/// A GET request for `path`, to be sent with any client.
pub fn get(path: &str) -> Result<Request<Full<Bytes>>> {
    Ok(Request::get(path).body(Full::default())?)
}

/// Runs `work` on a runtime of this thread.
pub fn blocking<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    patience: Duration,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// GET `path`, the whole answer.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(get(path)?).await
    }

    /// Sends `request`, whose target is in origin form, and reads the whole answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let started = Instant::now();
        let (patience, target) = (self.patience, request.uri().to_string());
        let exchange = async {
            let response = self.begin(request).await?;
            let (head, body) = response.into_parts();
            let content = match Limited::new(body, LARGEST_CONTENT).collect().await {
                Ok(content) => content.to_bytes(),
                Err(error) => bail!("content of {target}: {error}"),
            };
            Ok(Answer {
                status: head.status.as_u16(),
                fields: head.headers,
                content,
                latency: started.elapsed(),
                version: head.version,
            })
        };
        timeout(patience, exchange)
            .await
            .with_context(|| format!("no whole answer within {patience:?}"))?
    }

    /// Sends `request` and returns when the response's head has come.
    pub async fn begin(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                let host = SERVER_NAME.parse().expect("a constant, valid field value");
                request.headers_mut().insert("host", host);
                sender.ready().await.context("the connection closed")?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                let target = format!("https://{SERVER_NAME}{}", request.uri());
                *request.uri_mut() = target.parse()?;
                sender.ready().await.context("the connection closed")?;
                sender.send_request(request).await?
            }
        })
    }
}

/// How long a client waits for a connection, and again for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest response content read, in bytes.
const LARGEST_CONTENT: usize = 64 << 20;
