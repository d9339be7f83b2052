//! Many map elements in one system call: `BPF_MAP_UPDATE_BATCH` and `BPF_MAP_LOOKUP_BATCH` of bpf(2), which aya has not,
//! and the removal of one element whatever the map's kind. A million elements take a fifth of a second instead of one.
//!
//! The one system call is made in `bpf`. What it is handed is an `Attr`, which borrows every buffer that its
//! pointers lead to, and which is only made for a map whose key and value are as long as the buffers' elements.
#![allow(
    unsafe_code,
    reason = "bpf(2) reads and writes through pointers; there is no other way to these commands"
)]

use core::marker::PhantomData;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::vec;

use aya::Pod;

/// Adds or replaces the element of each key. On an error those before the one that failed are in the map.
///
/// Keys and values are paired by position; of a longer slice the rest is left out.
pub fn update<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    let sizes = Sizes::of(map)?;
    sizes.require::<K, V>()?;
    for (keys, values) in keys.chunks(CHUNK).zip(values.chunks(CHUNK)) {
        let mut attr = Attr::update(map, keys, values);
        match bpf(Command::UpdateBatch, &mut attr) {
            Err(error) if error.raw_os_error() == Some(ENOTSUPP) => {
                for (key, value) in keys.iter().zip(values) {
                    bpf(Command::Update, &mut Attr::element(map, key, value))?;
                }
            }
            done => done?,
        }
    }
    Ok(())
}

/// Shows every element to `see`, in no order, at most `bound` of them. `filler` is any key and value: what the buffers
/// hold before the kernel writes into them.
///
/// A hash is shown bucket by bucket, so an element that is there all the time is shown once; of a trie that others change
/// meanwhile, elements may be shown twice or not at all.
pub fn walk<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    filler: (K, V),
    bound: usize,
    mut see: impl FnMut(K, V),
) -> io::Result<()> {
    let sizes = Sizes::of(map)?;
    sizes.require::<K, V>()?;
    let mut keys = vec![filler.0; CHUNK];
    let mut values = vec![filler.1; CHUNK];
    let (mut position, mut begun) = (Position::default(), false);
    let mut seen = 0;
    while seen < bound {
        let from = position;
        let mut attr = Attr::lookup(
            map,
            begun.then_some(&from),
            &mut position,
            &mut keys,
            &mut values,
        );
        let looked_up = bpf(Command::LookupBatch, &mut attr);
        let found = attr.count().min(keys.len());
        let last = match looked_up {
            Ok(()) => false,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => true,
                // A bucket with more elements than the buffer holds.
                Some(libc::ENOSPC) if keys.len() < CHUNK_MAX => {
                    keys.resize(keys.len() * 2, filler.0);
                    values.resize(values.len() * 2, filler.1);
                    position = from;
                    continue;
                }
                Some(libc::EINTR) => continue,
                Some(ENOTSUPP) if !begun => return one_by_one(map, filler, bound, see),
                _ => return Err(error),
            },
        };
        for (key, value) in keys.iter().zip(&values).take(found.min(bound - seen)) {
            see(*key, *value);
        }
        seen += found;
        begun = true;
        if last {
            break;
        }
    }
    Ok(())
}

