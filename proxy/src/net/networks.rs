//! Sets of networks.

use std::net::IpAddr;

use ipnet::IpNet;

/// Networks of one listener; looked through one by one, as there are few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Box<[IpNet]>);

impl Networks {
    /// In any order.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    /// Whether `address` is in one of them. IPv4-mapped addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}
