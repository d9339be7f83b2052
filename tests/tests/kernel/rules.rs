//! List entries for the tests, in words.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_common::Source;
use weir_ebpf::host::{self, List, Prefix};

/// When an entry ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ends {
    Never,
    InAnHour,
    /// A second after boot.
    LongAgo,
}

/// One list entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rule {
    pub(crate) list: List,
    pub(crate) network: IpNet,
    pub(crate) ends: Ends,
}

pub(crate) fn allow(network: &str) -> Rule {
    Rule {
        list: List::Allow,
        network: network.parse().expect("a network in a test"),
        ends: Ends::Never,
    }
}

pub(crate) fn block(network: &str) -> Rule {
    Rule {
        list: List::Block,
        ..allow(network)
    }
}

impl Rule {
    pub(crate) fn ending(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    /// The rule at `now_ns`.
    pub(crate) fn at(&self, now_ns: u64) -> host::Rule {
        host::Rule {
            list: self.list,
            prefix: Prefix {
                address: source(self.network.network()),
                len: self.network.prefix_len(),
            },
            expires_ns: match self.ends {
                Ends::Never => 0,
                Ends::InAnHour => now_ns + 3_600_000_000_000,
                Ends::LongAgo => 1_000_000_000,
            },
        }
    }
}

/// An address as the program reads it.
pub(crate) fn source(address: IpAddr) -> Source {
    match address {
        IpAddr::V4(v4) => Source::V4(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            Source::V6([high_half(bits), low_half(bits)])
        }
    }
}

fn high_half(bits: u128) -> u64 {
    u64::try_from(bits >> 64).expect("the upper half of 128 bits")
}

fn low_half(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).expect("the lower half of 128 bits")
}
