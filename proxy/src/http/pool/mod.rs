//! Connections to origin servers: one worker's own, so nothing here is locked or sent. HTTP/1.1 with keep-alive; the
//! connection used last is used next, so that surplus ones grow old and go.

mod queue;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;

use crate::balance::{InFlight, OriginServer, Upstream, jittered};
use crate::clock;
use crate::http::body::RequestBody;
use queue::Queues;
pub(super) use queue::Waited;

/// One worker's idle connections.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<Key, Vec<Idle>, foldhash::fast::RandomState>>,
    reaping: Cell<bool>,
    queues: Queues,
    /// Connections made so far: what their ages are spread by.
    made: Cell<u64>,
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

/// A connection on loan for one exchange. Dropped, it is closed: only a whole exchange gives it back.
pub(super) struct Lease {
    pub(super) link: Link,
    pub(super) server: Server,
    /// The request that it is on loan for, as the balancer counts it: until its response is over.
    pub(super) in_flight: Option<InFlight>,
    pool: Rc<Pool>,
}

/// A connection and the task that runs it. Dropped, it is closed at once. Dropping the sender alone would not do: hyper
/// finishes the request first, and an origin that answered early or never may take no more of it.
pub(super) struct Link {
    pub(super) sender: SendRequest<RequestBody>,
    task: AbortHandle,
    /// Past it, no request goes over it any more.
    until: Option<Instant>,
}

/// Counts one open connection to a server over all workers; dropping it uncounts.
pub(super) struct Open {
    server: Server,
    pool: Rc<Pool>,
}

struct Idle {
    link: Link,
    server: Server,
    since: Instant,
}

impl Pool {
    /// An idle connection to `server` that is alive as far as can be told. `now` is when it is wanted.
    pub(super) fn take(
        self: &Rc<Self>,
        server: &Server,
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
        // One that is not ready still reads the end of its last response or writes the rest of its last request.
        let ready = connections
            .iter()
            .rposition(|idle| idle.link.sender.is_ready() && idle.since >= oldest)?;
        let connection = connections.remove(ready);
        // Not the server it was made for: after a reload that may be of the upstream as it was before.
        Some(self.loan(connection.link, server.clone()))
    }

    /// A loan of a connection that was just made.
    pub(super) fn lease(self: &Rc<Self>, mut link: Link, server: Server) -> Lease {
        let number = self.made.get();
        self.made.set(number + 1);
        let max_age = server.upstream.settings.timeouts.max_age;
        link.until = Some(clock::now() + jittered(max_age, number));
        self.loan(link, server)
    }

    fn loan(self: &Rc<Self>, link: Link, server: Server) -> Lease {
        Lease {
            link,
            server,
            in_flight: None,
            pool: Rc::clone(self),
        }
    }

    /// Counts a connection that is to be made, unless the server has as many as it may.
    pub(super) fn open(self: &Rc<Self>, server: &Server) -> Option<Open> {
        let connections = &server.origin().connections;
        let most = server.upstream.settings.limits.connections;
        if connections.fetch_add(1, Ordering::Relaxed) >= most {
            connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Open {
            server: server.clone(),
            pool: Rc::clone(self),
        })
    }

    fn put(self: &Rc<Self>, link: Link, server: Server) {
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
        if !self.reaping.replace(true) {
            tokio::task::spawn_local(reap(Rc::clone(self)));
        }
    }

    /// Closes what has been idle too long. Returns when to look again; `None` when nothing is idle.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        for connections in idle.values_mut() {
            connections.retain(|idle| idle.link.is_usable(now) && idle.until() > now);
        }
        idle.retain(|_, connections| !connections.is_empty());
        idle.values().flatten().map(Idle::until).min()
    }

    /// Idle connections.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}

/// Runs while anything is idle, so that an idle worker sleeps.
async fn reap(pool: Rc<Pool>) {
    while let Some(next) = pool.expire(clock::now()) {
        let soonest = clock::now() + REAP_INTERVAL_MIN;
        tokio::time::sleep_until(next.max(soonest).into()).await;
    }
    pool.reaping.set(false);
}

impl Lease {
    /// Keeps the connection for the next request: the exchange ended whole.
    pub(super) fn give_back(self) {
        if self.link.is_usable(clock::now()) {
            self.pool.put(self.link, self.server);
        }
    }
}

impl Link {
    /// `task` runs the connection that `sender` belongs to.
    pub(super) fn new(sender: SendRequest<RequestBody>, task: AbortHandle) -> Self {
        Self {
            sender,
            task,
            until: None,
        }
    }

    /// Whether it is alive, as far as can be told, and not too old.
    fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && self.until.is_none_or(|until| now < until)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Idle {
    fn until(&self) -> Instant {
        let idle = self.since + self.server.idle_timeout();
        self.link.until.map_or(idle, |until| idle.min(until))
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

#[cfg(test)]
mod tests;