/// Removes the element of `key`; false if there was none.
pub fn remove<K: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<bool> {
    Sizes::of(map)?.require_key::<K>()?;
    match bpf(Command::Delete, &mut Attr::element(map, key, &())) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// [`walk`] on a kernel that has no batches for the map's kind.
fn one_by_one<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    (mut key, mut value): (K, V),
    bound: usize,
    mut see: impl FnMut(K, V),
) -> io::Result<()> {
    let mut before = None;
    for _ in 0..bound {
        match bpf(
            Command::NextKey,
            &mut Attr::next(map, before.as_ref(), &mut key),
        ) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
            Err(error) => return Err(error),
        }
        before = Some(key);
        match bpf(
            Command::Lookup,
            &mut Attr::into_value(map, &key, &mut value),
        ) {
            Ok(()) => see(key, value),
            // Removed since.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `enum bpf_cmd`
#[derive(Clone, Copy)]
enum Command {
    Lookup = 1,
    Update = 2,
    Delete = 3,
    NextKey = 4,
    Info = 15,
    LookupBatch = 24,
    UpdateBatch = 26,
}

/// `union bpf_attr` as far as it is used here, and the loan of every buffer it points to. The kernel accepts zeros behind
/// what a command knows.
#[repr(C)]
struct Attr<'a> {
    words: [u64; 8],
    buffers: PhantomData<&'a mut [u8]>,
}

/// Where a batch ended: a bucket's number, or a key. Opaque.
type Position = [u64; 4];

impl<'a> Attr<'a> {
    /// For [`Command::UpdateBatch`].
    fn update<K, V>(map: BorrowedFd<'a>, keys: &'a [K], values: &'a [V]) -> Self {
        let count = keys.len().min(values.len());
        Self::new([
            0,
            0,
            address(keys.as_ptr()),
            address(values.as_ptr()),
            pair(u32::try_from(count).unwrap_or(u32::MAX), number(map)),
            0,
            0,
            0,
        ])
    }

    /// For [`Command::LookupBatch`].
    fn lookup<K, V>(
        map: BorrowedFd<'a>,
        from: Option<&'a Position>,
        to: &'a mut Position,
        keys: &'a mut [K],
        values: &'a mut [V],
    ) -> Self {
        let count = keys.len().min(values.len());
        Self::new([
            from.map_or(0, |from| address(from)),
            address(to),
            address(keys.as_mut_ptr()),
            address(values.as_mut_ptr()),
            pair(u32::try_from(count).unwrap_or(u32::MAX), number(map)),
            0,
            0,
            0,
        ])
    }

    /// For [`Command::Update`] and, with a `value` that nobody looks at, [`Command::Delete`].
    fn element<K, V>(map: BorrowedFd<'a>, key: &'a K, value: &'a V) -> Self {
        let value = if size_of::<V>() == 0 {
            0
        } else {
            address(value)
        };
        Self::new([pair(number(map), 0), address(key), value, 0, 0, 0, 0, 0])
    }

    /// For [`Command::Lookup`].
    fn into_value<K, V>(map: BorrowedFd<'a>, key: &'a K, value: &'a mut V) -> Self {
        let words = [pair(number(map), 0), address(key), address(value)];
        Self::new([words[0], words[1], words[2], 0, 0, 0, 0, 0])
    }

    /// For [`Command::NextKey`].
    fn next<K>(map: BorrowedFd<'a>, key: Option<&'a K>, next: &'a mut K) -> Self {
        let key = key.map_or(0, |key| address(key));
        Self::new([pair(number(map), 0), key, address(next), 0, 0, 0, 0, 0])
    }

    /// For [`Command::Info`].
    fn info(map: BorrowedFd<'a>, info: &'a mut [u32; 6]) -> Self {
        let bytes = size_of_val(info);
        let length = pair(number(map), u32::try_from(bytes).unwrap_or(0));
        Self::new([length, address(info), 0, 0, 0, 0, 0, 0])
    }

    const fn new(words: [u64; 8]) -> Self {
        Self {
            words,
            buffers: PhantomData,
        }
    }

    /// Elements that a batch command says it did.
    fn count(&self) -> usize {
        let [a, b, c, d, ..] = self.words[4].to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d]) as usize
    }
}

/// The system call. 0 is all it returns when it succeeds: none of the commands gives a descriptor.
fn bpf(command: Command, attr: &mut Attr<'_>) -> io::Result<()> {
    let bytes = size_of_val(&attr.words);
    // SAFETY: `attr` is 64 bytes that the kernel may read and write. Its pointers come from the constructors above, which
    // hold the loans of the buffers (exclusive ones where the kernel writes) until `attr` is dropped. The kernel reads and
    // writes `count` elements of the map's key and value size, or one; `Sizes::require` has compared those with the
    // elements' before an `Attr` is made, and `count` is the number of elements. Everything in the buffers is `Pod`, for
    // which all bytes are values.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            attr.words.as_mut_ptr(),
            bytes,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Bytes of a map's key and value in system calls.
struct Sizes {
    key: usize,
    value: usize,
}

impl Sizes {
    /// As the kernel has them. Per-CPU maps, whose values are longer in system calls, are refused.
    fn of(map: BorrowedFd<'_>) -> io::Result<Self> {
        // The beginning of `struct bpf_map_info`: type, id, key size, value size, capacity, flags.
        let mut info = [0; 6];
        bpf(Command::Info, &mut Attr::info(map, &mut info))?;
        let [kind, _, key, value, _, _] = info;
        if !KINDS.contains(&kind) {
            return Err(mismatch());
        }
        Ok(Self {
            key: key as usize,
            value: value as usize,
        })
    }

    fn require<K, V>(&self) -> io::Result<()> {
        self.require_key::<K>()?;
        if self.value == size_of::<V>() {
            Ok(())
        } else {
            Err(mismatch())
        }
    }

    fn require_key<K>(&self) -> io::Result<()> {
        if self.key == size_of::<K>() && self.key <= size_of::<Position>() {
            Ok(())
        } else {
            Err(mismatch())
        }
    }
}

fn mismatch() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "the map's kind or sizes are others than the program's",
    )
}

/// Two 32-bit fields, the first of which comes first in memory.
const fn pair(first: u32, second: u32) -> u64 {
    let (low, high) = if cfg!(target_endian = "little") {
        (first, second)
    } else {
        (second, first)
    };
    (high as u64) << 32 | low as u64
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn number(map: BorrowedFd<'_>) -> u32 {
    map.as_raw_fd().cast_unsigned()
}

/// Elements of one system call.
const CHUNK: usize = 4096;
/// Most elements that a bucket is believed to have.
const CHUNK_MAX: usize = 1 << 20;
/// `BPF_MAP_TYPE_HASH`, `_ARRAY`, `_LRU_HASH`, `_LPM_TRIE`, `_ARRAY_OF_MAPS`
const KINDS: [u32; 5] = [1, 2, 9, 11, 12];
/// The kernel's own, which libc does not have.
const ENOTSUPP: i32 = 524;
