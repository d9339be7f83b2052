//! Connections to origin servers: one worker's own, so nothing here is locked or sent. HTTP/1.1 connections are lent for one
//! exchange each, and the one used last is used next, so that surplus ones grow old and go. HTTP/2 connections are shared.

pub(super) mod h1;
pub(super) mod h2;
mod queue;
mod shortage;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::sync::Notify;

use crate::balance::{InFlight, OriginServer, Upstream, jittered};
use crate::clock;
use crate::http::body::RequestBody;
use crate::http::connect::Ends;
use crate::http::fault::Fault;
use h1::Idle;
use queue::Queues;
pub(super) use queue::Waited;
pub use shortage::Shortage;

/// One worker's connections that wait for requests.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<Key, Vec<Idle>, foldhash::fast::RandomState>>,
    shared: RefCell<HashMap<Key, Shelf, foldhash::fast::RandomState>>,
    reaping: Cell<bool>,
    queues: Queues,
    /// All workers'.
    shortage: Arc<Shortage>,
    /// Connections made so far: what their ages are spread by.
    made: Cell<u64>,
}

/// What there is to share of one server.
struct Shelf {
    server: Server,
    connections: Vec<Rc<h2::Shared>>,
    /// The connection that is being made.
    dialing: Option<Rc<Dialed>>,
    /// The server chose HTTP/1.1 in ALPN.
    speaks_http1: bool,
    used: Instant,
}

/// What came of asking for a stream.
pub(super) enum Joined {
    /// Here is one.
    Stream(Lease),
    /// A connection is being made: wait for its outcome.
    Wait(Rc<Dialed>),
    /// Make a connection; others wait for it as long as this lives. `None`: the server speaks HTTP/1.1, nobody waits.
    Dial(Option<Dialing>),
}

/// A connection that somebody else makes.
#[derive(Default)]
pub(super) struct Dialed {
    ended: Notify,
    fault: Cell<Option<Fault>>,
}

/// A connection is being made that will be shared.
pub(super) struct Dialing {
    pool: Rc<Pool>,
    server: Server,
}

/// Which idle connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Any: if its origin has closed it, the request can be sent again.
    Any,
    /// One used a moment ago, which its origin has hardly closed: the request cannot be sent twice.
    Recent,
}

/// One server of one upstream.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) upstream: Arc<Upstream>,
    pub(super) index: usize,
}

/// A connection or a stream of one, on loan for one exchange. Dropped, it is closed or reset: only a whole exchange gives
/// it back.
pub(super) struct Lease {
    link: Link,
    pub(super) server: Server,
    /// The request that it is on loan for, as the balancer counts it: until its response is over.
    pub(super) in_flight: Option<InFlight>,
    pool: Rc<Pool>,
    is_spent: bool,
}

pub(super) enum Link {
    Http1(h1::Link),
    Http2(h2::Loan),
}

/// Counts one open connection to a server over all workers; dropping it uncounts.
pub(super) struct Open {
    server: Server,
    pool: Rc<Pool>,
}

impl Pool {
    /// `shortage` is what all workers have in common.
    pub(super) fn new(shortage: Arc<Shortage>) -> Self {
        Self {
            shortage,
            ..Self::default()
        }
    }

