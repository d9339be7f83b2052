//! One list map, whatever its kind: entries by network.

use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError};
use ipnet::IpNet;
use weir_common::Entry;

use super::keys::{NetworkKey, Table};

/// Entries of one list map. `network` must be [canonical](super::keys::canonical) and of the map's shape.
pub(super) trait Entries: Send {
    /// The entry of exactly `network`.
    fn get(&self, network: &IpNet) -> Result<Option<Entry>, MapError>;
    /// Adds or replaces.
    fn put(&mut self, network: &IpNet, entry: &Entry) -> Result<(), MapError>;
    /// False if there was none.
    fn delete(&mut self, network: &IpNet) -> Result<bool, MapError>;
    /// Shows every entry to `see`, in no order, at most `bound` of them. While others write, an entry may be shown twice
    /// or not at all: the kernel starts over when the key it stands at has gone.
    fn visit(&self, bound: usize, see: &mut dyn FnMut(IpNet, Entry)) -> Result<(), MapError>;
    /// Whether there is no entry, live or expired.
    fn is_empty(&self) -> Result<bool, MapError>;
}

/// The map `data` as what `table` is.
pub(super) fn open(table: Table, data: MapData) -> Result<Box<dyn Entries>, MapError> {
    fn hash<K: NetworkKey + Send>(map: Map) -> Result<Box<dyn Entries>, MapError> {
        Ok(Box::new(HashMap::<MapData, K, Entry>::try_from(map)?))
    }
    fn trie<A>(map: Map) -> Result<Box<dyn Entries>, MapError>
    where
        A: aya::Pod + Send,
        Key<A>: NetworkKey,
    {
        Ok(Box::new(LpmTrie::<MapData, A, Entry>::try_from(map)?))
    }
    let map = Map::from_map_data(data)?;
    match table {
        Table::Block4 => hash::<[u8; 4]>(map),
        Table::Block6 => hash::<[u8; 16]>(map),
        Table::Block6Prefix64 => hash::<[u8; 8]>(map),
        Table::Allow4 | Table::BlockLpm4 => trie::<[u8; 4]>(map),
        Table::Allow6 | Table::BlockLpm6 => trie::<[u8; 16]>(map),
    }
}

impl<K: NetworkKey + Send> Entries for HashMap<MapData, K, Entry> {
    fn get(&self, network: &IpNet) -> Result<Option<Entry>, MapError> {
        match K::of(network) {
            Some(key) => found(Self::get(self, &key, 0)),
            None => Ok(None),
        }
    }

    fn put(&mut self, network: &IpNet, entry: &Entry) -> Result<(), MapError> {
        let key = K::of(network).ok_or(MapError::KeyNotFound)?;
        self.insert(key, entry, 0)
    }

    fn delete(&mut self, network: &IpNet) -> Result<bool, MapError> {
        match K::of(network) {
            Some(key) => deleted(self.remove(&key)),
            None => Ok(false),
        }
    }

    fn visit(&self, bound: usize, see: &mut dyn FnMut(IpNet, Entry)) -> Result<(), MapError> {
        for item in self.iter().take(bound) {
            let (key, entry) = item?;
            see(key.network(), entry);
        }
        Ok(())
    }

    fn is_empty(&self) -> Result<bool, MapError> {
        self.keys().next().transpose().map(|key| key.is_none())
    }
}

impl<A> Entries for LpmTrie<MapData, A, Entry>
where
    A: aya::Pod + Send,
    Key<A>: NetworkKey,
{
    fn get(&self, network: &IpNet) -> Result<Option<Entry>, MapError> {
        let Some(key) = Key::<A>::of(network) else {
            return Ok(None);
        };
        // A trie answers with the longest prefix it has; a shorter one is another network's entry.
        let entry = found(Self::get(self, &key, 0))?;
        Ok(entry.filter(|entry| entry.prefix_len == network.prefix_len()))
    }

    fn put(&mut self, network: &IpNet, entry: &Entry) -> Result<(), MapError> {
        let key = Key::<A>::of(network).ok_or(MapError::KeyNotFound)?;
        self.insert(&key, entry, 0)
    }

    fn delete(&mut self, network: &IpNet) -> Result<bool, MapError> {
        match Key::<A>::of(network) {
            Some(key) => deleted(self.remove(&key)),
            None => Ok(false),
        }
    }

    fn visit(&self, bound: usize, see: &mut dyn FnMut(IpNet, Entry)) -> Result<(), MapError> {
        for item in self.iter().take(bound) {
            let (key, entry) = item?;
            see(key.network(), entry);
        }
        Ok(())
    }

    fn is_empty(&self) -> Result<bool, MapError> {
        self.keys().next().transpose().map(|key| key.is_none())
    }
}

fn found(entry: Result<Entry, MapError>) -> Result<Option<Entry>, MapError> {
    match entry {
        Ok(entry) => Ok(Some(entry)),
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn deleted(result: Result<(), MapError>) -> Result<bool, MapError> {
    match result {
        Ok(()) => Ok(true),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(nix::errno::Errno::ENOENT as i32) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
