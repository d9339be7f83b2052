//! The origins thread: checks the health of origin servers and looks their names up. Workers read what it finds from
//! atomics and snapshots; no request waits for it.

mod health;
mod names;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::balance::ServerSettings;
use crate::http::Site;
use crate::net::Resolver;
#[cfg(feature = "fuzzing")]
pub(super) use names::servers;

/// Servers found by SRV records, by name; who uses them knows their scheme.
pub(super) type Services = BTreeMap<String, Vec<ServerSettings>>;

/// Handle to the thread.
#[derive(Debug)]
pub(super) struct Origins {
    services: Arc<ArcSwap<Services>>,
    /// Told when there is another site.
    reloaded: watch::Sender<()>,
    /// First look-ups that are not done.
    outstanding: watch::Receiver<usize>,
    /// Told when `services` is another.
    found: watch::Receiver<()>,
}

impl Origins {
    /// Starts the thread, which ends with this.
    pub(super) fn start(site: &Arc<ArcSwap<Site>>) -> anyhow::Result<Self> {
        let services = Arc::<ArcSwap<Services>>::default();
        let (reloaded, reloads) = watch::channel(());
        // One for the round that finds out how many there are.
        let (outstanding, left) = watch::channel(1);
        let (tell, found) = watch::channel(());
        let (site, shared) = (Arc::clone(site), Arc::clone(&services));
        std::thread::Builder::new()
            .name("origins".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                match runtime {
                    Ok(runtime) => {
                        let context = Rc::new(Context {
                            site,
                            services: shared,
                            outstanding,
                            found: tell,
                            resolver: RefCell::new(Rc::new(Resolver::new())),
                            probes: Semaphore::new(PROBES_MAX),
                            numbers: Cell::new(0),
                        });
                        let local = tokio::task::LocalSet::new();
                        local.block_on(&runtime, run(&context, reloads));
                    }
                    Err(error) => tracing::error!(%error, "cannot look after origin servers"),
                }
            })
            .context("cannot start the origins thread")?;
        Ok(Self {
            services,
            reloaded,
            outstanding: left,
            found,
        })
    }

    /// Waits for the first look-up of every name, but not long.
    pub(super) async fn ready(&self) {
        let mut outstanding = self.outstanding.clone();
        let done = outstanding.wait_for(|left| *left == 0);
        if tokio::time::timeout(FIRST_LOOKUPS, done).await.is_err() {
            tracing::warn!("not all names of origin servers have been found yet");
        }
    }

    /// There is another site.
    pub(super) fn reloaded(&self) {
        self.reloaded.send_replace(());
    }

    /// What SRV records name now.
    pub(super) fn services(&self) -> Arc<Services> {
        self.services.load_full()
    }

    /// Told when [`Self::services`] is another.
    pub(super) fn found(&self) -> watch::Receiver<()> {
        self.found.clone()
    }
}

/// What the thread's tasks share.
struct Context {
    site: Arc<ArcSwap<Site>>,
    services: Arc<ArcSwap<Services>>,
    outstanding: watch::Sender<usize>,
    found: watch::Sender<()>,
    resolver: RefCell<Rc<Resolver>>,
    /// Bounds the health checks at a time.
    probes: Semaphore,
    /// Spreads what tasks do over time.
    numbers: Cell<u64>,
}

impl Context {
    /// The host's name servers and its hosts file, as they were a moment ago.
    fn resolver(&self) -> Rc<Resolver> {
        let mut resolver = self.resolver.borrow_mut();
        if resolver.is_old() {
            *resolver = Rc::new(Resolver::new());
        }
        Rc::clone(&resolver)
    }

    fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }
}

/// A task that ends when it is no longer wanted.
struct Task(AbortHandle);

impl Task {
    fn spawn(future: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(future).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The tasks for one site. Those that the next one needs, too, go on. Keys are addresses of what the tasks hold.
#[derive(Default)]
struct Tasks {
    health: HashMap<usize, Vec<Task>>,
    names: HashMap<usize, Task>,
    services: HashMap<String, Task>,
}

async fn run(context: &Rc<Context>, mut reloads: watch::Receiver<()>) {
    let mut tasks = Tasks::default();
    let mut first = true;
    loop {
        tasks = tasks.renewed(context, &context.site.load_full());
        if std::mem::take(&mut first) {
            context.outstanding.send_modify(|left| *left -= 1);
        }
        if reloads.changed().await.is_err() {
            return;
        }
    }
}

impl Tasks {
    fn renewed(mut self, context: &Rc<Context>, site: &Site) -> Self {
        let mut next = Self::default();
        for upstream in &site.upstreams {
            if let Some(settings) = &upstream.settings.health {
                let key = Arc::as_ptr(upstream).addr();
                let checks = self.health.remove(&key);
                let checks = checks.unwrap_or_else(|| health::tasks(context, upstream, settings));
                next.health.insert(key, checks);
            }
            for server in upstream.servers.iter().filter(|server| server.is_named()) {
                let key = Arc::as_ptr(server).addr();
                let watch = self.names.remove(&key);
                let watch = watch.unwrap_or_else(|| names::of_server(context, server));
                next.names.insert(key, watch);
            }
            for service in &upstream.settings.services {
                let name = &service.name;
                if !next.services.contains_key(name) {
                    let watch = self.services.remove(name);
                    let watch = watch.unwrap_or_else(|| names::of_service(context, name));
                    next.services.insert(name.clone(), watch);
                }
            }
        }
        next
    }
}

/// Health checks at a time, over all servers.
const PROBES_MAX: usize = 64;
/// Longest wait for the first look-ups at the start.
const FIRST_LOOKUPS: Duration = Duration::from_secs(2);
