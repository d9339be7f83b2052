//! Addresses as the maps key them.

/// A packet's address as a number, whose highest byte is the address's first. IPv6 in halves: the BPF machine has 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// An IPv4 address.
    V4(u32),
    /// An IPv6 address.
    V6([u64; 2]),
}

impl Source {
    /// The address as the `OWN` map keys it: IPv4 as IPv4-mapped (RFC 4291 §2.5.5.2).
    #[inline(always)]
    pub const fn mapped(self) -> [u64; 2] {
        match self {
            Self::V4(address) => [0, 0xffff_0000_0000 | address as u64],
            Self::V6(halves) => halves,
        }
    }
}

/// Key of a source in the `SOURCES` map, where it lies in network order: IPv4 by address behind a marker, IPv6 by its /64.
///
/// The marker is the beginning of an IPv6 multicast address with all flags and scopes set, which is no source, so no /64
/// is taken for an IPv4 address.
#[inline(always)]
pub const fn source_key(source: Source) -> u64 {
    match source {
        Source::V4(address) => MARKER | address as u64,
        Source::V6([head, _]) => head,
    }
}

/// Key of a source's prefix in the `PREFIXES` map: an IPv4 /24 behind the marker, an IPv6 /48.
#[inline(always)]
pub const fn prefix_key(source: Source) -> u64 {
    match source {
        Source::V4(address) => MARKER | (address & !0xff) as u64,
        Source::V6([head, _]) => head & !0xffff,
    }
}

/// Key of an IPv6 /64 in the `BLOCK6` map, among the keys of whole addresses.
///
/// The last 64 bits are a constant. The one address of the /64 that ends in them cannot have an entry of its own there;
/// user space keeps that one among the prefixes.
#[inline(always)]
pub const fn block64_key(prefix: u64) -> [u8; 16] {
    key128([prefix, BLOCK64_MARKER])
}

/// Halves of an address in network order.
pub const fn key128([head, tail]: [u64; 2]) -> [u8; 16] {
    let [a0, a1, a2, a3, a4, a5, a6, a7] = head.to_be_bytes();
    let [b0, b1, b2, b3, b4, b5, b6, b7] = tail.to_be_bytes();
    [
        a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7,
    ]
}

/// Last 64 bits of [`block64_key`]: chosen at random, once.
pub const BLOCK64_MARKER: u64 = 0x9d3a_f16c_58e7_02b4;
const MARKER: u64 = 0xffff_ffff << 32;
