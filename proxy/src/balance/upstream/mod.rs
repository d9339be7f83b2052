//! An upstream's shared state: its origin servers, their counters and their health.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::budget::Budget;
use super::health::{Attempt, Health, Rule, Turn};
use super::pick::Maglev;
use super::server::{InFlight, OriginServer};
use super::{EjectSettings, Policy, SERVERS_MAX, Scheme, Secret, ServerSettings, UpstreamSettings};

/// A group of origin servers and what is known of each. Shared by all workers; health is atomics. Kept over a reload
/// when its settings are unchanged; when they are not, the servers that stay are.
#[derive(Debug)]
pub struct Upstream {
    /// As configured.
    pub settings: UpstreamSettings,
    /// In the order of `settings.servers`.
    pub servers: Vec<Arc<OriginServer>>,
    /// What clients see of this upstream is keyed by.
    pub secret: Secret,
    pub(super) maglev: Option<Maglev>,
    /// What stands for each server in a sticky cookie; empty without one.
    tokens: Vec<u128>,
    epoch: Instant,
    budget: Budget,
    /// Held only while a server is being ejected, so that two workers that eject two servers at once cannot exceed
    /// `max_percent` together.
    ejecting: Mutex<()>,
}

/// Whether TLS with an upstream's servers is, after a reload, what it was: whom weir trusts, and who it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// It is.
    Same,
    /// It is not: what was agreed with an `https://` server before is void.
    Changed,
}

impl Upstream {
    /// All servers healthy. `epoch` is any instant not after the first `now`.
    pub fn new(settings: UpstreamSettings, secret: Secret, epoch: Instant) -> Self {
        Self::build(settings, secret, epoch, |wanted| {
            Arc::new(OriginServer::new(wanted.clone()))
        })
    }

    /// What follows this one after a reload: servers that stay keep their counters, their health and that they are
    /// drained. Connections stay with their server, so one that is spoken with in another way is another server.
    #[must_use]
    pub fn succeeded_by(&self, settings: UpstreamSettings, terms: Terms) -> Self {
        let same_transport = settings.transport == self.settings.transport;
        let same_way = |server: &ServerSettings| {
            same_transport && (terms == Terms::Same || server.scheme == Scheme::Http)
        };
        Self::build(settings, self.secret.clone(), self.epoch, |wanted| {
            let stays = self
                .servers
                .iter()
                .find(|server| same_way(&server.settings) && server.settings == *wanted);
            stays.map_or_else(|| self.reborn(wanted), Arc::clone)
        })
    }

    /// To be told when it takes its predecessor's place: what checks have found is forgotten if there are none any more.
    pub fn succeeded(&self) {
        if self.settings.health.is_none() {
            self.servers.iter().for_each(|server| server.probed.reset());
        }
    }

    /// A server with other settings; that the operator drained it still holds.
    fn reborn(&self, wanted: &ServerSettings) -> Arc<OriginServer> {
        let server = OriginServer::new(wanted.clone());
        let before = self
            .servers
            .iter()
            .find(|before| before.authority == server.authority);
        if let Some(before) = before {
            server.set_drained(before.is_drained());
            if before.is_looked_up() {
                server.resolved(before.addresses().to_vec());
            }
        }
        Arc::new(server)
    }

    fn build(
        settings: UpstreamSettings,
        secret: Secret,
        epoch: Instant,
        server: impl Fn(&ServerSettings) -> Arc<OriginServer>,
    ) -> Self {
        let servers: Vec<_> = settings.servers.iter().map(server).collect();
        let tokens = match settings.sticky {
            None => Vec::new(),
            Some(_) => servers
                .iter()
                .map(|server| secret.token(&settings.name, &server.authority))
                .collect(),
        };
        let maglev = matches!(settings.balance, Policy::Maglev(_)).then(|| {
            Maglev::new(
                servers
                    .iter()
                    .take(SERVERS_MAX)
                    .map(|server| (server.authority.as_str(), server.settings.weight)),
            )
        });
        Self {
            servers,
            secret,
            maglev,
            tokens,
            epoch,
            budget: Budget::default(),
            ejecting: Mutex::new(()),
            settings,
        }
    }

