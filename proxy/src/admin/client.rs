//! The command line's end of the admin socket: one request, one answer, then gone. Blocks its thread, at most 10 s.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{api, network, socket};

/// Whole exchange, connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer in bytes: a full blocklist of a million entries.
const ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// Networks in one request, well below the server's 64 KiB of head or content.
const CHUNK: usize = 500;

/// Talks to the weir of one `run_dir`.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer, or not the one wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers on the socket.
    #[error("no weir is running: nothing answers on {}", socket.display())]
    NotRunning {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The socket's mode forbids it. The server's own refusal is a 403 in [`ClientError::Refused`].
    #[error("not permitted to talk to weir on {}", socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// weir answered with an error.
    #[error("{}", error.error)]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        error: api::Error,
    },
    /// weir did not reload.
    #[error("{0}")]
    Reload(api::ReloadFailed),
    /// It answered with something else, too late or not to the end.
    #[error("weir on {} did not answer properly: {cause}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        cause: String,
    },
}

struct Answer {
    status: StatusCode,
    content: Bytes,
}

impl Client {
    /// For the weir whose socket is in `run_dir`.
    pub fn new(run_dir: &Path) -> Self {
        Self {
            socket: socket::path(run_dir),
        }
    }

    /// Whether a weir can be talked to: connects and hangs up.
    pub fn probe(&self) -> Result<(), ClientError> {
        std::os::unix::net::UnixStream::connect(&self.socket)
            .map(drop)
            .map_err(|error| self.connect_error(&error))
    }

    /// `GET /v1/status`
    pub fn status(&self) -> Result<api::Status, ClientError> {
        self.ask(Method::GET, "/v1/status", None)
    }

    /// `GET /v1/certs`
    pub fn certs(&self) -> Result<api::Certificates, ClientError> {
        self.ask(Method::GET, "/v1/certs", None)
    }

    /// `GET /v1/upstreams`
    pub fn upstreams(&self) -> Result<api::Upstreams, ClientError> {
        self.ask(Method::GET, "/v1/upstreams", None)
    }

    /// `GET /v1/blocks` or `GET /v1/allows`
    pub fn entries(&self, list: api::List) -> Result<api::Entries, ClientError> {
        let path = match list {
            api::List::Allow => "/v1/allows",
            api::List::Block => "/v1/blocks",
        };
        self.ask(Method::GET, path, None)
    }

    /// `POST /v1/blocks`
    pub fn block(&self, request: &api::BlockRequest) -> Result<api::Changed, ClientError> {
        in_chunks(&request.networks, |networks| {
            let part = api::BlockRequest {
                networks: networks.to_vec(),
                ..request.clone()
            };
            self.ask(Method::POST, "/v1/blocks", Some(json(&part)))
        })
    }

    /// `POST /v1/allows`
    pub fn allow(&self, networks: &[IpNet]) -> Result<api::Changed, ClientError> {
        in_chunks(networks, |networks| {
            let part = api::NetworksRequest {
                networks: networks.to_vec(),
            };
            self.ask(Method::POST, "/v1/allows", Some(json(&part)))
        })
    }

    /// `DELETE /v1/blocks`
    pub fn unblock(&self, networks: &[IpNet]) -> Result<api::Changed, ClientError> {
        in_chunks(networks, |networks| self.delete("/v1/blocks", networks))
    }

    /// `DELETE /v1/allows`
    pub fn disallow(&self, networks: &[IpNet]) -> Result<api::Changed, ClientError> {
        in_chunks(networks, |networks| self.delete("/v1/allows", networks))
    }

    /// `POST /v1/drain`
    pub fn drain(&self, request: &api::DrainRequest) -> Result<api::Drained, ClientError> {
        self.ask(Method::POST, "/v1/drain", Some(json(request)))
    }

