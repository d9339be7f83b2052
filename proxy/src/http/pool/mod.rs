//! Connections to origin servers: one worker's own, so nothing here is locked or sent. HTTP/1.1 with keep-alive; the
//! connection used last is used next, so that surplus ones grow old and go.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;

use crate::balance::{OriginServer, Upstream};
use crate::clock;
use crate::http::body::RequestBody;

/// One worker's idle connections.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<Key, Vec<Idle>, foldhash::fast::RandomState>>,
    reaping: Cell<bool>,
}

/// Which idle connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Any: if its origin has closed it, the request can be sent again.
    Any,
    /// One used a moment ago, which its origin has hardly closed: the request cannot be sent twice.
    Recent,
}

/// One server of one upstream. The upstream is held, so that its address names it as long as there is a key.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) upstream: Arc<Upstream>,
    pub(super) index: usize,
}

/// A connection on loan for one exchange. Dropped, it is closed: only a whole exchange gives it back.
pub(super) struct Lease {
    pub(super) link: Link,
    pub(super) server: Server,
    pool: Rc<Pool>,
    is_spent: bool,
}

/// A connection and the task that runs it. Dropped, it is closed at once. Dropping the sender alone would not do: hyper
/// finishes the request first, and an origin that answered early or never may take no more of it.
pub(super) struct Link {
    pub(super) sender: SendRequest<RequestBody>,
    task: AbortHandle,
}

/// Counts one open connection to a server over all workers; dropping it uncounts.
pub(super) struct Open(Server);

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
        connections.retain(|connection| !connection.link.sender.is_closed());
        let oldest = match reuse {
            Reuse::Any => connections.first()?.since,
            Reuse::Recent => now.checked_sub(RECENT)?,
        };
        // One that is not ready still reads the end of its last response or writes the rest of its last request.
        let ready = connections
            .iter()
            .rposition(|idle| idle.link.sender.is_ready() && idle.since >= oldest)?;
        let connection = connections.remove(ready);
        Some(self.lease(connection.link, connection.server))
    }

    /// A loan of a connection that was just made.
    pub(super) fn lease(self: &Rc<Self>, link: Link, server: Server) -> Lease {
        Lease {
            link,
            server,
            pool: Rc::clone(self),
            is_spent: false,
        }
    }

    fn put(self: &Rc<Self>, link: Link, server: Server) {
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
        if !self.reaping.replace(true) {
            tokio::task::spawn_local(reap(Rc::clone(self)));
        }
    }

    /// Closes what has been idle too long. Returns when to look again; `None` when nothing is idle.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        for connections in idle.values_mut() {
            connections.retain(|idle| !idle.link.sender.is_closed() && idle.until() > now);
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
    /// The origin answered before it had the whole request: what it makes of the rest, it may answer, too. So the connection
    /// is for no other request.
    pub(super) fn spend(&mut self) {
        self.is_spent = true;
    }

    /// Keeps the connection for the next request: the exchange ended whole.
    pub(super) fn give_back(self) {
        if !self.is_spent && !self.link.sender.is_closed() {
            self.pool.put(self.link, self.server);
        }
    }
}

impl Link {
    /// `task` runs the connection that `sender` belongs to.
    pub(super) fn new(sender: SendRequest<RequestBody>, task: AbortHandle) -> Self {
        Self { sender, task }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Idle {
    fn until(&self) -> Instant {
        self.since + self.server.idle_timeout()
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
        Key(Arc::as_ptr(&self.upstream).addr(), self.index)
    }

    /// Counts a connection, unless the server has as many as it may.
    pub(super) fn open(&self) -> Option<Open> {
        let connections = &self.origin().connections;
        if connections.fetch_add(1, Ordering::Relaxed) >= self.upstream.settings.limits.connections
        {
            connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Open(self.clone()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.origin().connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key(usize, usize);

/// Idle connections to one server in one worker; over it the oldest is closed.
const IDLE_MAX: usize = 64;
/// Below the keep-alive timeout of all origin servers we know (the shortest default is 2 s, gunicorn's).
const RECENT: Duration = Duration::from_secs(1);
/// Bounds the reaper's work when connections expire one after the other.
const REAP_INTERVAL_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
