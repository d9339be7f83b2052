//! Typed view of the pinned maps.
//!
//! | file | is about |
//! |---|---|
//! | `shape` | what each map must look like; compared before anything is read |
//! | `keys`, `entries` | which map a network belongs to; one list map |
//! | `inner`, `set`, `generation` | maps of maps: one place, a set of lists with its pre-tests (`bits`), the settings |
//! | `lists`, `replace`, `notes` | edits, whole lists at once, who made entries and why |
//! | `counters`, `sources`, `own`, `memory` | what was counted, and of whom, own addresses, what all of it takes |
//! | `data` | one pinned map |
//! | `settings`, `migrate` | from the configuration, from earlier ABI versions |

mod bits;
mod counters;
mod data;
mod entries;
mod generation;
mod inner;
mod keys;
mod lists;
mod memory;
mod migrate;
mod notes;
mod own;
mod replace;
mod set;
mod settings;
pub(super) mod shape;
mod sources;
mod upkeep;
mod wanted;

pub use self::lists::Inserted;
pub use self::memory::{MapMemory, map_memory};
pub use self::replace::Replaced;
pub use self::sources::SourceRow;
pub use self::upkeep::Census;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::maps::{Array, MapData};
use ipnet::IpNet;
use parking_lot::Mutex;
use weir_common::entry::{ORIGIN_BYTES, REASON_BYTES};
use weir_common::settings::CookieMode;
use weir_common::{InterfaceSlot, Text, Totals, maps};

use self::counters::Counters;
pub(super) use self::data::open;
use self::data::{capacity, duplicate, failure, is_full, typed, unusable};
use self::keys::canonical;
use self::lists::{CONFIG, Lists, NewEntry};
use self::own::Own;
use self::wanted::Wanted;
use super::pins::{Lock, PinDir};
use super::sysctl::Assessment;
use super::{Settings, ShieldError, Tables, slots};

/// Allow or block list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Beats the blocklist.
    Allow,
    /// Dropped.
    Block,
}

/// An entry together with what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedEntry {
    /// Which list.
    pub list: List,
    /// Address or prefix.
    pub network: IpNet,
    /// When it ends, `CLOCK_MONOTONIC`; 0 = never.
    pub expires_ns: u64,
    /// When it was made, `CLOCK_MONOTONIC`, to 268 ms.
    pub added_ns: u64,
    /// Packets that were dropped, or would have been, because of it.
    pub hits: u64,
    /// `config`, `cli`, `detect:<rule>`, `feed:<name>`; empty if it is not known.
    pub origin: Text<ORIGIN_BYTES>,
    /// Why, in the words of whoever made it.
    pub reason: Text<REASON_BYTES>,
}

/// Typed view of the pinned maps: what the running weir and the command line share. Every method is a few system
/// calls unless it says more; none is for a worker thread.
///
/// Methods that change something wait for other processes that do, for 5 s at most.
pub struct Maps {
    pins: PinDir,
    lists: Mutex<Lists>,
    counters: Counters,
    own: Mutex<Own>,
}

impl Maps {
    /// Opens the maps pinned below `pin_dir`, after comparing each one's type and sizes with what this weir expects.
    pub fn open(pin_dir: &Path) -> Result<Self, ShieldError> {
        let pins = PinDir::open(pin_dir)?;
        // An attach that died before it made the maps leaves the directory only.
        if !pins.inner(maps::SETTINGS, 0).exists() {
            return Err(ShieldError::not_attached(pin_dir));
        }
        let lists = Lists::open(&pins)?;
        Self::with_lists(&pins, lists, &|name: &str| pins.map(name))
    }

    /// Opens the maps at the paths that `path` gives for their names, and makes what lies in maps of maps where it is
    /// missing.
    pub(super) fn open_or_make(
        pins: &PinDir,
        lock: &Lock,
        path: impl Fn(&str) -> PathBuf,
    ) -> Result<Self, ShieldError> {
        let lists = Lists::open_or_make(pins, lock)?;
        Self::with_lists(pins, lists, &path)
    }

    fn with_lists(
        pins: &PinDir,
        lists: Lists,
        path: &impl Fn(&str) -> PathBuf,
    ) -> Result<Self, ShieldError> {
        Ok(Self {
            pins: pins.clone(),
            lists: Mutex::new(lists),
            counters: Counters::open(path)?,
            own: Mutex::new(Own::open(pins)?),
        })
    }

