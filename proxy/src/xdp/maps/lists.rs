//! The allow and block lists: the set in force, and the settings' bits that say which of its maps hold anything.
//!
//! The XDP program does not look into a map whose bit is clear, so a bit is set before the first entry goes in and
//! cleared only when the map is empty. Every method that writes takes the [`Lock`] as its proof that nobody else does.
//! Other processes put other sets into force, so each method first looks which one is.

use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use weir_common::entry::ORIGIN_BYTES;
use weir_common::{Entry, Note, ShieldSettings, Text, bits};

use super::super::pins::{Lock, PinDir};
use super::super::{List, ListedEntry, ShieldError, Tables};
use super::generation::{self, Generations};
use super::is_full;
use super::keys::Table;
use super::notes::{Notes, Read};
use super::set::{Places, Set, in_force, other};

/// The lists.
pub(super) struct Lists {
    pub(super) pins: PinDir,
    pub(super) generations: Generations,
    pub(super) places: Places,
    pub(super) notes: Notes,
    /// As of the last look.
    pub(super) set: Set,
    /// Entries removed since the pre-tests were last compared with what is listed.
    pub(super) removed: usize,
    /// Sweeps since then.
    pub(super) sweeps: u32,
}

/// An entry to be added.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewEntry {
    /// 0 = never.
    pub(super) expires_ns: u64,
    pub(super) added_ns: u64,
    pub(super) note: Note,
}

/// What became of an entry that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is there; one of the same network that it replaced is gone.
    Added,
    /// One of the same network stays in its place.
    Kept {
        /// When that one ends, `CLOCK_MONOTONIC`; 0 = never.
        expires_ns: u64,
        /// Who made it.
        origin: Text<ORIGIN_BYTES>,
    },
}

impl Lists {
    /// Opens the lists that an earlier weir made.
    pub(super) fn open(pins: &PinDir) -> Result<Self, ShieldError> {
        let (generations, places) = (Generations::open(pins)?, Places::open(pins)?);
        let (_, set) = current(pins, None)?;
        let set = set.expect("invariant: no set was open");
        Self::new(pins, generations, places, set)
    }

    /// Opens the lists; where they are missing, empty ones without room are made, which [`Self::configure`] and
    /// [`Self::resize`] exchange for others.
    pub(super) fn open_or_make(pins: &PinDir, lock: &Lock) -> Result<Self, ShieldError> {
        let (mut generations, mut places) = (Generations::open(pins)?, Places::open(pins)?);
        generations.finish(lock, pins)?;
        places.finish(lock, pins)?;
        let settings = generation::read(pins)?;
        if let Some(settings) = settings
            && let Some(set) = Set::open(pins, in_force(&settings))?
        {
            places.clear(lock, pins, other(set.index))?;
            return Self::new(pins, generations, places, set);
        }
        // Nothing is listed yet, or somebody removed pins: the program goes on with the maps it has until it is shown
        // others.
        let index = other(settings.map_or(0, |settings| in_force(&settings)));
        if settings.is_some() {
            tracing::warn!("pins of the lists are missing: the lists start anew, empty");
        }
        let set = places.make(lock, pins, index, &NO_ROOM)?;
        let settings = ShieldSettings {
            set: u8::try_from(index).unwrap_or(0),
            bits: u8::try_from(index).unwrap_or(0),
            lists: 0,
            exact_log2: bits::EXACT_LOG2_MIN,
            seed: match settings {
                Some(settings) => settings.seed,
                None => generation::random_seed()?,
            },
            ..settings.unwrap_or(ShieldSettings::OPEN)
        };
        generations.publish(lock, pins, &settings)?;
        places.clear(lock, pins, other(index))?;
        Self::new(pins, generations, places, set)
    }

    fn new(
        pins: &PinDir,
        generations: Generations,
        places: Places,
        set: Set,
    ) -> Result<Self, ShieldError> {
        Ok(Self {
            notes: Notes::open(pins)?,
            pins: pins.clone(),
            generations,
            places,
            set,
            removed: 0,
            sweeps: 0,
        })
    }

    /// Adds an entry, unless the one that is there [stays](replaces).
    pub(super) fn insert(
        &mut self,
        lock: &Lock,
        list: List,
        network: &IpNet,
        new: &NewEntry,
    ) -> Result<Inserted, ShieldError> {
        let settings = self.begin(lock)?;
        let table = Table::of(list, network);
        let found = self.get(table, network)?;
        if let Some(found) = found {
            let note = self.notes.read(found.note(), &mut Read::default())?;
            if !replaces(new, &note, &found) {
                return Ok(Inserted::Kept {
                    expires_ns: found.expires_ns(),
                    origin: note.origin,
                });
            }
        }
        let hits = found.map_or(0, |found| found.hits());
        let entry = self.entry(lock, network, new)?.with_hits(hits);
        self.set.bits.add(table, network, &settings)?;
        if settings.lists & table.bit() == 0 {
            let lists = settings.lists | table.bit();
            self.publish(lock, &ShieldSettings { lists, ..settings })?;
        }
        let map = self.set.list_mut(table);
        let Err(error) = map.entries.put(network, &entry) else {
            return Ok(Inserted::Added);
        };
        // Expired entries take room until a sweep, and without a running weir nobody sweeps.
        if !is_full(&error) || map.sweep(new.added_ns)? == 0 {
            return Err(map.error("add to", &error));
        }
        let again = map.entries.put(network, &entry);
        again.map_err(|error| map.error("add to", &error))?;
        Ok(Inserted::Added)
    }

