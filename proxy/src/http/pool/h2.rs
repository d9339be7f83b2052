//! HTTP/2 connections: shared by as many requests as the origin server allows streams (RFC 9113 §5.1.2).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::{Open, Pool, Server};
use crate::clock;
use crate::http::body::RequestBody;
use crate::http::connect::OriginStream;
use crate::http::fault::Fault;

/// A connection that requests share.
pub(in crate::http) struct Shared {
    sender: SendRequest<RequestBody>,
    /// Says how many streams the origin server allows. `None` once no more can be opened.
    connection: Running,
    socket: Rc<Socket>,
    streams: Cell<u32>,
    /// When the last stream ended.
    idle_since: Cell<Instant>,
    /// From then on it takes no new streams.
    retires_at: Instant,
    /// The origin server takes no new streams (GOAWAY, RFC 9113 §6.8).
    leaving: Cell<bool>,
    /// Who is told when a stream ends.
    pool: Weak<Pool>,
    server: Server,
}

/// A stream of a shared connection; held by the exchange and by the request's content. Dropping the last one frees its
/// place. What resets the stream is that hyper's halves of it are dropped.
pub(in crate::http) struct Stream {
    shared: Rc<Shared>,
    /// Sends the content, if that takes longer than the head.
    upload: RefCell<Option<AbortHandle>>,
    /// Watches it after the exchange has ended.
    following: RefCell<Option<AbortHandle>>,
    /// Nobody wants the content sent any more.
    abandoned: Cell<bool>,
    /// Changes whenever hyper asks for content.
    asked: Cell<u64>,
}

/// A stream on loan for one exchange. Dropped, it is reset, even if content waits for the origin server to take it.
pub(in crate::http) struct Loan {
    stream: Rc<Stream>,
    /// The exchange ended whole: what is left of its content may go.
    is_whole: bool,
}

type Running = Rc<RefCell<Option<Connection<TokioIo<OriginStream>, RequestBody, Tasks>>>>;

impl Shared {
    /// Whether one more request can be sent at `now`.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        !self.is_over(now) && self.streams.get() < self.streams_max()
    }

    /// Whether there will be no more requests.
    fn is_over(&self, now: Instant) -> bool {
        self.leaving.get() || self.sender.is_closed() || now >= self.retires_at
    }

    /// Whether to close it at `now`: nobody uses it, nobody will or nobody did for `idle`.
    pub(super) fn is_spent(&self, idle: Duration, now: Instant) -> bool {
        self.streams.get() == 0 && (self.is_over(now) || now >= self.idle_since.get() + idle)
    }

    /// When to ask [`Self::is_spent`] again.
    pub(super) fn until(&self, idle: Duration, now: Instant) -> Instant {
        if self.streams.get() > 0 {
            now + idle
        } else {
            self.retires_at.min(self.idle_since.get() + idle)
        }
    }

    fn streams_max(&self) -> u32 {
        let running = self.connection.borrow();
        running.as_ref().map_or(0, |connection| {
            let allowed = connection.current_max_send_streams();
            u32::try_from(allowed).map_or(STREAMS_MAX, |allowed| allowed.min(STREAMS_MAX))
        })
    }

    pub(super) fn lend(self: &Rc<Self>) -> Loan {
        self.streams.set(self.streams.get() + 1);
        let stream = Rc::new(Stream {
            shared: Rc::clone(self),
            upload: RefCell::default(),
            following: RefCell::default(),
            abandoned: Cell::new(false),
            asked: Cell::new(0),
        });
        Loan {
            stream,
            is_whole: false,
        }
    }

    /// Whether it waits for a request.
    pub(super) fn is_unused(&self) -> bool {
        self.streams.get() == 0 && !self.leaving.get()
    }

    /// Closes it, though there is something that holds it. Nothing is under way.
    pub(super) fn close(&self) {
        self.leaving.set(true);
        self.socket.close();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nothing is under way: its streams would hold it.
        self.socket.close();
    }
}

