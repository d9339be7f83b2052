//! Typed view of the pinned maps.
//!
//! Maps are opened by name and compared with [`shape`] first; [`keys`] says which map a network belongs to; [`lists`]
//! keeps the lists consistent with the bits that the XDP program reads.

mod counters;
mod entries;
mod keys;
mod lists;
pub(super) mod shape;

pub use self::lists::Census;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::maps::{Array, Map, MapData, MapError};
use ipnet::IpNet;
use parking_lot::Mutex;
use weir_common::{Entry, InterfaceSlot, ShieldSettings, SourceCounters, Text, Totals, maps};

use self::counters::Counters;
use self::keys::{Table, canonical};
use self::lists::{CONFIG, ListMap, Lists};
use self::shape::Shape;
use super::pins::{Lock, PinDir};
use super::{Settings, ShieldError, slots};

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
    /// Entry.
    pub entry: Entry,
}

/// Counters of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRow {
    /// IPv4 /32 or IPv6 /64.
    pub network: IpNet,
    /// Counters.
    pub counters: SourceCounters,
}

/// Typed view of the pinned maps: what the running weir and the command line share. Every method is a few system
/// calls; none is for a worker thread.
///
/// Methods that change something wait for other processes that do, for 5 s at most.
pub struct Maps {
    pins: PinDir,
    lists: Mutex<Lists>,
    counters: Counters,
}

impl Maps {
    /// Opens the maps pinned below `pin_dir`, after comparing each one's type and sizes with what this weir expects.
    pub fn open(pin_dir: &Path) -> Result<Self, ShieldError> {
        let pins = PinDir::open(pin_dir)?;
        // An attach that died before it made the maps leaves the directory only.
        if !pins.map(maps::SETTINGS).exists() {
            return Err(ShieldError::not_attached(pin_dir));
        }
        Self::open_at(&pins, |name| pins.map(name))
    }

    /// Opens the maps at the paths that `path` gives for their names.
    pub(super) fn open_at(
        pins: &PinDir,
        path: impl Fn(&str) -> PathBuf,
    ) -> Result<Self, ShieldError> {
        let mut lists = Vec::with_capacity(Table::ALL.len());
        for table in Table::ALL {
            let data = open(table.map(), &path)?;
            lists.push(ListMap {
                table,
                capacity: capacity(&data)?,
                entries: entries::open(table, data).map_err(|e| unusable(table.map(), &e))?,
            });
        }
        Ok(Self {
            pins: pins.clone(),
            lists: Mutex::new(Lists {
                maps: lists,
                settings: typed(maps::SETTINGS, &path)?,
            }),
            counters: Counters::open(&path)?,
        })
    }

