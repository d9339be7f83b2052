//! `weir sources`

use std::io;

use ipnet::IpNet;

use super::args::{Format, SourcesArgs};
use super::exit::{CliError, Exit};
use super::output::Out;
use super::place::Place;
use super::table::{Align, Table};
use super::units;
use crate::admin::view::{self, SourceCounts};
use crate::admin::{api, network};
use crate::clock;
use crate::xdp::{Maps, ShieldError, SourceRow};

/// Per-source counters from the pinned maps.
pub(super) fn sources(place: &Place, args: &SourcesArgs, out: &mut Out) -> Result<(), CliError> {
    let query = api::SourcesQuery {
        network: args.network.as_deref().map(parse).transpose()?,
        top: args.top,
        sort: args.sort,
    };
    let maps = place.maps()?;
    let rows = read(&maps, query.network)?;
    let found = view::sources(rows, &query, clock::kernel_now_ns());
    match args.format.format() {
        Format::Json => out.json(&found)?,
        Format::Text => write(&found, &query, out)?,
    }
    Ok(())
}

/// All counters, or with one look-up those of the only source that `wanted` can mean.
fn read(maps: &Maps, wanted: Option<IpNet>) -> Result<Vec<(IpNet, SourceCounts)>, ShieldError> {
    let rows = match wanted {
        Some(one) if network::source_of(one.addr()).contains(&one) => {
            maps.source(one.addr())?.into_iter().collect()
        }
        Some(_) | None => maps.sources()?,
    };
    Ok(rows.into_iter().map(counts).collect())
}

/// A row of the maps as the admin API tells it.
pub(super) fn counts(row: SourceRow) -> (IpNet, SourceCounts) {
    let SourceRow {
        network,
        state,
        blocked,
    } = row;
    (network, SourceCounts { state, blocked })
}

fn parse(text: &str) -> Result<IpNet, CliError> {
    network::parse(text)
        .map(|parsed| parsed.network)
        .map_err(|refused| CliError::new(Exit::Usage, refused.message, refused.hint))
}

fn write(found: &api::Sources, query: &api::SourcesQuery, out: &mut Out) -> io::Result<()> {
    if found.sources.is_empty() {
        return match query.network {
            Some(network) => out.line(format!("nothing seen from {}", network::display(network))),
            None => out.line("nothing seen yet"),
        };
    }
    let mut table = Table::new([
        ("SOURCE", Align::Left),
        ("PACKETS", Align::Right),
        ("BYTES", Align::Right),
        ("SYNS", Align::Right),
        ("DROPPED", Align::Right),
        ("FIRST SEEN", Align::Right),
        ("LAST SEEN", Align::Right),
    ]);
    for source in &found.sources {
        table.row([
            network::display(source.source),
            units::count(source.packets),
            units::bytes(source.bytes),
            units::count(source.syns),
            units::count(source.dropped),
            units::ago(source.first_seen_seconds_ago),
            units::ago(source.last_seen_seconds_ago),
        ]);
    }
    table.write(out)?;
    more(found.total, found.sources.len(), out)
}

/// Says that rows were left out, and how to see them.
pub(super) fn more(total: usize, shown: usize, out: &mut Out) -> io::Result<()> {
    if total <= shown {
        return Ok(());
    }
    out.line(format!("… and {} more; --top N shows more", total - shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_shows_its_counters_and_when_it_was_seen() {
        let found = api::Sources {
            total: 3,
            sources: vec![api::Source {
                source: "2001:db8::/64".parse().expect("a prefix"),
                packets: 1_234,
                bytes: 2_048,
                syns: 7,
                dropped: 1_000,
                drops: api::SourceDrops::default(),
                first_seen_seconds_ago: 3_725.0,
                last_seen_seconds_ago: 0.25,
            }],
        };
        let query = api::SourcesQuery {
            network: None,
            top: 1,
            sort: api::SourceOrder::Packets,
        };
        let (mut out, captured) = Out::capture();
        write(&found, &query, &mut out).expect("writes");
        assert_eq!(
            captured.text(),
            "SOURCE         PACKETS    BYTES  SYNS  DROPPED  FIRST SEEN  LAST SEEN\n\
             2001:db8::/64    1,234  2.0 KiB     7    1,000   1h 2m ago   0.2s ago\n\
             … and 2 more; --top N shows more\n"
        );
    }
}