    /// Adds or replaces an entry. `duration` `None` = for ever. An entry of another origin for `network` in the list that ends
    /// later is kept; so is one that ends when the new one would, unless that is of `cli`.
    ///
    /// Host bits of `network` are ignored, and an IPv4-mapped IPv6 network is its IPv4 one. A `reason` that is too long
    /// is cut.
    pub fn insert(
        &self,
        list: List,
        network: IpNet,
        duration: Option<Duration>,
        origin: &str,
        reason: &str,
        now_ns: u64,
    ) -> Result<Inserted, ShieldError> {
        let network = canonical(network);
        let origin = Text::new(origin).map_err(|error| {
            ShieldError::failed(
                format!("the origin `{origin}` of the entry for {network} is {error}"),
                "use a shorter name",
            )
        })?;
        let new = NewEntry {
            expires_ns: duration.map_or(0, |duration| expiry_ns(now_ns, duration)),
            added_ns: now_ns,
            note: notes::note(origin, reason),
        };
        let lock = self.pins.lock()?;
        self.lists.lock().insert(&lock, list, &network, &new)
    }

    /// Removes an entry; false if there was none.
    pub fn remove(&self, list: List, network: IpNet) -> Result<bool, ShieldError> {
        let lock = self.pins.lock()?;
        self.lists.lock().remove(&lock, list, &canonical(network))
    }

    /// Makes the block entries of `origin` exactly those of `networks`, without end, leaving other origins' alone: an
    /// entry of another origin for the same network that lasts as long stays in place of the new one.
    ///
    /// A few differences are edited one by one. More make a new set of maps, which takes the place of the one in force at
    /// once: every packet is judged by the old lists or by the new ones. That takes about a second for a million entries,
    /// and as long twice the memory. Entries that stay keep their counters but for what is counted during the copy.
    pub fn replace_set(
        &self,
        origin: &str,
        networks: impl IntoIterator<Item = IpNet>,
        reason: &str,
        now_ns: u64,
    ) -> Result<Replaced, ShieldError> {
        let networks = networks.into_iter().map(|network| (List::Block, network));
        let wanted = Wanted::new(origin, networks, ["", reason], now_ns);
        let difference = self.lists.lock().difference(&wanted)?;
        if difference.edits() == 0 {
            return Ok(difference.nothing_done());
        }
        // Not while the lists are compared: with a million entries that takes half a second.
        let lock = self.pins.lock()?;
        self.lists.lock().replace(&lock, &wanted, &difference)
    }

    /// Entries that `origin` has made, in both lists. Walks them, as [`Self::census`] does.
    pub fn count_of(&self, origin: &str) -> Result<usize, ShieldError> {
        self.lists.lock().count_of(origin)
    }

    /// Origins that entries name, or named until lately.
    pub fn origins(&self) -> Result<Vec<String>, ShieldError> {
        let notes = self.lists.lock().notes.all()?;
        let mut origins: Vec<String> = notes.origins().map(str::to_owned).collect();
        origins.sort_unstable();
        origins.dedup();
        Ok(origins)
    }

    /// All live entries of `list`, sorted by network.
    pub fn entries(&self, list: List, now_ns: u64) -> Result<Vec<ListedEntry>, ShieldError> {
        self.lists.lock().entries(list, now_ns)
    }

    /// Whether a live entry of the allowlist covers all of `network`. Cheap, however long the list is.
    pub fn is_allowed(&self, network: IpNet, now_ns: u64) -> Result<bool, ShieldError> {
        self.lists.lock().is_allowed(&canonical(network), now_ns)
    }

    /// How many live entries the lists have. Walks them: a fifth of a second for a million.
    pub fn census(&self, now_ns: u64) -> Result<Census, ShieldError> {
        Ok(self.lists.lock().census(now_ns)?.census)
    }

    /// Removes entries that expired and counts the others; tidies what is left of entries that are gone. Walks the lists
    /// as [`Self::census`] does, but other processes wait only while something is removed, and not for all of it.
    pub fn sweep(&self, now_ns: u64) -> Result<Census, ShieldError> {
        let found = self.lists.lock().census(now_ns)?;
        for some in found.expired.chunks(SWEPT_AT_ONCE) {
            let lock = self.pins.lock()?;
            self.lists.lock().remove_expired(&lock, some, now_ns)?;
        }
        let lock = self.pins.lock()?;
        self.lists.lock().tidy(&lock, &found)?;
        Ok(found.census)
    }

    /// Per-interface totals, summed over CPUs: (interface name, totals), by slot.
    pub fn totals(&self) -> Result<Vec<(String, Totals)>, ShieldError> {
        self.counters.totals()
    }

    /// Drops that were not sampled because nobody emptied the ring, since the maps were made.
    pub fn samples_lost(&self) -> Result<u64, ShieldError> {
        self.counters.samples_lost()
    }

    /// Whether packets are dropped or only counted.
    pub fn enforcing(&self) -> Result<bool, ShieldError> {
        Ok(self.lists.lock().look()?.enforce != 0)
    }

    /// Number of the settings in force; every change counts.
    pub fn generation(&self) -> Result<u64, ShieldError> {
        Ok(self.lists.lock().look()?.generation)
    }

