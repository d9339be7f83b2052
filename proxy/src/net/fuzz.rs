//! What holds of the PROXY protocol's headers, whatever a peer sends.

use std::net::IpAddr;

use super::proxy_protocol::{Announced, bytes_max, length, parse};

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// It is for this client.
    Client(IpAddr),
    /// It is for no client.
    Nobody,
}

/// Reads a header as it comes in. `None` = there is none. A header is as long as its first bytes say, whatever follows, and
/// no longer than may be looked at.
pub fn proxy_header(bytes: &[u8]) -> Option<Named> {
    let mut known = None;
    for end in 1..=bytes.len().min(BYTES_MAX) {
        let seen = &bytes[..end];
        let Ok(length) = length(seen) else {
            assert_eq!(known, None, "at {end}");
            return None;
        };
        assert!(known.is_none() || length == known, "at {end}");
        if let Some(length) = length {
            assert!(length <= bytes_max(seen));
        }
        known = length;
    }
    let header = bytes.get(..known?)?;
    match parse(header).ok()? {
        Announced::Client(address) => {
            assert_eq!(address, address.to_canonical());
            Some(Named::Client(address))
        }
        Announced::Nobody => Some(Named::Nobody),
    }
}

/// More than any header has.
const BYTES_MAX: usize = 5_000;
