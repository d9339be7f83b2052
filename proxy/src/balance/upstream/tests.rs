//! Ejection over time, and its bound.

use super::super::{Scheme, ServerSettings};
use super::*;

/// Servers `origin-0`, `origin-1` … with these weights, all else by default.
pub(in super::super) fn of(weights: &[u32]) -> UpstreamSettings {
    let server = |(n, weight): (usize, &u32)| ServerSettings {
        scheme: Scheme::Http,
        host: format!("origin-{n}"),
        port: 8080,
        weight: *weight,
    };
    UpstreamSettings::new("app", weights.iter().enumerate().map(server).collect())
}

pub(in super::super) fn upstream(
    weights: &[u32],
    eject: EjectSettings,
    epoch: Instant,
) -> Upstream {
    let settings = UpstreamSettings {
        eject,
        ..of(weights)
    };
    Upstream::new(settings, SECRET, epoch)
}

const SECRET: Secret = Secret::new([7; 16]);

pub(in super::super) const EJECT: EjectSettings = EjectSettings {
    failures: 3,
    error_percent: 0,
    window: Duration::from_secs(10),
    min_requests: 20,
    duration: Duration::from_secs(30),
    duration_max: Duration::from_mins(5),
    max_percent: 50,
};

#[allow(
    clippy::disallowed_methods,
    reason = "any start will do; time then moves by hand"
)]
pub(in super::super) fn start() -> Instant {
    Instant::now()
}

const OK: Attempt = Attempt::Responded(Duration::from_millis(1));
const SECOND: Duration = Duration::from_secs(1);

fn ejects(upstream: &Upstream, index: usize, attempt: Attempt, now: Instant) -> bool {
    upstream.report(index, attempt, now).is_some()
}

#[test]
fn consecutive_failures_eject_and_a_response_between_them_starts_the_count_anew() {
    let now = start();
    let upstream = upstream(&[1, 1], EJECT, now);
    for attempt in [Attempt::Failed, Attempt::Failed, OK] {
        assert!(!ejects(&upstream, 0, attempt, now));
    }
    assert!(!ejects(&upstream, 0, Attempt::Failed, now));
    assert!(!ejects(&upstream, 0, Attempt::Failed, now));
    assert_eq!(upstream.health(0, now), Health::Healthy);
    assert!(ejects(&upstream, 0, Attempt::Failed, now));
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
        ejects(&upstream, 0, Attempt::Failed, now),
        "one failure is enough now"
    );
    now += 60 * SECOND;
    assert!(!ejects(&upstream, 0, OK, now));
    assert!(
        !ejects(&upstream, 0, Attempt::Failed, now),
        "a response restores full trust"
    );
    assert_eq!(upstream.health(0, now), Health::Healthy);
}

#[test]
fn repeated_ejections_last_longer_up_to_a_bound_until_the_server_has_held_out_as_long() {
    let mut now = start();
    let upstream = upstream(&[1, 1], EJECT, now);
    for _ in 0..2 {
        upstream.report(0, Attempt::Failed, now);
    }
    for seconds in [30, 60, 120, 240, 300, 300] {
        let ejected = upstream.report(0, Attempt::Failed, now);
        assert_eq!(ejected, Some(seconds * SECOND));
        now += seconds * SECOND;
    }
    upstream.report(0, OK, now);
    now += 300 * SECOND;
    let again: Vec<_> = (0..3)
        .map(|_| upstream.report(0, Attempt::Failed, now))
        .collect();
    assert_eq!(again, [None, None, Some(30 * SECOND)]);
}

const ERRORED: Attempt = Attempt::Errored(Duration::from_millis(1));
const ERRORS: EjectSettings = EjectSettings {
    error_percent: 50,
    ..EJECT
};

