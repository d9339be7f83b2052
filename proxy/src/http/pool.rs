//! Connections to origin servers: one worker's own, so nothing here is locked or sent. HTTP/1.1 with keep-alive; the
//! connection used last is used next, so that surplus ones grow old and go.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use super::body::RequestBody;
use crate::balance::{OriginServer, Upstream};
use crate::clock;

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
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) server: Server,
    pool: Rc<Pool>,
}

/// Counts one open connection to a server over all workers; dropping it uncounts.
pub(super) struct Open(Server);

struct Idle {
    sender: SendRequest<RequestBody>,
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
        connections.retain(|connection| !connection.sender.is_closed());
        let oldest = match reuse {
            Reuse::Any => connections.first()?.since,
            Reuse::Recent => now.checked_sub(RECENT)?,
        };
        // One that is not ready still reads the end of its last response or writes the rest of its last request.
        let ready = connections
            .iter()
            .rposition(|connection| connection.sender.is_ready() && connection.since >= oldest)?;
        let connection = connections.remove(ready);
        Some(self.lease(connection.sender, connection.server))
    }

    /// A loan of a connection that was just made.
    pub(super) fn lease(
        self: &Rc<Self>,
        sender: SendRequest<RequestBody>,
        server: Server,
    ) -> Lease {
        Lease {
            sender,
            server,
            pool: Rc::clone(self),
        }
    }

    fn put(self: &Rc<Self>, sender: SendRequest<RequestBody>, server: Server) {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(server.key()).or_default();
        if connections.len() >= IDLE_MAX {
            connections.remove(0);
        }
        connections.push(Idle {
            sender,
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
            connections.retain(|idle| !idle.sender.is_closed() && idle.until() > now);
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
        if !self.sender.is_closed() {
            self.pool.put(self.sender, self.server);
        }
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
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::balance::{
        EjectSettings, ServerSettings, UpstreamLimits, UpstreamSettings, UpstreamTimeouts,
    };
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;

    fn server(idle: Duration) -> Server {
        let settings = UpstreamSettings {
            name: "app".into(),
            servers: vec![ServerSettings {
                host: "192.0.2.1".into(),
                port: 80,
                weight: 1,
            }],
            eject: EjectSettings {
                failures: 5,
                duration: Duration::from_secs(30),
                max_percent: 50,
            },
            limits: UpstreamLimits { connections: 2 },
            timeouts: UpstreamTimeouts {
                connect: Duration::from_secs(1),
                response: Duration::from_secs(1),
                idle,
            },
        };
        Server {
            upstream: Arc::new(Upstream::new(settings, clock::now())),
            index: 0,
        }
    }

    /// A connection, and the origin's end of it.
    async fn connection(pool: &Rc<Pool>, server: &Server) -> (Lease, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1024);
        let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::task::spawn_local(connection);
        sender.ready().await.unwrap();
        (pool.lease(sender, server.clone()), theirs)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn the_connection_used_last_is_used_next() {
        run(async {
            let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
            let (first, _origin) = connection(&pool, &server).await;
            let (second, origin) = connection(&pool, &server).await;
            first.give_back();
            second.give_back();
            drop(origin);
            let taken = pool.take(&server, Reuse::Any, clock::now()).unwrap();
            tokio::task::yield_now().await;
            assert!(
                taken.sender.is_closed(),
                "the second one's origin has closed"
            );
        });
    }

    #[test]
    fn a_connection_that_its_origin_closed_is_not_used() {
        run(async {
            let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
            let (lease, origin) = connection(&pool, &server).await;
            lease.give_back();
            drop(origin);
            tokio::task::yield_now().await;
            assert!(pool.take(&server, Reuse::Any, clock::now()).is_none());
            assert_eq!(pool.len(), 0);
        });
    }

    #[test]
    fn what_cannot_be_sent_twice_gets_only_a_connection_used_a_moment_ago() {
        run(async {
            let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
            let (lease, _origin) = connection(&pool, &server).await;
            lease.give_back();
            let later = clock::now() + Duration::from_secs(2);
            assert!(pool.take(&server, Reuse::Recent, later).is_none());
            assert!(pool.take(&server, Reuse::Any, later).is_some());
        });
    }

    #[test]
    fn a_dropped_lease_does_not_come_back() {
        run(async {
            let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
            let (lease, _origin) = connection(&pool, &server).await;
            drop(lease);
            assert!(pool.take(&server, Reuse::Any, clock::now()).is_none());
        });
    }

    #[test]
    fn idle_connections_are_bounded_and_expire() {
        run(async {
            let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
            let mut origins = Vec::new();
            for _ in 0..IDLE_MAX + 3 {
                let (lease, origin) = connection(&pool, &server).await;
                lease.give_back();
                origins.push(origin);
            }
            assert_eq!(pool.len(), IDLE_MAX);
            let now = clock::now();
            assert!(pool.expire(now).unwrap() > now);
            assert_eq!(pool.expire(now + Duration::from_secs(10)), None);
            assert_eq!(pool.len(), 0);
        });
    }

    #[test]
    fn servers_do_not_share_connections() {
        run(async {
            let pool = Rc::new(Pool::default());
            let (one, other) = (
                server(Duration::from_secs(9)),
                server(Duration::from_secs(9)),
            );
            let (lease, _origin) = connection(&pool, &one).await;
            lease.give_back();
            assert!(pool.take(&other, Reuse::Any, clock::now()).is_none());
            assert!(pool.take(&one, Reuse::Any, clock::now()).is_some());
        });
    }

    #[test]
    fn open_connections_are_counted_and_limited() {
        let server = server(Duration::from_secs(9));
        let first = server.open().unwrap();
        let _second = server.open().unwrap();
        assert!(server.open().is_none());
        drop(first);
        assert!(server.open().is_some());
    }
}
