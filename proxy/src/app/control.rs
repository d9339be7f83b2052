//! The control plane: what the admin API and signals ask of the running weir. Lives on the control thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::admin::{Control, Failure, FailureKind, api, view};
use crate::config::{self, Settings};
use crate::http::worker::Counters;
use crate::xdp::{DropSample, ErrorKind, Inserted, List, Maps, ShieldError};
use crate::{clock, net, tls};

use super::ConfigSource;
use super::certificates;
use super::detection::Tally;
use super::drain;
use super::guard::Guard;
use super::listeners;
use super::origins::Origins;
use super::rates::DropRate;
use super::reload;
use super::workers::{Shared, Workers};

/// Sampled drops kept for the admin API.
const RECENT_SAMPLES: usize = 100;

/// What the control thread owns.
pub(super) struct ControlPlane {
    pub(super) source: ConfigSource,
    pub(super) settings: RefCell<Rc<Settings>>,
    pub(super) guard: Option<Guard>,
    pub(super) origins: Origins,
    pub(super) shared: Shared,
    pub(super) counters: Vec<Arc<Counters>>,
    pub(super) detection: Arc<Tally>,
    pub(super) started: Instant,
    pub(super) state: Cell<api::State>,
    pub(super) drop_rate: RefCell<DropRate>,
    certificates: RefCell<tls::Store>,
    /// What workers listen on.
    listeners: watch::Sender<Vec<Arc<net::Listener>>>,
    /// Newest first, at most [`RECENT_SAMPLES`].
    samples: RefCell<VecDeque<DropSample>>,
}

/// What it is made of.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) source: ConfigSource,
    pub(super) guard: Option<Guard>,
    pub(super) origins: Origins,
    pub(super) shared: Shared,
    pub(super) detection: Arc<Tally>,
    pub(super) certificates: tls::Store,
}

impl ControlPlane {
    pub(super) fn new(parts: Parts, workers: &Workers) -> Self {
        let Parts {
            settings,
            source,
            guard,
            origins,
            shared,
            detection,
            certificates,
        } = parts;
        Self {
            source,
            settings: RefCell::new(Rc::new(settings)),
            guard,
            origins,
            shared,
            counters: workers.counters(),
            detection,
            started: clock::now(),
            state: Cell::new(api::State::Starting),
            drop_rate: RefCell::default(),
            samples: RefCell::default(),
            certificates: RefCell::new(certificates),
            listeners: workers.listeners(),
        }
    }

    /// Takes up certificate files that changed.
    pub(super) fn refresh_certificates(&self) {
        if let Some(fresh) = self.certificates.borrow_mut().refresh(clock::now()) {
            self.shared.credentials.store(Arc::new(fresh));
        }
    }

