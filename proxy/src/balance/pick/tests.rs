//! Who gets how much, and who gets nothing.

use std::sync::Arc;
use std::time::Duration;

use super::super::upstream::tests::{EJECT, of, start, upstream};
use super::super::{Attempt, HashOn, HealthSettings, InFlight, Secret, UpstreamSettings};
use super::*;

const POLICIES: [Policy; 5] = [
    Policy::RoundRobin,
    Policy::LeastRequests,
    Policy::PeakEwma,
    Policy::Random,
    Policy::Maglev(HashOn::ClientIp),
];

fn with(
    weights: &[u32],
    now: Instant,
    change: impl FnOnce(&mut UpstreamSettings),
) -> Arc<Upstream> {
    let mut settings = of(weights);
    settings.eject = EJECT;
    change(&mut settings);
    Arc::new(Upstream::new(settings, Secret::new([7; 16]), now))
}

fn by(policy: &Policy, weights: &[u32], now: Instant) -> Arc<Upstream> {
    with(weights, now, |settings| settings.balance = policy.clone())
}

fn key(number: u64) -> Wish {
    Wish {
        key: Some(Secret::new([9; 16]).text(&number.to_ne_bytes())),
        server: None,
    }
}

/// Each pick is a request of its own, over at once.
fn counts(upstream: &Upstream, picks: u64, now: Instant) -> Vec<u64> {
    let mut picker = Picker::new(upstream, 1);
    let mut counts = vec![0; upstream.servers.len()];
    for number in 0..picks {
        if let Some(index) = picker.pick(upstream, key(number), &mut Tried::default(), now) {
            counts[index] += 1;
        }
    }
    counts
}

fn pick(picker: &mut Picker, upstream: &Upstream, now: Instant) -> Option<usize> {
    picker.pick(upstream, Wish::default(), &mut Tried::default(), now)
}

fn eject(upstream: &Upstream, index: usize, now: Instant) {
    for _ in 0..EJECT.failures {
        upstream.report(index, Attempt::Failed, now);
    }
}

