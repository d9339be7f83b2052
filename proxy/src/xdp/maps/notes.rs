//! Who made entries, and why: each wording lies once in the `NOTES` map, and entries carry its number.
//!
//! A number is a hash of the wording, or the next free one. Notes are removed when no entry has their number; a gap that
//! this leaves in a run of numbers only makes a wording be noted a second time.

use std::collections::{HashMap as Known, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{HashMap, Map, MapData, MapError};
use weir_common::entry::{NOTE_MAX, ORIGIN_BYTES, REASON_BYTES};
use weir_common::hash::mix;
use weir_common::maps::{NOTES, NOTES_MAX};
use weir_common::{Note, Text, batch};

use super::super::ShieldError;
use super::super::pins::{Lock, PinDir};
use super::{duplicate, is_full, unusable};

/// The notes.
pub(super) struct Notes {
    map: HashMap<MapData, u32, Note>,
    fd: OwnedFd,
}

/// Notes that were looked up already.
#[derive(Default)]
pub(super) struct Read(Known<u32, Note>);

impl Notes {
    pub(super) fn open(pins: &PinDir) -> Result<Self, ShieldError> {
        let data = super::open(NOTES, &|name: &str| pins.map(name))?;
        let fd = duplicate(&data)?;
        let map = Map::from_map_data(data)
            .and_then(HashMap::try_from)
            .map_err(|error| unusable(NOTES, &error))?;
        Ok(Self { map, fd })
    }

    /// The number of `note`, which is written if it is not there yet; `None` if there is no room for it.
    pub(super) fn number(&mut self, _lock: &Lock, note: &Note) -> Result<Option<u32>, ShieldError> {
        let mut number = first_number(note);
        // As many steps as there can be notes find it or a free number.
        for _ in 0..=NOTES_MAX {
            match self.find(number)? {
                Some(found) if found == *note => return Ok(Some(number)),
                Some(_) => number = number % NOTE_MAX + 1,
                None => {
                    return match self.map.insert(number, note, 0) {
                        Ok(()) => Ok(Some(number)),
                        Err(error) if is_full(&error) => Ok(None),
                        Err(error) => Err(unusable(NOTES, &error)),
                    };
                }
            }
        }
        Ok(None)
    }

    /// The note with `number`; one that says nothing if there is none.
    pub(super) fn read(&self, number: u32, read: &mut Read) -> Result<Note, ShieldError> {
        if let Some(note) = read.0.get(&number) {
            return Ok(*note);
        }
        let note = self.find(number)?.unwrap_or_else(unknown);
        read.0.insert(number, note);
        Ok(note)
    }

    /// Every note with its number.
    pub(super) fn all(&self) -> Result<Read, ShieldError> {
        let mut read = Read::default();
        batch::walk(
            self.fd.as_fd(),
            (0_u32, unknown()),
            NOTES_MAX as usize,
            |number, note| {
                read.0.insert(number, note);
            },
        )
        .map_err(|error| ShieldError::kernel("read the map `NOTES`", &error))?;
        Ok(read)
    }

    /// Removes those that are not in `used`. Returns how many.
    pub(super) fn keep_only(
        &mut self,
        _lock: &Lock,
        used: &HashSet<u32>,
    ) -> Result<usize, ShieldError> {
        let mut removed = 0;
        for number in self.all()?.unused(used) {
            match self.map.remove(&number) {
                Ok(()) => removed += 1,
                Err(error) => return Err(unusable(NOTES, &error)),
            }
        }
        Ok(removed)
    }

    fn find(&self, number: u32) -> Result<Option<Note>, ShieldError> {
        match self.map.get(&number, 0) {
            Ok(note) => Ok(Some(note)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(unusable(NOTES, &error)),
        }
    }
}

impl Read {
    /// The note with `number`, of those that were read.
    pub(super) fn known(&self, number: u32) -> Note {
        self.0.get(&number).copied().unwrap_or_else(unknown)
    }

    /// The numbers that are not in `used`.
    pub(super) fn unused<'a>(&'a self, used: &'a HashSet<u32>) -> impl Iterator<Item = u32> + 'a {
        self.0
            .keys()
            .copied()
            .filter(|number| !used.contains(number))
    }

    /// The numbers of the notes of `origin`.
    pub(super) fn of_origin(&self, origin: &str) -> HashSet<u32> {
        let notes = self.0.iter();
        notes
            .filter(|(_, note)| note.origin.as_str() == origin)
            .map(|(number, _)| *number)
            .collect()
    }

    /// Every origin that has notes.
    pub(super) fn origins(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|note| note.origin.as_str())
    }
}

/// A note of these words; those that are too long are cut.
pub(super) fn note(origin: Text<ORIGIN_BYTES>, reason: &str) -> Note {
    Note {
        origin,
        reason: Text::truncated(reason),
    }
}

/// What is said of an entry without note.
fn unknown() -> Note {
    note(Text::EMPTY, "")
}

/// 1 to [`NOTE_MAX`]: 0 means no note.
fn first_number(note: &Note) -> u32 {
    let words = |text: &str, seed: u64| {
        text.as_bytes().chunks(8).fold(seed, |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(u64::from_le_bytes(word), hash)
        })
    };
    let hash = words(
        note.reason.as_str(),
        words(note.origin.as_str(), ORIGIN_BYTES as u64),
    );
    let hash = mix(hash, REASON_BYTES as u64);
    u32::try_from(hash >> 32).map_or(1, |hash| hash % NOTE_MAX + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_have_equal_numbers_and_none_is_0_or_more_than_an_entry_holds() {
        let of = |origin, reason| first_number(&note(Text::truncated(origin), reason));
        assert_eq!(of("cli", "scan"), of("cli", "scan"));
        assert_ne!(of("cli", "scan"), of("cli", "scam"));
        assert_ne!(of("cli", ""), of("config", ""));
        for words in 0..1000 {
            let note = note(Text::truncated("cli"), &words.to_string());
            assert!((1..=NOTE_MAX).contains(&first_number(&note)));
        }
    }

    #[test]
    fn notes_are_found_by_their_origin_and_by_their_use() {
        let mut read = Read::default();
        for (number, origin) in [(1, "cli"), (2, "feed:a"), (3, "feed:a")] {
            read.0.insert(number, note(Text::truncated(origin), ""));
        }
        assert_eq!(read.of_origin("feed:a"), HashSet::from([2, 3]));
        let used = HashSet::from([1, 3]);
        assert_eq!(read.unused(&used).collect::<Vec<_>>(), [2]);
    }
}
