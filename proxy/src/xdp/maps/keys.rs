//! From a prefix to the map that holds it and the key it has there, and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use aya::maps::lpm_trie;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weir_common::addr::{BLOCK64_MARKER, block64_key, source_key};
use weir_common::{ShieldSettings, Source, maps};

use super::super::List;

/// A list map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Allow4,
    Allow6,
    Block4,
    Block6,
    BlockLpm4,
    BlockLpm6,
}

impl Table {
    pub(super) const ALL: [Self; 6] = [
        Self::Allow4,
        Self::Allow6,
        Self::Block4,
        Self::Block6,
        Self::BlockLpm4,
        Self::BlockLpm6,
    ];

    /// The map that holds `network`'s entry in `list`. A hash hit costs the kernel a tenth of a walk through a big
    /// trie, so what is exact goes into a hash, but for the one address of a /64 that looks like its prefix there; the
    /// allowlist is short, so it has tries only.
    pub(super) fn of(list: List, network: &IpNet) -> Self {
        match (list, network, network.prefix_len()) {
            (List::Allow, IpNet::V4(_), _) => Self::Allow4,
            (List::Allow, IpNet::V6(_), _) => Self::Allow6,
            (List::Block, IpNet::V4(_), 32) => Self::Block4,
            (List::Block, IpNet::V4(_), _) => Self::BlockLpm4,
            (List::Block, IpNet::V6(v6), _) if <[u8; 16]>::of_v6(v6).is_some() => Self::Block6,
            (List::Block, IpNet::V6(_), _) => Self::BlockLpm6,
        }
    }

    pub(super) fn list(self) -> List {
        match self {
            Self::Allow4 | Self::Allow6 => List::Allow,
            _ => List::Block,
        }
    }

    /// Whether its pre-tests are those of exact addresses.
    pub(super) fn is_exact(self) -> bool {
        matches!(self, Self::Block4 | Self::Block6)
    }

    /// Name of the map.
    pub(super) fn map(self) -> &'static str {
        match self {
            Self::Allow4 => maps::ALLOW_LPM4,
            Self::Allow6 => maps::ALLOW_LPM6,
            Self::Block4 => maps::BLOCK4,
            Self::Block6 => maps::BLOCK6,
            Self::BlockLpm4 => maps::BLOCK_LPM4,
            Self::BlockLpm6 => maps::BLOCK_LPM6,
        }
    }

    /// Its bit in [`ShieldSettings::lists`].
    pub(super) fn bit(self) -> u32 {
        match self {
            Self::Allow4 => ShieldSettings::LIST_ALLOW4,
            Self::Allow6 => {
                ShieldSettings::LIST_ALLOW6 | (ALL_CLASSES * ShieldSettings::LIST_ALLOW6_CLASS)
            }
            Self::Block4 => ShieldSettings::LIST_BLOCK4,
            Self::Block6 => ShieldSettings::LIST_BLOCK6,
            Self::BlockLpm4 => ShieldSettings::LIST_BLOCK_LPM4,
            Self::BlockLpm6 => {
                ShieldSettings::LIST_BLOCK_LPM6 | (ALL_CLASSES * ShieldSettings::LIST_BLOCK6_CLASS)
            }
        }
    }

    /// What it holds, for messages.
    pub(super) fn contents(self) -> &'static str {
        match self {
            Self::Allow4 => "allowed IPv4 prefixes",
            Self::Allow6 => "allowed IPv6 prefixes",
            Self::Block4 => "blocked IPv4 addresses",
            Self::Block6 => "blocked IPv6 addresses and /64 prefixes",
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

/// A bit for each of [`weir_common::bits::CLASSES6`].
const ALL_CLASSES: u32 = 7;

/// What `address` is counted as: IPv4 by address, IPv6 by /64.
pub(super) fn source(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpNet::from(IpAddr::V4(v4)),
        IpAddr::V6(v6) => IpNet::V6(Ipv6Net::new_assert(v6, 64).trunc()),
    }
}

/// An address as the program has it.
pub(super) fn packet_source(address: IpAddr) -> Source {
    match address {
        IpAddr::V4(v4) => Source::V4(v4.to_bits()),
        IpAddr::V6(v6) => Source::V6(halves(v6)),
    }
}

/// The first and the last 64 bits.
pub(super) fn halves(address: Ipv6Addr) -> [u64; 2] {
    let bits = address.to_bits();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the last 64 bits are wanted"
    )]
    let tail = bits as u64;
    #[allow(clippy::cast_possible_truncation, reason = "64 bits are left")]
    let head = (bits >> 64) as u64;
    [head, tail]
}

