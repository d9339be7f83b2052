//! `shield.allow` and `shield.block`.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::config::reader::{Node, Table};
use crate::config::unique::Unique;
use crate::config::value::{self, Refusal};
use crate::xdp::Tables;

/// The allowed and the blocked prefixes: nothing in both, and no more than the kernel's maps hold.
pub(super) fn lists(shield: &mut Table<'_>, tables: &Tables) -> (Vec<IpNet>, Vec<IpNet>) {
    let mut allowed = Unique::new();
    let mut allow = Vec::new();
    for (network, node) in networks(shield.list("allow")) {
        // The same prefix twice in one list is harmless: lists are often pasted together.
        if allowed.insert(network, node.key(), node.line()).is_ok() {
            allow.push(network);
        }
    }
    let mut block = Vec::new();
    let mut blocked = Unique::new();
    for (network, node) in networks(shield.list("block")) {
        if node.accept(not_everyone(network)).is_none() {
            continue;
        }
        if let Some((key, line)) = allowed.place(&network) {
            node.refuse(Refusal::conflict(
                format!("both blocked and allowed: {key} on line {line} is the same"),
                "remove one of them; allow beats block",
            ));
        }
        if blocked.insert(network, node.key(), node.line()).is_ok() {
            block.push(network);
        }
    }
    check_room(shield, &allow, &block, tables);
    (allow, block)
}

fn networks(nodes: Vec<Node<'_>>) -> impl Iterator<Item = (IpNet, Node<'_>)> {
    nodes
        .into_iter()
        .filter_map(|node| Some((node.read(value::network)?, node)))
}

fn not_everyone(network: IpNet) -> Result<(), Refusal> {
    if network.prefix_len() == 0 {
        return Err(Refusal::invalid(
            "blocks everyone, you included",
            "name the prefixes to block",
        ));
    }
    Ok(())
}

fn check_room(shield: &Table<'_>, allow: &[IpNet], block: &[IpNet], tables: &Tables) {
    const PREFIXES: &str = "prefixes";
    let mut entries: BTreeMap<(&str, &str), (u32, u32, &str)> = BTreeMap::new();
    for network in allow {
        let what = match network {
            IpNet::V4(_) => ("allow", "IPv4 prefixes"),
            IpNet::V6(_) => ("allow", "IPv6 prefixes"),
        };
        let none = (0, tables.allowed_prefixes(), PREFIXES);
        entries.entry(what).or_insert(none).0 += 1;
    }
    for network in block {
        // One map each; see `weir_common::maps`.
        let (what, is_exact) = match (network, network.prefix_len()) {
            (IpNet::V4(_), 32) => ("IPv4 addresses", true),
            (IpNet::V4(_), _) => ("IPv4 prefixes", false),
            (IpNet::V6(_), 128 | 64) => ("IPv6 addresses and /64 prefixes", true),
            (IpNet::V6(_), _) => ("IPv6 prefixes", false),
        };
        let none = if is_exact {
            (0, tables.blocks, "blocks")
        } else {
            (0, tables.prefixes, PREFIXES)
        };
        entries.entry(("block", what)).or_insert(none).0 += 1;
    }
    for ((list, what), (count, room, table)) in entries {
        if count > room {
            shield.refuse(Refusal::conflict(
                format!("{list} has {count} {what}, and there is room for {room}"),
                format!("raise shield.tables.{table}"),
            ));
        }
    }
}
