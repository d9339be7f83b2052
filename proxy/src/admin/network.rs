//! Addresses and prefixes as people write them, and in JSON as text.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A network as the maps key it, and how it differs from what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed {
    /// Without host bits.
    pub network: IpNet,
    /// Whether host bits were cleared or an IPv4-mapped address became IPv4.
    pub adjusted: bool,
}

/// What was written is neither an address nor a prefix, or one that must not be in a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// One sentence, without its full stop.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// Parses an address or a prefix. Host bits are cleared. `::ffff:0:0/96` holds IPv4-mapped addresses (RFC 4291
/// §2.5.5.2), which no packet carries as its source: they become IPv4.
pub fn parse(text: &str) -> Result<Parsed, Refused> {
    let written = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        .ok_or_else(|| Refused {
            message: format!("`{text}` is neither an address nor a prefix"),
            hint: "write 192.0.2.7, 192.0.2.0/24, 2001:db8::7 or 2001:db8::/64",
        })?;
    let network = unmapped(written.trunc());
    Ok(Parsed {
        network,
        adjusted: network != written,
    })
}

/// Refuses /0: one such entry would block, or exempt, the whole Internet.
pub fn not_everything(network: IpNet) -> Result<(), Refused> {
    if network.prefix_len() > 0 {
        return Ok(());
    }
    Err(Refused {
        message: format!("`{network}` is every address there is"),
        hint: "list narrower prefixes; to let everything through set `enforce = false` in [shield]",
    })
}

/// Whether the two have an address in common: of two prefixes one holds the other or they are apart.
pub fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn unmapped(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
            .addr()
            .to_ipv4_mapped()
            .and_then(|v4| Ipv4Net::new(v4, v6.prefix_len() - 96).ok())
            .map_or(network, IpNet::V4),
        IpNet::V4(_) | IpNet::V6(_) => network,
    }
}

/// A network as people and JSON see it: `192.0.2.7` for a single address, else `192.0.2.0/24`.
pub fn display(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

/// The network that counts as one source: IPv4 /32, IPv6 /64.
pub fn source_of(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => IpNet::from(address),
        IpAddr::V6(v6) => {
            Ipv6Net::new(v6, 64).map_or(IpNet::from(address), |net| IpNet::V6(net.trunc()))
        }
    }
}

pub(super) mod text {
    //! `#[serde(with = …)]` for one network.
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::admin) fn serialize<S: Serializer>(
        network: &IpNet,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::display(*network))
    }

    pub(in crate::admin) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<IpNet, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(super::parse(&text).map_err(D::Error::custom)?.network)
    }
}

pub(super) mod texts {
    //! `#[serde(with = …)]` for several networks.
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::admin) fn serialize<S: Serializer>(
        networks: &[IpNet],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().copied().map(super::display))
    }

    pub(in crate::admin) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<IpNet>, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(|text| Ok(super::parse(text).map_err(D::Error::custom)?.network))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        parse(text).map_or_else(|refused| refused.message, |p| p.network.to_string())
    }

    #[test]
    fn addresses_and_prefixes_are_read_and_host_bits_cleared() {
        for (text, network, adjusted) in [
            ("192.0.2.7", "192.0.2.7/32", false),
            ("192.0.2.7/24", "192.0.2.0/24", true),
            ("192.0.2.0/24", "192.0.2.0/24", false),
            ("2001:db8::7", "2001:db8::7/128", false),
            ("2001:db8::7/64", "2001:db8::/64", true),
            ("::ffff:192.0.2.7", "192.0.2.7/32", true),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24", true),
        ] {
            assert_eq!(parsed(text), network, "{text}");
            assert_eq!(parse(text).map(|p| p.adjusted), Ok(adjusted), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for text in [
            "",
            "example.com",
            "192.0.2.0/33",
            "192.0.2",
            "1.2.3.4/",
            "::/129",
        ] {
            let refused = parse(text).expect_err(text);
            assert!(refused.message.contains(&format!("`{text}`")), "{refused}");
        }
    }

    #[test]
    fn everything_is_refused_in_both_families() {
        for text in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
            let network = parse(text).expect(text).network;
            assert!(not_everything(network).is_err(), "{text}");
        }
    }

    #[test]
    fn an_ipv6_source_is_its_first_64_bits() {
        let address: IpAddr = "2001:db8:1:2:3::4".parse().expect("an address");
        assert_eq!(source_of(address).to_string(), "2001:db8:1:2::/64");
    }
}
