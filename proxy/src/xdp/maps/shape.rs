//! What each pinned map must look like. aya opens whatever lies at a pin's path, so this is compared before anything is
//! read: a value of another size would be read as garbage, or written past the end of a buffer.

use std::path::Path;

use aya::maps::{MapData, MapInfo, MapType};
use nix::errno::Errno;
use weir_common::bits::WORDS;
use weir_common::maps::{
    ALLOW_LPM4, ALLOW_LPM6, BITS, BLOCK_LPM4, BLOCK_LPM6, BLOCK4, BLOCK6, CPU, INTERFACES,
    MAX_INTERFACES, NOTES, NOTES_MAX, OWN, OWN_MAX, PREFIXES, PRESSURE, SAMPLES, SAMPLES_BYTES,
    SAMPLES_LOST, SETS, SETTINGS, SKETCH, SOURCES, TOTALS,
};
use weir_common::source::sketch::CELLS;
use weir_common::{
    CpuState, Entry, InterfaceSlot, Note, PrefixState, Pressure, ShieldSettings, SourceState,
    Totals,
};

use super::super::error::errno;
use super::super::{ShieldError, Tables};

/// A map as this weir expects it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Shape {
    pub(in super::super) name: &'static str,
    pub(super) kind: MapType,
    /// Bytes.
    pub(super) key: usize,
    /// Bytes.
    pub(super) value: usize,
    capacity: Capacity,
}

/// How many entries a map has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Capacity {
    /// By the ABI version.
    Fixed(u32),
    /// `[shield.tables] sources`
    Sources,
    /// A sixteenth of that: as many prefixes as sources that share one with others.
    SourcePrefixes,
    /// `[shield.tables] blocks`
    Blocks,
    /// `[shield.tables] prefixes`
    Prefixes,
    /// Half of that.
    AllowPrefixes,
}

/// How a pinned map compares with its [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fit {
    Same,
    /// Same layout, other capacity.
    Resized,
}

impl Shape {
    /// The maps the program names, in the order of [`weir_common::maps::ALL`].
    pub(in super::super) const ALL: [Self; 19] = {
        use Capacity::{Fixed, SourcePrefixes, Sources};
        use MapType::{Array, ArrayOfMaps, Hash, LruHash, PerCpuArray, RingBuf};
        const fn of_maps(name: &'static str, entries: u32) -> Shape {
            shape(name, ArrayOfMaps, 4, 4, Fixed(entries))
        }
        const fn array<T>(name: &'static str, kind: MapType, entries: u32) -> Shape {
            shape(name, kind, 4, size_of::<T>(), Fixed(entries))
        }
        [
            array::<Totals>(TOTALS, PerCpuArray, MAX_INTERFACES),
            array::<InterfaceSlot>(INTERFACES, Array, MAX_INTERFACES),
            of_maps(SETTINGS, 1),
            shape(SOURCES, LruHash, 8, size_of::<SourceState>(), Sources),
            shape(
                PREFIXES,
                LruHash,
                8,
                size_of::<PrefixState>(),
                SourcePrefixes,
            ),
            array::<[u32; 2]>(SKETCH, Array, CELLS / 2),
            array::<CpuState>(CPU, PerCpuArray, 1),
            array::<Pressure>(PRESSURE, Array, 1),
            of_maps(BITS, SETS),
            of_maps(BLOCK4, SETS),
            of_maps(BLOCK6, SETS),
            of_maps(BLOCK_LPM4, SETS),
            of_maps(BLOCK_LPM6, SETS),
            of_maps(ALLOW_LPM4, SETS),
            of_maps(ALLOW_LPM6, SETS),
            shape(NOTES, Hash, 4, size_of::<Note>(), Fixed(NOTES_MAX)),
            shape(OWN, Hash, 16, 4, Fixed(OWN_MAX)),
            shape(SAMPLES, RingBuf, 0, 0, Fixed(SAMPLES_BYTES)),
            array::<u64>(SAMPLES_LOST, PerCpuArray, 1),
        ]
    };

