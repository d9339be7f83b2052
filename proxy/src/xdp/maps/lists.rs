//! The allow and block lists: seven maps and the settings' bits that say which of them hold anything.
//!
//! The XDP program does not look into a map whose bit is clear, so a bit is set before the first entry goes in and
//! cleared only when the map is empty. Every method that writes takes the [`Lock`] as its proof that nobody else does.

use std::collections::{BTreeMap, HashSet};

use aya::maps::{Array, MapData, MapError};
use ipnet::IpNet;
use nix::errno::Errno;
use weir_common::{Entry, ShieldSettings};

use super::super::error::errno;
use super::super::pins::Lock;
use super::super::{List, ListedEntry, ShieldError};
use super::entries::Entries;
use super::keys::{Table, canonical};
use super::shape::Shape;

/// The lists.
pub(super) struct Lists {
    /// In the order of [`Table::ALL`].
    pub(super) maps: Vec<ListMap>,
    pub(super) settings: Array<MapData, ShieldSettings>,
}

/// One list map.
pub(super) struct ListMap {
    pub(super) table: Table,
    /// Entries.
    pub(super) capacity: u32,
    pub(super) entries: Box<dyn Entries>,
}

/// How many live entries the lists have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Of the blocklist.
    pub blocks: usize,
    /// Of the allowlist.
    pub allows: usize,
}

impl Census {
    fn of_mut(&mut self, list: List) -> &mut usize {
        match list {
            List::Allow => &mut self.allows,
            List::Block => &mut self.blocks,
        }
    }
}

/// An entry that had expired when the lists were walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expired(Table, IpNet);

impl Lists {
    /// Adds `entry`, unless the one that is there [stays](replaces).
    pub(super) fn insert(
        &mut self,
        lock: &Lock,
        list: List,
        network: &IpNet,
        entry: &Entry,
    ) -> Result<(), ShieldError> {
        let table = Table::of(list, network);
        let map = self.map_mut(table);
        let found = map
            .entries
            .get(network)
            .map_err(|e| map.error("read", &e))?;
        if found.is_some_and(|found| !replaces(entry, &found)) {
            return Ok(());
        }
        self.change_settings(lock, |settings| settings.lists |= table.bit())?;
        let map = self.map_mut(table);
        let Err(error) = map.entries.put(network, entry) else {
            return Ok(());
        };
        // Expired entries take room until a sweep, and without a running weir nobody sweeps.
        if !is_full(&error) || map.sweep(entry.added_ns)? == 0 {
            return Err(map.error("add to", &error));
        }
        let again = map.entries.put(network, entry);
        again.map_err(|error| map.error("add to", &error))
    }

    pub(super) fn remove(
        &mut self,
        _lock: &Lock,
        list: List,
        network: &IpNet,
    ) -> Result<bool, ShieldError> {
        let map = self.map_mut(Table::of(list, network));
        let removed = map.entries.delete(network);
        removed.map_err(|error| map.error("remove from", &error))
    }

    /// The live entries of `list`, sorted.
    pub(super) fn entries(&self, list: List, now_ns: u64) -> Result<Vec<ListedEntry>, ShieldError> {
        let mut sorted = BTreeMap::new();
        for map in self.maps.iter().filter(|map| map.table.list() == list) {
            map.visit(&mut |network, entry| {
                if entry.is_live(now_ns) {
                    sorted.insert(network, entry);
                }
            })?;
        }
        let entries = sorted.into_iter().map(|(network, entry)| ListedEntry {
            list,
            network,
            entry,
        });
        Ok(entries.collect())
    }

