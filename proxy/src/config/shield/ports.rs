//! `shield.amplification_ports`, `shield.failsafe_ports` and `shield.quic_ports`.

use std::collections::HashSet;

use crate::config::reader::Table;
use crate::config::value::Refusal;

/// UDP source ports of reflectors: DNS, NTP, SNMP, LDAP, SSDP and memcached by default.
pub(super) fn amplification(shield: &mut Table<'_>) -> Vec<u16> {
    const DEFAULT: [u16; 6] = [53, 123, 161, 389, 1900, 11211];
    ports(shield, "amplification_ports", &DEFAULT, 1024)
}

/// Ports that stay reachable when limits go wrong: SSH by default.
pub(super) fn failsafe(shield: &mut Table<'_>) -> Vec<u16> {
    ports(shield, "failsafe_ports", &[22], 64)
}

/// UDP ports where QUIC is served or forwarded: 443 by default.
pub(super) fn quic(shield: &mut Table<'_>) -> Vec<u16> {
    ports(shield, "quic_ports", &[443], 64)
}

/// Each port once, in the order of the file.
fn ports(shield: &mut Table<'_>, key: &'static str, default: &[u16], ports_max: usize) -> Vec<u16> {
    let Some(list) = shield.take(key) else {
        return default.to_vec();
    };
    let mut seen = HashSet::new();
    let mut ports = Vec::new();
    for node in list.list() {
        let Some(port) = node.integer(1..=65_535) else {
            continue;
        };
        // The same port twice is harmless: lists are often pasted together.
        if !seen.insert(port) {
            continue;
        }
        if ports.len() == ports_max {
            node.refuse(Refusal::invalid(
                format!("there can be at most {ports_max} ports here"),
                "remove some",
            ));
            break;
        }
        ports.push(port);
    }
    ports
}