    /// Adds or replaces an entry. `duration` `None` = for ever. An entry for `network` in the list that ends later, or
    /// when the new one would, is kept, unless `origin` is the same or `cli`.
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
    ) -> Result<(), ShieldError> {
        let network = canonical(network);
        let origin = Text::new(origin).map_err(|error| {
            ShieldError::failed(
                format!("the origin `{origin}` of the entry for {network} is {error}"),
                "use a shorter name",
            )
        })?;
        let entry = Entry {
            expires_ns: duration.map_or(0, |duration| expiry_ns(now_ns, duration)),
            added_ns: now_ns,
            origin,
            reason: Text::truncated(reason),
            prefix_len: network.prefix_len(),
        };
        let lock = self.pins.lock()?;
        self.lists.lock().insert(&lock, list, &network, &entry)
    }

    /// Removes an entry; false if there was none.
    pub fn remove(&self, list: List, network: IpNet) -> Result<bool, ShieldError> {
        let lock = self.pins.lock()?;
        self.lists.lock().remove(&lock, list, &canonical(network))
    }

    /// All live entries of `list`, sorted by network.
    pub fn entries(&self, list: List, now_ns: u64) -> Result<Vec<ListedEntry>, ShieldError> {
        self.lists.lock().entries(list, now_ns)
    }

    /// Whether a live entry of the allowlist covers all of `network`. Cheap, however long the list is.
    pub fn is_allowed(&self, network: IpNet, now_ns: u64) -> Result<bool, ShieldError> {
        self.lists.lock().is_allowed(&canonical(network), now_ns)
    }

    /// How many live entries the lists have. Walks them: 2 µs an entry, 2 s a million.
    pub fn census(&self, now_ns: u64) -> Result<Census, ShieldError> {
        Ok(self.lists.lock().census(now_ns)?.0)
    }

    /// Removes entries that expired and counts the others. Walks the lists as [`Self::census`] does, but other processes
    /// wait only while something is removed, and not for all of it.
    pub fn sweep(&self, now_ns: u64) -> Result<Census, ShieldError> {
        let (census, expired) = self.lists.lock().census(now_ns)?;
        for some in expired.chunks(SWEPT_AT_ONCE) {
            let lock = self.pins.lock()?;
            self.lists.lock().remove_expired(&lock, some, now_ns)?;
        }
        let lock = self.pins.lock()?;
        self.lists.lock().refresh_bits(&lock)?;
        Ok(census)
    }

    /// Makes the entries of origin `config` in both lists equal to the settings', leaving others alone.
    pub fn reconcile_config(&self, settings: &Settings, now_ns: u64) -> Result<(), ShieldError> {
        let lock = self.pins.lock()?;
        self.reconcile(&lock, settings, now_ns)
    }

    /// Per-interface totals, summed over CPUs: (interface name, totals), by slot.
    pub fn totals(&self) -> Result<Vec<(String, Totals)>, ShieldError> {
        self.counters.totals()
    }

    /// Drops that were not sampled because nobody emptied the ring, since the maps were made.
    pub fn samples_lost(&self) -> Result<u64, ShieldError> {
        self.counters.samples_lost()
    }

    /// Every source that has counters. Up to `[shield.tables] sources` rows a family, unsorted.
    pub fn sources(&self) -> Result<Vec<SourceRow>, ShieldError> {
        self.counters.sources()
    }

    /// Counters of the source that `address` belongs to.
    pub fn source(&self, address: IpAddr) -> Result<Option<SourceRow>, ShieldError> {
        self.counters.source(keys::source(address))
    }

    /// Whether packets are dropped or only counted.
    pub fn enforcing(&self) -> Result<bool, ShieldError> {
        Ok(self.lists.lock().settings()?.enforce != 0)
    }

    /// Which interface each slot belongs to, by slot.
    pub(super) fn slots(&self) -> Result<Vec<InterfaceSlot>, ShieldError> {
        self.counters.slots()
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

    /// [`Self::reconcile_config`] for one who holds the lock.
    pub(super) fn reconcile(
        &self,
        lock: &Lock,
        settings: &Settings,
        now_ns: u64,
    ) -> Result<(), ShieldError> {
        let allow = settings.allow.iter().map(|network| (List::Allow, *network));
        let block = settings.block.iter().map(|network| (List::Block, *network));
        let wanted: Vec<_> = allow.chain(block).collect();
        let entry = |list, network: &IpNet| Entry {
            expires_ns: 0,
            added_ns: now_ns,
            origin: Text::truncated(CONFIG),
            reason: Text::truncated(match list {
                List::Allow => "[shield] allow",
                List::Block => "[shield] block",
            }),
            prefix_len: network.prefix_len(),
        };
        self.lists.lock().reconcile(lock, &wanted, entry)
    }

    /// Writes what the settings say about verdicts; the lists' bits stay.
    pub(super) fn configure(&self, lock: &Lock, settings: &Settings) -> Result<(), ShieldError> {
        self.lists.lock().change_settings(lock, |kernel| {
            *kernel = ShieldSettings {
                enforce: u8::from(settings.enforce),
                malformed: settings.malformed as u8,
                fragments: settings.fragments as u8,
                samples_per_window: SAMPLES_PER_WINDOW,
                lists: kernel.lists,
            }
        })
    }

    /// Copies the entries of the list map `name`, pinned at `from`, into this one's. A map of counters is not copied.
    pub(super) fn copy_list(
        &self,
        lock: &Lock,
        name: &str,
        from: &Path,
    ) -> Result<(), ShieldError> {
        let Some(table) = Table::ALL.into_iter().find(|table| table.map() == name) else {
            return Ok(());
        };
        let data = open(name, &|_: &str| from.to_owned())?;
        let bound = capacity(&data)? as usize;
        let from = entries::open(table, data).map_err(|error| unusable(name, &error))?;
        self.lists
            .lock()
            .copy_from(lock, table, from.as_ref(), bound)
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

/// The map `name` as its shape says, at the path that `path` gives.
pub(super) fn open(name: &str, path: &impl Fn(&str) -> PathBuf) -> Result<MapData, ShieldError> {
    let shape = Shape::of(name).expect("invariant: every map weir opens has a shape");
    Ok(shape.open(&path(name), None)?.0)
}

fn typed<T>(name: &str, path: &impl Fn(&str) -> PathBuf) -> Result<T, ShieldError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let data = open(name, path)?;
    Map::from_map_data(data)
        .and_then(T::try_from)
        .map_err(|error| unusable(name, &error))
}

fn capacity(map: &MapData) -> Result<u32, ShieldError> {
    let info = map
        .info()
        .map_err(|error| ShieldError::kernel("read a map's capacity", &error))?;
    Ok(info.max_entries())
}

fn unusable(name: &str, error: &MapError) -> ShieldError {
    ShieldError::kernel(&format!("use the map `{name}`"), error)
}

/// At least one nanosecond after 0, which means "never".
fn expiry_ns(now_ns: u64, duration: Duration) -> u64 {
    let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    now_ns.saturating_add(duration_ns).max(1)
}

/// Expired entries removed before others get their turn: about 10 ms.
const SWEPT_AT_ONCE: usize = 4096;
/// Samples a CPU writes in 256 ms: 62 a second, 8 KB/s. The ring holds 1,800, half a minute's worth of one CPU.
const SAMPLES_PER_WINDOW: u8 = 16;

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
