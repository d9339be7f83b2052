//! `[shield]`

mod feeds;
mod limits;
mod lists;
mod ports;
mod sanity;

use std::time::Duration;

use weir_common::maps;

use super::reader::Table;
use super::unique::Unique;
use super::value::Refusal;
use crate::xdp::{Mode, Settings, Tables};

/// Longest block: a year, as humantime counts it. For ever is what `shield.block` is for.
pub(super) const BLOCK_LONGEST: Duration = Duration::from_hours(8766);
/// Shortest block.
pub(super) const BLOCK_SHORTEST: Duration = Duration::from_secs(1);
/// Longest interface name, in bytes: the kernel's IFNAMSIZ less its terminating zero.
const INTERFACE_NAME_MAX: usize = 15;

/// `[shield]`
pub(super) fn shield(root: &mut Table<'_>) -> Settings {
    let mut table = root.section("shield");
    let tables = tables(&mut table);
    let interfaces = interfaces(&mut table);
    let (allow, block) = lists::lists(&mut table, &tables);
    let settings = Settings {
        interfaces,
        mode: table.choice(
            "mode",
            Mode::Auto,
            &[
                ("auto", Mode::Auto),
                ("native", Mode::Native),
                ("generic", Mode::Generic),
            ],
            &[],
        ),
        enforce: table.boolean("enforce", true),
        pin_dir: table.path("pin_dir", "/sys/fs/bpf/weir"),
        allow,
        block,
        block_for: table.duration(
            "block_for",
            Duration::from_hours(1),
            BLOCK_SHORTEST..=BLOCK_LONGEST,
        ),
        feeds: feeds::feeds(&mut table),
        sanity: sanity::sanity(&mut table),
        amplification_ports: ports::amplification(&mut table),
        failsafe_ports: ports::failsafe(&mut table),
        quic_ports: ports::quic(&mut table),
        manage_sysctls: table.boolean("manage_sysctls", false),
        limits: limits::limits(&mut table),
        syn_cookies: limits::syn_cookies(&mut table),
        tables,
    };
    table.finish(&[]);
    settings
}

fn tables(shield: &mut Table<'_>) -> Tables {
    let mut table = shield.section("tables");
    let tables = Tables {
        sources: table.integer("sources", maps::DEFAULT_SOURCES, 1024..=16_777_216),
        blocks: table.integer("blocks", maps::DEFAULT_BLOCKS, 1024..=16_777_216),
        prefixes: table.integer("prefixes", maps::DEFAULT_PREFIXES, 64..=1_048_576),
    };
    table.finish(&[]);
    tables
}

fn interfaces(shield: &mut Table<'_>) -> Vec<String> {
    let nodes = shield.list("interfaces");
    let mut names = Unique::new();
    let mut interfaces = Vec::new();
    if let Some(extra) = nodes.get(maps::MAX_INTERFACES as usize) {
        extra.refuse(Refusal::invalid(
            format!(
                "one shield guards at most {} interfaces",
                maps::MAX_INTERFACES
            ),
            "remove some",
        ));
    }
    for node in nodes {
        let Some(name) = node.read(interface_name) else {
            continue;
        };
        if node
            .accept(names.insert(name, node.key(), node.line()))
            .is_some()
        {
            interfaces.push(name.to_owned());
        }
    }
    interfaces
}

/// The kernel's rules (`dev_valid_name`).
fn interface_name(name: &str) -> Result<&str, Refusal> {
    if name.len() > INTERFACE_NAME_MAX {
        return Err(Refusal::invalid(
            format!("longer than {INTERFACE_NAME_MAX} bytes, the most an interface name can have"),
            "see `ip link` for the names",
        ));
    }
    let stray = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
    if matches!(name, "" | "." | "..") || name.contains(stray) {
        return Err(Refusal::invalid(
            "not an interface name",
            "see `ip link` for the names",
        ));
    }
    Ok(name)
}
