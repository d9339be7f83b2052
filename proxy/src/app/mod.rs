//! Composition root: turns settings into threads and wires them together.
//!
//! | thread | does |
//! |---|---|
//! | `worker-N` | serves requests ([`crate::http::worker`]); one per core |
//! | `detect` | adds up what workers report and writes blocks into the kernel |
//! | `sweep` | removes expired list entries |
//! | `feeds` | reads files of networks to block and writes them into the kernel |
//! | `origins` | checks the health of origin servers and looks their names up |
//! | `access-log` | writes access log lines |
//! | `password-N` | verify passwords of `basic_auth`, if a route asks for some |
//! | main | control: signals, reload, admin API, upkeep of the shield |
//!
//! Workers share nothing mutable but sharded stores and atomics; what they serve by is an immutable
//! [`Site`](crate::http::Site) that a reload replaces whole.

mod certificates;
mod control;
mod detection;
mod drain;
mod feeds;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod host;
mod listeners;
mod origins;
mod rates;
mod reload;
mod secret;
mod status;
mod sweep;
mod unguard;
mod workers;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::api;
use crate::config::{self, Invalid, Settings};
pub use crate::http::FileError;
use crate::xdp::{Replace, Shield};
use crate::{admin, cache, clock, http, telemetry, tls};
pub use certificates::{Finding, check as check_certificates};
pub use tls::CertificateError;

use control::ControlPlane;
use guard::Guard;
use origins::Origins;
use workers::{Exit, Shared, Workers};

/// Bound of the queue from workers to detection, in reports. A worker sends at most 40 a second.
const REPORTS: usize = 1024;
/// How often lost interfaces are looked for and the drop rate is measured.
const UPKEEP: Duration = Duration::from_secs(2);
/// How often samples are taken out of the ring. 250 ms × the sample budget stays far below the ring's size.
const SAMPLING: Duration = Duration::from_millis(250);

/// Longest wait for the access log's last lines at the end.
const FLUSH: Duration = Duration::from_secs(1);

/// Where settings come from, at the start and on each reload: a file, and what the command line puts in its place.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    /// The file.
    pub path: PathBuf,
    /// `--pin-dir`
    pub pin_dir: Option<PathBuf>,
    /// `--run-dir`
    pub run_dir: Option<PathBuf>,
}

impl ConfigSource {
    /// Reads the file and applies the command line.
    pub fn load(&self) -> Result<Settings, Invalid> {
        let mut settings = config::load(&self.path)?;
        if let Some(dir) = &self.pin_dir {
            settings.shield.pin_dir.clone_from(dir);
        }
        if let Some(dir) = &self.run_dir {
            settings.process.run_dir.clone_from(dir);
        }
        Ok(settings)
    }

    /// Logs what is valid in `settings`, but surely not meant.
    fn warn(&self, settings: &Settings) {
        for warning in &settings.warnings {
            tracing::warn!(
                config = %self.path.display(),
                line = warning.line,
                key = %warning.key,
                hint = %warning.hint,
                "{}",
                warning.message
            );
        }
    }
}

