//! An upstream's shared state: its origin servers, their counters and their health.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::health::{Ejection, Judgement};
use super::{EjectSettings, ServerSettings, UpstreamSettings};

/// A group of origin servers and what is known of each. Shared by all workers; health is atomics. Kept over a reload
/// when name and servers are unchanged.
#[derive(Debug)]
pub struct Upstream {
    /// As configured.
    pub settings: UpstreamSettings,
    /// In the order of `settings.servers`.
    pub servers: Vec<OriginServer>,
    epoch: Instant,
    /// Held only while a server is being ejected, so that two workers that eject two servers at once cannot exceed
    /// `max_percent` together.
    ejecting: Mutex<()>,
}

/// One origin server's shared state.
#[derive(Debug)]
pub struct OriginServer {
    /// As configured.
    pub settings: ServerSettings,
    /// `host:port`, brackets around IPv6: for logs and the pool's key.
    pub authority: String,
    /// Attempts that were reported. [`Upstream::report`] counts.
    pub requests: AtomicU64,
    /// Those of them that failed. [`Upstream::report`] counts.
    pub failures: AtomicU64,
    /// Open connections to it, over all workers. `http` counts.
    pub connections: AtomicUsize,
    ejection: Ejection,
}

/// How an attempt at an origin server ended, as far as its health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A response head came.
    Responded,
    /// Connect refused or timed out, or the connection was lost before a response.
    Failed,
}

/// One server's state for status output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Gets requests.
    Healthy,
    /// Left out for this much longer.
    Ejected(Duration),
}

impl Upstream {
    /// All servers healthy. `epoch` is any instant not after the first `now`.
    pub fn new(settings: UpstreamSettings, epoch: Instant) -> Self {
        let servers = settings.servers.iter().cloned().map(OriginServer::new);
        Self {
            servers: servers.collect(),
            settings,
            epoch,
            ejecting: Mutex::new(()),
        }
    }

    /// Notes how an attempt at `servers[index]` ended, once per attempt. Returns true when this ejects the server.
    ///
    /// An attempt that ends while its server is ejected is counted but changes nothing: it may have begun before, on a
    /// connection that outlived the server's listener.
    pub fn report(&self, index: usize, attempt: Attempt, now: Instant) -> bool {
        let Some(server) = self.servers.get(index) else {
            return false;
        };
        let now_ms = self.millis(now);
        server.requests.fetch_add(1, Ordering::Relaxed);
        match attempt {
            Attempt::Responded => {
                server.ejection.responded(now_ms);
                false
            }
            Attempt::Failed => {
                server.failures.fetch_add(1, Ordering::Relaxed);
                match server.ejection.failed(self.settings.eject.failures, now_ms) {
                    Judgement::Keep => false,
                    Judgement::Eject => self.eject(server, now_ms),
                }
            }
        }
    }

    /// State of `servers[index]`.
    pub fn health(&self, index: usize, now: Instant) -> Health {
        let now_ms = self.millis(now);
        match self.servers.get(index).map(|s| s.ejection.left_ms(now_ms)) {
            None | Some(0) => Health::Healthy,
            Some(left_ms) => Health::Ejected(Duration::from_millis(left_ms)),
        }
    }

    /// Milliseconds since this upstream's epoch: what the atomics hold.
    pub(super) fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.epoch))
    }

    /// Whether `servers[index]` is left out at `now_ms`.
    pub(super) fn is_ejected(&self, index: usize, now_ms: u64) -> bool {
        self.servers
            .get(index)
            .is_some_and(|server| server.ejection.left_ms(now_ms) > 0)
    }

    fn eject(&self, server: &OriginServer, now_ms: u64) -> bool {
        let _one_at_a_time = self.ejecting.lock();
        let ejected = self
            .servers
            .iter()
            .filter(|s| s.ejection.left_ms(now_ms) > 0);
        if ejected.count() >= most_ejected(&self.settings.eject, self.servers.len()) {
            return false;
        }
        let until_ms = now_ms.saturating_add(millis(self.settings.eject.duration));
        server.ejection.eject(now_ms, until_ms)
    }
}

impl OriginServer {
    fn new(settings: ServerSettings) -> Self {
        let ServerSettings { host, port, .. } = &settings;
        let authority = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Self {
            settings,
            authority,
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            ejection: Ejection::default(),
        }
    }
}

/// How many of `servers` may be ejected at once.
fn most_ejected(settings: &EjectSettings, servers: usize) -> usize {
    let percent = settings.max_percent.min(100) as usize;
    match servers * percent / 100 {
        0 if percent > 0 && servers >= 2 => 1,
        most => most,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{UpstreamLimits, UpstreamTimeouts};
    use super::*;

    pub(in super::super) fn upstream(
        weights: &[u32],
        eject: EjectSettings,
        epoch: Instant,
    ) -> Upstream {
        let server = |(n, weight): (usize, &u32)| ServerSettings {
            host: format!("origin-{n}"),
            port: 8080,
            weight: *weight,
        };
        let settings = UpstreamSettings {
            name: "app".to_owned(),
            servers: weights.iter().enumerate().map(server).collect(),
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
                host,
                port: 80,
                weight: 1,
            });
            assert_eq!(server.authority, authority);
        }
    }
}
