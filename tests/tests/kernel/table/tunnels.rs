//! Tunnels: what is inside is held to lists and sanity checks as well, if the settings say so; counted for the relay.

use weir_common::{DropClass, Outcome, Policy, ShieldSettings};

use super::Case;
use crate::frames::{
    DESTINATION, GRE, IPIP, IPV4, IPV6, OWN4, SIX_IN_FOUR, SOURCE4, SOURCE6, SYN, TCP, cut,
    ethernet, extension, fragment4, ipv4, ipv6, tcp, tcp_with,
};
use crate::rules::{allow, block};

/// The endpoints of the tunnels.
const RELAY4: [u8; 4] = [198, 18, 77, 1];
const RELAY6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

pub(super) fn cases() -> Vec<Case> {
    [looked_into(), lists(), outer(), fragments(), no_tunnels()]
        .into_iter()
        .flatten()
        .collect()
}

fn inner(settings: &mut ShieldSettings) {
    settings.sanity.inner = 1;
}

/// Bad flags in every kind of tunnel.
fn looked_into() -> Vec<Case> {
    let (null4, null6) = (ipv4(SOURCE4, TCP, &tcp(0)), ipv6(SOURCE6, TCP, &tcp(0)));
    let mut cases = Vec::new();
    for (name, frame) in [
        ("IPIP", in4(IPIP, &null4)),
        ("6in4", in4(SIX_IN_FOUR, &null6)),
        ("IPv4 in IPv6", in6(IPIP, &null4)),
        ("IPv6 in IPv6", in6(SIX_IN_FOUR, &null6)),
        ("GRE", in4(GRE, &gre(0, IPV4, &null4))),
        ("GRE with key", in4(GRE, &gre(0x20, IPV6, &null6))),
        ("GRE with sequence", in4(GRE, &gre(0x10, IPV4, &null4))),
        ("GRE with checksum", in6(GRE, &gre(0x80, IPV4, &null4))),
        ("GRE with all three", in4(GRE, &gre(0xb0, IPV6, &null6))),
        (
            "IPIP behind destination options",
            in6(DESTINATION, &extension(IPIP, 0, &null4)),
        ),
    ] {
        let outer_is_4 = frame[12..14] == [8, 0];
        for (what, outcome, inner) in [
            ("looked into", Outcome::BadFlags, 1),
            ("not looked into", Outcome::Passed, 0),
        ] {
            let case = Case::new(format!("{name}, {what}"), frame.clone(), outcome)
                .with(move |s| s.sanity.inner = inner);
            cases.push(if outer_is_4 {
                case.counted_for(RELAY4)
            } else {
                case.counted_for(RELAY6)
            });
        }
    }
    cases
}

fn lists() -> Vec<Case> {
    let syn4 = ipv4(SOURCE4, TCP, &tcp(SYN));
    let syn6 = ipv6(SOURCE6, TCP, &tcp(SYN));
    let null4 = ipv4(SOURCE4, TCP, &tcp(0));
    // Drops because of what is inside are attributed to the relay.
    let blocked = |name: &str, frame: Vec<u8>| {
        let outer_is_4 = frame[12..14] == [8, 0];
        let mut case = Case::new(name, frame, Outcome::Blocked)
            .with(inner)
            .hits([1]);
        case.steps[0].counts = true;
        case.steps[0].drop = Some(DropClass::Sanity);
        if outer_is_4 {
            case.counted_for(RELAY4)
        } else {
            case.counted_for(RELAY6)
        }
    };
    vec![
        blocked("blocked source in IPIP", in4(IPIP, &syn4)).rules([block("198.18.0.7/32")]),
        blocked("blocked source in 6in4", in4(SIX_IN_FOUR, &syn6))
            .rules([block("2001:db8:1:2::/64")]),
        blocked("blocked source in GRE", in6(GRE, &gre(0x20, IPV4, &syn4)))
            .rules([block("198.18.0.0/24")]),
        blocked("blocked source in IPIP, not enforced", in4(IPIP, &syn4))
            .rules([block("198.18.0.7/32")])
            .spared(),
        Case::new("blocked relay", in4(IPIP, &syn4), Outcome::Blocked)
            .with(inner)
            .rules([block("198.18.77.1/32")])
            .hits([1]),
        Case::passed(
            "an allowed source inside is not judged further",
            in4(IPIP, &null4),
        )
        .with(inner)
        .rules([allow("198.18.0.7/32")])
        .counted_for(RELAY4),
        Case::new(
            "an allowed relay is not looked into",
            in4(SIX_IN_FOUR, &syn6),
            Outcome::Allowed,
        )
        .with(inner)
        .rules([allow("198.18.77.1/32"), block("2001:db8:1:2::7/128")])
        .hits([0, 0])
        .counted_for(RELAY4),
        Case::passed("blocked source, not looked into", in4(IPIP, &syn4))
            .rules([block("198.18.0.7/32")])
            .hits([0])
            .counted_for(RELAY4),
    ]
}