    /// An idle HTTP/1.1 connection to `server` that is alive as far as can be told, and one of `client`'s if connections
    /// are one client's. `now` is when it is wanted.
    pub(super) fn take(
        self: &Rc<Self>,
        server: &Server,
        client: Option<Ends>,
        reuse: Reuse,
        now: Instant,
    ) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&server.key())?;
        connections.retain(|connection| connection.link.is_usable(now));
        let oldest = match reuse {
            Reuse::Any => connections.first()?.since,
            Reuse::Recent => now.checked_sub(RECENT)?,
        };
        let ready = connections.iter().rposition(|idle| {
            idle.since >= oldest && idle.link.is_for(client) && idle.link.is_ready()
        })?;
        let connection = connections.remove(ready);
        // Not the server it was made for: after a reload that may be of the upstream as it was before.
        Some(self.lend(Link::Http1(connection.link), server.clone()))
    }

    /// A stream of a connection to `server` that has room at `now`. Connections are filled in order, so that surplus ones
    /// become idle and go.
    pub(super) fn stream(self: &Rc<Self>, server: &Server, now: Instant) -> Option<Lease> {
        let mut shared = self.shared.borrow_mut();
        let shelf = shared.get_mut(&server.key())?;
        let connection = shelf.connections.iter().find(|one| one.has_room(now))?;
        shelf.used = now;
        Some(self.lend(Link::Http2(connection.lend()), server.clone()))
    }

    /// A stream, or how to come to one.
    pub(super) fn join(self: &Rc<Self>, server: &Server, now: Instant) -> Joined {
        if let Some(lease) = self.stream(server, now) {
            return Joined::Stream(lease);
        }
        let mut shared = self.shared.borrow_mut();
        let shelf = shared
            .entry(server.key())
            .or_insert_with(|| Shelf::new(server, now));
        shelf.used = now;
        if shelf.speaks_http1 {
            return Joined::Dial(None);
        }
        if let Some(dialed) = &shelf.dialing {
            return Joined::Wait(Rc::clone(dialed));
        }
        shelf.dialing = Some(Rc::default());
        drop(shared);
        self.reap();
        Joined::Dial(Some(Dialing {
            pool: Rc::clone(self),
            server: server.clone(),
        }))
    }

    /// A stream of a connection that was just made and is shared from now on.
    pub(super) fn share(self: &Rc<Self>, server: &Server, connection: Rc<h2::Shared>) -> Lease {
        let loan = connection.lend();
        let now = clock::now();
        let mut shared = self.shared.borrow_mut();
        let shelf = shared
            .entry(server.key())
            .or_insert_with(|| Shelf::new(server, now));
        shelf.speaks_http1 = false;
        shelf.connections.push(connection);
        drop(shared);
        // There is room for more than one.
        self.queues.freed_all(&server.upstream);
        self.reap();
        self.lend(Link::Http2(loan), server.clone())
    }

    /// `server` chose HTTP/1.1: its connections cannot be shared, so nobody should wait for one.
    pub(super) fn speaks_http1(&self, server: &Server) {
        if let Some(shelf) = self.shared.borrow_mut().get_mut(&server.key()) {
            shelf.speaks_http1 = true;
        }
    }

    /// A loan of an HTTP/1.1 connection that was just made.
    pub(super) fn lease(self: &Rc<Self>, link: h1::Link, server: Server) -> Lease {
        self.lend(Link::Http1(link), server)
    }

    /// When a connection to `server` that is being made takes no more requests.
    pub(super) fn retirement(&self, server: &Server) -> Instant {
        let number = self.made.get();
        self.made.set(number + 1);
        clock::now() + jittered(server.upstream.settings.timeouts.max_age, number)
    }

    /// Counts a connection that is to be made, unless the server has as many as it may.
    pub(super) fn open(self: &Rc<Self>, server: &Server) -> Option<Open> {
        let connections = &server.origin().connections;
        let most = server.upstream.settings.limits.connections;
        if connections.fetch_add(1, Ordering::Relaxed) >= most {
            connections.fetch_sub(1, Ordering::Relaxed);
            if !self.close_oldest(server) {
                self.lack(server);
            }
            return None;
        }
        self.lack_no_more(server);
        Some(Open {
            server: server.clone(),
            pool: Rc::clone(self),
        })
    }

    /// Makes room where `server` has as many connections as it may: one that waits for a request, and that the request at
    /// hand cannot use, goes. Whoever waits is told once it is closed. False if there is none.
    fn close_oldest(&self, server: &Server) -> bool {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&server.key());
        let oldest = connections
            .filter(|connections| !connections.is_empty())
            .map(|connections| connections.remove(0));
        drop(idle);
        oldest.is_some()
    }

    fn lend(self: &Rc<Self>, link: Link, server: Server) -> Lease {
        Lease {
            link,
            server,
            in_flight: None,
            pool: Rc::clone(self),
            is_spent: false,
        }
    }

    fn put(self: &Rc<Self>, link: h1::Link, server: Server) {
        if self.gives_way(&server) {
            return;
        }
        let upstream = Arc::clone(&server.upstream);
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(server.key()).or_default();
        if connections.len() >= IDLE_MAX {
            connections.remove(0);
        }
        connections.push(Idle {
            link,
            server,
            since: clock::now(),
        });
        drop(idle);
        self.queues.freed(&upstream);
        self.reap();
    }

    fn reap(self: &Rc<Self>) {
        if !self.reaping.replace(true) {
            tokio::task::spawn_local(reap(Rc::clone(self)));
        }
    }

    /// Closes what has been idle too long. Returns when to look again; `None` when there is nothing.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        for connections in idle.values_mut() {
            connections.retain(|idle| idle.link.is_usable(now) && idle.until() > now);
        }
        idle.retain(|_, connections| !connections.is_empty());
        let next_idle = idle.values().flatten().map(Idle::until).min();
        let mut shared = self.shared.borrow_mut();
        shared.retain(|_, shelf| shelf.expire(now));
        let next_shared = shared.values().map(|shelf| shelf.until(now)).min();
        next_idle.into_iter().chain(next_shared).min()
    }

    /// Idle HTTP/1.1 connections.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}

