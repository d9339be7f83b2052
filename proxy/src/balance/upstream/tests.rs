//! Ejection over time, and its bound.

use super::super::{Scheme, UpstreamLimits, UpstreamTimeouts, UpstreamTransport};
use super::*;

pub(in super::super) fn upstream(
    weights: &[u32],
    eject: EjectSettings,
    epoch: Instant,
) -> Upstream {
    let server = |(n, weight): (usize, &u32)| ServerSettings {
        scheme: Scheme::Http,
        host: format!("origin-{n}"),
        port: 8080,
        weight: *weight,
    };
    let settings = UpstreamSettings {
        name: "app".to_owned(),
        servers: weights.iter().enumerate().map(server).collect(),
        transport: UpstreamTransport::default(),
        eject,
        limits: UpstreamLimits { connections: 10 },
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(1),
            response: Duration::from_secs(30),
            idle: Duration::from_mins(1),
        },
    };
    Upstream::new(settings, epoch)
}

pub(in super::super) const EJECT: EjectSettings = EjectSettings {
    failures: 3,
    duration: Duration::from_secs(30),
    max_percent: 50,
};

#[allow(
    clippy::disallowed_methods,
    reason = "any start will do; time then moves by hand"
)]
pub(in super::super) fn start() -> Instant {
    Instant::now()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn consecutive_failures_eject_and_a_response_between_them_starts_the_count_anew() {
    let now = start();
    let upstream = upstream(&[1, 1], EJECT, now);
    for attempt in [Attempt::Failed, Attempt::Failed, Attempt::Responded] {
        assert!(!upstream.report(0, attempt, now));
    }
    assert!(!upstream.report(0, Attempt::Failed, now));
    assert!(!upstream.report(0, Attempt::Failed, now));
    assert_eq!(upstream.health(0, now), Health::Healthy);
    assert!(upstream.report(0, Attempt::Failed, now));
    assert_eq!(
        upstream.health(0, now),
        Health::Ejected(Duration::from_secs(30))
    );
    assert_eq!(upstream.health(1, now), Health::Healthy);
    assert_eq!(upstream.servers[0].requests.load(Ordering::Relaxed), 6);
    assert_eq!(upstream.servers[0].failures.load(Ordering::Relaxed), 5);
}

#[test]
fn an_ejection_ends_and_the_first_failure_after_it_ejects_anew() {
    let mut now = start();
    let upstream = upstream(&[1, 1], EJECT, now);
    for _ in 0..3 {
        upstream.report(0, Attempt::Failed, now);
    }
    now += 29 * SECOND;
    assert_eq!(upstream.health(0, now), Health::Ejected(SECOND));
    now += SECOND;
    assert_eq!(upstream.health(0, now), Health::Healthy);
    assert!(
        upstream.report(0, Attempt::Failed, now),
        "one failure is enough now"
    );
    now += 30 * SECOND;
    assert!(!upstream.report(0, Attempt::Responded, now));
    assert!(
        !upstream.report(0, Attempt::Failed, now),
        "a response restores full trust"
    );
    assert_eq!(upstream.health(0, now), Health::Healthy);
}

#[test]
fn attempts_that_end_during_an_ejection_neither_shorten_nor_prolong_it() {
    let now = start();
    let upstream = upstream(&[1, 1], EJECT, now);
    for _ in 0..3 {
        upstream.report(0, Attempt::Failed, now);
    }
    let later = now + 10 * SECOND;
    assert!(!upstream.report(0, Attempt::Failed, later));
    assert!(!upstream.report(0, Attempt::Responded, later));
    assert_eq!(upstream.health(0, later), Health::Ejected(20 * SECOND));
}

#[test]
fn no_more_servers_are_ejected_at_once_than_max_percent_allows() {
    for (servers, max_percent, most) in [
        (1, 50, 0),
        (1, 100, 1),
        (2, 50, 1),
        (2, 10, 1),
        (3, 50, 1),
        (4, 50, 2),
        (4, 100, 4),
        (4, 0, 0),
        (64, 10, 6),
    ] {
        let now = start();
        let eject = EjectSettings {
            max_percent,
            ..EJECT
        };
        let upstream = upstream(&vec![1; servers], eject, now);
        let failures =
            (0..servers * 3).filter(|n| upstream.report(n % servers, Attempt::Failed, now));
        assert_eq!(failures.count(), most, "{servers} servers, {max_percent} %");
    }
}

#[test]
fn a_server_that_fails_beyond_max_percent_is_ejected_once_there_is_room() {
    let mut now = start();
    let upstream = upstream(&[1, 1], EJECT, now);
    for index in [0, 1, 0, 1, 0, 1] {
        upstream.report(index, Attempt::Failed, now);
    }
    assert_eq!(upstream.health(1, now), Health::Healthy);
    now += 31 * SECOND;
    assert!(upstream.report(1, Attempt::Failed, now));
}

#[test]
fn a_reading_of_the_clock_before_the_epoch_counts_as_the_epoch() {
    let before = start();
    let epoch = before + SECOND;
    let upstream = upstream(
        &[1],
        EjectSettings {
            max_percent: 100,
            ..EJECT
        },
        epoch,
    );
    for _ in 0..3 {
        upstream.report(0, Attempt::Failed, before);
    }
    assert_eq!(upstream.health(0, epoch), Health::Ejected(30 * SECOND));
}

#[test]
fn an_index_out_of_range_is_no_server_and_no_panic() {
    let now = start();
    let upstream = upstream(&[1], EJECT, now);
    assert!(!upstream.report(7, Attempt::Failed, now));
    assert_eq!(upstream.health(7, now), Health::Healthy);
}

#[test]
fn authority_puts_brackets_around_ipv6_only() {
    for (host, authority) in [
        ("10.0.0.1", "10.0.0.1:80"),
        ("2001:db8::1", "[2001:db8::1]:80"),
        ("a.b", "a.b:80"),
    ] {
        let host = host.to_owned();
        let server = OriginServer::new(ServerSettings {
            scheme: Scheme::Http,
            host,
            port: 80,
            weight: 1,
        });
        assert_eq!(server.authority, authority);
    }
}
