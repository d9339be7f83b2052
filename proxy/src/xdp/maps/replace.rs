//! Replacing all entries of one origin: entry by entry if few differ, else by building the other set beside the one in
//! force and putting it into force at once, so that no packet is judged by a half. The configuration's entries come with
//! settings, and so always in another set.

use std::collections::HashSet;

use foldhash::HashMap;
use ipnet::IpNet;
use weir_common::entry::is_live;
use weir_common::{Entry, Note, ShieldSettings};

use super::super::pins::Lock;
use super::super::{List, ShieldError, Tables};
use super::bits::Words;
use super::keys::{Table, canonical};
use super::lists::{Lists, NewEntry, replaces};
use super::migrate::Earlier;
use super::notes::Read;
use super::set::{ListMap, Set, other};
use super::wanted::{Difference, Wanted};

/// What became of an origin's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replaced {
    /// Entries made.
    pub added: usize,
    /// Entries removed.
    pub removed: usize,
    /// Entries of the origin there are now.
    pub entries: usize,
}

impl Lists {
    /// How the entries of the origin differ from those that are `wanted`. Needs no lock: [`Self::replace`] looks again.
    pub(super) fn difference(&mut self, wanted: &Wanted) -> Result<Difference, ShieldError> {
        self.look()?;
        let notes = self.notes.all()?;
        let ours = notes.of_origin(&wanted.origin);
        let mut difference = Difference::default();
        for map in &self.set.lists {
            let table = map.table;
            let new = wanted.entry(table.list());
            let mut there = There::of(wanted.of(table));
            map.visit(&mut |network, entry| {
                let is_ours = ours.contains(&entry.note());
                match there.get_mut(&network) {
                    Some(there) if is_ours => *there = There::Ours,
                    Some(there) if !replaces(&new, &notes.known(entry.note()), &entry) => {
                        *there = There::Other;
                    }
                    None if is_ours => difference.leftover.push((table, network)),
                    Some(_) | None => {}
                }
            })?;
            for (network, there) in there {
                match there {
                    There::Ours => difference.kept += 1,
                    There::Other => {}
                    There::Nobody => difference.missing.push((table.list(), network)),
                }
            }
        }
        Ok(difference)
    }

    /// Makes the entries of the origin those that are `wanted`, leaving others alone. An entry of another origin that
    /// [lasts as long](replaces) stays in place of one that is wanted. `difference` says whether that is worth a new set.
    pub(super) fn replace(
        &mut self,
        lock: &Lock,
        wanted: &Wanted,
        difference: &Difference,
    ) -> Result<Replaced, ShieldError> {
        let settings = self.begin(lock)?;
        if difference.edits() > EDITS_MAX {
            let tables = self.set.tables();
            return self.rebuild(lock, &settings, Some(wanted), &tables);
        }
        // First what is new: an entry whose place a wider or narrower one takes must not leave a gap. Where there is no room
        // for both, another set has it.
        for (list, network) in &difference.missing {
            if self
                .insert(lock, *list, network, &wanted.entry(*list))
                .is_err()
            {
                let settings = self.begin(lock)?;
                let tables = self.set.tables();
                return self.rebuild(lock, &settings, Some(wanted), &tables);
            }
        }
        let ours = self.notes.all()?.of_origin(&wanted.origin);
        let mut removed = 0;
        for (table, network) in &difference.leftover {
            let found = self.get(*table, network)?;
            if found.is_some_and(|entry| ours.contains(&entry.note())) {
                removed += usize::from(self.delete(*table, network)?);
            }
        }
        if removed > 0 {
            self.refresh_bits(lock)?;
        }
        Ok(Replaced {
            added: difference.missing.len(),
            removed,
            entries: difference.kept + difference.missing.len(),
        })
    }

    /// Puts into force at once, as one generation: room for what `tables` say, the entries that are `wanted` in place of
    /// their origin's, and what `change` makes of the settings. On an error nothing has changed.
    pub(super) fn configure(
        &mut self,
        lock: &Lock,
        wanted: &Wanted,
        tables: &Tables,
        change: impl FnOnce(&mut ShieldSettings),
    ) -> Result<(), ShieldError> {
        let before = self.begin(lock)?;
        let mut after = before;
        change(&mut after);
        if !self.set.fits(tables) {
            self.tell_move(tables)?;
        } else if self.difference(wanted)?.edits() == 0 {
            return if after == before {
                Ok(())
            } else {
                self.publish(lock, &after)
            };
        }
        // However few the differences: a single edit of the set in force would be seen before the settings are.
        self.rebuild(lock, &after, Some(wanted), tables).map(drop)
    }

    /// Moves all entries into maps with room for what `tables` say, if those that there are have another capacity.
    pub(super) fn resize(&mut self, lock: &Lock, tables: &Tables) -> Result<(), ShieldError> {
        let settings = self.begin(lock)?;
        if self.set.fits(tables) {
            return Ok(());
        }
        self.tell_move(tables)?;
        self.rebuild(lock, &settings, None, tables).map(drop)
    }