/// What is inside is insane, or a tunnel again.
fn outer() -> Vec<Case> {
    let syn4 = ipv4(SOURCE4, TCP, &tcp(SYN));
    let null = ipv4(SOURCE4, TCP, &tcp(0));
    let twice = ipv4([198, 18, 77, 2], IPIP, &null);
    let looked = |case: Case| case.with(inner).counted_for(RELAY4);
    vec![
        looked(Case::malformed(
            "cut TCP in IPIP",
            in4(IPIP, &ipv4(SOURCE4, TCP, &tcp(SYN)[..19])),
        )),
        looked(Case::malformed(
            "cut IP in IPIP",
            in4(IPIP, &cut(syn4.clone(), 19)),
        )),
        looked(Case::malformed(
            "cut packet in IPIP",
            in4(IPIP, &cut(syn4.clone(), 30)),
        )),
        looked(Case::malformed(
            "IPv6 in IPIP",
            in4(IPIP, &ipv6(SOURCE6, TCP, &tcp(SYN))),
        )),
        looked(Case::malformed(
            "nothing in GRE",
            in4(GRE, &gre(0, IPV4, &[])),
        )),
        looked(Case::passed(
            "cut IP in IPIP, passed",
            in4(IPIP, &cut(syn4.clone(), 19)),
        ))
        .with(|s| s.sanity.malformed = Policy::Pass as u8),
        looked(Case::malformed(
            "cut IP in IPIP while anybody is blocked",
            in4(IPIP, &cut(syn4.clone(), 19)),
        ))
        .with(|s| s.sanity.malformed = Policy::Pass as u8)
        .rules([block("203.0.113.0/24")]),
        looked(Case::malformed(
            "cut IP in IPIP, counted",
            in4(IPIP, &cut(syn4, 19)),
        ))
        .counted_only()
        .with(|s| s.sanity.malformed = Policy::Count as u8),
        looked(Case::new(
            "bad flags in IPIP, counted",
            in4(IPIP, &null),
            Outcome::BadFlags,
        ))
        .counted_only()
        .with(|s| s.sanity.bad_flags = Policy::Count as u8),
        looked(Case::passed(
            "a tunnel in a tunnel is looked into once",
            in4(IPIP, &twice),
        )),
        looked(Case::passed(
            "sources that no wire has are not looked for inside",
            in4(IPIP, &ipv4(OWN4, TCP, &tcp(SYN))),
        )),
    ]
}

/// The first part of a fragmented tunnel shows whose packet is inside, and not all of it.
fn fragments() -> Vec<Case> {
    let syn4 = ipv4(SOURCE4, TCP, &tcp_with(SYN, &[], &[0; 1400]));
    let syn6 = ipv6(SOURCE6, TCP, &tcp_with(SYN, &[], &[0; 1400]));
    let first = |protocol: u8, inside: &[u8], len: usize| {
        let part = ipv4(RELAY4, protocol, &cut(inside.to_vec(), len));
        ethernet(IPV4, &fragment4(part, 0, true))
    };
    let looked = |case: Case| {
        case.with(inner)
            .with(|s| s.sanity.fragments = Policy::Pass as u8)
            .counted_for(RELAY4)
    };
    let blocked = |name: &str, frame: Vec<u8>| {
        let mut case = looked(Case::new(name, frame, Outcome::Blocked)).hits([1]);
        case.steps[0].counts = true;
        case.steps[0].drop = Some(DropClass::Sanity);
        case
    };
    let mut cases = vec![
        Case::fragment(
            "first part of a fragmented tunnel",
            first(IPIP, &syn4, 1400),
        )
        .with(inner)
        .counted_for(RELAY4),
        blocked(
            "blocked source in the first part of IPIP",
            first(IPIP, &syn4, 24),
        )
        .rules([block("198.18.0.7/32")]),
        blocked(
            "blocked source in the first part of 6in4",
            first(SIX_IN_FOUR, &syn6, 40),
        )
        .rules([block("2001:db8:1:2::/64")]),
        looked(Case::passed(
            "allowed source in the first part of IPIP",
            first(IPIP, &syn4, 1400),
        ))
        .rules([allow("198.18.0.7/32"), block("198.18.0.0/24")])
        .hits([0, 0]),
        looked(Case::malformed(
            "cut IP in the first part of IPIP",
            first(IPIP, &syn4, 16),
        )),
        looked(Case::malformed(
            "IPv6 in the first part of IPIP",
            first(IPIP, &syn6, 1400),
        )),
        looked(Case::new(
            "bad flags in the first part of IPIP, which ends behind them",
            first(IPIP, &ipv4(SOURCE4, TCP, &tcp_with(0, &[], &[0; 8])), 48),
            Outcome::BadFlags,
        )),
        looked(Case::malformed(
            "cut IPIP in a whole packet",
            in4(IPIP, &cut(syn4.clone(), 1400)),
        )),
    ];
    for len in [24, 32, 1400] {
        cases.push(looked(Case::passed(
            format!("{len} bytes in the first part of IPIP"),
            first(IPIP, &syn4, len),
        )));
        let gre6 = gre(0x80, IPV6, &syn6);
        cases.push(looked(Case::passed(
            format!("{} bytes in the first part of GRE", len + 32),
            first(GRE, &gre6, len + 32),
        )));
    }
    cases
}

fn no_tunnels() -> Vec<Case> {
    let null = ipv4(SOURCE4, TCP, &tcp(0));
    let mut pptp = gre(0, 0x880b, &null);
    pptp[1] = 1;
    let passed = |name: &str, frame| Case::passed(name, frame).with(inner).counted_for(RELAY4);
    vec![
        passed("PPTP", in4(GRE, &pptp)),
        passed("Ethernet in GRE", in4(GRE, &gre(0, 0x6558, &null))),
        passed("GRE of 3 bytes", in4(GRE, &[0, 0, 8])),
        Case::fragment(
            "later part of a fragmented tunnel",
            ethernet(IPV4, &fragment4(ipv4(RELAY4, IPIP, &null), 9, false)),
        )
        .with(inner)
        .counted_for(RELAY4),
    ]
}

fn gre(flags: u8, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let words = usize::try_from(flags.count_ones()).expect("at most three");
    let optional = vec![0xee; 4 * words];
    [
        [flags, 0].as_slice(),
        &ethertype.to_be_bytes(),
        &optional,
        payload,
    ]
    .concat()
}

fn in4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV4, &ipv4(RELAY4, protocol, payload))
}

fn in6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV6, &ipv6(RELAY6, next_header, payload))
}
