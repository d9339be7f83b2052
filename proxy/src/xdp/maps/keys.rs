//! From a prefix to the map that holds it and the key it has there, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use aya::maps::lpm_trie;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weir_common::addr::prefix64;
use weir_common::{ShieldSettings, maps};

use super::super::List;

/// A list map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Allow4,
    Allow6,
    Block4,
    Block6,
    Block6Prefix64,
    BlockLpm4,
    BlockLpm6,
}

impl Table {
    pub(super) const ALL: [Self; 7] = [
        Self::Allow4,
        Self::Allow6,
        Self::Block4,
        Self::Block6,
        Self::Block6Prefix64,
        Self::BlockLpm4,
        Self::BlockLpm6,
    ];

    /// The map that holds `network`'s entry in `list`. A hash hit costs the kernel a tenth of a walk through a big
    /// trie, so what is exact goes into a hash; the allowlist is short, so it has tries only.
    pub(super) fn of(list: List, network: &IpNet) -> Self {
        match (list, network, network.prefix_len()) {
            (List::Allow, IpNet::V4(_), _) => Self::Allow4,
            (List::Allow, IpNet::V6(_), _) => Self::Allow6,
            (List::Block, IpNet::V4(_), 32) => Self::Block4,
            (List::Block, IpNet::V4(_), _) => Self::BlockLpm4,
            (List::Block, IpNet::V6(_), 128) => Self::Block6,
            (List::Block, IpNet::V6(_), 64) => Self::Block6Prefix64,
            (List::Block, IpNet::V6(_), _) => Self::BlockLpm6,
        }
    }

    pub(super) fn list(self) -> List {
        match self {
            Self::Allow4 | Self::Allow6 => List::Allow,
            _ => List::Block,
        }
    }

    /// Name of the map.
    pub(super) fn map(self) -> &'static str {
        match self {
            Self::Allow4 => maps::ALLOW_LPM4,
            Self::Allow6 => maps::ALLOW_LPM6,
            Self::Block4 => maps::BLOCK4,
            Self::Block6 => maps::BLOCK6,
            Self::Block6Prefix64 => maps::BLOCK6_64,
            Self::BlockLpm4 => maps::BLOCK_LPM4,
            Self::BlockLpm6 => maps::BLOCK_LPM6,
        }
    }

    /// Its bit in [`ShieldSettings::lists`].
    pub(super) fn bit(self) -> u32 {
        match self {
            Self::Allow4 => ShieldSettings::LIST_ALLOW4,
            Self::Allow6 => ShieldSettings::LIST_ALLOW6,
            Self::Block4 => ShieldSettings::LIST_BLOCK4,
            Self::Block6 => ShieldSettings::LIST_BLOCK6,
            Self::Block6Prefix64 => ShieldSettings::LIST_BLOCK6_64,
            Self::BlockLpm4 => ShieldSettings::LIST_BLOCK_LPM4,
            Self::BlockLpm6 => ShieldSettings::LIST_BLOCK_LPM6,
        }
    }

    /// What it holds, for messages.
    pub(super) fn contents(self) -> &'static str {
        match self {
            Self::Allow4 => "allowed IPv4 prefixes",
            Self::Allow6 => "allowed IPv6 prefixes",
            Self::Block4 => "blocked IPv4 addresses",
            Self::Block6 => "blocked IPv6 addresses",
            Self::Block6Prefix64 => "blocked IPv6 /64 prefixes",
            Self::BlockLpm4 => "blocked IPv4 prefixes",
            Self::BlockLpm6 => "blocked IPv6 prefixes",
        }
    }
}

/// `network` as the packet filter sees its packets: without host bits, and as IPv4 if it is IPv4-mapped (RFC 4291
/// §2.5.5.2), which is how a dual-stack listener shows the addresses of IPv4 clients.
pub(super) fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(prefix_len) = v6.prefix_len().checked_sub(96)
        && let Ok(v4) = Ipv4Net::new(v4, prefix_len)
    {
        return IpNet::V4(v4.trunc());
    }
    network.trunc()
}

/// What `address` is counted as: IPv4 by address, IPv6 by /64.
pub(super) fn source(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpNet::from(IpAddr::V4(v4)),
        IpAddr::V6(v6) => prefix64(v6.octets()).network(),
    }
}

/// A map key that stands for a network.
pub(super) trait NetworkKey: Pod {
    /// The key of `network`, if a map with such keys can hold it.
    fn of(network: &IpNet) -> Option<Self>;
    /// The network the key stands for.
    fn network(&self) -> IpNet;
}

impl NetworkKey for [u8; 4] {
    fn of(network: &IpNet) -> Option<Self> {
        match network {
            IpNet::V4(v4) if v4.prefix_len() == 32 => Some(v4.addr().octets()),
            _ => None,
        }
    }

    fn network(&self) -> IpNet {
        IpNet::from(IpAddr::from(*self))
    }
}

impl NetworkKey for [u8; 8] {
    fn of(network: &IpNet) -> Option<Self> {
        match network {
            IpNet::V6(v6) if v6.prefix_len() == 64 => Some(prefix64(v6.addr().octets())),
            _ => None,
        }
    }

