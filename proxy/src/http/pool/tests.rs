//! Connections over in-memory pipes; the origin's end is the test's.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::balance::{
    Scheme, Secret, ServerSettings, Terms, UpstreamLimits, UpstreamSettings, UpstreamTimeouts,
};
use crate::http::connect::OriginStream;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

fn server(idle: Duration) -> Server {
    limited(idle, 1000)
}

/// At most `connections`, for one of which a request may wait.
fn limited(idle: Duration, connections: usize) -> Server {
    let servers = vec![ServerSettings {
        scheme: Scheme::Http,
        host: "192.0.2.1".into(),
        port: 80,
        weight: 1,
    }];
    let settings = UpstreamSettings {
        limits: UpstreamLimits {
            connections,
            pending: 1,
        },
        timeouts: UpstreamTimeouts {
            idle,
            ..UpstreamTimeouts::default()
        },
        ..UpstreamSettings::new("app", servers)
    };
    Server {
        upstream: Arc::new(Upstream::new(settings, Secret::new([7; 16]), clock::now())),
        index: 0,
    }
}

/// A connection, and the origin's end of it.
async fn connection(pool: &Rc<Pool>, server: &Server) -> (Lease, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1024);
    let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
    let task = tokio::task::spawn_local(connection).abort_handle();
    sender.ready().await.unwrap();
    let open = Rc::new(pool.open(server).unwrap());
    let link = h1::Link::new(
        sender,
        task,
        Arc::default(),
        open,
        None,
        pool.retirement(server),
    );
    (pool.lease(link, server.clone()), theirs)
}

/// A stream of an HTTP/2 connection whose origin server never answers.
async fn shared(pool: &Rc<Pool>, server: &Server) -> Lease {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = ::h2::server::handshake(stream).await.unwrap();
        while connection.accept().await.is_some() {}
    });
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let stream = OriginStream::cleartext(stream);
    let open = pool.open(server).unwrap();
    let shared = h2::handshake(stream, server, open).await.unwrap();
    pool.share(server, shared)
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
        let taken = pool.take(&server, None, Reuse::Any, clock::now()).unwrap();
        tokio::task::yield_now().await;
        assert!(
            matches!(&taken.link, Link::Http1(link) if !link.is_usable(clock::now())),
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
        assert!(pool.take(&server, None, Reuse::Any, clock::now()).is_none());
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
        assert!(pool.take(&server, None, Reuse::Recent, later).is_none());
        assert!(pool.take(&server, None, Reuse::Any, later).is_some());
    });
}

#[test]
fn a_dropped_lease_does_not_come_back() {
    run(async {
        let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
        let (lease, _origin) = connection(&pool, &server).await;
        drop(lease);
        assert!(pool.take(&server, None, Reuse::Any, clock::now()).is_none());
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
        assert!(pool.take(&other, None, Reuse::Any, clock::now()).is_none());
        assert!(pool.take(&one, None, Reuse::Any, clock::now()).is_some());
    });
}

#[test]
fn open_connections_are_counted_and_limited() {
    let server = limited(Duration::from_secs(9), 2);
    let pool = Rc::new(Pool::default());
    let first = pool.open(&server).unwrap();
    let _second = pool.open(&server).unwrap();
    assert!(pool.open(&server).is_none());
    drop(first);
    assert!(pool.open(&server).is_some());
}

#[test]
fn at_the_limit_the_oldest_idle_connection_makes_room() {
    run(async {
        let (pool, server) = (Rc::new(Pool::default()), limited(Duration::from_secs(9), 2));
        let (first, _first) = connection(&pool, &server).await;
        let (second, _second) = connection(&pool, &server).await;
        first.give_back();
        assert!(pool.open(&server).is_none(), "not before it is closed");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.len(), 0);
        let made = pool.open(&server).unwrap();
        assert!(pool.open(&server).is_none(), "one is in use, one was made");
        drop((made, second));
    });
}

#[test]
fn one_makes_a_connection_to_share_and_the_others_wait_for_it() {
    run(async {
        let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
        let Joined::Dial(Some(dialing)) = pool.join(&server, clock::now()) else {
            panic!("nobody else makes one");
        };
        let Joined::Wait(dialed) = pool.join(&server, clock::now()) else {
            panic!("there is no need for a second one");
        };
        let (outcome, ()) = tokio::join!(dialed.outcome(), async { drop(dialing) });
        assert_eq!(outcome, None, "its request went away: ask again");
        assert!(matches!(
            pool.join(&server, clock::now()),
            Joined::Dial(Some(_))
        ));
    });
}

#[test]
fn those_who_wait_for_a_connection_fail_with_it() {
    run(async {
        let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
        let Joined::Dial(Some(dialing)) = pool.join(&server, clock::now()) else {
            panic!("nobody else makes one");
        };
        let Joined::Wait(dialed) = pool.join(&server, clock::now()) else {
            panic!("there is no need for a second one");
        };
        let failing = async { dialing.fail(Fault::ConnectionRefused) };
        let (outcome, ()) = tokio::join!(dialed.outcome(), failing);
        assert_eq!(outcome, Some(Fault::ConnectionRefused));
        assert!(matches!(
            pool.join(&server, clock::now()),
            Joined::Dial(Some(_))
        ));
    });
}

#[test]
fn nobody_waits_for_a_connection_that_cannot_be_shared() {
    run(async {
        let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_secs(9)));
        let first = pool.join(&server, clock::now());
        pool.speaks_http1(&server);
        for _ in 0..2 {
            assert!(matches!(
                pool.join(&server, clock::now()),
                Joined::Dial(None)
            ));
        }
        drop(first);
        let later = clock::now() + Duration::from_secs(10);
        assert_eq!(pool.expire(later), None, "it is asked again some day");
        assert!(matches!(pool.join(&server, later), Joined::Dial(Some(_))));
    });
}