    fn tell_move(&self, tables: &Tables) -> Result<(), ShieldError> {
        if self.set.populated()? != 0 {
            tracing::info!(
                blocks = tables.blocks,
                prefixes = tables.prefixes,
                "the capacity of the lists changed: their entries move into new maps"
            );
        }
        Ok(())
    }

    /// Adds those of `earlier` that are live, and that nobody has made anew since. Returns how many.
    pub(super) fn adopt(
        &mut self,
        lock: &Lock,
        earlier: &[Earlier],
        now_ns: u64,
    ) -> Result<usize, ShieldError> {
        let settings = self.begin(lock)?;
        let mut words = self.set.bits.read()?;
        let mut numbers: Vec<(Note, u32)> = Vec::new();
        let mut adopted: [Vec<(IpNet, Entry)>; Table::ALL.len()] = Default::default();
        for entry in earlier
            .iter()
            .filter(|entry| is_live(entry.expires_ns, now_ns))
        {
            let network = canonical(entry.network);
            let table = Table::of(entry.list, &network);
            if self.get(table, &network)?.is_some() {
                continue;
            }
            // Most entries have the words of the one before.
            let number = match numbers.iter().rev().find(|(note, _)| *note == entry.note) {
                Some((_, number)) => *number,
                // An entry whose words have no room is still an entry.
                None => self.notes.number(lock, &entry.note)?.unwrap_or(0),
            };
            if numbers.last() != Some(&(entry.note, number)) {
                numbers.push((entry.note, number));
                if numbers.len() > NUMBERS_KEPT {
                    numbers.remove(0);
                }
            }
            words.add(table, &network, settings.seed);
            adopted[table as usize].push((
                network,
                Entry::new(
                    entry.expires_ns,
                    network.prefix_len(),
                    entry.added_ns,
                    number,
                ),
            ));
        }
        words.fold(settings.exact_log2);
        self.exchange_bits(lock, &words)?;
        let mut count = 0;
        for (list, entries) in self.set.lists.iter_mut().zip(&adopted) {
            let written = list.entries.put_all(entries);
            written.map_err(|error| list.error("add to", &error))?;
            count += entries.len();
        }
        self.refresh_bits(lock)?;
        self.renew_bits(lock)?;
        Ok(count)
    }

    /// Entries of `origin`, live or expired.
    pub(super) fn count_of(&mut self, origin: &str) -> Result<usize, ShieldError> {
        self.look()?;
        let notes = self.notes.all()?.of_origin(origin);
        let mut count = 0;
        if !notes.is_empty() {
            for map in &self.set.lists {
                map.visit(&mut |_, entry| count += usize::from(notes.contains(&entry.note())))?;
            }
        }
        Ok(count)
    }

    /// Builds the other set, of the entries there are and what is `wanted` in place of its origin's, and puts it into
    /// force together with `settings`. On an error nothing has changed.
    fn rebuild(
        &mut self,
        lock: &Lock,
        settings: &ShieldSettings,
        wanted: Option<&Wanted>,
        tables: &Tables,
    ) -> Result<Replaced, ShieldError> {
        let index = other(self.set.index);
        let built = self.build(lock, index, settings, wanted, tables).and_then(
            |(set, exact_log2, replaced)| {
                let lists = set.populated()?;
                self.publish(
                    lock,
                    &ShieldSettings {
                        set: u8::try_from(index).unwrap_or(0),
                        bits: u8::try_from(index).unwrap_or(0),
                        lists,
                        exact_log2,
                        ..*settings
                    },
                )?;
                Ok((set, replaced))
            },
        );
        match built {
            Ok((set, replaced)) => {
                let before = std::mem::replace(&mut self.set, set);
                // The new set is in force, whatever becomes of the old one; the next to be built clears its place.
                if let Err(error) = self.places.clear(lock, &self.pins, before.index) {
                    tracing::warn!(%error, "lists that are no longer in force keep their memory");
                }
                Ok(replaced)
            }
            Err(error) => {
                self.places.clear(lock, &self.pins, index)?;
                Err(error)
            }
        }
    }

