//! Ethernet, 802.1Q, 802.1ad, and what is no IP.

use weir_common::{Outcome, Policy};

use super::Case;
use crate::frames::{
    ACK, ARP, DOT1AD, DOT1Q, ETHERNET_LEN, IPV4, IPV6, PPPOE_DISCOVERY, PPPOE_SESSION, SOURCE4,
    SOURCE6, SYN, TAG_LEN, TCP, cut, ethernet, ipv4, ipv6, padded, tag, tagged, tcp,
};
use crate::rules::{allow, block};

pub(super) fn cases() -> Vec<Case> {
    [not_ip(), tags(), cut_short(), unread()]
        .into_iter()
        .flatten()
        .collect()
}

fn not_ip() -> Vec<Case> {
    let frames: [(&str, u16, &[u8]); 8] = [
        ("LLDP", 0x88cc, &[2, 7, 4]),
        ("PPPoE session", PPPOE_SESSION, &PPP),
        ("PPPoE discovery", PPPOE_DISCOVERY, &[0x11, 9, 0, 0, 0, 0]),
        ("MPLS", 0x8847, &[0; 8]),
        ("802.3 length (spanning tree)", 0x0026, &[0x42, 0x42, 3]),
        (
            "802.3 SNAP that names IPv4",
            0x0008,
            &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
        ),
        ("pre-standard tag 0x9100", 0x9100, &[0, 5, 8, 0, 0x45]),
        ("an ethertype and nothing else", 0x1234, &[]),
    ];
    let mut cases = Vec::new();
    for (name, ethertype, payload) in frames {
        let plain = ethernet(ethertype, payload);
        let one = tagged(DOT1Q, &plain);
        let two = tagged(DOT1AD, &one);
        for (where_, frame) in [("", plain), (", 802.1Q", one), (", QinQ", two)] {
            let case = |what: &str, outcome| {
                Case::new(format!("{what} {name}{where_}"), frame.clone(), outcome)
            };
            cases.push(case("dropped", Outcome::Ethertype));
            cases.push(case("spared", Outcome::Ethertype).spared());
            let counted = case("counted", Outcome::Ethertype).counted_only();
            cases.push(counted.with(|s| {
                s.sanity.non_ip = Policy::Count as u8;
                s.sanity.pppoe = Policy::Count as u8;
            }));
            cases.push(case("passed", Outcome::NonIp).with(|s| {
                s.sanity.non_ip = Policy::Pass as u8;
                s.sanity.pppoe = Policy::Pass as u8;
            }));
        }
    }
    let arp = ethernet(ARP, &[0; 28]);
    cases.extend([
        Case::new("ARP", arp.clone(), Outcome::NonIp),
        Case::new("ARP, 802.1Q", tagged(DOT1Q, &arp), Outcome::NonIp),
        Case::new(
            "ARP, QinQ",
            tagged(DOT1AD, &tagged(DOT1Q, &arp)),
            Outcome::NonIp,
        ),
        Case::new("cut ARP", cut(arp.clone(), ETHERNET_LEN), Outcome::NonIp),
        Case::new("no list concerns ARP", arp, Outcome::NonIp)
            .rules([block("0.0.0.0/0"), block("::/0")]),
        Case::new(
            "PPPoE has a policy of its own",
            ethernet(PPPOE_SESSION, &PPP),
            Outcome::NonIp,
        )
        .with(|s| s.sanity.pppoe = Policy::Pass as u8),
        Case::new(
            "and other ethertypes have theirs",
            ethernet(0x88cc, &[2, 7, 4]),
            Outcome::NonIp,
        )
        .with(|s| s.sanity.non_ip = Policy::Pass as u8),
    ]);
    cases
}

fn tags() -> Vec<Case> {
    let (syn4, syn6) = (syn4(), syn6());
    let ack = ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(ACK)));
    let two4 = tagged(DOT1Q, &tagged(DOT1Q, &syn4));
    let two6 = tagged(DOT1AD, &tagged(DOT1AD, &syn6));
    vec![
        Case::passed("802.1ad alone", tagged(DOT1AD, &syn4))
            .v4()
            .syn(),
        Case::passed("802.1ad alone, IPv6", tagged(DOT1AD, &syn6))
            .v6()
            .syn(),
        Case::passed("802.1Q in 802.1Q", two4.clone()).v4().syn(),
        Case::passed("802.1ad in 802.1ad, IPv6", two6.clone())
            .v6()
            .syn(),
        Case::passed("802.1ad in 802.1Q", tagged(DOT1Q, &tagged(DOT1AD, &ack))).v4(),
        Case::malformed("three tags", tagged(DOT1AD, &two4)),
        Case::malformed("three tags, IPv6", tagged(DOT1Q, &two6)),
        Case::malformed(
            "three tags, ARP",
            ethernet(DOT1Q, &tag(DOT1Q, &tag(DOT1Q, &tag(ARP, &[])))),
        ),
        Case::passed("padded to 60 bytes", padded(syn4, 60))
            .v4()
            .syn(),
        Case::passed("padded behind a tag", padded(tagged(DOT1Q, &syn6), 99))
            .v6()
            .syn(),
    ]
}

fn cut_short() -> Vec<Case> {
    let plain = syn4();
    let one = tagged(DOT1Q, &plain);
    let two = tagged(DOT1AD, &tagged(DOT1Q, &syn6()));
    let (tag1, tag2) = (ETHERNET_LEN + TAG_LEN, ETHERNET_LEN + 2 * TAG_LEN);
    vec![
        Case::malformed("cut behind the Ethernet header", cut(plain, ETHERNET_LEN)),
        Case::malformed("cut in front of a tag", cut(one.clone(), ETHERNET_LEN)),
        Case::malformed("cut within a tag", cut(one.clone(), tag1 - 1)),
        Case::malformed("cut behind a tag", cut(one, tag1)),
        Case::malformed("cut within the second tag", cut(two.clone(), tag2 - 2)),
        Case::malformed("cut behind the second tag", cut(two, tag2)),
    ]
}

/// Frames whose source cannot be read.
fn unread() -> Vec<Case> {
    let deep = || tagged(DOT1Q, &tagged(DOT1Q, &tagged(DOT1Q, &syn4())));
    let lenient = |policy: Policy| {
        move |s: &mut weir_common::ShieldSettings| s.sanity.malformed = policy as u8
    };
    vec![
        Case::malformed("unread, counted", deep())
            .counted_only()
            .with(lenient(Policy::Count)),
        Case::passed("unread, passed", deep()).with(lenient(Policy::Pass)),
        Case::malformed("unread, spared", deep()).spared(),
        Case::malformed("unread while anybody is blocked", deep())
            .with(lenient(Policy::Pass))
            .rules([block("203.0.113.0/24")]),
        Case::malformed("unread while an IPv6 /64 is blocked", cut(syn6(), 30))
            .with(lenient(Policy::Count))
            .rules([block("2001:db8:ffff::/64")]),
        Case::passed("unread while somebody is allowed", deep())
            .with(lenient(Policy::Pass))
            .rules([allow("203.0.113.0/24")]),
    ]
}

fn syn4() -> Vec<u8> {
    ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)))
}

fn syn6() -> Vec<u8> {
    ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp(SYN)))
}

const PPP: [u8; 8] = [0x11, 0, 0, 1, 0, 2, 0, 0x21];
