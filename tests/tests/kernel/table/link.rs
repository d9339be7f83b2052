//! Ethernet, 802.1Q, 802.1ad, and what is no IP.

use weir_common::Outcome;

use super::Case;
use crate::frames::{ACK, UDP};
use crate::frames::{
    ARP, DOT1AD, DOT1Q, ETHERNET_LEN, IPV4, IPV6, SOURCE4, SOURCE6, SYN, TAG_LEN, TCP, cut,
    ethernet, ipv4, ipv6, padded, tag, tcp, udp,
};

pub(super) fn cases() -> Vec<Case> {
    [not_ip(), tagged(), cut_short()]
        .into_iter()
        .flatten()
        .collect()
}

fn not_ip() -> Vec<Case> {
    let non_ip = |description, ethertype, payload: &[u8]| {
        Case::new(description, ethernet(ethertype, payload), Outcome::NonIp)
    };
    vec![
        non_ip("ARP", ARP, &[0; 28]),
        non_ip("LLDP", 0x88cc, &[2, 7, 4]),
        non_ip("PPPoE session", 0x8864, &[0x11, 0, 0, 1, 0, 2, 0, 0x21]),
        non_ip("MPLS", 0x8847, &[0; 8]),
        non_ip("802.3 length (spanning tree)", 0x0026, &[0x42, 0x42, 3]),
        non_ip(
            "802.3 SNAP that names IPv4",
            0x0008,
            &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
        ),
        non_ip("pre-standard tag 0x9100", 0x9100, &tag(IPV4, &syn4())),
        non_ip("an Ethernet header and nothing else", ARP, &[]),
        non_ip("ARP behind a tag", DOT1Q, &tag(ARP, &[0; 28])),
        non_ip(
            "ARP behind two tags",
            DOT1AD,
            &tag(DOT1Q, &tag(ARP, &[0; 28])),
        ),
    ]
}

fn tagged() -> Vec<Case> {
    let (syn4, syn6) = (syn4(), syn6());
    let two4 = tag(DOT1Q, &tag(IPV4, &syn4));
    let two6 = tag(DOT1Q, &tag(IPV6, &syn6));
    let ack = ipv4(SOURCE4, TCP, &tcp(ACK));
    vec![
        Case::passed("IPv4 untagged", ethernet(IPV4, &syn4))
            .v4()
            .syn(),
        Case::passed("IPv4 behind 802.1Q", ethernet(DOT1Q, &tag(IPV4, &syn4)))
            .v4()
            .syn(),
        Case::passed("IPv4 behind 802.1ad", ethernet(DOT1AD, &tag(IPV4, &syn4)))
            .v4()
            .syn(),
        Case::passed("IPv4 behind QinQ", ethernet(DOT1AD, &two4))
            .v4()
            .syn(),
        Case::passed("IPv4 behind 802.1Q in 802.1Q", ethernet(DOT1Q, &two4))
            .v4()
            .syn(),
        Case::passed(
            "ACK behind 802.1Q is no SYN",
            ethernet(DOT1Q, &tag(IPV4, &ack)),
        )
        .v4(),
        Case::passed("IPv6 untagged", ethernet(IPV6, &syn6))
            .v6()
            .syn(),
        Case::passed("IPv6 behind 802.1Q", ethernet(DOT1Q, &tag(IPV6, &syn6)))
            .v6()
            .syn(),
        Case::passed("IPv6 behind QinQ", ethernet(DOT1AD, &two6))
            .v6()
            .syn(),
        Case::malformed("three tags, IPv4", ethernet(DOT1AD, &tag(DOT1Q, &two4))),
        Case::malformed("three tags, IPv6", ethernet(DOT1Q, &tag(DOT1Q, &two6))),
        Case::malformed(
            "three tags, ARP",
            ethernet(DOT1Q, &tag(DOT1Q, &tag(DOT1Q, &tag(ARP, &[])))),
        ),
        Case::passed("padded to 60 bytes", padded(ethernet(IPV4, &syn4), 60))
            .v4()
            .syn(),
        Case::passed(
            "padded behind a tag",
            padded(ethernet(DOT1Q, &tag(IPV6, &syn6)), 99),
        )
        .v6()
        .syn(),
        Case::passed(
            "several buffers",
            ethernet(IPV4, &ipv4(SOURCE4, UDP, &udp(&[7; 8000]))),
        )
        .v4(),
    ]
}

fn cut_short() -> Vec<Case> {
    let plain = ethernet(IPV4, &syn4());
    let one = ethernet(DOT1Q, &tag(IPV4, &syn4()));
    let two = ethernet(DOT1AD, &tag(DOT1Q, &tag(IPV6, &syn6())));
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

fn syn4() -> Vec<u8> {
    ipv4(SOURCE4, TCP, &tcp(SYN))
}

fn syn6() -> Vec<u8> {
    ipv6(SOURCE6, TCP, &tcp(SYN))
}
