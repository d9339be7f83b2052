//! The origin: tonic's server in the gateway's namespace, behind weir.
//!
//! | method | does |
//! |---|---|
//! | `Echo` | the message back, with the metadata `trace-bin` |
//! | `Join` | all messages in one |
//! | `Count` | a message for each byte of the only one |
//! | `Chat` | each message back as it comes; the last is to be `bye` |
//! | `Watch` | one message, then nothing for as long as somebody listens |
//! | `Hang` | nothing |
//! | `Refuse` | no message, a status with details and binary metadata |
//! | `Break` | one message, then the same status |

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::server::Grpc;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;
use weir_lab::Lab;

use super::codec::Plain;

/// What `Refuse` and `Break` say.
pub(super) const MESSAGE: &str = "100 % förbidden: ask again";
/// And their details: bytes that no text has.
pub(super) const DETAILS: [u8; 4] = [0, 0xff, b'\n', 0x80];
/// The last message of a chat that ends as it should.
pub(super) const BYE: &str = "bye";

/// The running service. Stopped when dropped.
#[derive(Debug)]
pub(super) struct Service {
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// What it has seen.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicU64,
    /// Chats that ended as they should.
    finished: AtomicU64,
    /// Calls that the client left, or let run out of time.
    left: AtomicU64,
}

/// What the origin speaks under HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Cleartext,
    Tls,
}

impl Transport {
    /// Lines of an `[[upstream]]` for it.
    pub(super) fn upstream(self, lab: &Lab) -> String {
        match self {
            Self::Cleartext => {
                format!("servers = [\"http://127.0.0.1:{PORT}\"]\nprotocol = \"h2c\"\n")
            }
            Self::Tls => format!(
                "servers = [\"https://127.0.0.1:{PORT}\"]\nprotocol = \"h2\"\n\
                 tls = {{ ca = \"{}\", server_name = \"{}\" }}\n",
                lab.pki.chain.display(),
                weir_lab::pki::SERVER_NAME
            ),
        }
    }
}

impl Service {
    /// Starts it. With `age`, connections are asked to go when they are that old.
    pub(super) fn start(lab: &Lab, transport: Transport, age: Option<Duration>) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let listener = lab
            .gateway
            .run(|| std::net::TcpListener::bind(address))?
            .context("the service cannot listen")?;
        listener.set_nonblocking(true)?;
        let tls = match transport {
            Transport::Cleartext => None,
            Transport::Tls => Some(lab.pki.server_config(b"h2")?.into()),
        };
        let seen = Arc::<Seen>::default();
        let (stop, stopped) = oneshot::channel();
        let theirs = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            weir_lab::client::blocking(async {
                let listener = TcpListener::from_std(listener)?;
                tokio::select! {
                    served = serve(listener, tls, age, theirs) => served,
                    _ = stopped => Ok(()),
                }
            })
        });
        Ok(Self {
            seen,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub(super) fn connections(&self) -> u64 {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub(super) fn finished(&self) -> u64 {
        self.seen.finished.load(Ordering::Relaxed)
    }

    pub(super) fn left(&self) -> u64 {
        self.seen.left.load(Ordering::Relaxed)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The thread is gone already if it failed; joining says so.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            let ended = ended.expect("joined once").expect("it does not panic");
            ended.expect("the service serves until it is stopped");
        }
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    age: Option<Duration>,
    seen: Arc<Seen>,
) -> Result<()> {
    let theirs = Arc::clone(&seen);
    let service = service_fn(move |request| {
        let seen = Arc::clone(&theirs);
        async move { Ok::<_, Infallible>(answer(request, seen).await) }
    });
    let mut server = Server::builder();
    if let Some(age) = age {
        server = server.max_connection_age(age);
    }
    match tls {
        None => {
            let incoming = accept(listener, seen, |stream| async { Ok(stream) });
            server.serve_with_incoming(service, incoming).await?;
        }
        Some(tls) => {
            let incoming = accept(listener, seen, move |stream| tls.accept(stream));
            server.serve_with_incoming(service, incoming).await?;
        }
    }
    Ok(())
}

/// Connections as they come, after what `secure` does with them.
fn accept<S, F, T>(
    listener: TcpListener,
    seen: Arc<Seen>,
    secure: S,
) -> ReceiverStream<std::io::Result<T>>
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = std::io::Result<T>> + Send,
    T: Send + 'static,
{
    let (accepted, incoming) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            seen.connections.fetch_add(1, Ordering::Relaxed);
            // Without it small messages wait for each other; a connection that is gone already says so later.
            let _ = stream.set_nodelay(true);
            if accepted.send(secure(stream).await).await.is_err() {
                break;
            }
        }
    });
    ReceiverStream::new(incoming)
}

