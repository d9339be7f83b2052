//! What the connections of one worker share. All of it is one thread's; what comes from outside is immutable, atomic or
//! sharded.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use tokio::sync::Notify;

use super::reports::Reports;
use super::{Context, Counters};
use crate::balance::{Picker, Tried, Wish};
use crate::cache::Store;
use crate::clock;
use crate::detect::Event;
use crate::http::pool::Pool;
use crate::http::server::Listener;
use crate::http::{Site, Upgrades};
use crate::net::Refused;
use crate::telemetry::AccessLog;

/// One worker's state.
pub(in crate::http) struct Worker {
    pub(in crate::http) pool: Rc<Pool>,
    pub(in crate::http) store: Arc<Store>,
    pub(in crate::http) access: AccessLog,
    pub(in crate::http) upgrades: Arc<Upgrades>,
    pub(in crate::http) counters: Arc<Counters>,
    index: usize,
    site: Arc<ArcSwap<Site>>,
    view: RefCell<Rc<View>>,
    reports: Rc<Reports>,
    drain_since: Cell<Option<Instant>>,
    /// Connections to wake when the drain begins or their listener is retired, by number.
    wakers: RefCell<HashMap<u64, Waker, foldhash::fast::RandomState>>,
    next_number: Cell<u64>,
    open: Cell<usize>,
    /// Told when the last connection is gone.
    quiet: Notify,
    /// Bytes of responses on their way into the store.
    filling: Cell<u64>,
    /// Responses that are being put in a content coding.
    encoding: Cell<usize>,
    request_ids: Cell<u64>,
    request_id_seed: u64,
    date: RefCell<Dated>,
}

/// A site with this worker's way through its upstreams.
pub(in crate::http) struct View {
    pub(in crate::http) site: Arc<Site>,
    pickers: Vec<RefCell<Picker>>,
}

/// One open connection; dropping it uncounts.
pub(super) struct Opened(Rc<Worker>);

/// A connection that is woken when the drain begins; dropping it takes it off the list.
pub(in crate::http) struct Registered<'a> {
    worker: &'a Worker,
    number: u64,
}

/// The `Date` of one second.
struct Dated {
    second: u64,
    value: HeaderValue,
}

impl Worker {
    pub(super) fn new(context: Context) -> Self {
        let site = context.site.load_full();
        let reports = Reports::new(
            context.reports,
            Arc::clone(&context.counters),
            site.generation,
        );
        let mut seed = std::hash::RandomState::new().build_hasher();
        seed.write_usize(context.index);
        Self {
            pool: Rc::new(Pool::new(context.shortage)),
            store: context.store,
            access: context.access,
            upgrades: context.upgrades,
            counters: context.counters,
            index: context.index,
            view: RefCell::new(Rc::new(View::new(site, context.index))),
            site: context.site,
            reports: Rc::new(reports),
            drain_since: Cell::new(None),
            wakers: RefCell::default(),
            next_number: Cell::new(0),
            open: Cell::new(0),
            quiet: Notify::new(),
            filling: Cell::new(0),
            encoding: Cell::new(0),
            request_ids: Cell::new(0),
            request_id_seed: seed.finish(),
            date: RefCell::new(Dated::at(clock::wall())),
        }
    }

    /// The current site. Costs no shared write: workers would contend for one reference count.
    pub(in crate::http) fn view(&self) -> Rc<View> {
        let current = self.site.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(&current, &view.site) {
            self.reports.restart(current.generation);
            *view = Rc::new(View::new(Arc::clone(&current), self.index));
        }
        Rc::clone(&view)
    }

