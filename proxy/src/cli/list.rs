//! `weir list`

use std::io;

use super::args::{Format, ListArgs};
use super::exit::CliError;
use super::output::Out;
use super::place::Place;
use super::table::{Align, Table};
use super::units;
use crate::admin::{api, network, view};
use crate::clock;
use crate::xdp::{List, Maps, ShieldError};

/// The live entries of one list or both, from the pinned maps.
pub(super) fn list(place: &Place, args: &ListArgs, out: &mut Out) -> Result<(), CliError> {
    let maps = place.maps()?;
    let now_ns = clock::kernel_now_ns();
    let lists = match args.list {
        Some(list) => vec![list],
        None => vec![api::List::Allow, api::List::Block],
    };
    let mut listed = Vec::new();
    for list in lists {
        listed.append(&mut entries(&maps, list, now_ns)?);
    }
    match args.format.format() {
        Format::Json => out.json(&api::Entries { entries: listed })?,
        Format::Text => write(&listed, out)?,
    }
    Ok(())
}

/// The live entries of `list`, sorted by network.
pub(super) fn entries(
    maps: &Maps,
    list: api::List,
    now_ns: u64,
) -> Result<Vec<api::Entry>, ShieldError> {
    let which = match list {
        api::List::Allow => List::Allow,
        api::List::Block => List::Block,
    };
    let listed = maps.entries(which, now_ns)?.into_iter();
    Ok(listed
        .map(|listed| {
            let entry = view::ListEntry {
                expires_ns: listed.expires_ns,
                added_ns: listed.added_ns,
                hits: listed.hits,
                origin: listed.origin,
                reason: listed.reason,
            };
            view::entry(list, listed.network, &entry, now_ns)
        })
        .collect())
}

fn write(entries: &[api::Entry], out: &mut Out) -> io::Result<()> {
    if entries.is_empty() {
        return out.line("no entries");
    }
    let mut table = Table::new([
        ("LIST", Align::Left),
        ("NETWORK", Align::Left),
        ("EXPIRES IN", Align::Right),
        ("HITS", Align::Right),
        ("ORIGIN", Align::Left),
        ("REASON", Align::Left),
    ]);
    for entry in entries {
        table.row([
            match entry.list {
                api::List::Allow => "allow".to_owned(),
                api::List::Block => "block".to_owned(),
            },
            network::display(entry.network),
            entry
                .expires_in_seconds
                .map_or("never".to_owned(), units::duration),
            units::count(entry.hits),
            entry.origin.clone(),
            entry.reason.clone(),
        ]);
    }
    table.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_show_when_they_expire_who_made_them_and_why() {
        let entry = |list, network: &str, expires_in_seconds, reason: &str| api::Entry {
            list,
            network: network.parse().expect(network),
            expires_in_seconds,
            added_seconds_ago: 1.0,
            hits: 1_234,
            origin: "cli".into(),
            reason: reason.into(),
        };
        let (mut out, captured) = Out::capture();
        let entries = [
            entry(api::List::Allow, "10.0.0.0/8", None, ""),
            entry(
                api::List::Block,
                "192.0.2.7/32",
                Some(600.0),
                "scan\u{1b}[2J",
            ),
        ];
        write(&entries, &mut out).expect("writes");
        assert_eq!(
            captured.text(),
            "LIST   NETWORK     EXPIRES IN   HITS  ORIGIN  REASON\n\
             allow  10.0.0.0/8       never  1,234  cli\n\
             block  192.0.2.7          10m  1,234  cli     scan?[2J\n"
        );
    }
}