    pub(super) fn remove(
        &mut self,
        lock: &Lock,
        list: List,
        network: &IpNet,
    ) -> Result<bool, ShieldError> {
        self.begin(lock)?;
        self.delete(Table::of(list, network), network)
    }

    /// The live entries of `list`, sorted.
    pub(super) fn entries(
        &mut self,
        list: List,
        now_ns: u64,
    ) -> Result<Vec<ListedEntry>, ShieldError> {
        self.look()?;
        let mut sorted = Vec::new();
        for map in self.set.lists.iter().filter(|map| map.table.list() == list) {
            map.visit(&mut |network, entry| {
                if entry.is_live(now_ns) {
                    sorted.push((network, entry));
                }
            })?;
        }
        sorted.sort_unstable_by_key(|(network, _)| *network);
        // A trie that changes while it is walked shows entries twice.
        sorted.dedup_by_key(|(network, _)| *network);
        let mut read = Read::default();
        let listed = sorted.into_iter().map(|(network, entry)| {
            let note = self.notes.read(entry.note(), &mut read)?;
            Ok(ListedEntry::new(list, network, &entry, &note))
        });
        listed.collect()
    }

    /// Hits of every entry in `tables` that has any, by network, with when the entry was made.
    pub(super) fn hits(
        &mut self,
        tables: [Table; 2],
    ) -> Result<Vec<(IpNet, u64, u64)>, ShieldError> {
        self.look()?;
        let mut hits = Vec::new();
        for table in tables {
            self.set.list(table).visit(&mut |network, entry| {
                if entry.hits() > 0 {
                    hits.push((network, entry.hits(), entry.added_ns()));
                }
            })?;
        }
        Ok(hits)
    }

    /// The block entry of exactly `network`, live or expired.
    pub(super) fn block_of(&mut self, network: &IpNet) -> Result<Option<Entry>, ShieldError> {
        self.look()?;
        self.get(Table::of(List::Block, network), network)
    }