    /// Whether a live entry of `list` covers all of `network`. For the allowlist, which has tries only: one look-up a
    /// length, so that its price does not depend on how long the list is.
    pub(super) fn is_allowed(&self, network: &IpNet, now_ns: u64) -> Result<bool, ShieldError> {
        let map = &self.maps[Table::of(List::Allow, network) as usize];
        for prefix_len in (0..=network.prefix_len()).rev() {
            let wider = IpNet::new(network.addr(), prefix_len)
                .expect("invariant: no longer than the network's own")
                .trunc();
            let found = map.entries.get(&wider).map_err(|e| map.error("read", &e))?;
            if found.is_some_and(|entry| entry.is_live(now_ns)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts live entries and names those that expired. Needs no lock: what was found is looked at again by
    /// [`Self::remove_expired`].
    pub(super) fn census(&self, now_ns: u64) -> Result<(Census, Vec<Expired>), ShieldError> {
        let (mut census, mut expired) = (Census::default(), Vec::new());
        for map in &self.maps {
            let list = map.table.list();
            map.visit(&mut |network, entry| {
                if entry.is_live(now_ns) {
                    *census.of_mut(list) += 1;
                } else {
                    expired.push(Expired(map.table, network));
                }
            })?;
        }
        Ok((census, expired))
    }

    /// Removes those of `expired` that nobody has renewed since. Returns how many.
    pub(super) fn remove_expired(
        &mut self,
        _lock: &Lock,
        expired: &[Expired],
        now_ns: u64,
    ) -> Result<usize, ShieldError> {
        let mut removed = 0;
        for Expired(table, network) in expired {
            let map = self.map_mut(*table);
            let found = map
                .entries
                .get(network)
                .map_err(|e| map.error("read", &e))?;
            if found.is_some_and(|entry| !entry.is_live(now_ns)) {
                let deleted = map.entries.delete(network);
                removed += usize::from(deleted.map_err(|e| map.error("remove from", &e))?);
            }
        }
        Ok(removed)
    }

    /// Makes the entries of origin `config` those of `allow` and `block`.
    pub(super) fn reconcile(
        &mut self,
        lock: &Lock,
        wanted: &[(List, IpNet)],
        entry: impl Fn(List, &IpNet) -> Entry,
    ) -> Result<(), ShieldError> {
        let wanted: HashSet<(List, IpNet)> = wanted
            .iter()
            .map(|&(list, network)| (list, canonical(network)))
            .collect();
        let mut there = HashSet::new();
        for map in &mut self.maps {
            let list = map.table.list();
            let mut leftover = Vec::new();
            map.visit(&mut |network, entry| {
                if entry.origin.as_str() != CONFIG {
                } else if wanted.contains(&(list, network)) {
                    there.insert((list, network));
                } else {
                    leftover.push(network);
                }
            })?;
            for network in leftover {
                let deleted = map.entries.delete(&network);
                deleted.map_err(|error| map.error("remove from", &error))?;
            }
        }
        for (list, network) in wanted.difference(&there) {
            self.insert(lock, *list, network, &entry(*list, network))?;
        }
        self.refresh_bits(lock)
    }

    /// Copies every entry of `from` into the map of the same table. The bits stay as they are: the program that runs
    /// still looks into the old maps, and would stop if a new one that is not filled yet cleared its bit.
    pub(super) fn copy_from(
        &mut self,
        _lock: &Lock,
        table: Table,
        from: &dyn Entries,
        bound: usize,
    ) -> Result<(), ShieldError> {
        let map = self.map_mut(table);
        let mut result = Ok(());
        from.visit(bound, &mut |network, entry| {
            if result.is_ok() {
                result = map.entries.put(&network, &entry);
            }
        })
        .map_err(|error| map.error("copy", &error))?;
        result.map_err(|error| map.error("copy entries into", &error))
    }

    pub(super) fn settings(&self) -> Result<ShieldSettings, ShieldError> {
        self.settings
            .get(&0, 0)
            .map_err(|error| ShieldError::kernel("read the map `SETTINGS`", &error))
    }

    /// Reads, changes and writes the settings; writes only what is different.
    pub(super) fn change_settings(
        &mut self,
        _lock: &Lock,
        change: impl FnOnce(&mut ShieldSettings),
    ) -> Result<(), ShieldError> {
        let before = self.settings()?;
        let mut after = before;
        change(&mut after);
        if after == before {
            return Ok(());
        }
        self.settings
            .set(0, after, 0)
            .map_err(|error| ShieldError::kernel("write the map `SETTINGS`", &error))
    }

    /// Sets the bit of every map that holds something and clears the others'.
    pub(super) fn refresh_bits(&mut self, lock: &Lock) -> Result<(), ShieldError> {
        let mut lists = 0;
        for map in &self.maps {
            if !map.entries.is_empty().map_err(|e| map.error("read", &e))? {
                lists |= map.table.bit();
            }
        }
        self.change_settings(lock, |settings| settings.lists = lists)
    }

    fn map_mut(&mut self, table: Table) -> &mut ListMap {
        &mut self.maps[table as usize]
    }
}

impl ListMap {
    /// Twice the capacity is more than any walk needs that others do not disturb, and ends the others.
    fn bound(&self) -> usize {
        self.capacity as usize * 2
    }

    fn visit(&self, see: &mut dyn FnMut(IpNet, Entry)) -> Result<(), ShieldError> {
        self.entries
            .visit(self.bound(), see)
            .map_err(|error| self.error("read", &error))
    }

    fn sweep(&mut self, now_ns: u64) -> Result<usize, ShieldError> {
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

    fn error(&self, verb: &str, error: &MapError) -> ShieldError {
        let name = self.table.map();
        if !is_full(error) {
            return ShieldError::kernel(&format!("{verb} the map `{name}`"), error);
        }
        let key = Shape::of(name)
            .and_then(|shape| shape.key())
            .unwrap_or(name);
        ShieldError::failed(
            format!(
                "the map `{name}` is full: `[shield.tables] {key}` makes room for {} {}",
                self.capacity,
                self.table.contents()
            ),
            format!("raise `[shield.tables] {key}` and restart weir, or remove entries"),
        )
    }
}

/// Whether `new` takes the place of `found`, an entry of the same network: always if the same origin or a person made
/// it, else only if it lasts longer.
fn replaces(new: &Entry, found: &Entry) -> bool {
    let ends = |entry: &Entry| match entry.expires_ns {
        0 => u64::MAX,
        expires_ns => expires_ns,
    };
    new.origin == found.origin || new.origin.as_str() == CLI || ends(found) < ends(new)
}

/// A hash map that is full says E2BIG, a trie ENOSPC.
fn is_full(error: &MapError) -> bool {
    matches!(errno(error), Some(Errno::E2BIG | Errno::ENOSPC))
}

/// Origin of the entries that the configuration lists.
pub(super) const CONFIG: &str = "config";
/// Origin of the entries that people make.
const CLI: &str = "cli";

#[cfg(test)]
mod tests {
    use weir_common::Text;

    use super::*;

    fn entry(origin: &str, expires_ns: u64) -> Entry {
        Entry {
            expires_ns,
            added_ns: 0,
            origin: Text::truncated(origin),
            reason: Text::EMPTY,
            prefix_len: 32,
        }
    }

    #[test]
    fn the_entry_that_lasts_longer_stays_unless_its_maker_or_a_person_says_otherwise() {
        for (new, found, replaced) in [
            (("detect:a", 10), ("detect:b", 20), false),
            (("detect:a", 20), ("detect:b", 10), true),
            (("detect:a", 10), ("detect:a", 20), true),
            (("detect:a", 10), ("cli", 20), false),
            (("cli", 10), ("config", 0), true),
            (("config", 0), ("cli", 20), true),
            // Both for ever: nothing would change but the name of who made it.
            (("config", 0), ("cli", 0), false),
            (("detect:a", 10), ("config", 0), false),
        ] {
            let decided = replaces(&entry(new.0, new.1), &entry(found.0, found.1));
            assert_eq!(decided, replaced, "{new:?} over {found:?}");
        }
    }

    #[test]
    fn tables_lie_in_the_order_of_their_discriminants() {
        for (index, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, index);
        }
    }
}
