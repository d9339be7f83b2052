//! Allowlist and blocklist: which entries match, which wins, and when they end.

use weir_common::Outcome;

use super::Case;
use crate::frames::{
    DOT1AD, DOT1Q, IPV4, IPV6, SOURCE4, SOURCE6, SYN, TCP, cut, ethernet, fragment4, ipv4, ipv6,
    tag, tcp,
};
use crate::rules::Ends::{InAnHour, LongAgo};
use crate::rules::{allow, block};

pub(super) fn cases() -> Vec<Case> {
    [
        ipv4_block(),
        ipv6_block(),
        allow_wins(),
        nested(),
        other_classes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ipv4_block() -> Vec<Case> {
    let tagged = ethernet(
        DOT1AD,
        &tag(DOT1Q, &tag(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)))),
    );
    vec![
        blocked4("exact IPv4 block").rules([block("198.18.0.7/32")]),
        blocked4("exact block that ends later").rules([block("198.18.0.7/32").ending(InAnHour)]),
        blocked4("IPv4 prefix block").rules([block("198.18.0.0/16")]),
        blocked4("IPv4 prefix block that ends later")
            .rules([block("198.18.0.0/24").ending(InAnHour)]),
        blocked4("block of everything").rules([block("0.0.0.0/0")]),
        Case::new("blocked behind QinQ", tagged, Outcome::Blocked)
            .v4()
            .syn()
            .rules([block("198.18.0.7/32")]),
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
    let fragment = fragment4(ipv4(SOURCE4, TCP, &tcp(SYN)), 0, true);
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
        Case::malformed("allowed but malformed", cut(syn4(), 40))
            .v4()
            .rules([allow("198.18.0.0/16")]),
    ]
}

fn nested() -> Vec<Case> {
    vec![
        blocked4("live prefix behind an expired longer one")
            .rules([block("198.18.0.0/24").ending(LongAgo), block("198.0.0.0/8")]),
        blocked4("live prefix behind four expired ones").rules([
            block("198.18.0.4/30").ending(LongAgo),
            block("198.18.0.0/28").ending(LongAgo),
            block("198.18.0.0/24").ending(LongAgo),
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
        passed4("expired prefixes only").rules([
            block("198.18.0.0/24").ending(LongAgo),
            block("0.0.0.0/0").ending(LongAgo),
        ]),
    ]
}

fn other_classes() -> Vec<Case> {
    let fragment = fragment4(ipv4(SOURCE4, TCP, &tcp(SYN)), 9, false);
    vec![
        Case::new(
            "blocked fragment is blocked",
            ethernet(IPV4, &fragment),
            Outcome::Blocked,
        )
        .v4()
        .rules([block("198.18.0.7/32")]),
        Case::malformed("blocked but malformed", cut(syn4(), 40))
            .v4()
            .rules([block("198.18.0.7/32")]),
        Case::new(
            "no list concerns ARP",
            ethernet(0x0806, &[0; 28]),
            Outcome::NonIp,
        )
        .rules([block("0.0.0.0/0"), block("::/0")]),
    ]
}

fn syn4() -> Vec<u8> {
    ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)))
}

fn syn6() -> Vec<u8> {
    ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp(SYN)))
}

fn blocked4(description: &'static str) -> Case {
    Case::new(description, syn4(), Outcome::Blocked).v4().syn()
}

fn blocked6(description: &'static str) -> Case {
    Case::new(description, syn6(), Outcome::Blocked).v6().syn()
}

fn allowed4(description: &'static str) -> Case {
    Case::new(description, syn4(), Outcome::Allowed).v4().syn()
}

fn allowed6(description: &'static str) -> Case {
    Case::new(description, syn6(), Outcome::Allowed).v6().syn()
}

fn passed4(description: &'static str) -> Case {
    Case::passed(description, syn4()).v4().syn()
}

fn passed6(description: &'static str) -> Case {
    Case::passed(description, syn6()).v6().syn()
}
