//! What the XDP program counted: totals by interface and outcome, and counters by source.

use std::path::PathBuf;

use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues};
use ipnet::IpNet;
use weir_common::{InterfaceSlot, SourceCounters, Totals, maps};

use super::super::ShieldError;
use super::keys::NetworkKey;
use super::{SourceRow, capacity, open, typed, unusable};

/// The counting maps.
pub(super) struct Counters {
    totals: PerCpuArray<MapData, Totals>,
    interfaces: Array<MapData, InterfaceSlot>,
    lost: PerCpuArray<MapData, u64>,
    v4: Sources<[u8; 4]>,
    v6: Sources<[u8; 8]>,
}

impl Counters {
    pub(super) fn open(path: &impl Fn(&str) -> PathBuf) -> Result<Self, ShieldError> {
        Ok(Self {
            totals: typed(maps::TOTALS, path)?,
            interfaces: typed(maps::INTERFACES, path)?,
            lost: typed(maps::SAMPLES_LOST, path)?,
            v4: Sources::open(maps::SOURCES4, path)?,
            v6: Sources::open(maps::SOURCES6, path)?,
        })
    }

    pub(super) fn slots(&self) -> Result<Vec<InterfaceSlot>, ShieldError> {
        self.interfaces
            .iter()
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(maps::INTERFACES, &error))
    }

    pub(super) fn set_slot(
        &mut self,
        slot: u32,
        interface: InterfaceSlot,
    ) -> Result<(), ShieldError> {
        let before = self
            .interfaces
            .get(&slot, 0)
            .map_err(|error| unusable(maps::INTERFACES, &error))?;
        if before.name != interface.name {
            self.zero(slot)?;
        }
        self.interfaces
            .set(slot, interface, 0)
            .map_err(|error| unusable(maps::INTERFACES, &error))
    }

    pub(super) fn totals(&self) -> Result<Vec<(String, Totals)>, ShieldError> {
        let mut rows = Vec::new();
        for (slot, interface) in (0..).zip(self.slots()?) {
            if interface.ifindex == 0 {
                continue;
            }
            let per_cpu = self
                .totals
                .get(&slot, 0)
                .map_err(|error| unusable(maps::TOTALS, &error))?;
            let mut sum = Totals::ZERO;
            for totals in per_cpu.iter() {
                sum.add(totals);
            }
            rows.push((interface.name.as_str().to_owned(), sum));
        }
        Ok(rows)
    }

    pub(super) fn samples_lost(&self) -> Result<u64, ShieldError> {
        let lost = self
            .lost
            .get(&0, 0)
            .map_err(|error| unusable(maps::SAMPLES_LOST, &error))?;
        Ok(lost.iter().sum())
    }

    pub(super) fn sources(&self) -> Result<Vec<SourceRow>, ShieldError> {
        let mut rows = self.v4.rows()?;
        rows.extend(self.v6.rows()?);
        Ok(rows)
    }

    /// `network` as [`keys::source`](super::keys::source) makes it.
    pub(super) fn source(&self, network: IpNet) -> Result<Option<SourceRow>, ShieldError> {
        match network {
            IpNet::V4(_) => self.v4.row(&network),
            IpNet::V6(_) => self.v6.row(&network),
        }
    }

    fn zero(&mut self, slot: u32) -> Result<(), ShieldError> {
        let cpus = aya::util::nr_cpus()
            .map_err(|(path, error)| ShieldError::kernel(&format!("read {path}"), &error))?;
        PerCpuValues::try_from(vec![Totals::ZERO; cpus])
            .map_err(MapError::from)
            .and_then(|zero| self.totals.set(slot, zero, 0))
            .map_err(|error| unusable(maps::TOTALS, &error))
    }
}

/// The sources of one address family.
struct Sources<K: NetworkKey> {
    name: &'static str,
    /// Entries.
    capacity: u32,
    map: HashMap<MapData, K, SourceCounters>,
}

impl<K: NetworkKey + Eq + std::hash::Hash> Sources<K> {
    fn open(name: &'static str, path: &impl Fn(&str) -> PathBuf) -> Result<Self, ShieldError> {
        let data = open(name, path)?;
        Ok(Self {
            name,
            capacity: capacity(&data)?,
            map: aya::maps::Map::from_map_data(data)
                .and_then(HashMap::try_from)
                .map_err(|error| unusable(name, &error))?,
        })
    }

    /// At most as many steps as the map has room for. Under a flood the map changes while it is walked, and the kernel
    /// starts over when the key it stands at was evicted: then sources come twice (one is kept) and others are missing.
    fn rows(&self) -> Result<Vec<SourceRow>, ShieldError> {
        let mut found = std::collections::HashMap::new();
        for item in self.map.iter().take(self.capacity as usize) {
            let (key, counters) = item.map_err(|error| unusable(self.name, &error))?;
            found.insert(key, counters);
        }
        let rows = found.into_iter().map(|(key, counters)| SourceRow {
            network: key.network(),
            counters,
        });
        Ok(rows.collect())
    }

    fn row(&self, network: &IpNet) -> Result<Option<SourceRow>, ShieldError> {
        let Some(key) = K::of(network) else {
            return Ok(None);
        };
        match self.map.get(&key, 0) {
            Ok(counters) => Ok(Some(SourceRow {
                network: *network,
                counters,
            })),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(unusable(self.name, &error)),
        }
    }
}
