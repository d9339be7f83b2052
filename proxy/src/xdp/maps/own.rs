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

    /// Makes the map hold `addresses`. What goes does so first: a full map must have room for what comes.
    pub(super) fn replace(
        &mut self,
        _lock: &Lock,
        addresses: &[IpAddr],
    ) -> Result<(), ShieldError> {
        let wanted: HashSet<[u8; 16]> = addresses.iter().copied().map(key).collect();
        let there: Result<HashSet<[u8; 16]>, _> = self.map.keys().collect();
        let there = there.map_err(|error| unusable(maps::OWN, &error))?;
        for key in there.difference(&wanted) {
            let removed = self.map.remove(key);
            removed.map_err(|error| unusable(maps::OWN, &error))?;
        }
        for key in wanted.difference(&there) {
            let added = self.map.insert(key, 1, 0);
            added.map_err(|error| unusable(maps::OWN, &error))?;
        }
        Ok(())
    }
}

/// Those of `addresses` that the map has room for, the first ones, and how many it has not.
pub(super) fn fitting(addresses: &[IpAddr]) -> (&[IpAddr], usize) {
    let fitting = addresses.len().min(maps::OWN_MAX as usize);
    (&addresses[..fitting], addresses.len() - fitting)
}

/// IPv4 as IPv4-mapped.
fn key(address: IpAddr) -> [u8; 16] {
    key128(packet_source(address.to_canonical()).mapped())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_beyond_the_maps_room_are_left_out() {
        let addresses: Vec<IpAddr> = (0..maps::OWN_MAX + 3)
            .map(|n| std::net::Ipv4Addr::from_bits(0xc612_0000 + n).into())
            .collect();
        let (kept, left_out) = fitting(&addresses);
        assert_eq!(kept, &addresses[..maps::OWN_MAX as usize]);
        assert_eq!(left_out, 3);
        assert_eq!(fitting(&addresses[..9]), (&addresses[..9], 0));
    }

    #[test]
    fn an_ipv4_address_lies_under_its_mapped_one_however_it_is_written() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
        for text in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(key(text.parse().expect("an address")), mapped, "{text}");
        }
    }
}