impl Loan {
    #[allow(
        clippy::result_large_err,
        reason = "hyper's, which gives the request back"
    )]
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let shared = &self.stream.shared;
        let outcome = shared.sender.clone().try_send_request(request).await;
        if let Err(error) = &outcome
            && (error.message().is_some() || is_going_away(error.error()))
        {
            shared.leaving.set(true);
        }
        outcome
    }

    /// For the request's content, which holds it, too.
    pub(super) fn stream(&self) -> Rc<Stream> {
        Rc::clone(&self.stream)
    }

    /// The exchange ended whole. What is left of the request's content may still go, as the origin server did not say that
    /// it wants none of it (RFC 9113 §8.1), but no longer than it takes some of it every `timeout`.
    pub(super) fn settle(mut self, timeout: Duration) {
        self.is_whole = true;
        let rest = Rc::downgrade(&self.stream);
        drop(self);
        if let Some(stream) = rest.upgrade() {
            let following = tokio::task::spawn_local(follow(rest, timeout));
            stream.following.replace(Some(following.abort_handle()));
        }
    }
}

/// Ends the upload over `stream` once nothing of it moves for `timeout`.
async fn follow(stream: Weak<Stream>, timeout: Duration) {
    let mut seen = None;
    while let Some(stream) = stream.upgrade() {
        let asked = stream.asked.get();
        if seen.replace(asked) == Some(asked) {
            stream.abandon();
            return;
        }
        drop(stream);
        tokio::time::sleep(timeout).await;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if !self.is_whole {
            self.stream.abandon();
        }
    }
}

impl Stream {
    /// hyper asks for content of the request. False if nobody wants it sent any more.
    pub(in crate::http) fn asked(self: &Rc<Self>) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.shared.socket.asking.replace(Rc::downgrade(self));
        !self.abandoned.get()
    }

    /// hyper would wait until the origin server takes what it has of the content, which may be for ever.
    fn abandon(&self) {
        self.abandoned.set(true);
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(following) = self.following.take() {
            following.abort();
        }
        let shared = &self.shared;
        shared.streams.set(shared.streams.get() - 1);
        shared.idle_since.set(clock::now());
        if let Some(pool) = shared.pool.upgrade() {
            pool.queues.freed(&shared.server.upstream);
            if shared.is_unused() && pool.gives_way(&shared.server) {
                shared.close();
            }
        }
    }
}

/// The connection is ready when the origin server's SETTINGS have come: before them, nobody knows how many streams it
/// takes (RFC 9113 §3.4). The caller has a deadline.
pub(in crate::http) async fn handshake(
    stream: OriginStream,
    server: &Server,
    open: Open,
) -> Result<Rc<Shared>, Fault> {
    let retires_at = open.pool.retirement(server);
    let pool = Rc::downgrade(&open.pool);
    let socket = Rc::new(Socket::new(open));
    let (sender, connection) = Builder::new(Tasks(Rc::clone(&socket)))
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        // None may be opened before SETTINGS; this is also how they show.
        .initial_max_send_streams(0)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_closed| Fault::ConnectionTerminated)?;
    let mut given_up = CloseOnDrop(Some(Rc::clone(&socket)));
    while connection.current_max_send_streams() == 0 {
        if socket.is_closed() {
            return Err(Fault::ConnectionTerminated);
        }
        socket.turned.notified().await;
    }
    given_up.0 = None;
    let connection: Running = Rc::new(RefCell::new(Some(connection)));
    tokio::task::spawn_local(run(Rc::clone(&connection), server.clone()));
    let now = clock::now();
    Ok(Rc::new(Shared {
        sender,
        connection,
        socket,
        streams: Cell::new(0),
        idle_since: Cell::new(now),
        retires_at,
        leaving: Cell::new(false),
        pool,
        server: server.clone(),
    }))
}