    fn build(
        &mut self,
        lock: &Lock,
        index: u32,
        settings: &ShieldSettings,
        wanted: Option<&Wanted>,
        tables: &Tables,
    ) -> Result<(Set, u8, Replaced), ShieldError> {
        let mut set = self.places.make(lock, &self.pins, index, tables)?;
        let mut words = Words::none();
        let mut numbers = [0; 2];
        // Twice: making room for the second one's note may remove the first one's, which no entry has yet.
        for _ in 0..2 {
            for (number, list) in numbers.iter_mut().zip([List::Allow, List::Block]) {
                if let Some(wanted) = wanted.filter(|wanted| wanted.is_for(list)) {
                    *number = self.number(lock, &wanted.entry(list).note)?;
                }
            }
        }
        let [allow, block] = numbers;
        let notes = self.notes.all()?;
        let mut replaced = Replaced::default();
        for list in &mut set.lists {
            let table = list.table;
            let merge = match wanted {
                Some(wanted) => {
                    let number = match table.list() {
                        List::Allow => allow,
                        List::Block => block,
                    };
                    let ours = notes.of_origin(&wanted.origin);
                    let new = wanted.entry(table.list());
                    Merge::new(wanted.of(table), new, number, ours)
                }
                None => Merge::nothing(),
            };
            let mut writer = Writer {
                list,
                words: &mut words,
                seed: settings.seed,
                waiting: Vec::new(),
                failed: Ok(()),
            };
            replaced += merge.run(self.set.list(table), &notes, &mut writer)?;
            writer.flush();
            writer.failed?;
        }
        let exact_log2 = words.exact_log2();
        words.fold(exact_log2);
        self.places.exchange_bits(lock, &self.pins, index, &words)?;
        set.reopen_bits(&self.pins)?;
        Ok((set, exact_log2, replaced))
    }
}

/// Whose entry a wanted network has.
#[derive(Clone, Copy)]
enum There {
    /// Nobody's, or one that the wanted one replaces.
    Nobody,
    Ours,
    /// Somebody's, which stays.
    Other,
}

impl There {
    /// Nobody's so far.
    fn of(networks: &[IpNet]) -> HashMap<IpNet, Self> {
        let networks = networks.iter();
        networks.map(|network| (*network, Self::Nobody)).collect()
    }
}

/// One table's entries and what is wanted there.
struct Merge<'a> {
    networks: &'a [IpNet],
    new: Option<(NewEntry, u32)>,
    /// Numbers of the notes of the origin that is replaced.
    ours: HashSet<u32>,
}

impl<'a> Merge<'a> {
    fn nothing() -> Self {
        Self {
            networks: &[],
            new: None,
            ours: HashSet::new(),
        }
    }

    fn new(networks: &'a [IpNet], new: NewEntry, number: u32, ours: HashSet<u32>) -> Self {
        Self {
            networks,
            new: Some((new, number)),
            ours,
        }
    }

    /// Writes every entry of `before` that stays, and then what is wanted and not there yet.
    fn run(
        &self,
        before: &ListMap,
        notes: &Read,
        writer: &mut Writer<'_>,
    ) -> Result<Replaced, ShieldError> {
        let mut there = There::of(self.networks);
        let mut replaced = Replaced::default();
        before.visit(&mut |network, found| {
            let is_ours = self.ours.contains(&found.note());
            let entry = match (there.get_mut(&network), self.new) {
                (Some(there), Some((new, _))) => {
                    *there = There::Other;
                    if is_ours {
                        replaced.entries += 1;
                        found
                    } else if replaces(&new, &notes.known(found.note()), &found) {
                        replaced.added += 1;
                        self.entry(&network).with_hits(found.hits())
                    } else {
                        found
                    }
                }
                _ if is_ours => {
                    replaced.removed += 1;
                    return;
                }
                _ => found,
            };
            writer.write(network, entry);
        })?;
        for (network, there) in there {
            if matches!(there, There::Nobody) {
                replaced.added += 1;
                writer.write(network, self.entry(&network));
            }
        }
        replaced.entries += replaced.added;
        Ok(replaced)
    }

    fn entry(&self, network: &IpNet) -> Entry {
        let (new, note) = self.new.expect("invariant: what is wanted has a note");
        Entry::new(new.expires_ns, network.prefix_len(), new.added_ns, note)
    }
}

/// Writes entries many at once, and notes which bits they need.
struct Writer<'a> {
    list: &'a mut ListMap,
    words: &'a mut Words,
    seed: u64,
    waiting: Vec<(IpNet, Entry)>,
    failed: Result<(), ShieldError>,
}

impl Writer<'_> {
    fn write(&mut self, network: IpNet, entry: Entry) {
        self.words.add(self.list.table, &network, self.seed);
        self.waiting.push((network, entry));
        if self.waiting.len() == AT_ONCE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.failed.is_ok() && !self.waiting.is_empty() {
            let written = self.list.entries.put_all(&self.waiting);
            self.failed = written.map_err(|error| self.list.error("add to", &error));
        }
        self.waiting.clear();
    }
}

impl std::ops::AddAssign for Replaced {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.removed += other.removed;
        self.entries += other.entries;
    }
}

/// Entries that are edited one by one; more make a new set: 1,000 edits take about as long.
const EDITS_MAX: usize = 1000;
/// Wordings whose numbers are remembered while entries are adopted.
const NUMBERS_KEPT: usize = 64;
/// Entries written at once.
const AT_ONCE: usize = 4096;
