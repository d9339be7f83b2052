//! One client connection: what is under way on it, and when it has had its time. hyper speaks the protocol; the
//! deadlines are kept here, because hyper's own head timeout also runs while a connection is idle and its HTTP/2 side
//! has none.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::fields;
use super::framing::Heads;
use super::worker::Worker;
use crate::clock;
use crate::net::{ListenSettings, Observe};

/// State of one client connection, shared by its byte stream, its requests and its driver.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) settings: Arc<ListenSettings>,
    /// Who is on the other side.
    pub(super) source: IpAddr,
    pub(super) client: fields::Client,
    http: Http,
    requests: Cell<u64>,
    in_flight: Cell<usize>,
    /// Responses whose next part the client has not taken.
    unread: Cell<usize>,
    /// Since when nothing is in flight.
    idle_since: Cell<Instant>,
    /// First byte of a request head, while it is incomplete; HTTP/1 only.
    head_since: Cell<Option<Instant>>,
    /// Content last moved to the client.
    progress: Cell<Instant>,
    /// HTTP/1 only.
    heads: RefCell<Heads>,
}

/// Protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// hyper is done.
    Done(hyper::Result<()>),
    /// The client was too slow with a request head.
    SlowHead,
    /// The client did not end it though asked to, or takes no content.
    Overdue,
}

/// A hyper server connection of either version.
pub(super) trait Serve: Future<Output = hyper::Result<()>> {
    /// Finishes what is in flight and takes no more.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// What time has come for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Nothing.
    Nothing,
    /// Nothing before this.
    At(Instant),
    /// To ask the client to go.
    Shutdown,
    /// To give up on a request head.
    SlowHead,
    /// To close whatever the client says.
    Close,
}

impl Connection {
    pub(super) fn new(
        worker: Rc<Worker>,
        settings: Arc<ListenSettings>,
        client: fields::Client,
        source: IpAddr,
        http: Http,
    ) -> Self {
        let now = clock::now();
        Self {
            worker,
            settings,
            source,
            client,
            http,
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            unread: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(None),
            progress: Cell::new(now),
            heads: RefCell::default(),
        }
    }

    pub(super) fn http(&self) -> Http {
        self.http
    }

    /// Refuses the request that began last if its head can be read in more than one way.
    pub(super) fn check_framing(&self) -> Result<(), Fault> {
        let malformed = self.heads.borrow().malformed(self.requests.get());
        malformed.map_or(Ok(()), |malformed| Err(Fault::BadRequest(malformed)))
    }

    pub(super) fn request_began(&self) {
        self.head_since.set(None);
        self.requests.set(self.requests.get() + 1);
        if self.in_flight.replace(self.in_flight.get() + 1) == 0 {
            self.progress.set(clock::now());
        }
    }

    pub(super) fn request_ended(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.idle_since.set(now);
    }

    pub(super) fn waits_for_client(&self, waits: bool) {
        let unread = self.unread.get();
        self.unread.set(if waits { unread + 1 } else { unread - 1 });
    }

    pub(super) fn progressed(&self) {
        self.progress.set(clock::now());
    }

    /// When something is due, as things stand. `shutdown_at`: when the client was asked to go.
    fn deadline(&self, shutdown_at: Option<Instant>) -> Option<Instant> {
        let limits = &self.settings.limits;
        if self.in_flight.get() > 0 {
            // A stream whose window the client keeps shut shows only here: to the socket all is written. Else it is the
            // origin's turn or the socket's, and both have timers of their own.
            let shut = self.http == Http::Two && self.unread.get() > 0;
            return shut.then(|| self.progress.get() + limits.write_timeout);
        }
        if let Some(since) = self.head_since.get() {
            return Some(since + limits.header_timeout);
        }
        let idle = self.idle_since.get() + limits.idle_timeout;
        let asked = shutdown_at.map(|at| at + SHUTDOWN_GRACE);
        // Accepted but not served yet: it may still ask once.
        let drained = self.worker.drain_since().map(|at| at + FIRST_REQUEST_GRACE);
        asked
            .or(drained)
            .map_or(Some(idle), |at| Some(idle.min(at)))
    }

