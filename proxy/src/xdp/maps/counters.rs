//! What the XDP program counted: totals by interface and outcome, and counters by source.

use std::collections::HashMap as Rows;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use ipnet::IpNet;
use weir_common::{InterfaceSlot, SourceState, Totals, batch, maps};

use super::super::ShieldError;
use super::keys::{key_of_source, source_of_key};
use super::{capacity, duplicate, failure, open, typed, unusable};

/// The counting maps.
pub(super) struct Counters {
    totals: PerCpuArray<MapData, Totals>,
    interfaces: Array<MapData, InterfaceSlot>,
    lost: PerCpuArray<MapData, u64>,
    sources: Sources,
}

impl Counters {
    pub(super) fn open(path: &impl Fn(&str) -> PathBuf) -> Result<Self, ShieldError> {
        Ok(Self {
            totals: typed(maps::TOTALS, path)?,
            interfaces: typed(maps::INTERFACES, path)?,
            lost: typed(maps::SAMPLES_LOST, path)?,
            sources: Sources::open(path)?,
        })
    }

    pub(super) fn slots(&self) -> Result<Vec<InterfaceSlot>, ShieldError> {
        self.interfaces
            .iter()
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(maps::INTERFACES, &error))
    }

    pub(super) fn slot(&self, slot: u32) -> Result<InterfaceSlot, ShieldError> {
        self.interfaces
            .get(&slot, 0)
            .map_err(|error| unusable(maps::INTERFACES, &error))
    }

    pub(super) fn set_slot(
        &mut self,
        slot: u32,
        interface: InterfaceSlot,
    ) -> Result<(), ShieldError> {
        if self.slot(slot)?.name != interface.name {
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

    /// Every source that has a state.
    pub(super) fn sources(&self) -> Result<Rows<IpNet, SourceState>, ShieldError> {
        self.sources.rows()
    }

    /// `network` as [`keys::source`](super::keys::source) makes it.
    pub(super) fn source(&self, network: &IpNet) -> Result<Option<SourceState>, ShieldError> {
        self.sources.row(network)
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

/// The sources of both address families.
struct Sources {
    /// Entries.
    capacity: u32,
    map: HashMap<MapData, [u8; 8], SourceState>,
    fd: OwnedFd,
}

impl Sources {
    fn open(path: &impl Fn(&str) -> PathBuf) -> Result<Self, ShieldError> {
        let data = open(maps::SOURCES, path)?;
        Ok(Self {
            capacity: capacity(&data)?,
            fd: duplicate(&data)?,
            map: Map::from_map_data(data)
                .and_then(HashMap::try_from)
                .map_err(|error| unusable(maps::SOURCES, &error))?,
        })
    }

    /// Bucket by bucket, so that a source is there once, however much the map changes meanwhile.
    fn rows(&self) -> Result<Rows<IpNet, SourceState>, ShieldError> {
        let mut rows = Rows::new();
        batch::walk(
            self.fd.as_fd(),
            ([0_u8; 8], SourceState::default()),
            self.capacity as usize * 2,
            |key, state| {
                rows.insert(source_of_key(key), state);
            },
        )
        .map_err(|error| failure("read", maps::SOURCES, &error))?;
        Ok(rows)
    }

    fn row(&self, network: &IpNet) -> Result<Option<SourceState>, ShieldError> {
        match self.map.get(&key_of_source(network), 0) {
            Ok(state) => Ok(Some(state)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(unusable(maps::SOURCES, &error)),
        }
    }
}