    /// `DELETE /v1/drain`
    pub fn undrain(&self, request: &api::DrainRequest) -> Result<api::Drained, ClientError> {
        let api::DrainRequest { upstream, server } = request;
        let encoded = |text: &str| -> String {
            // Everything but what certainly stands for itself in a query (RFC 3986 §3.4).
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
            text.bytes()
                .map(|b| {
                    if plain(b) {
                        char::from(b).to_string()
                    } else {
                        format!("%{b:02X}")
                    }
                })
                .collect()
        };
        let query = format!("upstream={}&server={}", encoded(upstream), encoded(server));
        self.ask(Method::DELETE, &format!("/v1/drain?{query}"), None)
    }

    /// `POST /v1/reload`
    pub fn reload(&self) -> Result<api::Reloaded, ClientError> {
        let answer = self.exchange(Method::POST, "/v1/reload", None)?;
        match serde_json::from_slice(&answer.content) {
            Ok(failed) if answer.status.is_client_error() || answer.status.is_server_error() => {
                // A plain error (403, 405) reads as a failure without problems; leave those to `read`.
                let failed: api::ReloadFailed = failed;
                if failed.problems.is_empty() && answer.status.is_client_error() {
                    self.read(&answer)
                } else {
                    Err(ClientError::Reload(failed))
                }
            }
            _ => self.read(&answer),
        }
    }

    fn delete(&self, path: &str, networks: &[IpNet]) -> Result<api::Changed, ClientError> {
        // Colons and slashes stand for themselves in a query (RFC 3986 §3.4).
        let query: Vec<String> = networks
            .iter()
            .map(|network| format!("network={}", network::display(*network)))
            .collect();
        self.ask(Method::DELETE, &format!("{path}?{}", query.join("&")), None)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        content: Option<Bytes>,
    ) -> Result<T, ClientError> {
        self.read(&self.exchange(method, target, content)?)
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ClientError> {
        if answer.status.is_success() {
            return serde_json::from_slice(&answer.content).map_err(|error| self.broken(&error));
        }
        let error = serde_json::from_slice(&answer.content).map_err(|error| self.broken(&error))?;
        Err(ClientError::Refused {
            status: answer.status,
            error,
        })
    }

    fn exchange(
        &self,
        method: Method,
        target: &str,
        content: Option<Bytes>,
    ) -> Result<Answer, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "weir")
            .body(Full::new(content.unwrap_or_default()))
            .map_err(|error| self.broken(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.broken(&error))?;
        runtime.block_on(async {
            tokio::time::timeout(TIMEOUT, self.converse(request))
                .await
                .unwrap_or_else(|_elapsed| Err(self.broken(&"no answer within 10 s")))
        })
    }

    async fn converse(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.connect_error(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&error))?;
        let exchange = async move {
            let response = sender
                .send_request(request)
                .await
                .map_err(|e| e.to_string())?;
            let status = response.status();
            let content = Limited::new(response.into_body(), ANSWER_BYTES)
                .collect()
                .await
                .map_err(|e| e.to_string())?
                .to_bytes();
            Ok(Answer { status, content })
            // The sender goes here, which ends the connection below.
        };
        let (_, answer) = tokio::join!(connection, exchange);
        answer.map_err(|cause: String| self.broken(&cause))
    }

    fn connect_error(&self, error: &io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotADirectory => ClientError::NotRunning { socket },
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted { socket },
            _ => self.broken(error),
        }
    }

    fn broken(&self, cause: &impl ToString) -> ClientError {
        ClientError::Broken {
            socket: self.socket.clone(),
            cause: cause.to_string(),
        }
    }
}

fn in_chunks(
    networks: &[IpNet],
    mut ask: impl FnMut(&[IpNet]) -> Result<api::Changed, ClientError>,
) -> Result<api::Changed, ClientError> {
    let mut changes = Vec::with_capacity(networks.len());
    for chunk in networks.chunks(CHUNK) {
        changes.append(&mut ask(chunk)?.changes);
    }
    Ok(api::Changed { changes })
}

fn json(content: &impl Serialize) -> Bytes {
    serde_json::to_vec(content)
        .expect("invariant: the API's types have string keys only")
        .into()
}