    pub(super) fn enter(&self, state: api::State) {
        self.state.set(state);
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Longest graceful stop, as configured last.
    pub(super) fn drain_limit(&self) -> Duration {
        self.settings.borrow().drain
    }

    /// Waits until the lines of the last requests are written; false when that takes longer than `limit`.
    pub(super) fn flush_access_log(&self, limit: Duration) -> bool {
        self.shared.access.flush(limit)
    }

    /// Looks after the interfaces, measures the drop rate.
    pub(super) fn upkeep(&self) {
        let Some(guard) = &self.guard else {
            return;
        };
        let mut shield = guard.shield.borrow_mut();
        match shield.maps().totals() {
            Ok(totals) => self.drop_rate.borrow_mut().observe(&totals, clock::now()),
            Err(error) => tracing::warn!(%error, "cannot read the totals"),
        }
        for (interface, news) in shield.check() {
            tracing::warn!(%interface, "{news}");
        }
        let settings = &self.settings.borrow().shield;
        match guard.host.borrow_mut().check(settings, shield.maps()) {
            // Detached by hand: told for each interface.
            Err(error) if error.kind != ErrorKind::NotAttached => {
                tracing::warn!(hint = %error.hint, "{error}");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Takes samples out of the ring and keeps the latest.
    pub(super) fn take_samples(&self) {
        /// Bound of one round; the rest waits for the next.
        const ROUND: usize = 256;
        let Some(guard) = &self.guard else {
            return;
        };
        let mut shield = guard.shield.borrow_mut();
        let mut recent = self.samples.borrow_mut();
        for sample in shield.samples(ROUND) {
            tracing::debug!(
                interface = %sample.interface,
                reason = sample.outcome.as_str(),
                bytes = sample.sample.frame_len,
                skipped = sample.sample.skipped,
                "dropped"
            );
            recent.truncate(RECENT_SAMPLES - 1);
            recent.push_front(sample);
        }
    }

    /// Takes the servers over that SRV records name now.
    pub(super) fn take_services(&self) {
        let found = self.origins.services();
        let site = reload::site_with(&self.settings.borrow(), &self.shared, &found);
        self.shared.site.store(Arc::new(site));
        self.origins.reloaded();
    }

    /// Reads the configuration again. Everything that can fail is done before anything changes for clients.
    pub(super) fn reload_settings(&self) -> Result<api::Reloaded, api::ReloadFailed> {
        let outcome = self.try_reload();
        match &outcome {
            Ok(reloaded) => {
                tracing::info!(generation = reloaded.generation, "configuration reloaded");
                if !reloaded.needs_restart.is_empty() {
                    tracing::warn!(keys = ?reloaded.needs_restart, "changed, but only a restart applies it");
                }
            }
            Err(failed) => {
                for problem in &failed.problems {
                    tracing::error!(
                        config = %self.source.path.display(),
                        line = problem.line,
                        key = %problem.key,
                        value = %problem.value,
                        hint = %problem.hint,
                        "{}",
                        problem.message
                    );
                }
                tracing::error!(hint = %failed.hint, "not reloaded, nothing changed: {}", failed.error);
            }
        }
        outcome
    }

    fn try_reload(&self) -> Result<api::Reloaded, api::ReloadFailed> {
        let wanted = self
            .source
            .load()
            .map_err(|invalid| refused_file(&invalid))?;
        self.source.warn(&wanted);
        let mut needs_restart = self.settings.borrow().diff(&wanted);
        let filters = reload::filters(&wanted, Some(&self.shared.site.load()))
            .map_err(|error| refused(error.to_string(), error.hint.clone()))?;
        let found = self.origins.services();
        let site = reload::next_site(&wanted, filters, &self.shared, &found)
            .map_err(|error| refused(error.to_string(), error.hint))?;
        let certificates = certificates::next(&self.certificates.borrow(), &wanted)
            .map_err(|error| refused(error.to_string(), error.hint))?;
        let listeners = listeners::Change::prepare(
            &self.listeners.borrow(),
            &wanted.listen,
            self.counters.len(),
        );
        let listeners = listeners
            .map_err(|error| refused(error.to_string(), "choose another `address`".to_owned()))?;
        let mut applied = true;
        if let Some(guard) = &self.guard {
            let in_force = Rc::clone(&self.settings.borrow());
            match guard.reconfigure(&in_force, &wanted) {
                Ok(()) => {}
                // Who took the shield off by hand can still change routes and upstreams.
                Err(error) if error.kind == ErrorKind::NotAttached => {
                    tracing::warn!(hint = %error.hint, "[shield] is not applied: {error}");
                    needs_restart.push("shield");
                    applied = false;
                }
                Err(error) => return Err(refused(error.to_string(), error.hint)),
            }
        }
        let credentials = certificates.credentials_after(&self.certificates.borrow());
        self.shared.credentials.store(Arc::new(credentials));
        *self.certificates.borrow_mut() = certificates;
        self.listeners.send_replace(listeners.apply());
        let reloaded = api::Reloaded {
            config: self.source.path.display().to_string(),
            generation: site.generation,
            routes: wanted.routes.len(),
            upstreams: wanted.upstreams.len(),
            needs_restart: needs_restart.into_iter().map(str::to_owned).collect(),
        };
        site.upstreams
            .iter()
            .for_each(|upstream| upstream.succeeded());
        self.shared.site.store(Arc::new(site));
        self.origins.reloaded();
        self.shared.upgrades.set_max(wanted.upgrades);
        let current = Rc::clone(&self.settings.borrow());
        let mut effective = reload::effective(&current, wanted);
        if !applied {
            effective.shield = current.shield.clone();
        }
        *self.settings.borrow_mut() = Rc::new(effective);
        Ok(reloaded)
    }

    /// Runs `read` on the maps, or says that there are none.
    fn with_maps<T>(
        &self,
        read: impl FnOnce(&Maps) -> Result<T, ShieldError>,
    ) -> Result<T, Failure> {
        let guard = self.guard.as_ref().ok_or_else(|| {
            Failure::new(
                FailureKind::NoShield,
                "weir runs without a packet filter",
                "name interfaces in [shield] and restart",
            )
        })?;
        read(guard.shield.borrow().maps()).map_err(|error| shield_failure(&error))
    }

    fn listed(&self, list: List, word: api::List) -> Result<api::Entries, Failure> {
        let now_ns = clock::kernel_now_ns();
        let entries = self.with_maps(|maps| maps.entries(list, now_ns))?;
        Ok(api::Entries {
            entries: entries
                .iter()
                .map(|listed| {
                    let entry = view::ListEntry {
                        expires_ns: listed.expires_ns,
                        added_ns: listed.added_ns,
                        hits: listed.hits,
                        origin: listed.origin,
                        reason: listed.reason,
                    };
                    view::entry(word, listed.network, &entry, now_ns)
                })
                .collect(),
        })
    }

    fn insert(
        &self,
        list: List,
        networks: &[ipnet::IpNet],
        duration: Option<Duration>,
        reason: &str,
    ) -> Result<api::Changed, Failure> {
        self.with_maps(|maps| {
            let changes = networks.iter().map(|&network| {
                let now_ns = clock::kernel_now_ns();
                let inserted = maps.insert(list, network, duration, "cli", reason, now_ns)?;
                Ok(match inserted {
                    Inserted::Added => {
                        tracing::info!(%network, list = word(list), %reason, "entry added from the command line");
                        view::added(network, duration)
                    }
                    Inserted::Kept { expires_ns, origin } => {
                        view::kept(network, expires_ns, &origin, now_ns)
                    }
                })
            });
            Ok(api::Changed {
                changes: changes.collect::<Result<_, ShieldError>>()?,
            })
        })
    }

    fn remove(&self, list: List, networks: &[ipnet::IpNet]) -> Result<api::Changed, Failure> {
        self.with_maps(|maps| {
            let changes = networks.iter().map(|&network| {
                let there = maps.remove(list, network)?;
                if there {
                    tracing::info!(%network, list = word(list), "entry removed from the command line");
                }
                Ok(view::removed(network, there))
            });
            Ok(api::Changed {
                changes: changes.collect::<Result<_, ShieldError>>()?,
            })
        })
    }
}

impl Control for ControlPlane {
    fn status(&self) -> api::Status {
        super::status::of(self)
    }

    fn drops(&self) -> Result<api::Drops, Failure> {
        self.with_maps(|maps| Ok(view::drops(maps.enforcing()?, &maps.totals()?)))
    }

    fn sources(&self, query: &api::SourcesQuery) -> Result<api::Sources, Failure> {
        let rows = self.with_maps(Maps::sources)?;
        let rows = rows.into_iter().map(|row| {
            let counts = view::SourceCounts {
                state: row.state,
                blocked: row.blocked,
            };
            (row.network, counts)
        });
        Ok(view::sources(rows, query, clock::kernel_now_ns()))
    }

    fn blocks(&self) -> Result<api::Entries, Failure> {
        self.listed(List::Block, api::List::Block)
    }

    fn allows(&self) -> Result<api::Entries, Failure> {
        self.listed(List::Allow, api::List::Allow)
    }

    fn upstreams(&self) -> api::Upstreams {
        super::status::upstreams(&self.shared.site.load())
    }

    fn drain(&self, request: &api::DrainRequest) -> Result<api::Drained, Failure> {
        drain::set(&self.shared.site.load(), request, true)
    }

    fn undrain(&self, request: &api::DrainRequest) -> Result<api::Drained, Failure> {
        drain::set(&self.shared.site.load(), request, false)
    }

    fn certs(&self) -> api::Certificates {
        certificates::to_api(&self.certificates.borrow(), clock::wall())
    }

    fn block(&self, request: &api::BlockRequest) -> Result<api::Changed, Failure> {
        let duration = request.seconds.map_or_else(
            || self.settings.borrow().shield.block_for,
            Duration::from_secs,
        );
        self.insert(
            List::Block,
            &request.networks,
            Some(duration),
            &request.reason,
        )
    }

    fn unblock(&self, request: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        self.remove(List::Block, &request.networks)
    }

    fn allow(&self, request: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        self.insert(List::Allow, &request.networks, None, "")
    }

    fn disallow(&self, request: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        self.remove(List::Allow, &request.networks)
    }

    fn reload(&self) -> Result<api::Reloaded, api::ReloadFailed> {
        self.reload_settings()
    }

    fn ready(&self) -> bool {
        let guarded = self
            .guard
            .as_ref()
            .is_none_or(|guard| guard.shield.borrow().troubles().next().is_none());
        self.state.get() == api::State::Serving && guarded
    }

    fn recent_samples(&self) -> Vec<api::Sample> {
        let now_ns = clock::kernel_now_ns();
        self.samples
            .borrow()
            .iter()
            .map(|drop| view::sample(&drop.interface, drop.outcome, &drop.sample, now_ns))
            .collect()
    }
}

/// The list's name, as commands and the API have it.
fn word(list: List) -> &'static str {
    match list {
        List::Allow => "allow",
        List::Block => "block",
    }
}

fn shield_failure(error: &ShieldError) -> Failure {
    let kind = match error.kind {
        ErrorKind::NotPermitted => FailureKind::NotPermitted,
        ErrorKind::NotAttached => FailureKind::NoShield,
        ErrorKind::Failed => FailureKind::Failed,
    };
    Failure::new(kind, error.to_string(), error.hint.clone())
}

fn refused(error: String, hint: String) -> api::ReloadFailed {
    api::ReloadFailed {
        error,
        hint,
        problems: Vec::new(),
    }
}

fn refused_file(invalid: &config::Invalid) -> api::ReloadFailed {
    api::ReloadFailed {
        error: invalid.to_string(),
        hint: "`weir check` shows them without a running weir".to_owned(),
        problems: invalid
            .problems
            .iter()
            .map(|problem| api::Problem {
                line: problem.line,
                key: problem.key.clone(),
                value: problem.value.clone(),
                message: problem.message.clone(),
                hint: problem.hint.clone(),
            })
            .collect(),
    }
}
