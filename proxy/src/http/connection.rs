//! One client connection: what its byte stream, its requests and its driver share, and the driver.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::activity::{Activity, Due, Ending, Http, Verdict};
use super::connect::Ends;
use super::fault::Fault;
use super::fields::{self, Told};
use super::frames::{Flood, Frames};
use super::framing::Heads;
use super::tasks;
use super::upgrade::Tunnel;
use super::worker::Worker;
use crate::detect::{Event, Offence};
use crate::net::{ListenSettings, Observe};
use crate::{clock, tls};

/// State of one client connection.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) settings: Arc<ListenSettings>,
    /// Who is on the other side.
    pub(super) source: IpAddr,
    pub(super) client: Rc<fields::Client>,
    /// Whether `source` may say for whom it asks.
    is_trusted: bool,
    /// Whether `source` has clients of its own.
    is_hop: bool,
    /// What the client asked for in the TLS handshake, if it named anything.
    server_name: Option<ServerName>,
    /// For origin servers that want to know them.
    pub(super) ends: Ends,
    pub(super) activity: Activity,
    retired: Rc<Cell<Option<Instant>>>,
    watched: Watched,
    /// What takes the connection over after the response on its way; HTTP/1 only.
    tunnel: RefCell<Option<Tunnel>>,
    /// It has: what comes in is no HTTP.
    handed_over: Cell<bool>,
    /// Its client took nothing, or flooded: what is left to send is not to wait in the kernel.
    is_to_be_reset: Cell<bool>,
}

/// A name in SNI and what it got.
pub(super) struct ServerName {
    /// Lower case.
    pub(super) name: Box<str>,
    pub(super) served: tls::Served,
}

/// What is known of a connection before its first request.
pub(super) struct Opened {
    /// Who is on the other side, or behind a balancer that passes TCP on.
    pub(super) source: IpAddr,
    pub(super) client: fields::Client,
    pub(super) ends: Ends,
    pub(super) http: Http,
    pub(super) server_name: Option<ServerName>,
    /// Since when its listener wants it to go.
    pub(super) retired: Rc<Cell<Option<Instant>>>,
}

/// What comes in, looked at beside hyper.
enum Watched {
    Heads(RefCell<Heads>),
    Frames(RefCell<Frames>),
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
    /// The client did not end it though asked to.
    Overdue,
    /// The client keeps the windows of its streams shut.
    Unread,
    /// More frames that only cost work than anybody needs.
    Flood(Flood),
}

/// A hyper server connection of either version.
pub(super) trait Serve: Future<Output = hyper::Result<()>> {
    /// Finishes what is in flight and takes no more.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl Connection {
    pub(super) fn new(worker: Rc<Worker>, settings: Arc<ListenSettings>, opened: Opened) -> Self {
        let Opened {
            source,
            client,
            ends,
            http,
            server_name,
            retired,
        } = opened;
        let watched = match http {
            Http::One => Watched::Heads(RefCell::default()),
            Http::Two => {
                let frames = Frames::new(settings.limits.streams, clock::now());
                Watched::Frames(RefCell::new(frames))
            }
        };
        Self {
            is_hop: settings.is_hop(source),
            is_trusted: settings.trust_forwarded_from.contains(source),
            worker,
            settings,
            source,
            client: Rc::new(client),
            ends,
            server_name,
            activity: Activity::new(http, clock::now()),
            retired,
            watched,
            tunnel: RefCell::default(),
            handed_over: Cell::new(false),
            is_to_be_reset: Cell::new(false),
        }
    }

    /// When the worker, or this connection's listener, began to drain.
    fn drain_since(&self) -> Option<Instant> {
        self.worker.drain_since().or(self.retired.get())
    }

    fn flood(&self) -> Option<Flood> {
        match &self.watched {
            Watched::Heads(_) => None,
            Watched::Frames(frames) => frames.borrow().flood(),
        }
    }

    /// Closed from now on, it is reset.
    pub(super) fn reset_on_close(&self) {
        self.is_to_be_reset.set(true);
    }