    /// Counts a request to `servers[index]` until what is returned is dropped: at the end of its response.
    pub fn begin(self: &Arc<Self>, index: usize) -> InFlight {
        InFlight::new(Arc::clone(self), index)
    }

    /// Notes how an attempt at `servers[index]` ended, once per attempt. Returns for how long this ejects the server.
    ///
    /// An attempt that ends while its server is ejected is counted but changes nothing: it may have begun before, on a
    /// connection that outlived the server's listener.
    pub fn report(&self, index: usize, attempt: Attempt, now: Instant) -> Option<Duration> {
        let server = self.servers.get(index)?;
        let now_ms = self.millis(now);
        let requests = server.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let eject = &self.settings.eject;
        let rule = match attempt {
            Attempt::Responded(latency) => {
                server.ejection.responded(now_ms);
                self.timed(server, latency, now_ms);
                None
            }
            Attempt::Errored(latency) => {
                server.failures.fetch_add(1, Ordering::Relaxed);
                self.timed(server, latency, now_ms);
                server.ejection.errored(eject, requests, now_ms)
            }
            Attempt::Failed => {
                server.failures.fetch_add(1, Ordering::Relaxed);
                // To fail fast must not look like answering fast.
                self.timed(server, self.settings.timeouts.connect, now_ms);
                server.ejection.failed(eject, requests, now_ms)
            }
        };
        self.eject(index, server, rule?, now_ms)
    }

    /// Takes a retry out of the budget; false when it is used up.
    pub fn may_retry(&self, now: Instant) -> bool {
        let requests = self.servers.iter();
        let requests = requests.map(|server| server.requests.load(Ordering::Relaxed));
        self.budget.take(
            self.settings.retry.budget_percent,
            requests.sum(),
            self.millis(now),
        )
    }

    /// State of `servers[index]`.
    pub fn health(&self, index: usize, now: Instant) -> Health {
        let now_ms = self.millis(now);
        let Some(server) = self.servers.get(index) else {
            return Health::Healthy;
        };
        if server.is_drained() {
            return Health::Drained;
        }
        if server.probed.is_down() {
            let reason = server.probed.reason();
            return Health::Unhealthy(reason.unwrap_or_else(|| "recovering".into()));
        }
        match server.ejection.left_ms(now_ms) {
            0 => Health::Healthy,
            left_ms => Health::Ejected(Duration::from_millis(left_ms)),
        }
    }

    /// A health check of `servers[index]` ended, with why it failed. Returns what that changes.
    pub fn probed(&self, index: usize, outcome: Result<(), &str>, now: Instant) -> Option<Turn> {
        let server = self.servers.get(index)?;
        let turn = server
            .probed
            .observe(self.settings.health.as_ref()?, outcome)?;
        match turn {
            Turn::Up => server.returned(self.millis(now)),
            Turn::Down => server.latency.forget(),
        }
        Some(turn)
    }

    /// Leaves `servers[index]` out, or takes it in again. False if it is as wanted already.
    pub fn drain(&self, index: usize, drained: bool, now: Instant) -> bool {
        let Some(server) = self.servers.get(index) else {
            return false;
        };
        let changed = server.set_drained(drained);
        if changed && !drained {
            server.returned(self.millis(now));
        }
        changed
    }

    /// The server that a sticky cookie's value stands for.
    pub fn of_token(&self, value: &str) -> Option<usize> {
        if value.len() != TOKEN_DIGITS || value.starts_with('+') {
            return None;
        }
        let token = u128::from_str_radix(value, 16).ok()?;
        self.tokens.iter().position(|known| *known == token)
    }

