//! Serves the admin API on the control thread's runtime: HTTP/1.1 (RFC 9112) over the admin socket and, read-only,
//! over TCP. What answers are made of is in `routes`.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Control;
use super::routes::{Access, Answer, resolve};
use super::socket::{self, Listener};

/// Connections served at once on one listener; more wait in the kernel's backlog.
const CONNECTIONS: usize = 64;
/// First byte to end of a request head, and waiting for the next request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Whole content of a request.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest content of a request, in bytes; over it: 413.
const CONTENT_BYTES: usize = 64 * 1024;
/// Largest head of a request, in bytes; over it: 431. Holds the query of a DELETE.
const HEAD_BYTES: usize = 64 * 1024;
/// After this long a connection gets no further request, so that a peer that reads nothing cannot keep its place.
const CONNECTION_LIFE: Duration = Duration::from_mins(1);
/// How long a connection may go on after its life, or weir's, has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Serves `listener` until `stop` says true or its sender is gone, then lets answers under way end. Must run inside a
/// `LocalSet` on a runtime with I/O and time. Removes the socket file at the end.
pub async fn serve<C: Control + 'static>(
    listener: Listener,
    control: Rc<C>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    match listener {
        Listener::Unix(socket) => {
            let listener = UnixListener::from_std(socket.listener.try_clone()?)?;
            let accept = async || {
                let (stream, _) = listener.accept().await?;
                let access = stream.peer_cred().map_or(Access::Refused, |peer| {
                    if socket::permits(peer.uid(), peer.gid()) {
                        Access::Full
                    } else {
                        tracing::warn!(uid = peer.uid(), "refused a peer of the admin socket");
                        Access::Refused
                    }
                });
                Ok((stream, access))
            };
            accept_loop(accept, control, stop).await;
        }
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            let accept = async || Ok((listener.accept().await?.0, Access::ReadOnly));
            accept_loop(accept, control, stop).await;
        }
    }
    Ok(())
}

async fn accept_loop<S, C>(
    accept: impl AsyncFn() -> io::Result<(S, Access)>,
    control: Rc<C>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Control + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place.expect("invariant: never closed"), accept().await)
        };
        tokio::select! {
            () = stopped(&mut stop) => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, access)) => {
                    let control = Rc::clone(&control);
                    connections.spawn_local(connection(stream, access, control, stop.clone(), place));
                }
                Err(error) => {
                    // Out of file descriptors or memory: trying again at once would only spin.
                    tracing::warn!(%error, "cannot accept on the admin API");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
    // Each connection gives itself GRACE; a panicked one has been reported by its panic.
    while connections.join_next().await.is_some() {}
}

async fn connection<S, C>(
    stream: S,
    access: Access,
    control: Rc<C>,
    mut stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Control + 'static,
{
    let service = service_fn(move |request| {
        let control = Rc::clone(&control);
        async move { Ok::<_, Infallible>(respond(&*control, access, request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped(&mut stop) => None,
        () = sleep(CONNECTION_LIFE) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(GRACE, connection).await.unwrap_or(Ok(()))
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "admin connection ended");
    }
}

async fn respond(
    control: &impl Control,
    access: Access,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answer = if head.version == Version::HTTP_11 && !head.headers.contains_key(HOST) {
        // RFC 9112 §3.2.
        Answer::error(
            StatusCode::BAD_REQUEST,
            "the request has no Host field",
            "HTTP/1.1 requires one; any value will do",
        )
    } else {
        match resolve(access, &head.method, head.uri.path()) {
            Err(refusal) => refusal,
            Ok(endpoint) => {
                let content = if endpoint.takes_content() {
                    read(body).await
                } else {
                    Ok(Bytes::new())
                };
                match content {
                    Ok(content) => {
                        endpoint.run(control, head.uri.query().unwrap_or_default(), &content)
                    }
                    Err(refusal) => refusal,
                }
            }
        }
    };
    if !matches!(head.method, Method::GET | Method::HEAD) {
        tracing::info!(
            method = %head.method,
            target = %head.uri,
            status = answer.status.as_u16(),
            "admin request"
        );
    }
    answer.into()
}

async fn read(body: Incoming) -> Result<Bytes, Answer> {
    match timeout(CONTENT_TIMEOUT, Limited::new(body, CONTENT_BYTES).collect()).await {
        Ok(Ok(content)) => Ok(content.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Answer::error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the content is larger than 64 KiB",
            "split the request",
        )),
        Ok(Err(error)) => Err(Answer::error(
            StatusCode::BAD_REQUEST,
            format!("the content is incomplete: {error}"),
            "send it whole",
        )),
        Err(_elapsed) => Err(Answer::error(
            StatusCode::REQUEST_TIMEOUT,
            "the content did not come within 10 s",
            "send it faster",
        )),
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could say stop: stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let mut response = Self::new(Full::from(answer.content));
        *response.status_mut() = answer.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = answer.allow.and_then(|allow| allow.try_into().ok()) {
            fields.insert(ALLOW, allow);
        }
        response
    }
}
