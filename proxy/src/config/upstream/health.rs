//! Active checks: `health`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::balance::{Expect, HealthSettings, ProbeKind};
use crate::config::reader::{Node, Table};
use crate::config::value::Refusal;

/// `health`; with a path the checks are requests, without they only connect.
pub(super) fn health(upstream: &mut Table<'_>) -> Option<HealthSettings> {
    if !upstream.has("health") {
        return None;
    }
    let defaults = HealthSettings::default();
    let mut table = upstream.section("health");
    let path = table.take("path").map(|node| node.read(path));
    let host = table.take("host").map(|node| (node.read(host), node));
    let expect = table.take("expect").map(|node| (expect(&node), node));
    if path.is_none() {
        for node in [
            host.as_ref().map(|(_, node)| node),
            expect.as_ref().map(|(_, node)| node),
        ]
        .into_iter()
        .flatten()
        {
            node.refuse(Refusal::conflict(
                "a check that only connects asks for nothing",
                "add path = \"/healthz\", or remove it",
            ));
        }
    }
    let probe = match path {
        None => ProbeKind::Tcp,
        Some(path) => ProbeKind::Http {
            path: path.unwrap_or("/").to_owned(),
            host: host.and_then(|(host, _)| host).map(str::to_owned),
            expect: expect.map_or_else(Expect::default, |(expect, _)| expect),
        },
    };
    let settings = HealthSettings {
        probe,
        interval: table.duration("interval", defaults.interval, SHORTEST..=LONGEST),
        timeout: table.duration(
            "timeout",
            defaults.timeout,
            Duration::from_millis(10)..=LONGEST,
        ),
        rise: table.integer("rise", defaults.rise, 1..=100),
        fall: table.integer("fall", defaults.fall, 1..=100),
    };
    table.finish(&[]);
    Some(settings)
}

fn path(text: &str) -> Result<&str, Refusal> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        Ok(text)
    } else {
        Err(Refusal::invalid(
            "not a path",
            "write \"/healthz\", with a query if need be",
        ))
    }
}

fn host(text: &str) -> Result<&str, Refusal> {
    match text.parse::<http::uri::Authority>() {
        Ok(authority) if !authority.as_str().contains('@') => Ok(text),
        Ok(_) | Err(_) => Err(Refusal::invalid(
            "not a host",
            "write \"app.internal\" or \"app.internal:8080\"",
        )),
    }
}

/// `["200-399"]`, `[200, 204]`
fn expect(node: &Node<'_>) -> Expect {
    let nodes = node.list();
    if nodes.is_empty() {
        node.refuse(Refusal::invalid(
            "no status would count as success",
            "write [\"200-399\"]",
        ));
    }
    Expect(nodes.iter().filter_map(statuses).collect())
}

fn statuses(node: &Node<'_>) -> Option<RangeInclusive<u16>> {
    if node.text().is_none() {
        let status = node.integer(100..=599)?;
        return Some(status..=status);
    }
    node.read(|text| {
        let bounds = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        match (status(bounds.0), status(bounds.1)) {
            (Some(first), Some(last))
                if (100..=599).contains(&first) && last <= 599 && first <= last =>
            {
                Ok(first..=last)
            }
            _ => Err(Refusal::invalid(
                "not a status or a range of them",
                "write 204 or \"200-399\"",
            )),
        }
    })
}

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_hours(1);
