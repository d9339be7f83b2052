//! Allowlist and blocklist: which entries match, which wins, and when they end.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use weir_common::Outcome;
use weir_common::addr::BLOCK64_MARKER;

use super::Case;
use crate::frames::{
    IPV4, IPV6, SOURCE4, SOURCE6, SYN, TCP, cut, ethernet, fragment4, ipv4, ipv6, tcp, tcp_with,
};
use crate::rules::Ends::{InAnHour, LongAgo};
use crate::rules::{Rule, allow, block};

pub(super) fn cases() -> Vec<Case> {
    [
        ipv4_block(),
        ipv6_block(),
        allow_wins(),
        nested(),
        lengths(),
        marker(),
        other_classes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ipv4_block() -> Vec<Case> {
    vec![
        blocked4("exact IPv4 block").rules([block("198.18.0.7/32")]),
        blocked4("exact block that ends later").rules([block("198.18.0.7/32").ending(InAnHour)]),
        blocked4("IPv4 prefix block").rules([block("198.18.0.0/16")]),
        blocked4("IPv4 prefix block that ends later")
            .rules([block("198.18.0.0/24").ending(InAnHour)]),
        blocked4("exact IPv4 block, not enforced")
            .rules([block("198.18.0.7/32")])
            .hits([1])
            .spared(),
        blocked4("block of everything").rules([block("0.0.0.0/0")]),
        passed4("another address is blocked").rules([block("198.18.0.8/32")]),
        passed4("another prefix is blocked").rules([block("198.18.1.0/24")]),
        passed4("expired exact block").rules([block("198.18.0.7/32").ending(LongAgo)]),
        passed4("expired prefix block").rules([block("198.18.0.0/16").ending(LongAgo)]),
        blocked4("expired exact within a live prefix").rules([
            block("198.18.0.7/32").ending(LongAgo),
            block("198.18.0.0/16"),
        ]),
        passed4("IPv6 blocks do not match IPv4").rules([block("::/0"), block("::c612:7/128")]),
    ]
}

fn ipv6_block() -> Vec<Case> {
    vec![
        blocked6("exact IPv6 block").rules([block("2001:db8:1:2::7/128")]),
        blocked6("exact IPv6 block, not enforced")
            .rules([block("2001:db8:1:2::7/128")])
            .hits([1])
            .spared(),
        blocked6("/64 block").rules([block("2001:db8:1:2::/64")]),
        blocked6("/48 block").rules([block("2001:db8:1::/48")]),
        blocked6("/96 block").rules([block("2001:db8:1:2::/96")]),
        blocked6("/127 block").rules([block("2001:db8:1:2::6/127")]),
        passed6("another address of the /64 is blocked").rules([block("2001:db8:1:2::8/128")]),
        passed6("another /64 is blocked").rules([block("2001:db8:1:3::/64")]),
        passed6("expired exact IPv6 block").rules([block("2001:db8:1:2::7/128").ending(LongAgo)]),
        passed6("expired /64 block").rules([block("2001:db8:1:2::/64").ending(LongAgo)]),
        blocked6("expired exact within a live /64").rules([
            block("2001:db8:1:2::7/128").ending(LongAgo),
            block("2001:db8:1:2::/64"),
        ]),
        blocked6("expired /64 within a live /32").rules([
            block("2001:db8:1:2::/64").ending(LongAgo),
            block("2001:db8::/32"),
        ]),
        passed6("IPv4 blocks do not match IPv6").rules([block("0.0.0.0/0")]),
    ]
}

fn allow_wins() -> Vec<Case> {
    let fragment = fragment4(ipv4(SOURCE4, TCP, &tcp_with(SYN, &[], &[0; 4])), 0, true);
    vec![
        allowed4("allowed address").rules([allow("198.18.0.7/32")]),
        allowed4("allowed prefix beats exact block")
            .rules([allow("198.18.0.0/15"), block("198.18.0.7/32")]),
        allowed4("allowed prefix beats a longer block")
            .rules([allow("198.18.0.0/15"), block("198.18.0.0/24")]),
        allowed6("allowed address, IPv6").rules([allow("2001:db8:1:2::7/128")]),
        allowed6("allowed prefix beats /64 and exact block").rules([
            allow("2001:db8::/32"),
            block("2001:db8:1:2::/64"),
            block("2001:db8:1:2::7/128"),
        ]),
        blocked4("expired allow does not beat block").rules([
            allow("198.18.0.7/32").ending(LongAgo),
            block("198.18.0.7/32"),
        ]),
        blocked4("allow of another prefix does not beat block")
            .rules([allow("198.19.0.0/16"), block("198.18.0.7/32")]),
        Case::new(
            "allowed fragment",
            ethernet(IPV4, &fragment),
            Outcome::Allowed,
        )
        .v4()
        .syn()
        .rules([allow("198.18.0.0/16")]),
        Case::malformed("allowed but malformed", cut(syn4(), 40)).rules([allow("198.18.0.0/16")]),
    ]
}

fn nested() -> Vec<Case> {
    vec![
        blocked4("live prefix behind an expired longer one")
            .rules([block("198.18.0.0/24").ending(LongAgo), block("198.0.0.0/8")]),
        blocked4("live prefix behind eight expired ones").rules([
            block("198.18.0.4/30").ending(LongAgo),
            block("198.18.0.0/28").ending(LongAgo),
            block("198.18.0.0/26").ending(LongAgo),
            block("198.18.0.0/24").ending(LongAgo),
            block("198.18.0.0/22").ending(LongAgo),
            block("198.18.0.0/20").ending(LongAgo),
            block("198.18.0.0/18").ending(LongAgo),
            block("198.18.0.0/16").ending(LongAgo),
            block("198.0.0.0/8"),
        ]),
        blocked6("live prefix behind expired ones, IPv6").rules([
            block("2001:db8:1:2::/96").ending(LongAgo),
            block("2001:db8:1::/48").ending(LongAgo),
            block("2001:db8::/32"),
        ]),
        blocked6("the whole Internet behind an expired prefix")
            .rules([block("2001:db8:1::/48").ending(LongAgo), block("::/0")]),
        allowed4("live allow behind an expired longer one").rules([
            allow("198.18.0.7/32").ending(LongAgo),
            allow("198.18.0.0/16"),
            block("198.18.0.7/32"),
        ]),
        passed4("a live prefix behind nine expired ones is not found").rules([
            block("198.18.0.6/31").ending(LongAgo),
            block("198.18.0.4/30").ending(LongAgo),
            block("198.18.0.0/28").ending(LongAgo),
            block("198.18.0.0/26").ending(LongAgo),
            block("198.18.0.0/24").ending(LongAgo),
            block("198.18.0.0/22").ending(LongAgo),
            block("198.18.0.0/20").ending(LongAgo),
            block("198.18.0.0/18").ending(LongAgo),
            block("198.18.0.0/16").ending(LongAgo),
            block("198.0.0.0/8"),
        ]),
        blocked4("the longest live prefix is hit")
            .rules([
                block("198.0.0.0/8"),
                block("198.18.0.0/16"),
                block("198.18.0.0/28").ending(LongAgo),
            ])
            .hits([0, 1, 0]),
        blocked4("the exact entry is hit before a prefix")
            .rules([block("198.18.0.0/16"), block("198.18.0.7/32")])
            .hits([0, 1]),
        blocked6("the exact entry is hit before its /64")
            .rules([block("2001:db8:1:2::/64"), block("2001:db8:1:2::7/128")])
            .hits([0, 1]),
        blocked6("a /64 is hit before a longer prefix")
            .rules([block("2001:db8:1:2::/96"), block("2001:db8:1:2::/64")])
            .hits([0, 1]),
        blocked4("every packet is a hit")
            .times(5)
            .rules([block("198.18.0.7/32")])
            .hits([5]),
        allowed4("what is allowed is no hit")
            .times(3)
            .rules([block("198.18.0.7/32"), allow("198.18.0.0/24")])
            .hits([0, 0]),
        passed4("expired prefixes only").rules([
            block("198.18.0.0/24").ending(LongAgo),
            block("0.0.0.0/0").ending(LongAgo),
        ]),
    ]
}

/// Every length of a prefix, and its neighbour of the same length.
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for len in (1..=32_u8).rev() {
        let beside = u32::from_be_bytes(SOURCE4) ^ 1_u32.rotate_right(u32::from(len));
        cases.push(
            blocked4(&format!("IPv4 block of length {len}"))
                .rules([block4(u32::from_be_bytes(SOURCE4), len)]),
        );
        cases.push(
            passed4(&format!("IPv4 block of length {len} beside"))
                .rules([block4(beside, len)])
                .hits([0]),
        );
    }
    for len in [
        1, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 127, 128_u8,
    ] {
        let address = u128::from_be_bytes(SOURCE6);
        let beside = address ^ 1_u128.rotate_right(u32::from(len));
        cases.push(blocked6(&format!("IPv6 block of length {len}")).rules([block6(address, len)]));
        cases.push(
            passed6(&format!("IPv6 block of length {len} beside"))
                .rules([block6(beside, len)])
                .hits([0]),
        );
    }
    cases
}

/// The one address of a /64 that ends in the marker of /64 entries.
fn marker() -> Vec<Case> {
    let marker = BLOCK64_MARKER.to_be_bytes();
    let mut address = SOURCE6;
    address[8..].copy_from_slice(&marker);
    let frame = ethernet(IPV6, &ipv6(address, TCP, &tcp(SYN)));
    let exact = block6(u128::from_be_bytes(address), 128);
    let whole = block("2001:db8:1:2::/64");
    vec![
        Case::new("the marker's address", frame.clone(), Outcome::Blocked)
            .rules([exact])
            .hits([1]),
        Case::new("the marker's address in a /64", frame, Outcome::Blocked)
            .rules([exact, whole])
            .hits([0, 1]),
        passed6("the marker's address is not its /64")
            .rules([exact])
            .hits([0]),
    ]
}

fn block4(address: u32, len: u8) -> Rule {
    let network = Ipv4Net::new(Ipv4Addr::from_bits(address), len).expect("at most 32 bits");
    Rule {
        network: network.trunc().into(),
        ..block("::/0")
    }
}

fn block6(address: u128, len: u8) -> Rule {
    let network = Ipv6Net::new(Ipv6Addr::from_bits(address), len).expect("at most 128 bits");
    Rule {
        network: network.trunc().into(),
        ..block("::/0")
    }
}

fn other_classes() -> Vec<Case> {
    let fragment = fragment4(ipv4(SOURCE4, TCP, &tcp(SYN)), 9, false);
    vec![
        Case::new(
            "blocked fragment is blocked",
            ethernet(IPV4, &fragment),
            Outcome::Blocked,
        )
        .rules([block("198.18.0.7/32")]),
        Case::malformed("blocked but malformed", cut(syn4(), 40)).rules([block("198.18.0.7/32")]),
    ]
}

fn syn4() -> Vec<u8> {
    ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)))
}

fn syn6() -> Vec<u8> {
    ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp(SYN)))
}

fn blocked4(description: &str) -> Case {
    Case::new(description, syn4(), Outcome::Blocked)
}

fn blocked6(description: &str) -> Case {
    Case::new(description, syn6(), Outcome::Blocked)
}

fn allowed4(description: &str) -> Case {
    Case::new(description, syn4(), Outcome::Allowed).v4().syn()
}

fn allowed6(description: &str) -> Case {
    Case::new(description, syn6(), Outcome::Allowed).v6().syn()
}

fn passed4(description: &str) -> Case {
    Case::passed(description, syn4()).v4().syn()
}

fn passed6(description: &str) -> Case {
    Case::passed(description, syn6()).v6().syn()
}