    /// Whether a live entry of `list` covers all of `network`. For the allowlist, which has tries only: one look-up a
    /// length, so that its price does not depend on how long the list is.
    pub(super) fn is_allowed(&mut self, network: &IpNet, now_ns: u64) -> Result<bool, ShieldError> {
        self.look()?;
        let table = Table::of(List::Allow, network);
        for prefix_len in (0..=network.prefix_len()).rev() {
            let wider = IpNet::new(network.addr(), prefix_len)
                .expect("invariant: no longer than the network's own")
                .trunc();
            let found = self.get(table, &wider)?;
            if found.is_some_and(|entry| entry.is_live(now_ns)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The settings in force; opens the set that they name, if it is another than before.
    pub(super) fn look(&mut self) -> Result<ShieldSettings, ShieldError> {
        let (settings, set) = current(&self.pins, Some(&self.set))?;
        if let Some(set) = set {
            self.set = set;
        }
        Ok(settings)
    }

    /// [`Self::look`] for one who is about to write.
    pub(super) fn begin(&mut self, lock: &Lock) -> Result<ShieldSettings, ShieldError> {
        self.generations.finish(lock, &self.pins)?;
        self.places.finish(lock, &self.pins)?;
        self.look()
    }

    /// Changes the settings in force; publishes only what is different.
    pub(super) fn change_settings(
        &mut self,
        lock: &Lock,
        change: impl FnOnce(&mut ShieldSettings),
    ) -> Result<(), ShieldError> {
        let before = self.begin(lock)?;
        let mut after = before;
        change(&mut after);
        if after == before {
            return Ok(());
        }
        self.publish(lock, &after)
    }

    pub(super) fn publish(
        &mut self,
        lock: &Lock,
        settings: &ShieldSettings,
    ) -> Result<(), ShieldError> {
        self.generations.publish(lock, &self.pins, settings)
    }

    /// The number of `note`; notes that no entry has make room if there is none.
    pub(super) fn number(&mut self, lock: &Lock, note: &Note) -> Result<u32, ShieldError> {
        if let Some(number) = self.notes.number(lock, note)? {
            return Ok(number);
        }
        self.collect_notes(lock)?;
        let number = self.notes.number(lock, note)?;
        number.ok_or_else(|| {
            ShieldError::failed(
                format!(
                    "the map `NOTES` is full: entries have {} different origins and reasons",
                    weir_common::maps::NOTES_MAX
                ),
                "give entries the same reason where it is the same, or remove entries",
            )
        })
    }

    pub(super) fn get(&self, table: Table, network: &IpNet) -> Result<Option<Entry>, ShieldError> {
        let map = self.set.list(table);
        let found = map.entries.get(network);
        found.map_err(|error| map.error("read", &error))
    }

    pub(super) fn delete(&mut self, table: Table, network: &IpNet) -> Result<bool, ShieldError> {
        let map = self.set.list_mut(table);
        let deleted = map.entries.delete(network);
        let deleted = deleted.map_err(|error| map.error("remove from", &error))?;
        self.removed += usize::from(deleted);
        Ok(deleted)
    }

    fn entry(
        &mut self,
        lock: &Lock,
        network: &IpNet,
        new: &NewEntry,
    ) -> Result<Entry, ShieldError> {
        Ok(Entry::new(
            new.expires_ns,
            network.prefix_len(),
            new.added_ns,
            self.number(lock, &new.note)?,
        ))
    }
}

impl ListedEntry {
    fn new(list: List, network: IpNet, entry: &Entry, note: &Note) -> Self {
        Self {
            list,
            network,
            expires_ns: entry.expires_ns(),
            added_ns: entry.added_ns(),
            hits: entry.hits(),
            origin: note.origin,
            reason: note.reason,
        }
    }
}

/// The settings in force, and their set unless `open` is that.
fn current(
    pins: &PinDir,
    open: Option<&Set>,
) -> Result<(ShieldSettings, Option<Set>), ShieldError> {
    let pin = pins.inner(weir_common::maps::SETTINGS, 0);
    for _ in 0..LOOKS {
        let settings = generation::read(pins)?.ok_or_else(|| pins.incomplete(&pin))?;
        let index = in_force(&settings);
        if open.is_some_and(|set| set.index == index && set.is_pinned(pins)) {
            return Ok((settings, None));
        }
        if let Some(set) = Set::open(pins, index)? {
            return Ok((settings, Some(set)));
        }
        // Another process is putting another set into force.
        thread::sleep(LOOK_PAUSE);
    }
    Err(pins.incomplete(&pins.inner(weir_common::maps::BITS, 0)))
}

/// Whether `new` takes the place of `found`, an entry of the same network: always if the same origin made it, else only if it
/// lasts longer, or as long and a person made it. So nobody cuts short what another wanted; who means to, removes it.
pub(super) fn replaces(new: &NewEntry, found_note: &Note, found: &Entry) -> bool {
    let ends = |expires_ns: u64| match expires_ns {
        0 => u64::MAX,
        expires_ns => expires_ns,
    };
    let origin = new.note.origin;
    let (before, after) = (ends(found.expires_ns()), ends(new.expires_ns));
    origin == found_note.origin
        || before < after
        || before == after && origin == Text::truncated(CLI)
}

/// Capacities of lists that nobody has configured yet: the least that a map can have, and less than the configuration can say.
const NO_ROOM: Tables = Tables {
    sources: 0,
    blocks: 1,
    prefixes: 1,
};
/// Origin of the entries that the configuration lists.
pub(super) const CONFIG: &str = "config";
/// Origin of the entries that people make.
const CLI: &str = "cli";
/// How often the set in force is looked for before its pins count as missing: 1 s in all.
const LOOKS: u32 = 100;
/// See [`LOOKS`].
const LOOK_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::super::notes::note;
    use super::*;

    fn new(origin: &str, expires_ns: u64) -> NewEntry {
        NewEntry {
            expires_ns,
            added_ns: 0,
            note: note(Text::truncated(origin), ""),
        }
    }

    #[test]
    fn the_entry_that_lasts_longer_stays_unless_its_maker_says_otherwise() {
        const SECOND: u64 = 1_000_000_000;
        for ((origin, ends), (found_origin, found_ends), replaced) in [
            (("detect:a", 10), ("detect:b", 20), false),
            (("detect:a", 20), ("detect:b", 10), true),
            (("detect:a", 10), ("detect:a", 20), true),
            (("detect:a", 10), ("cli", 20), false),
            (("cli", 10), ("config", 0), false),
            (("cli", 10), ("feed:a", 0), false),
            (("cli", 10), ("detect:a", 20), false),
            (("cli", 20), ("detect:a", 10), true),
            (("cli", 10), ("cli", 20), true),
            (("cli", 0), ("config", 0), true),
            (("config", 0), ("cli", 20), true),
            // Both for ever: nothing would change but the name of who made it.
            (("config", 0), ("cli", 0), false),
            (("feed:a", 0), ("config", 0), false),
            (("detect:a", 10), ("config", 0), false),
        ] {
            let found = Entry::new(found_ends * SECOND, 32, 0, 1);
            let new = new(origin, ends * SECOND);
            let found_note = note(Text::truncated(found_origin), "");
            let decided = replaces(&new, &found_note, &found);
            assert_eq!(decided, replaced, "{origin} over {found_origin}");
        }
    }

    #[test]
    fn tables_lie_in_the_order_of_their_discriminants() {
        for (index, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, index);
        }
    }
}
