//! One set of lists: six list maps and their pre-tests. Two sets can exist, the one in force, and one that is about to
//! take its place; which is in force is said by the settings.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use ipnet::IpNet;
use weir_common::{Entry, ShieldSettings, maps};

use super::super::pins::{Lock, PinDir};
use super::super::{ShieldError, Tables};
use super::bits::{Bits, Words};
use super::entries::{self, Entries};
use super::inner::Outer;
use super::keys::Table;
use super::shape::Shape;
use super::{capacity, failure};

/// A set that is open.
pub(super) struct Set {
    /// 0 or 1.
    pub(super) index: u32,
    /// In the order of [`Table::ALL`].
    pub(super) lists: Vec<ListMap>,
    pub(super) bits: Bits,
    stamp: Stamp,
}

/// One list map.
pub(super) struct ListMap {
    pub(super) table: Table,
    /// Entries.
    pub(super) capacity: u32,
    pub(super) entries: Box<dyn Entries>,
}

/// The maps of maps that sets lie in.
pub(super) struct Places {
    /// In the order of [`Table::ALL`].
    lists: Vec<Outer>,
    bits: Outer,
}

/// Which maps a set has: a pin that takes another's place is another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    /// Seconds and nanoseconds.
    created: (i64, i64),
}

impl Set {
    /// Opens the maps of the set `index`; `None` if one of them is not pinned.
    pub(super) fn open(pins: &PinDir, index: u32) -> Result<Option<Self>, ShieldError> {
        let find = |name: &str| {
            let shape = Shape::inner(name).expect("invariant: every map of a set has a shape");
            let found = shape.find(&pins.inner(name, index), None)?;
            Ok::<_, ShieldError>(found.map(|(data, _)| data))
        };
        // Before the maps: one that is exchanged meanwhile is noticed the next time.
        let Some(stamp) = Stamp::of(pins, index) else {
            return Ok(None);
        };
        let mut lists = Vec::with_capacity(Table::ALL.len());
        for table in Table::ALL {
            let Some(data) = find(table.map())? else {
                return Ok(None);
            };
            lists.push(ListMap {
                table,
                capacity: capacity(&data)?,
                entries: entries::open(table, data)?,
            });
        }
        let Some(bits) = find(maps::BITS)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            index,
            lists,
            bits: Bits::open(bits)?,
            stamp,
        }))
    }

    /// Whether its maps are the ones that are pinned.
    pub(super) fn is_pinned(&self, pins: &PinDir) -> bool {
        Stamp::of(pins, self.index) == Some(self.stamp)
    }

    /// Notes that [`Places::exchange_bits`] was for this set.
    pub(super) fn reopen_bits(&mut self, pins: &PinDir) -> Result<(), ShieldError> {
        let shape = Shape::inner(maps::BITS).expect("invariant: the bits have a shape");
        let path = pins.inner(maps::BITS, self.index);
        self.bits = Bits::open(shape.open(&path, None)?.0)?;
        self.stamp = Stamp::of(pins, self.index).ok_or_else(|| pins.incomplete(&path))?;
        Ok(())
    }

    pub(super) fn list(&self, table: Table) -> &ListMap {
        &self.lists[table as usize]
    }

    pub(super) fn list_mut(&mut self, table: Table) -> &mut ListMap {
        &mut self.lists[table as usize]
    }

    /// The bits of [`ShieldSettings::lists`] that its maps warrant.
    pub(super) fn populated(&self) -> Result<u32, ShieldError> {
        let mut populated = 0;
        for list in &self.lists {
            let is_empty = list.entries.is_empty();
            if !is_empty.map_err(|error| list.error("read", &error))? {
                populated |= list.table.bit();
            }
        }
        Ok(populated)
    }

    /// What its maps have room for; `sources` is not theirs.
    pub(super) fn tables(&self) -> Tables {
        Tables {
            sources: 0,
            blocks: self.list(Table::Block4).capacity,
            prefixes: self.list(Table::BlockLpm4).capacity,
        }
    }

    /// Whether its maps have room for what `tables` say.
    pub(super) fn fits(&self, tables: &Tables) -> bool {
        self.lists
            .iter()
            .all(|list| list.capacity == capacity_of(list.table, tables))
    }
}

