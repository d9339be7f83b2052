//! `[[shield.feeds]]`. Whether a file is there, and what is in it, is found out when it is read.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::reader::Table;
use crate::config::unique::Unique;
use crate::config::value::{self, Refusal};
use crate::xdp::Feed;

/// Feeds at most: each is looked at again and again.
const FEEDS_MAX: usize = 64;
/// Longest name, in bytes: it is part of a kernel entry's origin, `feed:<name>`.
const NAME_MAX: usize = 26;
/// Looking more often than that would be work for nothing, more rarely a forgotten feed.
const REFRESH: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(7 * 24);

/// `[[shield.feeds]]`
pub(super) fn feeds(shield: &mut Table<'_>) -> Vec<Feed> {
    let tables = shield.sections("feeds");
    if let Some(extra) = tables.get(FEEDS_MAX) {
        extra.refuse(Refusal::invalid(
            format!("there can be at most {FEEDS_MAX} feeds"),
            "remove some",
        ));
    }
    let (mut names, mut files) = (Unique::new(), Unique::new());
    tables
        .into_iter()
        .map(|table| feed(table, &mut names, &mut files))
        .collect()
}

fn feed<'a>(
    mut table: Table<'a>,
    names: &mut Unique<&'a str>,
    files: &mut Unique<PathBuf>,
) -> Feed {
    let name = table.required("name", "\"spamhaus\"").and_then(|node| {
        let name = node.read(name)?;
        node.accept(names.insert(name, node.key(), node.line()))?;
        Some(name.to_owned())
    });
    let file = table
        .required("file", "\"/etc/weir/drop.txt\"")
        .and_then(|node| {
            let file = node.read(value::absolute_path)?;
            node.accept(files.insert(file.clone(), node.key(), node.line()))?;
            Some(file)
        });
    let refresh = table.duration("refresh", Duration::from_hours(1), REFRESH);
    table.finish(&[]);
    Feed {
        name: name.unwrap_or_default(),
        file: file.unwrap_or_default(),
        refresh,
    }
}

fn name(name: &str) -> Result<&str, Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(Refusal::invalid(
            "not a name for a feed",
            format!("write 1 to {NAME_MAX} letters, digits, '-', '_' or '.'"),
        ))
    }
}