#[test]
fn round_robin_spreads_picks_smoothly_by_weight() {
    let now = start();
    let upstream = upstream(&[5, 1, 1], EJECT, now);
    let mut picker = Picker::new(&upstream, 0);
    let picks: Vec<_> = (0..14)
        .filter_map(|_| pick(&mut picker, &upstream, now))
        .collect();
    assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn every_round_gives_each_server_exactly_its_weight() {
    let now = start();
    let weights = [7, 256, 1, 13, 40];
    let upstream = upstream(&weights, EJECT, now);
    let mut picker = Picker::new(&upstream, 12_345);
    for _ in 0..3 {
        let mut counts = [0; 5];
        for _ in 0..weights.iter().sum() {
            counts[pick(&mut picker, &upstream, now).expect("all are healthy")] += 1;
        }
        assert_eq!(counts, weights);
    }
}

#[test]
fn the_seed_is_how_many_picks_a_rotation_has_already_made() {
    let now = start();
    let upstream = upstream(&[1, 1, 1], EJECT, now);
    for (seed, first) in [(0, 0), (1, 1), (2, 2), (3, 0), (u64::MAX, 0)] {
        let mut picker = Picker::new(&upstream, seed);
        assert_eq!(
            pick(&mut picker, &upstream, now),
            Some(first),
            "seed {seed}"
        );
    }
}

#[test]
fn without_load_every_policy_gives_servers_their_weight() {
    let now = start();
    let weights = [1, 3, 6];
    for policy in &POLICIES {
        // It prefers whoever answers first; with equal answers that says nothing of weights.
        if *policy == Policy::PeakEwma {
            continue;
        }
        let counts = counts(&by(policy, &weights, now), 50_000, now);
        for (count, weight) in counts.into_iter().zip(weights) {
            let expected = 5_000 * u64::from(weight);
            assert!(
                count.abs_diff(expected) < expected / 20,
                "{policy:?}: {count}"
            );
        }
    }
}

/// What a thousand requests that never end do.
fn pile_up(upstream: &Arc<Upstream>, now: Instant) -> Vec<InFlight> {
    let mut picker = Picker::new(upstream, 1);
    let mut pick = || pick(&mut picker, upstream, now).expect("all are healthy");
    (0..1_000).map(|_| upstream.begin(pick())).collect()
}

#[test]
fn least_requests_evens_out_what_is_in_flight_by_weight() {
    let now = start();
    let upstream = by(&Policy::LeastRequests, &[1, 1, 2], now);
    let under_way = pile_up(&upstream, now);
    for (server, expected) in upstream.servers.iter().zip([250_u32, 250, 500]) {
        assert!(
            server.in_flight().abs_diff(expected) <= 12,
            "{}",
            server.in_flight()
        );
    }
    drop(under_way);
    assert!(
        upstream
            .servers
            .iter()
            .all(|server| server.in_flight() == 0)
    );
}

#[test]
fn peak_ewma_avoids_a_server_that_is_ten_times_slower() {
    let mut now = start();
    let upstream = by(&Policy::PeakEwma, &[1; 10], now);
    let mut picker = Picker::new(&upstream, 1);
    let mut slow = 0;
    for _ in 0..10_000 {
        now += Duration::from_millis(1);
        let index = pick(&mut picker, &upstream, now).expect("all are healthy");
        let took = Duration::from_millis(if index == 3 { 100 } else { 10 });
        slow += u32::from(index == 3);
        upstream.report(index, Attempt::Responded(took), now);
    }
    // A tenth would be its fair share. It gets one now and then, to prove itself.
    assert!((1..100).contains(&slow), "{slow}");
}

#[test]
fn peak_ewma_sends_one_request_at_a_time_to_who_has_not_answered_yet() {
    let now = start();
    let upstream = by(&Policy::PeakEwma, &[1, 1], now);
    upstream.report(0, Attempt::Responded(Duration::from_millis(10)), now);
    let mut picker = Picker::new(&upstream, 1);
    assert_eq!(pick(&mut picker, &upstream, now), Some(1));
    let _asked = upstream.begin(1);
    assert_eq!(pick(&mut picker, &upstream, now), Some(0));
}

#[test]
fn a_request_tries_each_server_once_and_then_none() {
    let now = start();
    for policy in &POLICIES {
        let upstream = by(policy, &[1; SERVERS_MAX], now);
        let mut picker = Picker::new(&upstream, 9);
        let mut tried = Tried::default();
        let mut picks: Vec<_> = (0..SERVERS_MAX + 40)
            .filter_map(|_| picker.pick(&upstream, key(1), &mut tried, now))
            .collect();
        picks.sort_unstable();
        assert_eq!(picks, (0..SERVERS_MAX).collect::<Vec<_>>(), "{policy:?}");
    }
}

#[test]
fn an_ejected_server_is_left_out_until_its_time_is_over() {
    let now = start();
    for policy in &POLICIES {
        let upstream = by(policy, &[1, 1], now);
        eject(&upstream, 0, now);
        assert_eq!(counts(&upstream, 100, now)[0], 0, "{policy:?}");
        let later = now + Duration::from_secs(30);
        assert!(counts(&upstream, 100, later)[0] > 0, "{policy:?}");
    }
}

#[test]
fn an_ejected_server_is_the_last_resort_of_a_request_that_tried_the_others() {
    let now = start();
    for policy in &POLICIES {
        let upstream = by(policy, &[1, 1], now);
        eject(&upstream, 0, now);
        let mut picker = Picker::new(&upstream, 0);
        let mut tried = Tried::default();
        let picks = [(); 3].map(|()| picker.pick(&upstream, key(1), &mut tried, now));
        assert_eq!(picks, [Some(1), Some(0), None], "{policy:?}");
    }
}

fn unhealthy(upstream: &Upstream, servers: usize, now: Instant) {
    for index in 0..servers {
        for _ in 0..3 {
            upstream.probed(index, Err("refused"), now);
        }
    }
}

#[test]
fn when_too_few_are_healthy_all_are_used() {
    let now = start();
    for policy in &POLICIES {
        let upstream = with(&[1; 10], now, |settings| {
            settings.balance = policy.clone();
            settings.health = Some(HealthSettings::default());
        });
        unhealthy(&upstream, 5, now);
        assert!(
            counts(&upstream, 1_000, now)[..5]
                .iter()
                .all(|count| *count == 0),
            "{policy:?}"
        );
        unhealthy(&upstream, 6, now);
        assert!(
            counts(&upstream, 1_000, now).iter().all(|count| *count > 0),
            "{policy:?}"
        );
    }
}

#[test]
fn without_panic_an_upstream_whose_servers_are_all_unhealthy_has_none() {
    let now = start();
    let upstream = with(&[1, 1], now, |settings| {
        settings.health = Some(HealthSettings::default());
        settings.panic_percent = 0;
    });
    unhealthy(&upstream, 2, now);
    assert_eq!(counts(&upstream, 10, now), [0, 0]);
}

#[test]
fn a_drained_server_gets_nothing_whatever_happens_to_the_others() {
    let now = start();
    for policy in &POLICIES {
        let upstream = with(&[1, 1, 1], now, |settings| {
            settings.balance = policy.clone();
            settings.health = Some(HealthSettings::default());
        });
        assert!(upstream.drain(0, true, now));
        assert_eq!(counts(&upstream, 100, now)[0], 0, "{policy:?}");
        unhealthy(&upstream, 3, now);
        assert_eq!(counts(&upstream, 100, now)[0], 0, "{policy:?}");
        let stuck = Wish {
            server: Some(0),
            ..key(1)
        };
        let picked = Picker::new(&upstream, 0).pick(&upstream, stuck, &mut Tried::default(), now);
        assert_ne!(picked, Some(0), "{policy:?}");
        assert!(upstream.drain(0, false, now));
        assert!(counts(&upstream, 100, now)[0] > 0, "{policy:?}");
    }
}

#[test]
fn a_server_that_returns_starts_slowly() {
    let start = start();
    for policy in &POLICIES {
        if *policy == Policy::PeakEwma {
            continue;
        }
        let upstream = with(&[1, 1], start, |settings| {
            settings.balance = policy.clone();
            settings.slow_start = Duration::from_secs(10);
        });
        upstream.drain(0, true, start);
        upstream.drain(0, false, start);
        // A weight of 0.1, 0.5 and 1 beside one of 1; Maglev keeps the tail of a table entry's own keys instead.
        for (seconds, least, most) in [(0, 300, 1_100), (5, 2_300, 3_600), (10, 4_500, 5_500)] {
            let now = start + Duration::from_secs(seconds);
            let count = counts(&upstream, 10_000, now)[0];
            assert!(
                (least..most).contains(&count),
                "{policy:?} after {seconds} s: {count}"
            );
        }
    }
}

#[test]
fn a_request_that_had_a_server_gets_it_again_while_it_is_there() {
    let now = start();
    for policy in &POLICIES {
        let upstream = by(policy, &[1; 4], now);
        let mut picker = Picker::new(&upstream, 0);
        let wish = Wish {
            server: Some(2),
            ..key(1)
        };
        let mut pick = |now| picker.pick(&upstream, wish, &mut Tried::default(), now);
        assert!((0..10).all(|_| pick(now) == Some(2)), "{policy:?}");
        eject(&upstream, 2, now);
        assert_ne!(pick(now), Some(2), "{policy:?}");
    }
}

fn homes(upstream: &Upstream, now: Instant) -> Vec<String> {
    let mut picker = Picker::new(upstream, 0);
    let mut home = |number| {
        let index = picker.pick(upstream, key(number), &mut Tried::default(), now);
        upstream.servers[index.expect("all are healthy")]
            .authority
            .clone()
    };
    (0..20_000).map(&mut home).collect()
}

/// Keys that have another home than before, beyond those whose home is gone, in a hundredth of a percent.
fn moved(before: &[String], after: &[String], gone: &str) -> usize {
    let pairs = before.iter().zip(after);
    let moved = pairs.filter(|(before, after)| *before != gone && before != after);
    moved.count() * 10_000 / before.len()
}

#[test]
fn maglev_moves_few_other_keys_when_one_of_a_hundred_servers_leaves() {
    let now = start();
    let maglev = Policy::Maglev(HashOn::Uri);
    let all = by(&maglev, &[1; 100], now);
    let before = homes(&all, now);
    let gone = all.servers[0].authority.clone();
    let rest = with(&[1; 100], now, |settings| {
        settings.balance = maglev;
        settings.servers.remove(0);
    });
    let moved = moved(&before, &homes(&rest, now), &gone);
    assert!(moved <= 200, "{moved}");
}

#[test]
fn maglev_moves_no_other_key_while_a_server_is_left_out() {
    let now = start();
    let upstream = by(&Policy::Maglev(HashOn::Uri), &[1; 100], now);
    let before = homes(&upstream, now);
    eject(&upstream, 0, now);
    let after = homes(&upstream, now);
    let gone = &upstream.servers[0].authority;
    assert_eq!(moved(&before, &after, gone), 0);
    assert!(!after.contains(gone));
}

#[test]
fn maglev_takes_names_and_not_places_for_servers() {
    let now = start();
    let settings = |settings: &mut UpstreamSettings| {
        settings.balance = Policy::Maglev(HashOn::Uri);
    };
    let upstream = with(&[1; 10], now, settings);
    let reversed = with(&[1; 10], now, |reversed| {
        settings(reversed);
        reversed.servers.reverse();
    });
    assert_eq!(homes(&upstream, now), homes(&reversed, now));
}

#[test]
fn a_picker_of_another_upstream_picks_no_server_that_is_not_there() {
    let now = start();
    for policy in &POLICIES {
        let (large, small) = (by(policy, &[1; 5], now), by(policy, &[1], now));
        let mut picker = Picker::new(&large, 4);
        assert!((0..10).all(|_| pick(&mut picker, &small, now) == Some(0)));
        let mut none = Picker::new(&by(policy, &[], now), 3);
        assert_eq!(pick(&mut none, &small, now), None);
    }
}