async fn answer(request: http::Request<Body>, seen: Arc<Seen>) -> http::Response<Body> {
    let mut grpc = Grpc::new(Plain);
    match request.uri().path() {
        "/weir.Calls/Echo" => grpc.unary(service_fn(echo), request).await,
        "/weir.Calls/Join" => grpc.client_streaming(service_fn(join), request).await,
        "/weir.Calls/Count" => grpc.server_streaming(service_fn(count), request).await,
        "/weir.Calls/Chat" => {
            let chat = service_fn(move |request| served(chat(request, Arc::clone(&seen))));
            grpc.streaming(chat, request).await
        }
        "/weir.Calls/Watch" => {
            let watch = service_fn(move |request| served(watch(request, Arc::clone(&seen))));
            grpc.server_streaming(watch, request).await
        }
        "/weir.Calls/Hang" => {
            let hang = service_fn(move |request| hang(request, Leaving(Arc::clone(&seen))));
            grpc.unary(hang, request).await
        }
        "/weir.Calls/Refuse" => {
            let refuse = service_fn(async |_: Request<Bytes>| Err::<Response<Bytes>, _>(no()));
            grpc.unary(refuse, request).await
        }
        "/weir.Calls/Break" => grpc.server_streaming(service_fn(breaking), request).await,
        _ => Status::unimplemented("no such method").into_http(),
    }
}

/// A call that is answered from now on.
fn served(response: Response<Answers>) -> Ready<Result<Response<Answers>, Status>> {
    ready(Ok(response))
}

type Answers = ReceiverStream<Result<Bytes, Status>>;

async fn echo(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let trace = request.metadata().get_bin("trace-bin").cloned();
    let mut response = Response::new(request.into_inner());
    if let Some(trace) = trace {
        response.metadata_mut().insert_bin("trace-bin", trace);
    }
    Ok(response)
}

async fn join(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let mut messages = request.into_inner();
    let mut all = BytesMut::new();
    while let Some(message) = messages.message().await? {
        all.extend_from_slice(&message);
    }
    Ok(Response::new(all.freeze()))
}

async fn count(request: Request<Bytes>) -> Result<Response<Answers>, Status> {
    let message = request.into_inner();
    let (answers, stream) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        for byte in message {
            if answers.send(Ok(Bytes::from(vec![byte]))).await.is_err() {
                break;
            }
        }
    });
    Ok(Response::new(ReceiverStream::new(stream)))
}

fn chat(request: Request<Streaming<Bytes>>, seen: Arc<Seen>) -> Response<Answers> {
    let mut messages = request.into_inner();
    let (answers, stream) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut last = Bytes::new();
        while let Ok(Some(message)) = messages.message().await {
            last = message.clone();
            // When nobody takes answers any more, the messages end, too.
            let _ = answers.send(Ok(message)).await;
        }
        // To tonic's servers a call that is cancelled ends like any other.
        let ended = if last == BYE {
            &seen.finished
        } else {
            &seen.left
        };
        ended.fetch_add(1, Ordering::Relaxed);
    });
    Response::new(ReceiverStream::new(stream))
}

fn watch(request: Request<Bytes>, seen: Arc<Seen>) -> Response<Answers> {
    let (answers, stream) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if answers.send(Ok(request.into_inner())).await.is_ok() {
            answers.closed().await;
        }
        seen.left.fetch_add(1, Ordering::Relaxed);
    });
    Response::new(ReceiverStream::new(stream))
}

async fn hang(_: Request<Bytes>, _leaving: Leaving) -> Result<Response<Bytes>, Status> {
    std::future::pending().await
}

async fn breaking(request: Request<Bytes>) -> Result<Response<Answers>, Status> {
    let (answers, stream) = mpsc::channel(2);
    // There is room for both.
    let _ = answers.try_send(Ok(request.into_inner()));
    let _ = answers.try_send(Err(no()));
    Ok(Response::new(ReceiverStream::new(stream)))
}

fn no() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert_bin("why-bin", BinaryMetadataValue::from_bytes(&DETAILS));
    let details = Bytes::from_static(&DETAILS);
    Status::with_details_and_metadata(Code::FailedPrecondition, MESSAGE, details, metadata)
}

/// Says when a call is given up.
struct Leaving(Arc<Seen>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where the service listens.
const PORT: u16 = 50_051;
/// Messages on their way to one client.
const QUEUE: usize = 4;
