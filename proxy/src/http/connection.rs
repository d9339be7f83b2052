//! One client connection: what its byte stream, its requests and its driver share, and the driver.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::activity::{Activity, Due, Ending, Http, Verdict};
use super::connect::Ends;
use super::fault::Fault;
use super::fields;
use super::framing::Heads;
use super::upgrade::Tunnel;
use super::worker::Worker;
use crate::clock;
use crate::net::{ListenSettings, Observe};

/// State of one client connection.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) settings: Arc<ListenSettings>,
    /// Who is on the other side.
    pub(super) source: IpAddr,
    pub(super) client: fields::Client,
    /// For origin servers that want to know them.
    pub(super) ends: Ends,
    pub(super) activity: Activity,
    /// HTTP/1 only.
    heads: RefCell<Heads>,
    /// What takes the connection over after the response on its way; HTTP/1 only.
    tunnel: RefCell<Option<Tunnel>>,
    /// It has: what comes in is no HTTP.
    handed_over: Cell<bool>,
}

/// The way to take what a connection is handed over to. Dropped, it closes that: the tunnel holds the connection, which
/// holds it.
pub(super) struct Handover<'a>(&'a Connection);

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

impl Connection {
    pub(super) fn new(
        worker: Rc<Worker>,
        settings: Arc<ListenSettings>,
        client: fields::Client,
        source: IpAddr,
        ends: Ends,
        http: Http,
    ) -> Self {
        Self {
            worker,
            settings,
            source,
            client,
            ends,
            activity: Activity::new(http, clock::now()),
            heads: RefCell::default(),
            tunnel: RefCell::default(),
            handed_over: Cell::new(false),
        }
    }

    /// The connection is `tunnel`'s once its last response is sent.
    pub(super) fn hand_over(&self, tunnel: Tunnel) {
        self.handed_over.set(true);
        *self.tunnel.borrow_mut() = Some(tunnel);
    }

    pub(super) fn handover(&self) -> Handover<'_> {
        Handover(self)
    }

    pub(super) fn http(&self) -> Http {
        self.activity.http()
    }

    /// Refuses the request that began last if its head can be read in more than one way.
    pub(super) fn check_framing(&self) -> Result<(), Fault> {
        let malformed = self.heads.borrow().malformed(self.activity.requests());
        malformed.map_or(Ok(()), |malformed| Err(Fault::BadRequest(malformed)))
    }
}

impl Handover<'_> {
    /// Whom the connection is handed over to, if it is.
    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        self.0.tunnel.borrow_mut().take()
    }
}

impl Drop for Handover<'_> {
    fn drop(&mut self) {
        let tunnel = self.tunnel();
        drop(tunnel);
    }
}

impl Observe for Rc<Connection> {
    fn received(&self, bytes: &[u8]) {
        if self.http() == Http::One && !bytes.is_empty() && !self.handed_over.get() {
            self.heads.borrow_mut().observe(bytes);
            self.activity.received(clock::now);
        }
    }
}

/// Runs `serve` until it ends or its time is up.
pub(super) async fn drive<S: Serve>(mut serve: Pin<&mut S>, connection: &Connection) -> End {
    let _registered = connection.worker.register().await;
    let sleep = pin!(tokio::time::sleep(Duration::ZERO));
    let mut deadline = Deadline::new(sleep, connection);
    let mut ending = Ending::default();
    poll_fn(|context| {
        loop {
            if let Poll::Ready(outcome) = serve.as_mut().poll(context) {
                return Poll::Ready(End::Done(outcome));
            }
            ending.drain_since = connection.worker.drain_since();
            let asked = ending.shutdown_since.is_some();
            if asked || !connection.activity.drains(&ending) {
                match deadline.poll(context, &ending) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Due::SlowHead) => return Poll::Ready(End::SlowHead),
                    Poll::Ready(Due::Close) => return Poll::Ready(End::Overdue),
                    Poll::Ready(Due::Shutdown) => {}
                }
            }
            serve.as_mut().graceful_shutdown();
            ending.shutdown_since = Some(clock::now());
        }
    })
    .await
}

/// One timer a connection. It is moved only when something is due earlier than it would ring; when it rings too early it
/// is set anew. So a busy connection costs no timer operation per request. It rings at least once a `write_timeout`,
/// because HTTP/2's streams are tasks of their own and what happens in them does not come by here.
struct Deadline<'a> {
    sleep: Pin<&'a mut tokio::time::Sleep>,
    set_to: Instant,
    connection: &'a Connection,
}

impl<'a> Deadline<'a> {
    fn new(sleep: Pin<&'a mut tokio::time::Sleep>, connection: &'a Connection) -> Self {
        let now = clock::now();
        let mut deadline = Self {
            sleep,
            set_to: now,
            connection,
        };
        deadline.set(None, now);
        deadline
    }

    /// Rings at `at`, or sooner.
    fn set(&mut self, at: Option<Instant>, now: Instant) {
        let latest = now + self.connection.settings.limits.write_timeout;
        self.set_to = at.map_or(latest, |at| at.min(latest));
        self.sleep.as_mut().reset(self.set_to.into());
    }

    /// Ready when something is to be done.
    fn poll(&mut self, context: &mut Context<'_>, ending: &Ending) -> Poll<Due> {
        let activity = &self.connection.activity;
        let limits = &self.connection.settings.limits;
        let wanted = activity.deadline(limits, ending);
        if wanted.is_some_and(|wanted| wanted < self.set_to) {
            self.set(wanted, clock::now());
        }
        while self.sleep.as_mut().poll(context).is_ready() {
            let now = clock::now();
            match activity.verdict(limits, ending, now) {
                Verdict::Now(due) => return Poll::Ready(due),
                Verdict::Wait(until) => self.set(until, now),
            }
        }
        Poll::Pending
    }
}
