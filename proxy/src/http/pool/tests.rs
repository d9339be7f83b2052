//! Connections over in-memory pipes; the origin's end is the test's.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::balance::{Secret, ServerSettings, UpstreamLimits, UpstreamSettings, UpstreamTimeouts};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;

fn server(idle: Duration) -> Server {
    let servers = vec![ServerSettings {
        host: "192.0.2.1".into(),
        port: 80,
        weight: 1,
    }];
    let settings = UpstreamSettings {
        limits: UpstreamLimits {
            connections: 2,
            ..UpstreamLimits::default()
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
    (pool.lease(Link::new(sender, task), server.clone()), theirs)
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
            taken.link.sender.is_closed(),
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
    let pool = Rc::new(Pool::default());
    let first = pool.open(&server).unwrap();
    let _second = pool.open(&server).unwrap();
    assert!(pool.open(&server).is_none());
    drop(first);
    assert!(pool.open(&server).is_some());
}
