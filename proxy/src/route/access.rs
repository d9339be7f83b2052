//! Which clients a route is for.

use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt};
use ipnet::IpNet;

/// `allow` and `deny`: of the networks that hold the client's address the smallest decides; of the same network in both lists
/// `deny`. An address in none is served unless there are networks in `allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    networks: HashMap<IpNet, Verdict>,
    /// Prefix lengths that there are, longest first, each once.
    lengths: Vec<u8>,
    otherwise: Verdict,
}

/// Whether a client is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Served.
    Allow,
    /// 403.
    Deny,
}

impl Access {
    /// From lists of networks without host bits.
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        let mut networks = HashMap::new();
        networks.extend(allow.iter().map(|network| (*network, Verdict::Allow)));
        networks.extend(deny.iter().map(|network| (*network, Verdict::Deny)));
        let mut lengths: Vec<u8> = networks.keys().map(IpNet::prefix_len).collect();
        lengths.sort_unstable_by(|one, other| other.cmp(one));
        lengths.dedup();
        Self {
            networks,
            lengths,
            otherwise: if allow.is_empty() {
                Verdict::Allow
            } else {
                Verdict::Deny
            },
        }
    }

    /// What becomes of a client.
    pub fn judge(&self, client: IpAddr) -> Verdict {
        let client = client.to_canonical();
        let networks = self.lengths.iter().filter_map(|&length| {
            let network = IpNet::new(client, length).ok()?.trunc();
            self.networks.get(&network)
        });
        networks.copied().next().unwrap_or(self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_network_decides() {
        let networks = |texts: &[&str]| -> Vec<IpNet> {
            let texts = texts.iter();
            texts.map(|text| text.parse().expect(text)).collect()
        };
        for (allow, deny, client, allowed) in [
            (&[][..], &["192.0.2.0/24"][..], "192.0.2.1", false),
            (&[], &["192.0.2.0/24"], "198.51.100.1", true),
            (&["192.0.2.0/24"], &[], "192.0.2.1", true),
            (&["192.0.2.0/24"], &[], "198.51.100.1", false),
            (&["192.0.2.0/24"], &[], "2001:db8::1", false),
            (&["192.0.2.0/24"], &["192.0.2.7/32"], "192.0.2.7", false),
            (&["192.0.2.7/32"], &["192.0.2.0/24"], "192.0.2.7", true),
            (&["192.0.2.7/32"], &["192.0.2.0/24"], "192.0.2.8", false),
            (&["192.0.2.0/24"], &["192.0.2.0/24"], "192.0.2.1", false),
            (&["0.0.0.0/0"], &[], "192.0.2.1", true),
            (
                &["2001:db8::/32"],
                &["2001:db8:1::/48"],
                "2001:db8:1::1",
                false,
            ),
            (
                &["2001:db8::/32"],
                &["2001:db8:1::/48"],
                "2001:db8:2::1",
                true,
            ),
            // What a dual-stack listener calls an IPv4 client.
            (&[], &["192.0.2.0/24"], "::ffff:192.0.2.1", false),
        ] {
            let access = Access::new(&networks(allow), &networks(deny));
            let verdict = access.judge(client.parse().expect(client));
            assert_eq!(
                verdict == Verdict::Allow,
                allowed,
                "{allow:?} {deny:?} {client}"
            );
        }
    }
}
