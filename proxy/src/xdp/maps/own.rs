//! This host's own addresses, as the program looks them up: a map, and in the settings a filter over it.

use std::collections::HashSet;
use std::net::IpAddr;

use aya::maps::{HashMap, MapData};
use weir_common::addr::key128;
use weir_common::maps;

use super::super::ShieldError;
use super::super::pins::{Lock, PinDir};
use super::keys::packet_source;
use super::{typed, unusable};

/// The map.
pub(super) struct Own {
    map: HashMap<MapData, [u8; 16], u32>,
}

impl Own {
    pub(super) fn open(pins: &PinDir) -> Result<Self, ShieldError> {
        let map = typed(maps::OWN, &|name: &str| pins.map(name))?;
        Ok(Self { map })
    }

    /// Adds what is missing of `addresses`.
    pub(super) fn add(&mut self, _lock: &Lock, addresses: &[IpAddr]) -> Result<(), ShieldError> {
        for address in addresses {
            let added = self.map.insert(key(*address), 1, 0);
            added.map_err(|error| unusable(maps::OWN, &error))?;
        }
        Ok(())
    }

    /// Removes what is not among `addresses`.
    pub(super) fn keep_only(
        &mut self,
        _lock: &Lock,
        addresses: &[IpAddr],
    ) -> Result<(), ShieldError> {
        let wanted: HashSet<[u8; 16]> = addresses.iter().copied().map(key).collect();
        let there: Result<Vec<[u8; 16]>, _> = self.map.keys().collect();
        let there = there.map_err(|error| unusable(maps::OWN, &error))?;
        for key in there.iter().filter(|key| !wanted.contains(*key)) {
            let removed = self.map.remove(key);
            removed.map_err(|error| unusable(maps::OWN, &error))?;
        }
        Ok(())
    }
}

/// IPv4 as IPv4-mapped.
fn key(address: IpAddr) -> [u8; 16] {
    key128(packet_source(address.to_canonical()).mapped())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_lies_under_its_mapped_one_however_it_is_written() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
        for text in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(key(text.parse().expect("an address")), mapped, "{text}");
        }
    }
}