/// Runs weir until it is told to stop. `source` is read again on reload.
pub fn run(settings: Settings, source: ConfigSource, replace: Replace) -> anyhow::Result<()> {
    telemetry::start(&settings.log);
    source.warn(&settings);
    raise_open_files_limit();
    let state_dir = &settings.process.state_dir;
    std::fs::create_dir_all(state_dir)
        .with_context(|| format!("cannot make the directory {}", state_dir.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the control thread's runtime")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve(settings, source, replace))
}

/// Everything that can fail comes first, cheapest first, so that a bad start leaves nothing behind.
async fn serve(settings: Settings, source: ConfigSource, replace: Replace) -> anyhow::Result<()> {
    // First: a signal during the start waits for its end, where a reload would otherwise kill weir.
    let mut signals = Signals::listen()?;
    // The socket's lock also makes this the only weir on `run_dir` before anything is attached.
    let mut admin_listeners = vec![admin::socket::Listener::unix(&settings.process.run_dir)?];
    if let Some(address) = settings.admin.listen {
        admin_listeners.push(admin::socket::Listener::tcp(address)?);
    }
    let certificates = certificates::load(&settings)?;
    let filters = reload::filters(&settings, None)?;
    let secret = secret::load(&settings.process.state_dir)?;
    let site = reload::first_site(&settings, filters, &secret)?;
    let bound = listeners::bind(&settings.listen, settings.process.workers)?;
    let access = telemetry::AccessLog::start(&settings.log.access, settings.log.format)
        .context("cannot open the access log")?;
    let shield = attach_shield(&settings, replace)?;
    let shared = Shared {
        site: Arc::new(ArcSwap::from_pointee(site)),
        credentials: Arc::new(ArcSwap::from_pointee(certificates.credentials())),
        store: Arc::new(cache::Store::new(&settings.cache)),
        access,
        secret,
        upgrades: Arc::new(http::Upgrades::new(settings.upgrades)),
    };
    let origins = look_up(&settings, &shared).await?;
    let (reports, inbox) = std::sync::mpsc::sync_channel(REPORTS);
    let detection = detection::start(inbox, Arc::clone(&shared.site), &settings, shield.is_some())?;
    let listeners = listeners::listen(bound)?;
    let count = settings.process.workers;
    let mut workers = Workers::start(count, listeners, &shared, &reports)?;
    drop(reports);

    let guard = shield
        .map(|shield| Guard::start(shield, &settings))
        .transpose()?;

    let parts = control::Parts {
        settings,
        source,
        guard,
        origins,
        shared,
        detection,
        certificates,
    };
    let control = Rc::new(ControlPlane::new(parts, &workers));
    let (stop_admin, admin_stopped) = watch::channel(false);
    let admin_servers = admin_listeners.into_iter().map(|listener| {
        let (control, stopped) = (Rc::clone(&control), admin_stopped.clone());
        tokio::task::spawn_local(admin::server::serve(listener, control, stopped))
    });
    let admin_servers: Vec<_> = admin_servers.collect();
    control.enter(api::State::Serving);
    notify_systemd(&[sd_notify::NotifyState::Ready]);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");

    let how = supervise(&control, &mut signals, &mut workers).await;
    control.enter(api::State::Draining);
    notify_systemd(&[sd_notify::NotifyState::Stopping]);
    let ended = wind_down(how, &mut signals, workers, control.drain_limit()).await;
    stop_admin.send_replace(true);
    if !control.flush_access_log(FLUSH) {
        tracing::warn!("the access log does not take its last lines");
    }
    for server in admin_servers {
        if let Err(error) = server.await? {
            tracing::warn!(%error, "the admin API ended with an error");
        }
    }
    ended
}

/// Has names of origin servers looked up, and takes over what the first look-ups find.
async fn look_up(settings: &Settings, shared: &Shared) -> anyhow::Result<Origins> {
    let origins = Origins::start(&shared.site)?;
    origins.ready().await;
    let found = origins.services();
    if !found.is_empty() {
        let site = reload::site_with(settings, shared, &found);
        shared.site.store(Arc::new(site));
        origins.reloaded();
    }
    Ok(origins)
}

/// Why the control loop ended.
enum Ending {
    /// SIGTERM or SIGINT.
    Graceful,
    /// SIGQUIT.
    Immediate,
    /// A worker ended by itself.
    WorkerLost(Exit),
}

/// The control loop: signals, upkeep of the shield, watching over workers.
async fn supervise(
    control: &Rc<ControlPlane>,
    signals: &mut Signals,
    workers: &mut Workers,
) -> Ending {
    let mut upkeep = tokio::time::interval(UPKEEP);
    let mut sampling = tokio::time::interval(SAMPLING);
    let mut watching = tokio::time::interval(certificates::WATCH);
    upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    sampling.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    watching.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let guarded = control.is_guarded();
    let mut found = control.origins.found();
    loop {
        tokio::select! {
            received = signals.next() => match received {
                Received::Terminate => return Ending::Graceful,
                Received::Quit => return Ending::Immediate,
                Received::Reload => {
                    notify_systemd(&[
                        sd_notify::NotifyState::Reloading,
                        sd_notify::NotifyState::MonotonicUsec(i128::from(clock::kernel_now_ns() / 1000)),
                    ]);
                    // What went wrong is logged where it is known; the old settings stay.
                    let _logged = control.reload_settings();
                    notify_systemd(&[sd_notify::NotifyState::Ready]);
                }
            },
            Ok(()) = found.changed() => control.take_services(),
            exit = workers.next_exit() => return Ending::WorkerLost(exit),
            _ = upkeep.tick(), if guarded => control.upkeep(),
            _ = watching.tick() => control.refresh_certificates(),
            _ = sampling.tick(), if guarded => control.take_samples(),
        }
    }
}

/// Ends the workers: drained within `drain`, at once on a second signal.
async fn wind_down(
    how: Ending,
    signals: &mut Signals,
    workers: Workers,
    drain: Duration,
) -> anyhow::Result<()> {
    match how {
        Ending::Graceful => {
            tracing::info!(seconds = drain.as_secs(), "draining");
            tokio::select! {
                () = workers.drain(drain) => {}
                () = signals.end() => workers.stop_now().await,
            }
            tracing::info!("stopped");
            Ok(())
        }
        Ending::Immediate => {
            workers.stop_now().await;
            tracing::info!("stopped at once");
            Ok(())
        }
        Ending::WorkerLost(exit) => {
            tokio::select! {
                () = workers.drain(drain) => {}
                () = signals.end() => workers.stop_now().await,
            }
            bail!("{exit}; the others were drained")
        }
    }
}

/// Reads the files that routes of `settings` name, as a start would.
pub fn check_files(settings: &Settings) -> Result<(), FileError> {
    reload::filters(settings, None).map(drop)
}

fn attach_shield(settings: &Settings, replace: Replace) -> anyhow::Result<Option<Shield>> {
    if settings.shield.interfaces.is_empty() {
        tracing::warn!("shield.interfaces is empty: no packet filter");
        unguard::after_an_earlier_run(settings);
        return Ok(None);
    }
    let shield = Shield::attach(&settings.shield, replace)?;
    for interface in shield.interfaces() {
        tracing::info!(
            interface = %interface.name,
            mode = interface.mode.as_str(),
            program_id = interface.program_id,
            not_native = interface.fallback.as_deref(),
            enforce = settings.shield.enforce,
            "shield attached"
        );
    }
    Ok(Some(shield))
}

/// Each connection is a descriptor; take what the hard limit gives.
fn raise_open_files_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the open files limit");
    }
}

/// Tells systemd, if it is there.
fn notify_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "sd_notify");
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Received {
    /// SIGTERM, SIGINT.
    Terminate,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Reload,
}

struct Signals {
    term: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot handle signals");
        Ok(Self {
            term: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            quit: on(SignalKind::quit())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.term.recv() => Received::Terminate,
            _ = self.interrupt.recv() => Received::Terminate,
            _ = self.quit.recv() => Received::Quit,
            _ = self.hangup.recv() => Received::Reload,
        }
    }

    /// Waits for a signal that ends weir; a reload makes no sense any more.
    async fn end(&mut self) {
        while self.next().await == Received::Reload {}
    }
}