    /// What lies in the maps of maps, under the outer one's name.
    pub(in super::super) const INNER: [Self; 8] = {
        use Capacity::{AllowPrefixes, Blocks, Fixed, Prefixes};
        use MapType::{Array, Hash, LpmTrie};
        const ENTRY: usize = size_of::<Entry>();
        [
            shape(SETTINGS, Array, 4, size_of::<ShieldSettings>(), Fixed(1)),
            shape(BITS, Array, 4, 8, Fixed(WORDS)),
            shape(BLOCK4, Hash, 4, ENTRY, Blocks),
            shape(BLOCK6, Hash, 16, ENTRY, Blocks),
            // A trie's key starts with the prefix length; an IPv4 address is followed by zeros.
            shape(BLOCK_LPM4, LpmTrie, 4 + 8, ENTRY, Prefixes),
            shape(BLOCK_LPM6, LpmTrie, 4 + 16, ENTRY, Prefixes),
            shape(ALLOW_LPM4, LpmTrie, 4 + 8, ENTRY, AllowPrefixes),
            shape(ALLOW_LPM6, LpmTrie, 4 + 16, ENTRY, AllowPrefixes),
        ]
    };

    /// The shape of the map `name`, one of [`weir_common::maps::ALL`].
    pub(in super::super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name == name)
    }

    /// The shape of what lies in the map of maps `name`.
    pub(in super::super) fn inner(name: &str) -> Option<Self> {
        Self::INNER.into_iter().find(|shape| shape.name == name)
    }

    /// Entries the map has room for under `tables`.
    pub(in super::super) fn entries(&self, tables: &Tables) -> u32 {
        match self.capacity {
            Capacity::Fixed(entries) => entries,
            Capacity::Sources => tables.sources,
            Capacity::SourcePrefixes => (tables.sources / 16).max(LEAST_SOURCE_PREFIXES),
            Capacity::Blocks => tables.blocks,
            Capacity::Prefixes => tables.prefixes,
            Capacity::AllowPrefixes => tables.allowed_prefixes(),
        }
    }

    /// The configuration key of its capacity.
    pub(in super::super) fn key(&self) -> Option<&'static str> {
        match self.capacity {
            Capacity::Fixed(_) => None,
            Capacity::Sources | Capacity::SourcePrefixes => Some("sources"),
            Capacity::Blocks => Some("blocks"),
            Capacity::Prefixes | Capacity::AllowPrefixes => Some("prefixes"),
        }
    }

    /// Opens the map pinned at `path` after comparing it; its capacity too, if `tables` says what that must be.
    pub(in super::super) fn open(
        &self,
        path: &Path,
        tables: Option<&Tables>,
    ) -> Result<(MapData, Fit), ShieldError> {
        self.find(path, tables)?.ok_or_else(|| {
            ShieldError::failed(
                format!("the map {} is missing", path.display()),
                "start weir: it makes the map anew",
            )
        })
    }

    /// [`Self::open`], or `None` if nothing is pinned at `path`.
    pub(in super::super) fn find(
        &self,
        path: &Path,
        tables: Option<&Tables>,
    ) -> Result<Option<(MapData, Fit)>, ShieldError> {
        let fail = |error| ShieldError::kernel(&format!("open the map {}", path.display()), &error);
        let map = match MapData::from_pin(path) {
            Err(error) if errno(&error) == Some(Errno::ENOENT) => return Ok(None),
            other => other.map_err(fail)?,
        };
        let info = map.info().map_err(fail)?;
        let fit = self.compare(&Found::from(&info), tables).map_err(|difference| {
            ShieldError::failed(
                format!(
                    "the map {} is not what this weir expects: {difference}",
                    path.display()
                ),
                "another program or an unreleased weir pinned it: `weir detach`, then start weir again",
            )
        })?;
        Ok(Some((map, fit)))
    }

    fn compare(&self, found: &Found, tables: Option<&Tables>) -> Result<Fit, String> {
        let sizes = [
            ("key", found.key, self.key),
            ("value", found.value, self.value),
        ];
        if found.kind != Some(self.kind) {
            return Err(format!("its type is {:?}, not {:?}", found.kind, self.kind));
        }
        for (what, found, expected) in sizes {
            if found != expected {
                return Err(format!("its {what} has {found} bytes, not {expected}"));
            }
        }
        match (self.capacity, tables) {
            (Capacity::Fixed(expected), _) if found.entries != expected => Err(format!(
                "it has room for {} entries, not {expected}",
                found.entries
            )),
            (Capacity::Fixed(_), _) | (_, None) => Ok(Fit::Same),
            (_, Some(tables)) if found.entries == self.entries(tables) => Ok(Fit::Same),
            (_, Some(_)) => Ok(Fit::Resized),
        }
    }
}

