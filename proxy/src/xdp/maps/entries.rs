//! One list map, whatever its kind: entries by network.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError};
use ipnet::IpNet;
use weir_common::{Entry, batch};

use super::super::ShieldError;
use super::inner::{self, CreateError};
use super::keys::{NetworkKey, Table};
use super::{duplicate, unusable};

/// Entries of one list map. `network` must be [canonical](super::keys::canonical) and of the map's shape.
pub(super) trait Entries: Send {
    /// The entry of exactly `network`.
    fn get(&self, network: &IpNet) -> Result<Option<Entry>, MapError>;
    /// Adds or replaces.
    fn put(&mut self, network: &IpNet, entry: &Entry) -> Result<(), MapError>;
    /// Adds or replaces, many at once. On an error some have been.
    fn put_all(&mut self, entries: &[(IpNet, Entry)]) -> Result<(), MapError>;
    /// False if there was none.
    fn delete(&mut self, network: &IpNet) -> Result<bool, MapError>;
    /// Shows every entry to `see`, in no order, at most `bound` of them. While others write, an entry of a trie may be
    /// shown twice or not at all.
    fn visit(&self, bound: usize, see: &mut dyn FnMut(IpNet, Entry)) -> Result<(), MapError>;
    /// Whether there is no entry, live or expired.
    fn is_empty(&self) -> Result<bool, MapError>;
}

/// The map `data` as what `table` is.
pub(super) fn open(table: Table, data: MapData) -> Result<Box<dyn Entries>, ShieldError> {
    fn exact<K: NetworkKey + Send>(fd: OwnedFd, map: Map) -> Result<Box<dyn Entries>, MapError> {
        let map = HashMap::<MapData, K, Entry>::try_from(map)?;
        Ok(Box::new(Exact { map, fd }))
    }
    fn trie<A>(fd: OwnedFd, map: Map) -> Result<Box<dyn Entries>, MapError>
    where
        A: aya::Pod + Send,
        Key<A>: NetworkKey,
    {
        let map = LpmTrie::<MapData, A, Entry>::try_from(map)?;
        Ok(Box::new(Trie { map, fd }))
    }
    let fd = duplicate(&data)?;
    let opened = Map::from_map_data(data).and_then(|map| match table {
        Table::Block4 => exact::<[u8; 4]>(fd, map),
        Table::Block6 => exact::<[u8; 16]>(fd, map),
        Table::Allow4 | Table::BlockLpm4 => trie::<[u8; 8]>(fd, map),
        Table::Allow6 | Table::BlockLpm6 => trie::<[u8; 16]>(fd, map),
    });
    opened.map_err(|error| unusable(table.map(), &error))
}

/// Makes an empty map for `table` and pins it at `path`.
pub(super) fn create(table: Table, capacity: u32, path: &Path) -> Result<(), ShieldError> {
    fn exact<K: aya::Pod>(capacity: u32, path: &Path) -> Result<(), CreateError> {
        Ok(HashMap::<_, K, Entry>::create(capacity, 0)?.pin(path)?)
    }
    fn trie<A: aya::Pod>(capacity: u32, path: &Path) -> Result<(), CreateError> {
        Ok(LpmTrie::<_, A, Entry>::create(capacity, BPF_F_NO_PREALLOC)?.pin(path)?)
    }
    inner::create(table.map(), path, || match table {
        Table::Block4 => exact::<[u8; 4]>(capacity, path),
        Table::Block6 => exact::<[u8; 16]>(capacity, path),
        Table::Allow4 | Table::BlockLpm4 => trie::<[u8; 8]>(capacity, path),
        Table::Allow6 | Table::BlockLpm6 => trie::<[u8; 16]>(capacity, path),
    })
}

struct Exact<K: NetworkKey> {
    map: HashMap<MapData, K, Entry>,
    fd: OwnedFd,
}

struct Trie<A: aya::Pod> {
    map: LpmTrie<MapData, A, Entry>,
    fd: OwnedFd,
}

impl<K: NetworkKey + Send> Entries for Exact<K> {
    fn get(&self, network: &IpNet) -> Result<Option<Entry>, MapError> {
        match K::of(network) {
            Some(key) => found(self.map.get(&key, 0)),
            None => Ok(None),
        }
    }

    fn put(&mut self, network: &IpNet, entry: &Entry) -> Result<(), MapError> {
        let key = K::of(network).ok_or(MapError::KeyNotFound)?;
        self.map.insert(key, entry, 0)
    }

    fn put_all(&mut self, entries: &[(IpNet, Entry)]) -> Result<(), MapError> {
        put_all::<K>(&self.fd, entries)
    }

    fn delete(&mut self, network: &IpNet) -> Result<bool, MapError> {
        match K::of(network) {
            Some(key) => deleted(self.map.remove(&key)),
            None => Ok(false),
        }
    }

    fn visit(&self, bound: usize, see: &mut dyn FnMut(IpNet, Entry)) -> Result<(), MapError> {
        visit::<K>(&self.fd, bound, see)
    }

    fn is_empty(&self) -> Result<bool, MapError> {
        self.map.keys().next().transpose().map(|key| key.is_none())
    }
}

impl<A> Entries for Trie<A>
where
    A: aya::Pod + Send,
    Key<A>: NetworkKey,
{
    fn get(&self, network: &IpNet) -> Result<Option<Entry>, MapError> {
        let Some(key) = Key::<A>::of(network) else {
            return Ok(None);
        };
        // A trie answers with the longest prefix it has; a shorter one is another network's entry.
        let entry = found(self.map.get(&key, 0))?;
        Ok(entry.filter(|entry| entry.prefix_len() == network.prefix_len()))
    }

    fn put(&mut self, network: &IpNet, entry: &Entry) -> Result<(), MapError> {
        let key = Key::<A>::of(network).ok_or(MapError::KeyNotFound)?;
        self.map.insert(&key, entry, 0)
    }

    fn put_all(&mut self, entries: &[(IpNet, Entry)]) -> Result<(), MapError> {
        put_all::<Key<A>>(&self.fd, entries)
    }

    fn delete(&mut self, network: &IpNet) -> Result<bool, MapError> {
        match Key::<A>::of(network) {
            Some(key) => deleted(self.map.remove(&key)),
            None => Ok(false),
        }
    }

    fn visit(&self, bound: usize, see: &mut dyn FnMut(IpNet, Entry)) -> Result<(), MapError> {
        visit::<Key<A>>(&self.fd, bound, see)
    }

    fn is_empty(&self) -> Result<bool, MapError> {
        self.map.keys().next().transpose().map(|key| key.is_none())
    }
}

fn put_all<K: NetworkKey>(fd: &OwnedFd, entries: &[(IpNet, Entry)]) -> Result<(), MapError> {
    let keys = entries.iter().map(|(network, _)| K::of(network));
    let keys: Option<Vec<K>> = keys.collect();
    let keys = keys.ok_or(MapError::KeyNotFound)?;
    let values: Vec<Entry> = entries.iter().map(|(_, entry)| *entry).collect();
    batch::update(fd.as_fd(), &keys, &values).map_err(MapError::IoError)
}

fn visit<K: NetworkKey>(
    fd: &OwnedFd,
    bound: usize,
    see: &mut dyn FnMut(IpNet, Entry),
) -> Result<(), MapError> {
    batch::walk(
        fd.as_fd(),
        (K::ANY, Entry::default()),
        bound,
        |key: K, entry| see(key.network(), entry),
    )
    .map_err(MapError::IoError)
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

/// `linux/bpf.h`; tries take their memory entry by entry.
const BPF_F_NO_PREALLOC: u32 = 1;
