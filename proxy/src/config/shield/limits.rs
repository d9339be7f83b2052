//! `[shield.limits]` and `[shield.syn_cookies]`. Not the `[limits]` of clients, which the proxy enforces.

use weir_common::settings::{CookieMode, Limit};

use crate::config::reader::{Node, Table};
use crate::config::value::{Refusal, size_text};
use crate::xdp::{Limits, Rate, SynCookies};

/// `[shield.limits]`
pub(super) fn limits(shield: &mut Table<'_>) -> Limits {
    let mut table = shield.section("limits");
    let limits = Limits {
        packets: limit(&mut table, "packets", Unit::Packets, [50_000, 100_000]),
        syn: limit(&mut table, "syn", Unit::Packets, [200, 400]),
        udp: limit(&mut table, "udp", Unit::Packets, [2_000, 4_000]),
        icmp: limit(&mut table, "icmp", Unit::Packets, [50, 100]),
        bytes: limit(&mut table, "bytes", Unit::Bytes, [125 << 20, 250 << 20]),
        prefix_factor: table.integer("prefix_factor", 16, 1..=65_536),
    };
    table.finish(&[]);
    limits
}

/// `[shield.syn_cookies]`
pub(super) fn syn_cookies(shield: &mut Table<'_>) -> SynCookies {
    let mut table = shield.section("syn_cookies");
    let syn_cookies = SynCookies {
        mode: table.choice(
            "mode",
            CookieMode::Auto,
            &[
                ("off", CookieMode::Off),
                ("auto", CookieMode::Auto),
                ("always", CookieMode::Always),
            ],
            &[],
        ),
        start: table.integer("start", 5_000, 1..=100_000_000),
    };
    table.finish(&[]);
    syn_cookies
}

/// `{ rate, burst }` or `"off"`. `default` is rate and burst.
fn limit(limits: &mut Table<'_>, key: &'static str, unit: Unit, default: [u64; 2]) -> Option<Rate> {
    let [default_rate, default_burst] = default;
    let Some(node) = limits.take(key) else {
        return Some(Rate {
            rate: default_rate,
            burst: default_burst,
        });
    };
    if node.text() == Some("off") {
        return None;
    }
    let [rate_example, burst_example] = default.map(|amount| unit.written(amount));
    let Some(mut table) = node.inline_table() else {
        node.wrong_type(
            "a table or \"off\"",
            &format!("write {{ rate = {rate_example}, burst = {burst_example} }} or \"off\""),
        );
        return None;
    };
    let rate = table
        .required("rate", &rate_example)
        .and_then(|node| unit.read(&node, RATE_MAX));
    let burst = table.required("burst", &burst_example).and_then(|node| {
        let burst = unit.read(&node, RATE_MAX * BURST_SECONDS_MAX)?;
        node.accept(in_proportion(unit, burst, rate?))
    });
    table.finish(&[]);
    Some(Rate {
        rate: rate?,
        burst: burst?,
    })
}

/// `burst`, if it is worth from 20 ms to 30 s of `rate`.
fn in_proportion(unit: Unit, burst: u64, rate: u64) -> Result<u64, Refusal> {
    let least = rate.div_ceil(BURSTS_PER_SECOND_MAX);
    let most = rate * BURST_SECONDS_MAX;
    let why = if burst < least {
        "less than 20 ms of the rate: the kernel's clock steps by up to 10 ms, and what comes within a step comes at once"
    } else if burst > most {
        "more than 30 s of the rate, which is as far as the kernel keeps account"
    } else {
        return Ok(burst);
    };
    let (least, most) = (unit.written(least), unit.written(most));
    Err(Refusal::conflict(
        why,
        format!("write a value from {least} to {most}, or change the rate"),
    ))
}

/// What a limit counts.
#[derive(Clone, Copy)]
enum Unit {
    Packets,
    Bytes,
}

impl Unit {
    /// A number of at least 1; of bytes also as a size.
    fn read(self, node: &Node<'_>, most: u64) -> Option<u64> {
        match self {
            Self::Packets => node.integer(1..=most),
            Self::Bytes => node.size(1..=most),
        }
    }

    /// As it would stand in the file.
    fn written(self, amount: u64) -> String {
        let text = match self {
            Self::Packets => amount.to_string(),
            Self::Bytes => size_text(amount),
        };
        if text.ends_with('B') {
            format!("{text:?}")
        } else {
            text
        }
    }
}

/// Highest rate a second. A prefix has at most this, too, whatever its factor.
const RATE_MAX: u64 = Limit::RATE_MAX;
/// Least burst: this fraction of a second's rate, 20 ms of it.
const BURSTS_PER_SECOND_MAX: u64 = 50;
/// Most burst: what this many seconds bring; see `weir_common::settings::Limit::BURST_MAX`.
const BURST_SECONDS_MAX: u64 = 30;