    /// What is due at `now`.
    fn due(&self, now: Instant, shutdown_at: Option<Instant>) -> Due {
        let Some(deadline) = self.deadline(shutdown_at) else {
            return Due::Nothing;
        };
        if now < deadline {
            return Due::At(deadline);
        }
        if self.in_flight.get() > 0 {
            return Due::Close;
        }
        match (shutdown_at, self.head_since.get()) {
            (_, Some(_)) => Due::SlowHead,
            (Some(_), None) => Due::Close,
            (None, None) => Due::Shutdown,
        }
    }

    /// Whether the worker drains and this connection has had its chance: one that was accepted but has not asked yet
    /// may still ask once.
    fn should_drain(&self) -> bool {
        self.worker.drain_since().is_some() && self.requests.get() > 0
    }
}

impl Observe for Rc<Connection> {
    fn received(&self, bytes: &[u8]) {
        if self.http == Http::Two || bytes.is_empty() {
            return;
        }
        self.heads.borrow_mut().observe(bytes);
        if self.in_flight.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(clock::now()));
        }
    }
}

/// Runs `serve` until it ends or its time is up.
pub(super) async fn drive<S: Serve>(mut serve: Pin<&mut S>, connection: &Connection) -> End {
    let _registered = connection.worker.register().await;
    let sleep = pin!(tokio::time::sleep(connection.settings.limits.idle_timeout));
    let mut deadline = Deadline::new(sleep, connection);
    let mut shutdown_at = None;
    poll_fn(|context| {
        loop {
            if let Poll::Ready(outcome) = serve.as_mut().poll(context) {
                return Poll::Ready(End::Done(outcome));
            }
            if shutdown_at.is_none() && connection.should_drain() {
                serve.as_mut().graceful_shutdown();
                shutdown_at = Some(clock::now());
                continue;
            }
            match deadline.poll(context, shutdown_at) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Due::SlowHead) => return Poll::Ready(End::SlowHead),
                Poll::Ready(Due::Close) => return Poll::Ready(End::Overdue),
                Poll::Ready(Due::Nothing | Due::At(_) | Due::Shutdown) => {
                    serve.as_mut().graceful_shutdown();
                    shutdown_at = Some(clock::now());
                }
            }
        }
    })
    .await
}

/// One timer a connection. It is moved only when something is due earlier than it would ring; when it rings too early
/// it is set anew. So a busy connection costs no timer operation per request.
struct Deadline<'a> {
    sleep: Pin<&'a mut tokio::time::Sleep>,
    set_to: Instant,
    connection: &'a Connection,
}

impl<'a> Deadline<'a> {
    fn new(sleep: Pin<&'a mut tokio::time::Sleep>, connection: &'a Connection) -> Self {
        let mut deadline = Self {
            sleep,
            set_to: clock::now(),
            connection,
        };
        deadline.set(deadline.set_to + connection.settings.limits.idle_timeout);
        deadline
    }

    fn set(&mut self, at: Instant) {
        self.set_to = at;
        self.sleep.as_mut().reset(at.into());
    }

    /// Ready with what is due: something to do.
    fn poll(&mut self, context: &mut Context<'_>, shutdown_at: Option<Instant>) -> Poll<Due> {
        let Some(wanted) = self.connection.deadline(shutdown_at) else {
            return Poll::Pending;
        };
        if wanted < self.set_to {
            self.set(wanted);
        }
        while self.sleep.as_mut().poll(context).is_ready() {
            match self.connection.due(clock::now(), shutdown_at) {
                Due::Nothing => return Poll::Pending,
                Due::At(at) => self.set(at),
                due => return Poll::Ready(due),
            }
        }
        Poll::Pending
    }
}

/// How long a client that was asked to go may take, with nothing in flight.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a connection without a request may wait for its first one while the worker drains.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
