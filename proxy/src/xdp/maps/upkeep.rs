//! What is done to the lists now and then: expired entries go, notes that no entry has, and pre-tests of what is gone.

use std::collections::HashSet;

use ipnet::IpNet;
use weir_common::bits;

use super::super::pins::Lock;
use super::super::{List, ShieldError};
use super::bits::Words;
use super::keys::Table;
use super::lists::Lists;

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

/// What a walk through the lists found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) census: Census,
    pub(super) expired: Vec<Expired>,
    /// Blocked addresses, live or expired.
    pub(super) exact: usize,
    /// Numbers of the notes that entries have.
    pub(super) notes: HashSet<u32>,
}

/// An entry that had expired when the lists were walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expired(Table, IpNet);

impl Lists {
    /// Counts live entries and names those that expired. Needs no lock: what was found is looked at again by
    /// [`Self::remove_expired`].
    pub(super) fn census(&mut self, now_ns: u64) -> Result<Found, ShieldError> {
        self.look()?;
        let mut found = Found::default();
        for map in &self.set.lists {
            let list = map.table.list();
            map.visit(&mut |network, entry| {
                found.notes.insert(entry.note());
                found.exact += usize::from(map.table.is_exact());
                if entry.is_live(now_ns) {
                    *found.census.of_mut(list) += 1;
                } else {
                    found.expired.push(Expired(map.table, network));
                }
            })?;
        }
        Ok(found)
    }

    /// Removes those of `expired` that nobody has renewed since. Returns how many.
    pub(super) fn remove_expired(
        &mut self,
        lock: &Lock,
        expired: &[Expired],
        now_ns: u64,
    ) -> Result<usize, ShieldError> {
        self.begin(lock)?;
        let mut removed = 0;
        for Expired(table, network) in expired {
            let found = self.get(*table, network)?;
            if found.is_some_and(|entry| !entry.is_live(now_ns)) {
                removed += usize::from(self.delete(*table, network)?);
            }
        }
        Ok(removed)
    }

    /// After a sweep that `found` these: clears the bits of maps that are empty, removes notes that no entry has, and
    /// makes pre-tests anew that promise too little.
    pub(super) fn tidy(&mut self, lock: &Lock, found: &Found) -> Result<(), ShieldError> {
        self.refresh_bits(lock)?;
        let live = found.census.blocks + found.census.allows;
        let exact_log2 = self.look()?.exact_log2;
        let unused = self.notes.all()?.unused(&found.notes).count();
        if unused >= NOTES_WORTH_A_WALK || (unused > 0 && live <= CHEAP_WALK) {
            self.collect_notes(lock)?;
        }
        self.sweeps += 1;
        if self.removed > (live / 4).max(CHEAP_WALK)
            || self.sweeps >= SWEEPS_BETWEEN_CHECKS
            || !fits(exact_log2, bits::exact_log2(found.exact))
        {
            (self.removed, self.sweeps) = (0, 0);
            self.renew_bits(lock)?;
        }
        Ok(())
    }

    /// Sets the bit of every map that holds something and clears the others'.
    pub(super) fn refresh_bits(&mut self, lock: &Lock) -> Result<(), ShieldError> {
        self.begin(lock)?;
        let lists = self.set.populated()?;
        self.change_settings(lock, |settings| settings.lists = lists)
    }

    /// Removes notes that no entry has. Whoever adds entries waits meanwhile, so that none gets a number that goes.
    pub(super) fn collect_notes(&mut self, lock: &Lock) -> Result<(), ShieldError> {
        let mut used = HashSet::new();
        for map in &self.set.lists {
            map.visit(&mut |_, entry| {
                used.insert(entry.note());
            })?;
        }
        self.notes.keep_only(lock, &used).map(drop)
    }

    /// Exchanges the pre-tests for new ones if more than a quarter of their bits is of entries that are gone, or if there
    /// are too many entries for the words that they are spread over, or far too few.
    pub(super) fn renew_bits(&mut self, lock: &Lock) -> Result<(), ShieldError> {
        let settings = self.begin(lock)?;
        let mut needed = Words::none();
        for map in &self.set.lists {
            map.visit(&mut |network, _| needed.add(map.table, &network, settings.seed))?;
        }
        let mut there = self.set.bits.read()?;
        let fitting = needed.exact_log2();
        if fits(settings.exact_log2, fitting) {
            needed.fold(settings.exact_log2);
            if there.beyond(&needed) * 4 > there.count() {
                self.exchange_bits(lock, &needed)?;
            }
            return Ok(());
        }
        // Meanwhile those of either spread are set: too many cost a look-up, one too few would let a packet by. The kernel
        // returns from publishing when no packet is judged by the settings before.
        needed.fold(fitting);
        there.join(&needed);
        self.exchange_bits(lock, &there)?;
        let exact_log2 = fitting;
        self.change_settings(lock, |settings| settings.exact_log2 = exact_log2)?;
        self.exchange_bits(lock, &needed)
    }

    pub(super) fn exchange_bits(&mut self, lock: &Lock, words: &Words) -> Result<(), ShieldError> {
        self.places
            .exchange_bits(lock, &self.pins, self.set.index, words)?;
        self.set.reopen_bits(&self.pins)
    }
}

/// Whether entries for which `fitting` words (log2) would do are well spread over `spread`.
fn fits(spread: u8, fitting: u8) -> bool {
    (fitting..=fitting + 1).contains(&spread)
}

/// Entries that are walked in about a millisecond.
const CHEAP_WALK: usize = 4096;
/// Notes that no entry has from which on a long list is walked to remove them.
const NOTES_WORTH_A_WALK: usize = 1024;
/// Pre-tests are compared at least this often, since other processes remove entries too: every 10 minutes while sweeps
/// are 2 s apart.
const SWEEPS_BETWEEN_CHECKS: u32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pre_tests_are_made_anew_when_the_list_outgrows_them_or_shrinks_to_a_quarter() {
        for (spread, entries, well) in [
            (12, 0, true),
            (12, 16_384, true),
            (12, 16_385, false),
            (14, 65_536, true),
            (14, 32_768, true),
            (14, 16_384, false),
            (18, 1 << 24, true),
        ] {
            let fitting = bits::exact_log2(entries);
            assert_eq!(fits(spread, fitting), well, "{spread}: {entries}");
        }
    }
}