    /// Whether a request on HTTP/1 was answered before all of it was read: closing now would reset the connection, and the
    /// client might not see the answer.
    pub(super) fn owes_content(&self) -> bool {
        match &self.watched {
            Watched::Heads(heads) => !heads.borrow().is_between_requests(),
            Watched::Frames(_) => false,
        }
    }

    /// Whoever is on the other side did what detection may count.
    pub(super) fn offend(&self, offence: Offence) {
        self.tell(self.source, &Event::Offence(offence));
    }

    /// Resets the streams of which the client takes nothing.
    fn reset_stalled(&self) {
        let limits = &self.settings.limits;
        let stalled = self.activity.take_stalled(limits, clock::now());
        if !stalled.is_empty() {
            // Once, however many a page has.
            self.offend(Offence::SlowRequest);
        }
        for task in stalled {
            tasks::abort(task);
            tracing::debug!(client = %self.source, "stream reset: its client takes nothing");
        }
    }

    /// Tells detection what `client` did, unless that is a hop with clients of its own.
    pub(super) fn tell(&self, client: IpAddr, event: &Event<'_>) {
        if client != self.source || !self.is_hop {
            self.worker.tell(client, event);
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

    /// Who sent a request with these fields: who is on the other side, or for whom that one asks if it is trusted.
    pub(super) fn client_of(&self, fields: &HeaderMap) -> Result<Rc<fields::Client>, Fault> {
        if !self.is_trusted {
            return Ok(Rc::clone(&self.client));
        }
        let told = Told::read(self.source, &self.settings.trust_forwarded_from, fields)?;
        Ok(Rc::new(self.client.behind(told)))
    }

    /// Refuses a request for `host` if the client asked for another one in the handshake and what it was shown is not for
    /// this one: it might be meant for another listener, with other rules (RFC 9110 §7.4). A client that named nothing, or
    /// a request that names no host, is not judged.
    pub(super) fn check_host(&self, host: &str) -> Result<(), Fault> {
        let is_right = self.server_name.as_ref().is_none_or(|asked| {
            host.is_empty() || *asked.name == *host || asked.served.covers(host)
        });
        if is_right {
            Ok(())
        } else {
            Err(Fault::Misdirected)
        }
    }

    /// Refuses the request that began last if its head can be read in more than one way.
    pub(super) fn check_framing(&self) -> Result<(), Fault> {
        let malformed = match &self.watched {
            Watched::Heads(heads) => heads.borrow().malformed(self.activity.requests()),
            Watched::Frames(_) => None,
        };
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
    fn received(&self, bytes: &[u8]) -> usize {
        if self.handed_over.get() || bytes.is_empty() {
            return bytes.len();
        }
        match &self.watched {
            Watched::Heads(heads) => {
                self.activity.received(clock::now);
                heads.borrow_mut().observe(bytes)
            }
            Watched::Frames(frames) => {
                frames.borrow_mut().observe(bytes, clock::now);
                bytes.len()
            }
        }
    }

    fn sent(&self, bytes: usize) {
        if let Watched::Frames(frames) = &self.watched {
            frames.borrow_mut().sent(bytes);
        }
    }

    fn is_to_be_reset(&self) -> bool {
        self.is_to_be_reset.get()
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
            if let Some(flood) = connection.flood() {
                return Poll::Ready(End::Flood(flood));
            }
            ending.drain_since = connection.drain_since();
            let asked = ending.shutdown_since.is_some();
            if asked || !connection.activity.drains(&ending) {
                match deadline.poll(context, &ending) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Due::SlowHead) => return Poll::Ready(End::SlowHead),
                    Poll::Ready(Due::Unread) => return Poll::Ready(End::Unread),
                    Poll::Ready(Due::Close) => return Poll::Ready(End::Overdue),
                    Poll::Ready(Due::Stalled) => {
                        connection.reset_stalled();
                        continue;
                    }
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