    /// Counts a decided response.
    pub(in crate::http) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        add(&self.counters.responses[class]);
    }

    /// Tells detection what `client` did.
    pub(in crate::http) fn tell(&self, client: IpAddr, event: &Event<'_>) {
        self.reports.add(&self.view().site.rules, client, event);
    }

    /// Sends what was counted but not yet reported.
    pub(super) fn report(&self) {
        self.reports.send();
    }

    /// 32 hexadecimal digits, unlike any other's.
    pub(in crate::http) fn request_id(&self) -> HeaderValue {
        let number = self.request_ids.get();
        self.request_ids.set(number + 1);
        let seed = u128::from(self.request_id_seed);
        let id = (seed << 64) | u128::from(spread(self.request_id_seed ^ number));
        let mut digits = [0; 32];
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[usize::try_from((id >> (4 * place)) & 0xf).unwrap_or(0)];
        }
        HeaderValue::from_bytes(&digits).expect("invariant: hexadecimal digits")
    }

    /// `Date` of now (RFC 9110 §6.6.1), made once a second.
    pub(in crate::http) fn date(&self) -> HeaderValue {
        let now = clock::wall();
        let mut date = self.date.borrow_mut();
        if seconds(now) != date.second {
            *date = Dated::at(now);
        }
        date.value.clone()
    }

    /// Whether a response on its way into the store may grow by `bytes`.
    pub(in crate::http) fn reserve_fill(&self, bytes: u64) -> bool {
        let filling = self.filling.get() + bytes;
        let room = filling <= self.store.max_object().max(FILLING_BYTES_MAX);
        if room {
            self.filling.set(filling);
        }
        room
    }

    /// Gives back what [`Self::reserve_fill`] granted.
    pub(in crate::http) fn release_fill(&self, bytes: u64) {
        self.filling.set(self.filling.get() - bytes);
    }

    /// Counts a response that is put in a content coding, if there may be one more.
    pub(in crate::http) fn encoding_began(&self) -> bool {
        let room = self.encoding.get() < ENCODING_MAX;
        if room {
            self.encoding.set(self.encoding.get() + 1);
        }
        room
    }

    /// Uncounts it.
    pub(in crate::http) fn encoding_ended(&self) {
        self.encoding.set(self.encoding.get() - 1);
    }

    /// 0-based number.
    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// A connection was not let in.
    pub(in crate::http) fn refused(&self, client: IpAddr, why: Refused) {
        add(&self.counters.refused);
        tracing::debug!(%client, ?why, "connection refused");
    }

    /// Asks the connections of `listener` to go, after what is in flight.
    pub(super) fn retire(&self, listener: &Listener) {
        listener.retired.set(Some(clock::now()));
        self.wake_all();
    }

    /// When the drain began, if it has.
    pub(in crate::http) fn drain_since(&self) -> Option<Instant> {
        self.drain_since.get()
    }

    /// Begins the drain.
    pub(super) fn drain(&self) {
        self.drain_since.set(Some(clock::now()));
        self.wake_all();
    }

    fn wake_all(&self) {
        for waker in self.wakers.borrow().values() {
            waker.wake_by_ref();
        }
    }

    /// Has the calling task woken when the drain begins.
    pub(in crate::http) async fn register(&self) -> Registered<'_> {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        poll_fn(|context| {
            self.wakers
                .borrow_mut()
                .insert(number, context.waker().clone());
            Poll::Ready(())
        })
        .await;
        Registered {
            worker: self,
            number,
        }
    }

    /// Waits until the drain begins.
    pub(in crate::http) async fn draining(&self) {
        let _registered = self.register().await;
        poll_fn(|_| match self.drain_since.get() {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        })
        .await;
    }

    /// A connection was accepted.
    pub(super) fn opened(self: &Rc<Self>) -> Opened {
        self.open.set(self.open.get() + 1);
        self.counters.open.fetch_add(1, Ordering::Relaxed);
        Opened(Rc::clone(self))
    }

    /// Waits until no connection is open.
    pub(super) async fn idle(&self) {
        while self.open.get() > 0 {
            self.quiet.notified().await;
        }
    }
}

impl View {
    fn new(site: Arc<Site>, worker: usize) -> Self {
        let seed = worker as u64;
        let pickers = site
            .upstreams
            .iter()
            .map(|upstream| RefCell::new(Picker::new(upstream, seed)))
            .collect();
        Self { site, pickers }
    }

    /// The next server of upstream number `upstream`.
    pub(in crate::http) fn pick(
        &self,
        upstream: usize,
        wish: Wish,
        tried: &mut Tried,
        now: Instant,
    ) -> Option<usize> {
        let group = &self.site.upstreams[upstream];
        self.pickers[upstream]
            .borrow_mut()
            .pick(group, wish, tried, now)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let worker = &self.0;
        worker.open.set(worker.open.get() - 1);
        worker.counters.open.fetch_sub(1, Ordering::Relaxed);
        if worker.open.get() == 0 {
            worker.quiet.notify_one();
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.worker.wakers.borrow_mut().remove(&self.number);
    }
}

impl Dated {
    fn at(time: SystemTime) -> Self {
        let text = Bytes::from(httpdate::fmt_http_date(time));
        Self {
            second: seconds(time),
            value: HeaderValue::from_maybe_shared(text).expect("invariant: an HTTP-date is ASCII"),
        }
    }
}

/// Counts one. Only one thread writes a worker's counters, so load and store do.
pub(in crate::http) fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A bijection (the finalizer of `SplitMix64`), so that ids of one worker never repeat and do not tell their number.
fn spread(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Responses being put in a content coding, per worker: up to 1.5 MiB each. Further ones go out as they are.
const ENCODING_MAX: usize = 256;
/// Responses on their way into the store, per worker, unless a single one may be larger.
const FILLING_BYTES_MAX: u64 = 64 << 20;