#[test]
fn a_share_of_errors_ejects_and_fewer_requests_than_mean_something_do_not() {
    let now = start();
    let upstream = upstream(&[1, 1, 1], ERRORS, now);
    let ejected: Vec<_> = (0..20)
        .map(|n| ejects(&upstream, 0, if n % 2 == 1 { ERRORED } else { OK }, now))
        .collect();
    // The window begins with the first error, so the 20th request is the 19th in it.
    assert!(!ejected.contains(&true));
    assert!(!ejects(&upstream, 0, OK, now));
    assert!(ejects(&upstream, 0, ERRORED, now));
    for n in 0..100 {
        let attempt = if n % 3 == 0 { ERRORED } else { OK };
        assert!(!ejects(&upstream, 1, attempt, now), "a third is not a half");
    }
}

#[test]
fn errors_of_long_ago_do_not_count() {
    let mut now = start();
    let upstream = upstream(&[1, 1], ERRORS, now);
    for _ in 0..10 {
        for _ in 0..19 {
            assert!(!ejects(&upstream, 0, ERRORED, now));
        }
        now += 10 * SECOND;
    }
}

#[test]
fn when_all_servers_err_alike_none_is_ejected_for_it() {
    let now = start();
    let upstream = upstream(&[1; 4], ERRORS, now);
    for n in 0..1_000 {
        assert!(!ejects(&upstream, n % 4, ERRORED, now), "request {n}");
    }
}

#[test]
fn a_successor_keeps_what_is_known_of_servers_that_stay() {
    let now = start();
    let before = upstream(&[1, 1, 1], EJECT, now);
    assert!(before.drain(0, true, now));
    for _ in 0..3 {
        before.report(1, Attempt::Failed, now);
    }
    let mut settings = of(&[1, 1, 9, 1]);
    settings.servers.remove(1);
    settings.servers.push(of(&[1, 1]).servers.remove(1));
    let after = before.succeeded_by(settings, Terms::Same);
    let states: Vec<_> = (0..4).map(|index| after.health(index, now)).collect();
    assert_eq!(
        states,
        [
            Health::Drained,
            Health::Healthy,
            Health::Healthy,
            Health::Ejected(30 * SECOND)
        ]
    );
    assert_eq!(after.servers[3].failures.load(Ordering::Relaxed), 3);
}

#[test]
fn a_drained_server_stays_drained_when_its_weight_changes() {
    let now = start();
    let before = upstream(&[1, 1], EJECT, now);
    before.drain(1, true, now);
    let after = before.succeeded_by(of(&[1, 5]), Terms::Same);
    assert_eq!(after.health(1, now), Health::Drained);
}

#[test]
fn a_token_leads_back_to_its_server_and_nothing_else_does() {
    let mut settings = of(&[1, 1]);
    settings.sticky = Some(crate::balance::StickySettings {
        cookie: "c".to_owned(),
    });
    let upstream = Upstream::new(settings.clone(), SECRET, start());
    let token = upstream.token(1).expect("there is a cookie");
    assert_eq!(upstream.of_token(&token), Some(1));
    assert!(!token.contains("origin"));
    let foreign = Upstream::new(settings, Secret::new([8; 16]), start());
    let foreign = foreign.token(1).expect("there is a cookie");
    for broken in ["", "1", &token[1..], &format!("{token}0"), &foreign] {
        assert_eq!(upstream.of_token(broken), None, "{broken}");
    }
    let signed = format!("+{}", &token[1..]);
    assert_eq!(upstream.of_token(&signed), None);
}

#[test]
fn attempts_that_end_during_an_ejection_neither_shorten_nor_prolong_it() {
    let now = start();
    let upstream = upstream(&[1, 1], EJECT, now);
    for _ in 0..3 {
        upstream.report(0, Attempt::Failed, now);
    }
    let later = now + 10 * SECOND;
    assert!(!ejects(&upstream, 0, Attempt::Failed, later));
    assert!(!ejects(&upstream, 0, OK, later));
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
            (0..servers * 3).filter(|n| ejects(&upstream, n % servers, Attempt::Failed, now));
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
    assert!(ejects(&upstream, 1, Attempt::Failed, now));
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
    assert!(!ejects(&upstream, 7, Attempt::Failed, now));
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
