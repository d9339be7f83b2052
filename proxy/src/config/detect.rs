//! `[[detect]]`

use std::time::Duration;

use super::reader::{Node, Table};
use super::route::{Part, reachable};
use super::shield::{BLOCK_LONGEST, BLOCK_SHORTEST};
use super::unique::Unique;
use super::value::Refusal;
use crate::detect::{Count, Filter, RuleSettings};
use crate::route::EncodedSlashes;

/// Rules at most: each costs up to 131,072 counters.
const RULES_MAX: usize = 64;
/// Longest rule name, in bytes: what is left of a kernel entry's origin after `detect:`.
const NAME_MAX: usize = 25;
/// Status codes a rule can select.
const STATUS: std::ops::RangeInclusive<u64> = 100..=599;

/// `[[detect]]`; `block_for` is the shield's, `slashes` what is done with encoded ones.
pub(super) fn rules(
    root: &mut Table<'_>,
    block_for: Duration,
    slashes: EncodedSlashes,
) -> Vec<RuleSettings> {
    let tables = root.sections("detect");
    if let Some(extra) = tables.get(RULES_MAX) {
        extra.refuse(Refusal::invalid(
            format!("there can be at most {RULES_MAX} rules"),
            "remove some",
        ));
    }
    let mut names = Unique::new();
    tables
        .into_iter()
        .map(|table| rule(table, block_for, slashes, &mut names))
        .collect()
}

fn rule<'a>(
    mut table: Table<'a>,
    block_for: Duration,
    slashes: EncodedSlashes,
    names: &mut Unique<&'a str>,
) -> RuleSettings {
    let name = table
        .required("name", "\"login-bruteforce\"")
        .and_then(|node| {
            let name = node.read(name)?;
            node.accept(names.insert(name, node.key(), node.line()))?;
            Some(name.to_owned())
        });
    let count = table.required("count", "\"requests\"").and_then(|node| {
        node.choice(
            &[
                ("requests", Count::Requests),
                ("responses", Count::Responses),
                ("tls-failures", Count::TlsFailures),
                ("protocol-errors", Count::ProtocolErrors),
                ("slow-requests", Count::SlowRequests),
                ("connections", Count::Connections),
            ],
            &["bytes"],
        )
    });
    let filter = filter(&mut table, count, slashes);
    let limit = table
        .required("limit", "20")
        .and_then(|node| node.integer(1..=10_000_000));
    let window = table
        .required("window", "\"1m\"")
        .and_then(|node| node.duration(Duration::from_secs(1)..=Duration::from_hours(1)));
    let (block_for, block_max) = block_durations(&mut table, block_for);
    table.choice("scope", (), &[("source", ())], &["prefix"]);
    table.finish(&[]);
    RuleSettings {
        name: name.unwrap_or_default(),
        count: count.unwrap_or(Count::Requests),
        filter,
        limit: limit.unwrap_or(1),
        window: window.unwrap_or(Duration::from_secs(1)),
        block_for,
        block_max,
    }
}

fn name(name: &str) -> Result<&str, Refusal> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(name)
    } else {
        Err(Refusal::invalid(
            "not a name for a rule",
            format!("write 1 to {NAME_MAX} characters of a-z, 0-9 and '-'"),
        ))
    }
}

fn filter(rule: &mut Table<'_>, count: Option<Count>, slashes: EncodedSlashes) -> Filter {
    let mut table = rule.section("where");
    let is_of_requests = matches!(count, None | Some(Count::Requests | Count::Responses));
    let path = table.take("path").and_then(|node| {
        if !is_of_requests {
            node.refuse(Refusal::conflict(
                "only requests and responses have a path",
                "remove it, or write count = \"requests\"",
            ));
        }
        node.read(|text| path(text, slashes))
    });
    let status = table.take("status").map_or_else(Vec::new, |node| {
        if !matches!(count, None | Some(Count::Responses)) {
            node.refuse(Refusal::conflict(
                "only responses have a status",
                "write count = \"responses\", or remove status",
            ));
        }
        status(&node)
    });
    table.finish(&[]);
    Filter { path, status }
}

fn path(text: &str, slashes: EncodedSlashes) -> Result<String, Refusal> {
    if text.starts_with('/')
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.contains(['?', '#'])
    {
        reachable(text, Part::Beginning, slashes)?;
        Ok(text.to_owned())
    } else {
        Err(Refusal::invalid(
            "not the beginning of a path",
            "write it as it is in URLs, such as \"/login\", without query",
        ))
    }
}

fn status(list: &Node<'_>) -> Vec<u16> {
    let nodes = list.list();
    if nodes.is_empty() {
        list.refuse(Refusal::invalid(
            "selects no response",
            "write status codes such as [401, 403], or remove status",
        ));
    }
    nodes
        .iter()
        .filter_map(|node| node.integer(STATUS))
        .collect()
}

/// `block_for` and `block_max`; a `block_for` above the default of `block_max` raises that.
fn block_durations(table: &mut Table<'_>, shield: Duration) -> (Duration, Duration) {
    let first = table.duration("block_for", shield, BLOCK_SHORTEST..=BLOCK_LONGEST);
    let longest = table.take("block_max").and_then(|node| {
        let longest = node.duration(BLOCK_SHORTEST..=BLOCK_LONGEST)?;
        if longest < first {
            node.refuse(Refusal::conflict(
                format!(
                    "shorter than the first block, which lasts {}",
                    humantime::format_duration(first)
                ),
                "raise it, or lower block_for",
            ));
        }
        Some(longest)
    });
    (
        first,
        longest.unwrap_or(Duration::from_hours(24).max(first)),
    )
}
