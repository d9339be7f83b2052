//! List entries for the tests, in two forms: written into the kernel's maps, and as the host's stand-in for them.

use ipnet::IpNet;
use weir_common::addr::prefix64;
use weir_common::{Entry, ShieldSettings, Text};
use weir_ebpf::verdict::{Hit, Lists};

/// Which list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    Allow,
    Block,
}

/// When an entry ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ends {
    Never,
    InAnHour,
    /// A second after boot.
    LongAgo,
}

/// One list entry.
#[derive(Clone, Debug)]
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

    /// The map value.
    pub(crate) fn entry(&self, now_ns: u64) -> Entry {
        Entry {
            expires_ns: match self.ends {
                Ends::Never => 0,
                Ends::InAnHour => now_ns + 3_600_000_000_000,
                Ends::LongAgo => 1_000_000_000,
            },
            added_ns: 1,
            origin: Text::truncated("test"),
            reason: Text::EMPTY,
            prefix_len: self.network.prefix_len(),
        }
    }

    /// Where the entry belongs.
    pub(crate) fn place(&self) -> Place {
        match (self.list, self.network) {
            (List::Allow, IpNet::V4(net)) => Place::AllowLpm4(net.addr().octets()),
            (List::Allow, IpNet::V6(net)) => Place::AllowLpm6(net.addr().octets()),
            (List::Block, IpNet::V4(net)) if net.prefix_len() == 32 => {
                Place::Block4(net.addr().octets())
            }
            (List::Block, IpNet::V4(net)) => Place::BlockLpm4(net.addr().octets()),
            (List::Block, IpNet::V6(net)) => match net.prefix_len() {
                128 => Place::Block6(net.addr().octets()),
                64 => Place::Block6Prefix(prefix64(net.addr().octets())),
                _ => Place::BlockLpm6(net.addr().octets()),
            },
        }
    }
}

/// A list map and the address part of the key in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    AllowLpm4([u8; 4]),
    AllowLpm6([u8; 16]),
    Block4([u8; 4]),
    Block6([u8; 16]),
    Block6Prefix([u8; 8]),
    BlockLpm4([u8; 4]),
    BlockLpm6([u8; 16]),
}

impl Place {
    /// Bit of the map in `ShieldSettings.lists`.
    pub(crate) fn bit(self) -> u32 {
        match self {
            Self::AllowLpm4(_) => ShieldSettings::LIST_ALLOW4,
            Self::AllowLpm6(_) => ShieldSettings::LIST_ALLOW6,
            Self::Block4(_) => ShieldSettings::LIST_BLOCK4,
            Self::Block6(_) => ShieldSettings::LIST_BLOCK6,
            Self::Block6Prefix(_) => ShieldSettings::LIST_BLOCK6_64,
            Self::BlockLpm4(_) => ShieldSettings::LIST_BLOCK_LPM4,
            Self::BlockLpm6(_) => ShieldSettings::LIST_BLOCK_LPM6,
        }
    }
}

/// The list maps on the host: a linear search with the kernel's longest-prefix rule.
pub(crate) struct HostLists<'a> {
    pub(crate) rules: &'a [Rule],
    pub(crate) now_ns: u64,
}

impl HostLists<'_> {
    fn exact(&self, place: Place) -> Option<Hit> {
        self.rules
            .iter()
            .find(|rule| rule.place() == place)
            .map(|rule| Hit::from(&rule.entry(self.now_ns)))
    }

    fn longest(&self, bit: u32, address: IpNet) -> Option<Hit> {
        self.rules
            .iter()
            .filter(|rule| rule.place().bit() == bit && rule.network.contains(&address))
            .max_by_key(|rule| rule.network.prefix_len())
            .map(|rule| Hit::from(&rule.entry(self.now_ns)))
    }
}

impl Lists for HostLists<'_> {
    fn allow_lpm4(&self, address: [u8; 4], prefix_len: u32) -> Option<Hit> {
        self.longest(ShieldSettings::LIST_ALLOW4, network(address, prefix_len))
    }

    fn allow_lpm6(&self, address: [u8; 16], prefix_len: u32) -> Option<Hit> {
        self.longest(ShieldSettings::LIST_ALLOW6, network(address, prefix_len))
    }

    fn block4(&self, address: [u8; 4]) -> Option<Hit> {
        self.exact(Place::Block4(address))
    }

    fn block6(&self, address: [u8; 16]) -> Option<Hit> {
        self.exact(Place::Block6(address))
    }

    fn block6_64(&self, prefix: [u8; 8]) -> Option<Hit> {
        self.exact(Place::Block6Prefix(prefix))
    }

    fn block_lpm4(&self, address: [u8; 4], prefix_len: u32) -> Option<Hit> {
        self.longest(
            ShieldSettings::LIST_BLOCK_LPM4,
            network(address, prefix_len),
        )
    }

    fn block_lpm6(&self, address: [u8; 16], prefix_len: u32) -> Option<Hit> {
        self.longest(
            ShieldSettings::LIST_BLOCK_LPM6,
            network(address, prefix_len),
        )
    }
}

fn network(address: impl Into<std::net::IpAddr>, prefix_len: u32) -> IpNet {
    let prefix_len = u8::try_from(prefix_len).expect("a prefix length is at most 128");
    IpNet::new(address.into(), prefix_len)
        .expect("the filter asks for lengths its addresses have")
        .trunc()
}