    fn network(&self) -> IpNet {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(self);
        IpNet::V6(Ipv6Net::new_assert(octets.into(), 64))
    }
}

impl NetworkKey for [u8; 16] {
    fn of(network: &IpNet) -> Option<Self> {
        match network {
            IpNet::V6(v6) if v6.prefix_len() == 128 => Some(v6.addr().octets()),
            _ => None,
        }
    }

    fn network(&self) -> IpNet {
        IpNet::from(IpAddr::from(*self))
    }
}

impl NetworkKey for lpm_trie::Key<[u8; 4]> {
    fn of(network: &IpNet) -> Option<Self> {
        match network {
            IpNet::V4(v4) => Some(Self::new(v4.prefix_len().into(), v4.addr().octets())),
            IpNet::V6(_) => None,
        }
    }

    fn network(&self) -> IpNet {
        let address = Ipv4Addr::from(self.data());
        IpNet::V4(Ipv4Net::new_assert(
            address,
            prefix_len(self.prefix_len(), 32),
        ))
    }
}

impl NetworkKey for lpm_trie::Key<[u8; 16]> {
    fn of(network: &IpNet) -> Option<Self> {
        match network {
            IpNet::V6(v6) => Some(Self::new(v6.prefix_len().into(), v6.addr().octets())),
            IpNet::V4(_) => None,
        }
    }

    fn network(&self) -> IpNet {
        let address = Ipv6Addr::from(self.data());
        IpNet::V6(Ipv6Net::new_assert(
            address,
            prefix_len(self.prefix_len(), 128),
        ))
    }
}

/// The kernel refuses longer prefixes, so `max` only keeps the conversion total.
fn prefix_len(key: u32, max: u8) -> u8 {
    u8::try_from(key).unwrap_or(max).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a prefix")
    }

    #[test]
    fn a_prefix_loses_its_host_bits_and_becomes_ipv4_if_it_is_mapped() {
        for (given, canonically) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.77/32", "192.0.2.77/32"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::ffff:192.0.2.77/128", "192.0.2.77/32"),
            ("::ffff:192.0.2.77/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.77/96", "0.0.0.0/0"),
            // Shorter than /96 it covers more than the mapped addresses.
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(canonical(net(given)), net(canonically), "{given}");
        }
    }

    #[test]
    fn what_is_exact_goes_into_a_hash_and_the_allowlist_always_into_a_trie() {
        for (network, block, allow) in [
            ("192.0.2.1/32", Table::Block4, Table::Allow4),
            ("192.0.2.0/24", Table::BlockLpm4, Table::Allow4),
            ("0.0.0.0/0", Table::BlockLpm4, Table::Allow4),
            ("2001:db8::1/128", Table::Block6, Table::Allow6),
            ("2001:db8::/64", Table::Block6Prefix64, Table::Allow6),
            ("2001:db8::/63", Table::BlockLpm6, Table::Allow6),
            ("2001:db8::/65", Table::BlockLpm6, Table::Allow6),
        ] {
            let network = net(network);
            assert_eq!(Table::of(List::Block, &network), block, "{network}");
            assert_eq!(Table::of(List::Allow, &network), allow, "{network}");
            assert_eq!(block.list(), List::Block);
            assert_eq!(allow.list(), List::Allow);
        }
    }

    #[test]
    fn a_key_gives_its_network_back() {
        fn there_and_back<K: NetworkKey>(network: &str) {
            let network = net(network);
            let key = K::of(&network).expect("fits");
            assert_eq!(key.network(), network);
        }
        there_and_back::<[u8; 4]>("192.0.2.1/32");
        there_and_back::<[u8; 8]>("2001:db8:0:1::/64");
        there_and_back::<[u8; 16]>("2001:db8::1/128");
        there_and_back::<lpm_trie::Key<[u8; 4]>>("192.0.2.0/24");
        there_and_back::<lpm_trie::Key<[u8; 16]>>("2001:db8::/33");
    }

    #[test]
    fn a_map_never_gets_a_network_of_another_shape() {
        assert!(<[u8; 4]>::of(&net("192.0.2.0/24")).is_none());
        assert!(<[u8; 8]>::of(&net("2001:db8::/65")).is_none());
        assert!(<[u8; 16]>::of(&net("2001:db8::/64")).is_none());
        assert!(lpm_trie::Key::<[u8; 4]>::of(&net("2001:db8::/64")).is_none());
        assert!(lpm_trie::Key::<[u8; 16]>::of(&net("192.0.2.0/24")).is_none());
    }

    #[test]
    fn an_address_is_counted_as_its_source() {
        for (address, network) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(source(address), net(network));
        }
    }

    #[test]
    fn every_table_has_a_bit_of_its_own() {
        let all = Table::ALL.iter().fold(0, |bits, table| {
            assert_eq!(bits & table.bit(), 0, "{table:?}");
            bits | table.bit()
        });
        assert_eq!(all, ShieldSettings::LIST_ALL);
    }
}