/// Opens streams until no more can be; the streams there are, and the socket, have tasks of their own.
async fn run(connection: Running, server: Server) {
    let outcome = poll_fn(|context| match &mut *connection.borrow_mut() {
        Some(connection) => pin!(connection).poll(context),
        None => Poll::Ready(Ok(())),
    })
    .await;
    // It would keep the connection open.
    connection.borrow_mut().take();
    if let Err(error) = outcome {
        tracing::debug!(origin = server.origin().authority, %error, "origin connection ended");
    }
}

/// Whether the origin server did not act on the request that failed with `error`: it was on its way when the server
/// announced that it leaves (RFC 9113 §6.8), or its stream was refused (§8.7).
pub(in crate::http) fn is_unprocessed(error: &hyper::Error) -> bool {
    is_going_away(error)
        || cause(error).is_some_and(|cause| {
            cause.is_remote() && cause.reason() == Some(h2::Reason::REFUSED_STREAM)
        })
}

fn is_going_away(error: &hyper::Error) -> bool {
    cause(error).is_some_and(|cause| {
        cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// Whether what came is no HTTP/2.
pub(in crate::http) fn is_malformed(error: &hyper::Error) -> bool {
    cause(error).is_some_and(h2::Error::is_library)
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// A connection's socket: the task that reads and writes it.
struct Socket {
    task: RefCell<Option<AbortHandle>>,
    /// Told when the task did something, as long as the handshake waits.
    turned: Notify,
    /// Whose content hyper asked for just now: the task that it wants run next is that stream's.
    asking: RefCell<Weak<Stream>>,
    /// Counted until the socket is closed.
    open: RefCell<Option<Open>>,
}

impl Socket {
    fn new(open: Open) -> Self {
        Self {
            task: RefCell::default(),
            turned: Notify::new(),
            asking: RefCell::default(),
            open: RefCell::new(Some(open)),
        }
    }

    fn is_closed(&self) -> bool {
        let task = self.task.borrow();
        task.as_ref().is_some_and(AbortHandle::is_finished)
    }

    fn close(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.abort();
        }
    }
}

/// Closes a connection whose handshake was given up.
struct CloseOnDrop(Option<Rc<Socket>>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.close();
        }
    }
}

/// Runs what hyper wants run for one connection: first the task of its socket, then those of its streams.
#[derive(Clone)]
struct Tasks(Rc<Socket>);

impl<F: Future + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let mut task = self.0.task.borrow_mut();
        if task.is_some() {
            self.execute_stream(future);
            return;
        }
        let open = self.0.open.take();
        let socket = Rc::downgrade(&self.0);
        let spawned = tokio::task::spawn_local(async move {
            let _open = open;
            let mut future = pin!(future);
            poll_fn(|context| {
                let polled = future.as_mut().poll(context).map(drop);
                if let Some(socket) = socket.upgrade() {
                    socket.turned.notify_one();
                }
                polled
            })
            .await;
        });
        *task = Some(spawned.abort_handle());
    }
}

impl Tasks {
    /// What hyper begins to send within its own task, it hands over here when that cannot be all at once.
    fn execute_stream(&self, future: impl Future + 'static) {
        let asking = self.0.asking.take();
        let socket = Rc::downgrade(&self.0);
        let spawned = tokio::task::spawn_local(async move {
            let mut future = pin!(future);
            poll_fn(|context| {
                let polled = future.as_mut().poll(context).map(drop);
                // Of a task that runs already.
                if let Some(socket) = socket.upgrade() {
                    socket.asking.take();
                }
                polled
            })
            .await;
        });
        if let Some(stream) = asking.upgrade() {
            stream.upload.replace(Some(spawned.abort_handle()));
        }
    }
}

/// Streams of ours on one connection, even if the origin server allows more: what they share is lost together.
const STREAMS_MAX: u32 = 128;
/// Response content in flight per stream.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// All streams' windows together (16 MiB), so that clients who do not read cannot hold up those who do.
const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;
/// Request content queued per stream beyond the origin server's window.
const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Largest response head.
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;
/// Finds dead origin servers while requests are in flight.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