const fn shape(
    name: &'static str,
    kind: MapType,
    key: usize,
    value: usize,
    capacity: Capacity,
) -> Shape {
    Shape {
        name,
        kind,
        key,
        value,
        capacity,
    }
}

/// A map as the kernel describes it.
#[derive(Debug, Clone, Copy)]
struct Found {
    kind: Option<MapType>,
    key: usize,
    value: usize,
    entries: u32,
}

impl From<&MapInfo> for Found {
    fn from(info: &MapInfo) -> Self {
        Self {
            kind: info.map_type().ok(),
            key: info.key_size() as usize,
            value: info.value_size() as usize,
            entries: info.max_entries(),
        }
    }
}

/// Least capacity of the `PREFIXES` map.
const LEAST_SOURCE_PREFIXES: u32 = 4096;

#[cfg(test)]
mod tests {
    use weir_common::maps;

    use super::*;

    const TABLES: Tables = Tables {
        sources: 2048,
        blocks: 4096,
        prefixes: 128,
    };

    fn all() -> impl Iterator<Item = Shape> {
        Shape::ALL.into_iter().chain(Shape::INNER)
    }

    fn as_expected(shape: &Shape) -> Found {
        Found {
            kind: Some(shape.kind),
            key: shape.key,
            value: shape.value,
            entries: shape.entries(&TABLES),
        }
    }

    #[test]
    fn every_shared_map_has_a_shape_and_every_map_of_maps_one_for_what_it_holds() {
        assert_eq!(Shape::ALL.map(|shape| shape.name), maps::ALL);
        for shape in Shape::ALL {
            let holds_maps = matches!(shape.kind, MapType::ArrayOfMaps);
            assert_eq!(
                Shape::inner(shape.name).is_some(),
                holds_maps,
                "{}",
                shape.name
            );
        }
    }

    #[test]
    fn a_map_as_expected_is_the_same() {
        for shape in all() {
            let fit = shape.compare(&as_expected(&shape), Some(&TABLES));
            assert_eq!(fit, Ok(Fit::Same), "{}", shape.name);
        }
    }

    #[test]
    fn another_type_or_size_is_refused_and_says_which() {
        for shape in all() {
            let expected = as_expected(&shape);
            for (found, word) in [
                (
                    Found {
                        kind: None,
                        ..expected
                    },
                    "type",
                ),
                (Found { key: 3, ..expected }, "key"),
                (
                    Found {
                        value: 3,
                        ..expected
                    },
                    "value",
                ),
            ] {
                let difference = shape.compare(&found, None).expect_err(shape.name);
                assert!(difference.contains(word), "{difference}");
            }
        }
    }

    #[test]
    fn another_capacity_is_resized_if_the_configuration_sets_it_and_refused_otherwise() {
        for shape in all() {
            let found = Found {
                entries: 1_000_003,
                ..as_expected(&shape)
            };
            let fit = shape.compare(&found, Some(&TABLES));
            match shape.key() {
                Some(_) => assert_eq!(fit, Ok(Fit::Resized), "{}", shape.name),
                None => assert!(fit.is_err(), "{}", shape.name),
            }
        }
    }
}