#[test]
fn a_shared_connection_grows_old_and_is_closed_when_its_last_stream_ends() {
    run(async {
        let (pool, server) = (Rc::new(Pool::default()), server(Duration::from_hours(1)));
        let first = shared(&pool, &server).await;
        let now = clock::now();
        let second = pool.stream(&server, now).expect("there is room");
        let (young, old) = (Duration::from_mins(8), Duration::from_mins(12));
        assert!(pool.stream(&server, now + young).is_some());
        assert!(pool.stream(&server, now + old).is_none());
        first.give_back();
        pool.expire(now + old);
        assert_eq!(server.origin().connections.load(Ordering::Relaxed), 1);
        drop(second);
        pool.expire(now + old);
        while server.origin().connections.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn requests_from_before_and_after_a_reload_wait_in_one_queue() {
    run(async {
        let (pool, before) = (Rc::new(Pool::default()), limited(Duration::from_secs(9), 1));
        let mut settings = before.upstream.settings.clone();
        settings.panic_percent = 1;
        let after = Server {
            upstream: Arc::new(before.upstream.succeeded_by(settings, Terms::Same)),
            index: 0,
        };
        let taken = pool.open(&after).unwrap();
        let deadline = clock::now() + Duration::from_mins(1);
        let (waiting, old) = (Rc::clone(&pool), Arc::clone(&before.upstream));
        let waited = tokio::task::spawn_local(async move { waiting.wait(&old, deadline).await });
        tokio::task::yield_now().await;
        assert!(pool.is_awaited(&after.upstream));
        let outcome = pool.wait(&after.upstream, deadline).await;
        assert_eq!(outcome, Waited::InVain, "one may wait");
        drop(taken);
        // Without a turn of the clock, which lets everybody look now and then.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(waited.is_finished());
        assert_eq!(waited.await.unwrap(), Waited::Freed);
        assert!(!pool.is_awaited(&after.upstream));
    });
}

/// Another worker's pool, as far as can be told from within one thread.
fn beside(pool: &Pool) -> Rc<Pool> {
    Rc::new(Pool::new(Arc::clone(&pool.shortage)))
}

/// Lets tasks run until there is room for a connection to `server`.
async fn room(pool: &Rc<Pool>, server: &Server) -> Open {
    let deadline = clock::now() + Duration::from_secs(20);
    loop {
        if let Some(open) = pool.open(server) {
            return open;
        }
        assert!(clock::now() < deadline, "no other worker makes room");
        tokio::task::yield_now().await;
    }
}

#[test]
fn an_idle_connection_of_another_worker_makes_room() {
    run(async {
        let (busy, server) = (
            Rc::new(Pool::default()),
            limited(Duration::from_hours(1), 2),
        );
        let lacking = beside(&busy);
        let (first, _first) = connection(&busy, &server).await;
        let (second, _second) = connection(&busy, &server).await;
        first.give_back();
        tokio::task::yield_now().await;
        let made = room(&lacking, &server).await;
        assert_eq!(busy.len(), 0);
        // Nothing is idle any more, but this is about to be.
        assert!(lacking.open(&server).is_none());
        second.give_back();
        assert_eq!(busy.len(), 0);
        let more = room(&lacking, &server).await;
        assert!(lacking.open(&server).is_none(), "no more than there may be");
        drop((made, more));
    });
}

#[test]
fn a_worker_that_lacked_a_connection_itself_keeps_the_next_one() {
    run(async {
        let (pool, server) = (
            Rc::new(Pool::default()),
            limited(Duration::from_hours(1), 1),
        );
        let (only, _origin) = connection(&pool, &server).await;
        assert!(pool.open(&server).is_none());
        only.give_back();
        tokio::task::yield_now().await;
        assert!(pool.take(&server, None, Reuse::Any, clock::now()).is_some());
    });
}

#[test]
fn a_worker_keeps_a_connection_that_its_own_requests_wait_for() {
    run(async {
        let (busy, server) = (
            Rc::new(Pool::default()),
            limited(Duration::from_hours(1), 1),
        );
        let lacking = beside(&busy);
        let (only, _origin) = connection(&busy, &server).await;
        assert!(lacking.open(&server).is_none());
        let deadline = clock::now() + Duration::from_mins(1);
        let (waited, ()) = tokio::join!(busy.wait(&server.upstream, deadline), async {
            only.give_back();
        });
        assert_eq!(waited, Waited::Freed);
        assert!(busy.take(&server, None, Reuse::Any, clock::now()).is_some());
    });
}

#[test]
fn a_shared_connection_without_streams_makes_room_for_another_worker() {
    run(async {
        let (busy, server) = (
            Rc::new(Pool::default()),
            limited(Duration::from_hours(1), 1),
        );
        let lacking = beside(&busy);
        let lease = shared(&busy, &server).await;
        assert!(lacking.open(&server).is_none());
        tokio::task::yield_now().await;
        assert!(
            lacking.open(&server).is_none(),
            "what is in use is not taken away"
        );
        lease.give_back();
        let made = room(&lacking, &server).await;
        assert!(busy.stream(&server, clock::now()).is_none());
        drop(made);
        let lease = shared(&busy, &server).await;
        lease.give_back();
        tokio::task::yield_now().await;
        room(&lacking, &server).await;
    });
}