    /// What stands for `servers[index]` in a sticky cookie.
    pub fn token(&self, index: usize) -> Option<String> {
        self.tokens.get(index).map(|token| format!("{token:032x}"))
    }

    /// Milliseconds since this upstream's epoch: what the atomics hold.
    pub(super) fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.epoch))
    }

    /// The share of requests that `servers[index]` is to get: [`UNIT`] times its weight when all is well, less while it
    /// starts slowly, 0 when it is left out.
    pub(super) fn weight(&self, index: usize, now_ms: u64) -> u32 {
        let server = &self.servers[index];
        if server.is_drained() || server.probed.is_down() || server.ejection.left_ms(now_ms) > 0 {
            return 0;
        }
        let full = self.full_weight(index);
        let slow_start_ms = millis(self.settings.slow_start);
        let Some(back_ms) = server.back_since_ms().filter(|_| slow_start_ms > 0) else {
            return full;
        };
        let passed_ms = now_ms.saturating_sub(back_ms);
        if passed_ms >= slow_start_ms {
            return full;
        }
        let ramped = u64::from(full) * passed_ms / slow_start_ms;
        u32::try_from(ramped)
            .unwrap_or(full)
            .max(full / SLOWEST_START)
    }

    /// The same, whatever its health; 0 only when it is drained.
    pub(super) fn full_weight(&self, index: usize) -> u32 {
        let server = &self.servers[index];
        if server.is_drained() {
            return 0;
        }
        server.settings.weight.clamp(1, WEIGHT_MAX) * UNIT
    }

    fn timed(&self, server: &OriginServer, latency: Duration, now_ms: u64) {
        if self.settings.balance == Policy::PeakEwma {
            server.latency.observe(latency, now_ms);
        }
    }

    fn eject(
        &self,
        index: usize,
        server: &OriginServer,
        rule: Rule,
        now_ms: u64,
    ) -> Option<Duration> {
        let eject = &self.settings.eject;
        let _one_at_a_time = self.ejecting.lock();
        let ejected = self
            .servers
            .iter()
            .filter(|s| s.ejection.left_ms(now_ms) > 0);
        let room = ejected.count() < most_ejected(eject, self.servers.len());
        if !room || (rule == Rule::Errors && self.others_err_too(index, now_ms)) {
            return None;
        }
        let for_ms = server.ejection.eject(eject, now_ms)?;
        // It will return as one that has to prove itself, not as the slow one that its failures made it.
        server.latency.forget();
        Some(Duration::from_millis(for_ms))
    }

    /// Whether the other servers have, on average, at least half the share of errors that ejects: then it is the requests or
    /// something behind all servers that is broken, and leaving one out would only take capacity away.
    fn others_err_too(&self, index: usize, now_ms: u64) -> bool {
        let eject = &self.settings.eject;
        let share = |server: &OriginServer| {
            let requests = server.requests.load(Ordering::Relaxed);
            let (errors, requests) = server.ejection.recent(eject, requests, now_ms)?;
            (errors * 100).checked_div(requests)
        };
        let others = self.servers.iter().enumerate();
        let (shares, others) = others
            .filter(|(other, _)| *other != index)
            .fold((0, 0), |(shares, others), (_, server)| {
                (shares + share(server).unwrap_or(0), others + 1)
            });
        others > 0 && shares * 2 >= others * u64::from(eject.error_percent)
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

/// What a weight of 1 counts, so that a slow start has steps. The sum over all servers stays within 2^26.
pub(super) const UNIT: u32 = 1024;
/// Largest weight of a server.
const WEIGHT_MAX: u32 = 256;
/// A slow start begins with this part of the full weight: with less, the first request might not come for long.
const SLOWEST_START: u32 = 10;
/// Hexadecimal digits of a sticky cookie's value.
const TOKEN_DIGITS: usize = 32;

#[cfg(test)]
pub(super) mod tests;
