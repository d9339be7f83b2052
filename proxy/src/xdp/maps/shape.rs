//! What each pinned map must look like. aya opens whatever lies at a pin's path, so this is compared before anything is
//! read: a value of another size would be read as garbage, or written past the end of a buffer.

use std::path::Path;

use aya::maps::{MapData, MapInfo, MapType};
use nix::errno::Errno;
use weir_common::maps::{
    ALLOW_LPM4, ALLOW_LPM6, BLOCK_LPM4, BLOCK_LPM6, BLOCK4, BLOCK6, BLOCK6_64, INTERFACES,
    MAX_INTERFACES, SAMPLES, SAMPLES_BYTES, SAMPLES_LOST, SETTINGS, SOURCES4, SOURCES6, TOTALS,
};
use weir_common::{Entry, InterfaceSlot, ShieldSettings, SourceCounters, Totals};

use super::super::error::errno;
use super::super::{ShieldError, Tables};

/// A map as this weir expects it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Shape {
    pub(in super::super) name: &'static str,
    kind: MapType,
    /// Bytes.
    key: usize,
    /// Bytes.
    value: usize,
    capacity: Capacity,
}

/// How many entries a map has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Capacity {
    /// By the ABI version.
    Fixed(u32),
    /// `[shield.tables] sources`
    Sources,
    /// `[shield.tables] blocks`
    Blocks,
    /// `[shield.tables] prefixes`
    Prefixes,
}

/// How a pinned map compares with its [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fit {
    Same,
    /// Same layout, other capacity.
    Resized,
}

impl Shape {
    pub(in super::super) const ALL: [Self; 14] = {
        use Capacity::{Blocks, Fixed, Prefixes, Sources};
        use MapType::{Array, Hash, LpmTrie, LruHash, PerCpuArray, RingBuf};
        const ENTRY: usize = size_of::<Entry>();
        const COUNTERS: usize = size_of::<SourceCounters>();
        [
            shape(
                TOTALS,
                PerCpuArray,
                4,
                size_of::<Totals>(),
                Fixed(MAX_INTERFACES),
            ),
            shape(
                INTERFACES,
                Array,
                4,
                size_of::<InterfaceSlot>(),
                Fixed(MAX_INTERFACES),
            ),
            shape(SETTINGS, Array, 4, size_of::<ShieldSettings>(), Fixed(1)),
            shape(SOURCES4, LruHash, 4, COUNTERS, Sources),
            shape(SOURCES6, LruHash, 8, COUNTERS, Sources),
            shape(BLOCK4, Hash, 4, ENTRY, Blocks),
            shape(BLOCK6, Hash, 16, ENTRY, Blocks),
            shape(BLOCK6_64, Hash, 8, ENTRY, Blocks),
            // A trie's key starts with the prefix length.
            shape(BLOCK_LPM4, LpmTrie, 4 + 4, ENTRY, Prefixes),
            shape(BLOCK_LPM6, LpmTrie, 4 + 16, ENTRY, Prefixes),
            shape(ALLOW_LPM4, LpmTrie, 4 + 4, ENTRY, Prefixes),
            shape(ALLOW_LPM6, LpmTrie, 4 + 16, ENTRY, Prefixes),
            shape(SAMPLES, RingBuf, 0, 0, Fixed(SAMPLES_BYTES)),
            shape(SAMPLES_LOST, PerCpuArray, 4, 8, Fixed(1)),
        ]
    };

    /// The shape of the map `name`, one of [`weir_common::maps::ALL`].
    pub(in super::super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name == name)
    }

    /// Entries the map has room for under `tables`.
    pub(in super::super) fn entries(&self, tables: &Tables) -> u32 {
        match self.capacity {
            Capacity::Fixed(entries) => entries,
            Capacity::Sources => tables.sources,
            Capacity::Blocks => tables.blocks,
            Capacity::Prefixes => tables.prefixes,
        }
    }

    /// The configuration key of its capacity.
    pub(in super::super) fn key(&self) -> Option<&'static str> {
        match self.capacity {
            Capacity::Fixed(_) => None,
            Capacity::Sources => Some("sources"),
            Capacity::Blocks => Some("blocks"),
            Capacity::Prefixes => Some("prefixes"),
        }
    }

    /// Opens the map pinned at `path` after comparing it; its capacity too, if `tables` says what that must be.
    pub(in super::super) fn open(
        &self,
        path: &Path,
        tables: Option<&Tables>,
    ) -> Result<(MapData, Fit), ShieldError> {
        let fail = |error| ShieldError::kernel(&format!("open the map {}", path.display()), &error);
        let map = MapData::from_pin(path).map_err(|error| {
            if errno(&error) == Some(Errno::ENOENT) {
                return ShieldError::failed(
                    format!("the map {} is missing", path.display()),
                    "start weir: it makes the map anew",
                );
            }
            fail(error)
        })?;
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
        Ok((map, fit))
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

#[cfg(test)]
mod tests {
    use weir_common::maps;

    use super::*;

    const TABLES: Tables = Tables {
        sources: 2048,
        blocks: 4096,
        prefixes: 128,
    };

    fn as_expected(shape: &Shape) -> Found {
        Found {
            kind: Some(shape.kind),
            key: shape.key,
            value: shape.value,
            entries: shape.entries(&TABLES),
        }
    }

    #[test]
    fn every_shared_map_has_a_shape() {
        assert_eq!(Shape::ALL.map(|shape| shape.name), maps::ALL);
        assert!(Shape::of(BLOCK4).is_some());
    }

    #[test]
    fn a_map_as_expected_is_the_same() {
        for shape in Shape::ALL {
            let fit = shape.compare(&as_expected(&shape), Some(&TABLES));
            assert_eq!(fit, Ok(Fit::Same), "{}", shape.name);
        }
    }

    #[test]
    fn another_type_or_size_is_refused_and_says_which() {
        for shape in Shape::ALL {
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
        for shape in Shape::ALL {
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
