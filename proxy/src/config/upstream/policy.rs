//! How a server is chosen: `balance`, `hash_on`, `sticky`.

use http::HeaderName;

use crate::balance::{HashOn, Policy, StickySettings};
use crate::config::reader::Table;
use crate::config::value::Refusal;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    RoundRobin,
    LeastRequests,
    PeakEwma,
    Random,
    Maglev,
}

/// `balance` and `hash_on`
pub(super) fn policy(upstream: &mut Table<'_>) -> Policy {
    let choices = [
        ("round-robin", Word::RoundRobin),
        ("least-requests", Word::LeastRequests),
        ("peak-ewma", Word::PeakEwma),
        ("random", Word::Random),
        ("maglev", Word::Maglev),
    ];
    let word = upstream.choice("balance", Word::RoundRobin, &choices, &[]);
    let node = upstream.take("hash_on");
    if let Some(node) = &node
        && word != Word::Maglev
    {
        node.refuse(Refusal::conflict(
            "only balance = \"maglev\" hashes",
            "set that, or remove it",
        ));
    }
    match word {
        Word::RoundRobin => Policy::RoundRobin,
        Word::LeastRequests => Policy::LeastRequests,
        Word::PeakEwma => Policy::PeakEwma,
        Word::Random => Policy::Random,
        Word::Maglev => {
            Policy::Maglev(node.and_then(|node| node.read(hash_on)).unwrap_or_default())
        }
    }
}

/// `sticky`
pub(super) fn sticky(upstream: &mut Table<'_>) -> Option<StickySettings> {
    if !upstream.has("sticky") {
        return None;
    }
    let mut table = upstream.section("sticky");
    let cookie = table.required("cookie", "\"weir-origin\"");
    table.finish(&[]);
    let cookie = cookie?.read(cookie_name)?.to_owned();
    Some(StickySettings { cookie })
}

fn hash_on(text: &str) -> Result<HashOn, Refusal> {
    match text.split_once(':') {
        None if text == "client-ip" => Ok(HashOn::ClientIp),
        None if text == "uri" => Ok(HashOn::Uri),
        Some(("header", name)) => match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => Ok(HashOn::Header(name)),
            Err(_) => Err(Refusal::invalid(
                "not the name of a field",
                "write \"header:x-tenant\"",
            )),
        },
        Some(("cookie", name)) => cookie_name(name).map(|name| HashOn::Cookie(name.to_owned())),
        Some(_) | None => Err(Refusal::invalid(
            "not something to hash on",
            "write \"client-ip\", \"uri\", \"header:NAME\" or \"cookie:NAME\"",
        )),
    }
}

/// A token (RFC 6265 §4.1.1).
fn cookie_name(name: &str) -> Result<&str, Refusal> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(token) {
        Ok(name)
    } else {
        Err(Refusal::invalid(
            "not the name of a cookie",
            format!("write 1 to {NAME_MAX} letters, digits, '-', '_' or '.'"),
        ))
    }
}

/// Longest name of a cookie, in bytes.
const NAME_MAX: usize = 64;
