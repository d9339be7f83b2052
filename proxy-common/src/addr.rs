//! Addresses as the maps key them.

/// A packet's source address in network order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// An IPv4 address.
    V4([u8; 4]),
    /// An IPv6 address.
    V6([u8; 16]),
}

/// The first 64 bits of an IPv6 address: what one subscriber controls, hence what is counted as one source.
#[inline(always)]
pub const fn prefix64(address: [u8; 16]) -> [u8; 8] {
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = address;
    [b0, b1, b2, b3, b4, b5, b6, b7]
}