/// The key of the `SOURCES` map for `network`, as [`source`] makes it.
pub(super) fn key_of_source(network: &IpNet) -> [u8; 8] {
    source_key(packet_source(network.addr())).to_be_bytes()
}

/// The source that a key of the `SOURCES` map stands for.
pub(super) fn source_of_key(key: [u8; 8]) -> IpNet {
    let [m0, m1, m2, m3, a, b, c, d] = key;
    let v4 = IpAddr::from([a, b, c, d]);
    if key_of_source(&IpNet::from(v4)) == key {
        return IpNet::from(v4);
    }
    let head = u64::from_be_bytes([m0, m1, m2, m3, a, b, c, d]);
    let address = Ipv6Addr::from_bits(u128::from(head) << 64);
    IpNet::V6(Ipv6Net::new_assert(address, 64))
}

/// A map key that stands for a network.
pub(super) trait NetworkKey: Pod {
    /// Any key, to fill a buffer with.
    const ANY: Self;
    /// The key of `network`, if a map with such keys can hold it.
    fn of(network: &IpNet) -> Option<Self>;
    /// The network the key stands for.
    fn network(&self) -> IpNet;
}

impl NetworkKey for [u8; 4] {
    const ANY: Self = [0; 4];

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

/// Whole IPv6 addresses, and /64 prefixes by [`block64_key`].
impl NetworkKey for [u8; 16] {
    const ANY: Self = [0; 16];

    fn of(network: &IpNet) -> Option<Self> {
        match network {
            IpNet::V6(v6) => Self::of_v6(v6),
            IpNet::V4(_) => None,
        }
    }

    fn network(&self) -> IpNet {
        let address = Ipv6Addr::from(*self);
        let [_, tail] = halves(address);
        let prefix_len = if tail == BLOCK64_MARKER { 64 } else { 128 };
        IpNet::V6(Ipv6Net::new_assert(address, prefix_len).trunc())
    }
}

/// The key in the `BLOCK6` map.
trait Exact6: Sized {
    fn of_v6(network: &Ipv6Net) -> Option<Self>;
}

impl Exact6 for [u8; 16] {
    fn of_v6(network: &Ipv6Net) -> Option<Self> {
        let [head, tail] = halves(network.addr());
        match network.prefix_len() {
            128 if tail != BLOCK64_MARKER => Some(network.addr().octets()),
            64 => Some(block64_key(head)),
            _ => None,
        }
    }
}

/// The address and four zeros: in a trie the value lies right behind the key, and the kernel wants it aligned.
impl NetworkKey for lpm_trie::Key<[u8; 8]> {
    const ANY: Self = Self::new(0, [0; 8]);

    fn of(network: &IpNet) -> Option<Self> {
        match network {
            IpNet::V4(v4) => {
                let [a, b, c, d] = v4.addr().octets();
                Some(Self::new(v4.prefix_len().into(), [a, b, c, d, 0, 0, 0, 0]))
            }
            IpNet::V6(_) => None,
        }
    }

    fn network(&self) -> IpNet {
        let [a, b, c, d, ..] = self.data();
        let address = Ipv4Addr::new(a, b, c, d);
        IpNet::V4(Ipv4Net::new_assert(
            address,
            prefix_len(self.prefix_len(), 32),
        ))
    }
}

impl NetworkKey for lpm_trie::Key<[u8; 16]> {
    const ANY: Self = Self::new(0, [0; 16]);

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

    /// An address that ends as the keys of /64 prefixes do.
    const MARKED: &str = "2001:db8::9d3a:f16c:58e7:2b4/128";

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
            ("2001:db8::/64", Table::Block6, Table::Allow6),
            (MARKED, Table::BlockLpm6, Table::Allow6),
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
        there_and_back::<[u8; 16]>("2001:db8:0:1::/64");
        there_and_back::<[u8; 16]>("2001:db8::1/128");
        there_and_back::<lpm_trie::Key<[u8; 8]>>("192.0.2.0/24");
        there_and_back::<lpm_trie::Key<[u8; 16]>>("2001:db8::/33");
    }

    #[test]
    fn a_map_never_gets_a_network_of_another_shape() {
        assert!(<[u8; 4]>::of(&net("192.0.2.0/24")).is_none());
        assert!(<[u8; 16]>::of(&net("2001:db8::/65")).is_none());
        assert!(<[u8; 16]>::of(&net(MARKED)).is_none());
        assert!(lpm_trie::Key::<[u8; 8]>::of(&net("2001:db8::/64")).is_none());
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
    fn a_source_and_its_key_stand_for_each_other() {
        for network in ["192.0.2.1/32", "2001:db8:0:1::/64", "0.0.0.0/32", "::/64"] {
            assert_eq!(source_of_key(key_of_source(&net(network))), net(network));
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