    /// Tells the program this host's own addresses, on which some sanity checks, SYN cookies and closed ports depend. Returns
    /// how many there was no room for; see [`maps::OWN_MAX`].
    pub fn set_own(&self, addresses: &[IpAddr]) -> Result<usize, ShieldError> {
        let (addresses, left_out) = own::fitting(addresses);
        let lock = self.pins.lock()?;
        let (mut lists, mut own) = (self.lists.lock(), self.own.lock());
        // An address is this host's once it is in the map and in the filter, which says where the map is worth looking into.
        own.replace(&lock, addresses)?;
        lists.change_settings(&lock, |kernel| {
            let sources = addresses
                .iter()
                .map(|address| keys::packet_source(address.to_canonical()));
            kernel.own = bits::own(sources, kernel.seed);
        })?;
        Ok(left_out)
    }

    /// Tells the program what SYN cookies of `mode` can do here: nothing at all, answers with the MSS alone, or with window
    /// scale, SACK and perhaps ECN.
    pub fn set_cookies(&self, mode: CookieMode, found: &Assessment) -> Result<(), ShieldError> {
        let lock = self.pins.lock()?;
        self.lists.lock().change_settings(&lock, |kernel| {
            settings::apply_cookies(mode, found, kernel);
        })
    }

    /// Which interface each slot belongs to, by slot.
    pub(super) fn slots(&self) -> Result<Vec<InterfaceSlot>, ShieldError> {
        self.counters.slots()
    }

    /// Which interface `slot` belongs to.
    pub(super) fn slot(&self, slot: u32) -> Result<InterfaceSlot, ShieldError> {
        self.counters.slot(slot)
    }

    /// Gives `slot` to an interface, or, with [`super::slots::EMPTY`], to none. One that bore another name counts from 0.
    pub(super) fn set_slot(
        &mut self,
        _lock: &Lock,
        slot: u32,
        interface: InterfaceSlot,
    ) -> Result<(), ShieldError> {
        self.counters.set_slot(slot, interface)
    }

    /// Applies the settings as one generation: the lists' room, their entries of origin `config`, what is done to packets,
    /// and, if `found` says what works, SYN cookies. Other origins' entries, what [`Self::set_own`] set, and without `found`
    /// what [`Self::set_cookies`] did, stay. On an error nothing has changed.
    ///
    /// If an entry is to come or go, a new set of lists takes the place of the one in force, as of [`Self::replace_set`].
    pub(super) fn configure(
        &self,
        lock: &Lock,
        settings: &Settings,
        found: Option<&Assessment>,
    ) -> Result<(), ShieldError> {
        let allow = settings.allow.iter().map(|network| (List::Allow, *network));
        let block = settings.block.iter().map(|network| (List::Block, *network));
        let reasons = ["[shield] allow", "[shield] block"];
        let now_ns = crate::clock::kernel_now_ns();
        let wanted = Wanted::new(CONFIG, allow.chain(block), reasons, now_ns);
        let mut lists = self.lists.lock();
        lists.configure(lock, &wanted, &settings.tables, |kernel| {
            settings::apply(settings, kernel);
            if let Some(found) = found {
                settings::apply_cookies(settings.syn_cookies.mode, found, kernel);
            }
        })
    }

    /// Takes over what earlier ABI versions of the program have in their lists.
    pub(super) fn adopt_earlier(
        &self,
        lock: &Lock,
        tables: &Tables,
        now_ns: u64,
    ) -> Result<(), ShieldError> {
        let earlier = migrate::entries(&self.pins)?;
        if earlier.is_empty() {
            return Ok(());
        }
        let mut lists = self.lists.lock();
        lists.resize(lock, tables)?;
        let entries = lists.adopt(lock, &earlier, now_ns)?;
        drop(lists);
        tracing::info!(entries, "took over the lists of an earlier maps version");
        Ok(())
    }
}

/// The slots as they are pinned at `path`; none taken if nothing is pinned there.
pub(super) fn pinned_slots(path: &Path) -> Result<Vec<InterfaceSlot>, ShieldError> {
    if !path.exists() {
        return Ok(slots::none());
    }
    let map: Array<MapData, InterfaceSlot> = typed(maps::INTERFACES, &|_: &str| path.to_owned())?;
    map.iter()
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(maps::INTERFACES, &error))
}

/// At least one nanosecond after 0, which means "never".
fn expiry_ns(now_ns: u64, duration: Duration) -> u64 {
    let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    now_ns.saturating_add(duration_ns).max(1)
}

/// Expired entries removed before others get their turn: about 10 ms.
const SWEPT_AT_ONCE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_expires_never_reads_as_one_that_does_not() {
        assert_eq!(expiry_ns(0, Duration::ZERO), 1);
        assert_eq!(expiry_ns(5, Duration::from_nanos(7)), 12);
        assert_eq!(expiry_ns(5, Duration::MAX), u64::MAX);
    }

    #[test]
    fn without_pins_no_maps_are_opened() {
        let error = Maps::open(Path::new("/nonexistent/weir")).err();
        let kind = error.map(|error| error.kind);
        assert_eq!(kind, Some(super::super::ErrorKind::NotAttached));
    }
}
