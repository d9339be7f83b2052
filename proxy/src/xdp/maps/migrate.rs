//! Entries of earlier ABI versions: read from what an earlier weir pinned, so that an upgrade forgets nobody.
//!
//! Version 1 had a map per kind of entry, and the words in each entry of 96 bytes: when it ends (8, 0 = never), when it
//! was made (8), origin (32), reason (47), length of the prefix (1).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::path::Path;

use aya::maps::MapData;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weir_common::entry::{ORIGIN_BYTES, REASON_BYTES};
use weir_common::{ABI_VERSION, Note, Text, batch};

use super::super::pins::{self, PinDir};
use super::super::{List, ShieldError};
use super::failure;

/// An entry that an earlier weir made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) list: List,
    pub(super) network: IpNet,
    pub(super) expires_ns: u64,
    pub(super) added_ns: u64,
    pub(super) note: Note,
}

/// The entries in the directories of other ABI versions. A version that this weir cannot read is an error.
pub(super) fn entries(pins: &PinDir) -> Result<Vec<Earlier>, ShieldError> {
    let mut entries = Vec::new();
    for (version, directory) in pins.other_layouts()? {
        if version != 1 {
            return Err(ShieldError::failed(
                format!(
                    "{} is of maps version {version}; this weir knows versions 1 and {ABI_VERSION}",
                    directory.display()
                ),
                "run the weir that made it, or `weir detach` first, which removes all entries",
            ));
        }
        let _lock = pins::lock(&directory)?;
        for map in MAPS {
            map.read(&directory, &mut entries)?;
        }
    }
    Ok(entries)
}

/// A list map of version 1.
struct EarlierMap {
    name: &'static str,
    list: List,
    key: Key,
}

/// What its keys are.
#[derive(Clone, Copy)]
enum Key {
    V4,
    V6,
    V6Prefix64,
    Trie4,
    Trie6,
}

impl EarlierMap {
    fn read(&self, directory: &Path, entries: &mut Vec<Earlier>) -> Result<(), ShieldError> {
        let path = directory.join(self.name);
        if !path.exists() {
            return Ok(());
        }
        let map = MapData::from_pin(&path).map_err(|error| failure("open", self.name, &error))?;
        let mut see = |network: Option<IpNet>, value: [u8; VALUE]| {
            entries.extend(network.and_then(|network| entry(self.list, network, &value)));
        };
        let walked = match self.key {
            Key::V4 => walk(&map, |key: [u8; 4], value| see(v4(key, 32), value)),
            Key::V6 => walk(&map, |key: [u8; 16], value| see(v6(key, 128), value)),
            Key::V6Prefix64 => walk(&map, |key: [u8; 8], value| {
                let mut address = [0; 16];
                address[..8].copy_from_slice(&key);
                see(v6(address, 64), value);
            }),
            Key::Trie4 => walk(&map, |key: [u8; 8], value| {
                let (length, address) = split(&key);
                see(v4(address, length), value);
            }),
            Key::Trie6 => walk(&map, |key: [u8; 20], value| {
                let (length, address) = split(&key);
                see(v6(address, length), value);
            }),
        };
        walked.map_err(|error| {
            ShieldError::failed(
                format!("cannot take entries over from {}: {error}", path.display()),
                "`weir detach` removes what an earlier weir pinned, with all entries; then start weir again",
            )
        })
    }
}

/// Shows every element, of the sizes that version 1 had; a map of others is an error.
fn walk<K: aya::Pod + Zero>(map: &MapData, see: impl FnMut(K, [u8; VALUE])) -> std::io::Result<()> {
    batch::walk(map.fd().as_fd(), (K::ZERO, [0; VALUE]), ENTRIES_MAX, see)
}

/// Any key, to fill a buffer with.
trait Zero {
    const ZERO: Self;
}

impl<const N: usize> Zero for [u8; N] {
    const ZERO: Self = [0; N];
}

/// A trie's key: the length of the prefix, and the address. A length that no prefix has is refused later.
fn split<const N: usize>(key: &[u8]) -> (u8, [u8; N]) {
    let (length, address) = key.split_at(4);
    let length = length.try_into().map_or(u32::MAX, u32::from_ne_bytes);
    (
        u8::try_from(length).unwrap_or(u8::MAX),
        address.try_into().unwrap_or([0; N]),
    )
}

fn v4(address: [u8; 4], length: u8) -> Option<IpNet> {
    let network = Ipv4Net::new(Ipv4Addr::from(address), length).ok()?;
    Some(IpNet::V4(network))
}

fn v6(address: [u8; 16], length: u8) -> Option<IpNet> {
    let network = Ipv6Net::new(Ipv6Addr::from(address), length).ok()?;
    Some(IpNet::V6(network))
}

fn entry(list: List, network: IpNet, value: &[u8; VALUE]) -> Option<Earlier> {
    let (expires_ns, rest) = value.split_first_chunk()?;
    let (added_ns, rest) = rest.split_first_chunk()?;
    let (origin, rest) = rest.split_at(32);
    let (reason, _) = rest.split_at(47);
    Some(Earlier {
        list,
        network,
        expires_ns: u64::from_ne_bytes(*expires_ns),
        added_ns: u64::from_ne_bytes(*added_ns),
        note: Note {
            origin: text::<ORIGIN_BYTES>(origin),
            reason: text::<REASON_BYTES>(reason),
        },
    })
}

/// Padded with NUL.
fn text<const N: usize>(bytes: &[u8]) -> Text<N> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = &bytes[..end.unwrap_or(bytes.len())];
    Text::truncated(&String::from_utf8_lossy(bytes))
}

const MAPS: [EarlierMap; 7] = {
    const fn map(name: &'static str, list: List, key: Key) -> EarlierMap {
        EarlierMap { name, list, key }
    }
    [
        map("ALLOW_LPM4", List::Allow, Key::Trie4),
        map("ALLOW_LPM6", List::Allow, Key::Trie6),
        map("BLOCK4", List::Block, Key::V4),
        map("BLOCK6", List::Block, Key::V6),
        map("BLOCK6_64", List::Block, Key::V6Prefix64),
        map("BLOCK_LPM4", List::Block, Key::Trie4),
        map("BLOCK_LPM6", List::Block, Key::Trie6),
    ]
};

/// Bytes of an entry.
const VALUE: usize = 96;
/// The largest map that could be configured, twice.
const ENTRIES_MAX: usize = 2 * 16_777_216;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_96_bytes_is_read_field_by_field() {
        let mut value = [0; VALUE];
        value[..8].copy_from_slice(&7_u64.to_ne_bytes());
        value[8..16].copy_from_slice(&5_u64.to_ne_bytes());
        value[16..19].copy_from_slice(b"cli");
        value[48..52].copy_from_slice(b"scan");
        value[95] = 24;
        let network: IpNet = "192.0.2.0/24".parse().expect("a network");
        let entry = entry(List::Block, network, &value).expect("whole");
        assert_eq!((entry.expires_ns, entry.added_ns), (7, 5));
        let note = entry.note;
        assert_eq!(
            (note.origin.as_str(), note.reason.as_str()),
            ("cli", "scan")
        );
    }

    #[test]
    fn a_key_of_a_trie_is_its_length_and_an_address() {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&24_u32.to_ne_bytes());
        key[4..].copy_from_slice(&[192, 0, 2, 0]);
        let (length, address) = split(&key);
        let network = v4(address, length).map(|network| network.to_string());
        assert_eq!(network.as_deref(), Some("192.0.2.0/24"));
        assert_eq!(v4([0; 4], 33), None);
    }
}