impl Places {
    pub(super) fn open(pins: &PinDir) -> Result<Self, ShieldError> {
        let lists = Table::ALL
            .into_iter()
            .map(|table| Outer::open(pins, table.map()));
        Ok(Self {
            lists: lists.collect::<Result<_, _>>()?,
            bits: Outer::open(pins, maps::BITS)?,
        })
    }

    /// Makes the empty maps of the set `index`, which must not be in force.
    pub(super) fn make(
        &mut self,
        lock: &Lock,
        pins: &PinDir,
        index: u32,
        tables: &Tables,
    ) -> Result<Set, ShieldError> {
        self.clear(lock, pins, index)?;
        Bits::create(pins, &pins.inner(maps::BITS, index), &Words::none())?;
        for table in Table::ALL {
            let path = pins.inner(table.map(), index);
            entries::create(table, capacity_of(table, tables), &path)?;
        }
        for place in self.lists.iter_mut().chain([&mut self.bits]) {
            place.put(lock, pins, index)?;
        }
        let set = Set::open(pins, index)?;
        set.ok_or_else(|| pins.incomplete(&pins.inner(maps::BITS, index)))
    }

    /// Removes the maps of the set `index`, which must not be in force.
    pub(super) fn clear(
        &mut self,
        lock: &Lock,
        pins: &PinDir,
        index: u32,
    ) -> Result<(), ShieldError> {
        for place in self.lists.iter_mut().chain([&mut self.bits]) {
            place.clear(lock, pins, index)?;
        }
        Ok(())
    }

    /// Exchanges the bits of the set `index` for `words`.
    pub(super) fn exchange_bits(
        &mut self,
        lock: &Lock,
        pins: &PinDir,
        index: u32,
        words: &Words,
    ) -> Result<(), ShieldError> {
        self.bits
            .exchange(lock, pins, index, |path| Bits::create(pins, path, words))
    }

    /// Finishes an exchange of bits that a process began that died.
    pub(super) fn finish(&mut self, lock: &Lock, pins: &PinDir) -> Result<(), ShieldError> {
        (0..maps::SETS).try_for_each(|index| self.bits.finish(lock, pins, index))
    }
}

impl ListMap {
    /// Shows every entry. Twice the capacity is more than any walk needs that others do not disturb, and ends the others.
    pub(super) fn visit(&self, see: &mut dyn FnMut(IpNet, Entry)) -> Result<(), ShieldError> {
        let bound = self.capacity as usize * 2;
        self.entries
            .visit(bound, see)
            .map_err(|error| self.error("read", &error))
    }

    /// Removes what has expired. Returns how many.
    pub(super) fn sweep(&mut self, now_ns: u64) -> Result<usize, ShieldError> {
        let mut expired = Vec::new();
        self.visit(&mut |network, entry| {
            if !entry.is_live(now_ns) {
                expired.push(network);
            }
        })?;
        let mut removed = 0;
        for network in expired {
            let deleted = self.entries.delete(&network);
            removed += usize::from(deleted.map_err(|e| self.error("remove from", &e))?);
        }
        Ok(removed)
    }

    /// What went wrong when it was to be used as `verb` says ("add to").
    pub(super) fn error(&self, verb: &str, error: &aya::maps::MapError) -> ShieldError {
        let name = self.table.map();
        if !super::is_full(error) {
            return failure(verb, name, error);
        }
        let key = Shape::inner(name)
            .and_then(|shape| shape.key())
            .unwrap_or(name);
        ShieldError::failed(
            format!(
                "the map `{name}` is full: `[shield.tables] {key}` makes room for {} {}",
                self.capacity,
                self.table.contents()
            ),
            format!("raise `[shield.tables] {key}` and reload, or remove entries"),
        )
    }
}

impl Stamp {
    fn of(pins: &PinDir, index: u32) -> Option<Self> {
        let metadata = fs::metadata(pins.inner(maps::BITS, index)).ok()?;
        Some(Self {
            inode: metadata.ino(),
            created: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Entries that the map of `table` has room for under `tables`.
fn capacity_of(table: Table, tables: &Tables) -> u32 {
    Shape::inner(table.map())
        .expect("invariant: every list map has a shape")
        .entries(tables)
}

/// The other of the two sets.
pub(super) fn other(index: u32) -> u32 {
    u32::from(index == 0)
}

/// The set that `settings` say is in force.
pub(super) fn in_force(settings: &ShieldSettings) -> u32 {
    u32::from(settings.set)
}