/// Gives way to other workers whenever they ask, at most every [`GIVE_WAY_INTERVAL`]. Never ends.
async fn spare(pool: &Pool) {
    loop {
        let lacking = pool.lacking();
        pool.give_way();
        lacking.await;
        tokio::time::sleep(GIVE_WAY_INTERVAL).await;
    }
}

/// Runs while there is anything to close, so that an idle worker sleeps.
async fn reap(pool: Rc<Pool>) {
    while let Some(next) = pool.expire(clock::now()) {
        let soonest = clock::now() + REAP_INTERVAL_MIN;
        let next = tokio::time::sleep_until(next.max(soonest).into());
        tokio::select! {
            () = next => {}
            () = spare(&pool) => {}
        }
    }
    pool.reaping.set(false);
}

impl Shelf {
    fn new(server: &Server, now: Instant) -> Self {
        Self {
            server: server.clone(),
            connections: Vec::new(),
            dialing: None,
            speaks_http1: false,
            used: now,
        }
    }

    /// Closes what is spent. False when nothing is left.
    fn expire(&mut self, now: Instant) -> bool {
        let idle = self.server.idle_timeout();
        self.connections
            .retain(|connection| !connection.is_spent(idle, now));
        !self.connections.is_empty() || self.dialing.is_some() || now < self.used + idle
    }

    fn until(&self, now: Instant) -> Instant {
        let idle = self.server.idle_timeout();
        let connections = self.connections.iter().map(|one| one.until(idle, now));
        connections.min().unwrap_or(self.used + idle)
    }
}

impl Dialed {
    /// Waits until it is there or will not be. `Some`: why. `None`: ask again.
    pub(super) async fn outcome(&self) -> Option<Fault> {
        self.ended.notified().await;
        self.fault.get()
    }
}

impl Dialing {
    /// It will not be, and not for a reason of the request that made it: those who wait need not try again.
    pub(super) fn fail(self, fault: Fault) {
        let shared = self.pool.shared.borrow();
        let shelf = shared.get(&self.server.key());
        if let Some(dialed) = shelf.and_then(|shelf| shelf.dialing.as_ref()) {
            dialed.fault.set(Some(fault));
        }
        drop(shared);
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        let mut shared = self.pool.shared.borrow_mut();
        let shelf = shared.get_mut(&self.server.key());
        if let Some(dialed) = shelf.and_then(|shelf| shelf.dialing.take()) {
            dialed.ended.notify_waiters();
        }
    }
}

impl Lease {
    /// Sends `request`, which is in the form of the link's version, and waits for the response's head.
    #[allow(
        clippy::result_large_err,
        reason = "hyper's, which gives the request back"
    )]
    pub(super) async fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match &mut self.link {
            Link::Http1(link) => link.send(request).await,
            Link::Http2(loan) => {
                request.body_mut().hold(loan.stream());
                loan.send(request).await
            }
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.link, Link::Http2(_))
    }

    /// The origin answered before it had the whole request: what it makes of the rest, it may answer, too. So an HTTP/1.1
    /// connection is for no other request.
    pub(super) fn spend(&mut self) {
        self.is_spent = true;
    }

    /// Keeps the connection for the next request: the exchange ended whole.
    pub(super) fn give_back(self) {
        match self.link {
            Link::Http1(link) => {
                if !self.is_spent && link.is_usable(clock::now()) {
                    self.pool.put(link, self.server);
                }
            }
            Link::Http2(loan) => loan.settle(self.server.upstream.settings.timeouts.response),
        }
    }
}

impl Server {
    pub(super) fn origin(&self) -> &OriginServer {
        &self.upstream.servers[self.index]
    }

    fn idle_timeout(&self) -> Duration {
        self.upstream.settings.timeouts.idle
    }

    fn key(&self) -> Key {
        Key(Arc::as_ptr(&self.upstream.servers[self.index]).addr())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let connections = &self.server.origin().connections;
        connections.fetch_sub(1, Ordering::Relaxed);
        self.pool.queues.freed(&self.server.upstream);
    }
}

/// The server's address: a reload that keeps the server keeps its connections. Who has a key holds the server through its
/// upstream, so no other one gets the address meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key(usize);

/// Idle connections to one server in one worker; over it the oldest is closed.
const IDLE_MAX: usize = 64;
/// Below the keep-alive timeout of all origin servers we know (the shortest default is 2 s, gunicorn's).
const RECENT: Duration = Duration::from_secs(1);
/// Bounds the reaper's work when connections expire one after the other.
const REAP_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// However many workers lack connections, this one looks for one to spare no more often.
const GIVE_WAY_INTERVAL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
