//! Frames in several buffers: jumbo frames, and headers that do not lie in the first.

use weir_common::{Outcome, ShieldSettings};

use super::Case;
use super::classes::ports;
use crate::frames::{
    ACK, AUTHENTICATION, DESTINATION, ETHERNET_LEN, IPIP, IPV4, IPV6, ROUTING, SOURCE4, SOURCE6,
    SYN, TCP, UDP, authentication, ethernet, extension, ipv4, ipv6, padded, patch, tcp, tcp_with,
    udp,
};
use crate::rules::block;

pub(super) fn cases() -> Vec<Case> {
    [jumbo(), split_headers(), big_tcp(), cookies()]
        .into_iter()
        .flatten()
        .collect()
}

fn jumbo() -> Vec<Case> {
    let data = [7; 8000];
    let quic = [&[0xc0, 0, 0, 0, 1], data.as_slice()].concat();
    let long = ipv6(SOURCE6, UDP, &udp(&data));
    vec![
        Case::passed(
            "jumbo frame",
            ethernet(IPV4, &ipv4(SOURCE4, UDP, &udp(&data))),
        )
        .v4(),
        Case::passed("jumbo frame, IPv6", ethernet(IPV6, &long)).v6(),
        Case::malformed(
            "jumbo frame, cut",
            ethernet(IPV6, &patch(long, 4, &8009_u16.to_be_bytes())),
        ),
        Case::new(
            "jumbo frame of a blocked source",
            ethernet(IPV4, &ipv4(SOURCE4, UDP, &udp(&data))),
            Outcome::Blocked,
        )
        .rules([block("198.18.0.7/32")])
        .hits([1]),
        Case::passed(
            "jumbo QUIC Initial",
            ethernet(IPV4, &ipv4(SOURCE4, UDP, &udp(&quic))),
        )
        .v4()
        .syn()
        .with(|s| s.quic_ports = ports(&[443])),
    ]
}

/// The first buffer ends in front of, within, and behind each header.
fn split_headers() -> Vec<Case> {
    let chain = extension(
        ROUTING,
        1,
        &extension(
            AUTHENTICATION,
            0,
            &authentication(TCP, &tcp_with(SYN, &[1; 8], &[0; 9])),
        ),
    );
    let null = extension(TCP, 0, &tcp_with(0, &[], &[0; 9]));
    let tunnel = ipv4([198, 18, 77, 1], IPIP, &ipv4(SOURCE4, TCP, &tcp(0)));
    let inner = |s: &mut ShieldSettings| s.sanity.inner = 1;
    let mut cases = Vec::new();
    for first in [14, 15, 20, 33, 34, 35, 46, 53, 54, 55, 60, 64] {
        let named = |what: &str| format!("{what} behind {first} bytes");
        cases.extend([
            Case::passed(
                named("TCP"),
                ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp_with(SYN, &[], &[0; 40]))),
            )
            .v4()
            .syn()
            .split(first),
            Case::passed(
                named("extension headers"),
                ethernet(IPV6, &ipv6(SOURCE6, DESTINATION, &chain)),
            )
            .v6()
            .syn()
            .split(first),
            Case::new(
                named("bad flags"),
                ethernet(IPV6, &ipv6(SOURCE6, DESTINATION, &null)),
                Outcome::BadFlags,
            )
            .v6()
            .split(first),
            Case::new(
                named("a blocked address"),
                ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp(ACK))),
                Outcome::Blocked,
            )
            .rules([block("2001:db8:1:2::7/128")])
            .hits([1])
            .split(first),
            Case::new(
                named("bad flags in a tunnel"),
                ethernet(IPV4, &tunnel),
                Outcome::BadFlags,
            )
            .counted_for([198, 18, 77, 1])
            .with(inner)
            .split(first),
        ]);
    }
    cases
}

/// Linux 6.18 with `gro_max_size` above 65,536 hands generic XDP packets that are longer than their length fields can say.
fn big_tcp() -> Vec<Case> {
    let v4 = patch(ipv4(SOURCE4, TCP, &tcp(ACK)), 2, &[0, 0]);
    let v6 = patch(ipv6(SOURCE6, TCP, &tcp(ACK)), 4, &[0, 0]);
    let long = ETHERNET_LEN + 0x1_0000;
    vec![
        Case::passed("big TCP", padded(ethernet(IPV4, &v4), long)).v4(),
        Case::passed("big TCP, IPv6", padded(ethernet(IPV6, &v6), long + 40)).v6(),
        Case::malformed(
            "a byte below big TCP",
            padded(ethernet(IPV4, &v4), long - 1),
        ),
        Case::malformed(
            "a byte below big TCP, IPv6",
            padded(ethernet(IPV6, &v6), long + 39),
        )
        .v6(),
    ]
}

/// A SYN in several buffers is not turned into an answer, wherever its headers lie: few are left to the kernel.
fn cookies() -> Vec<Case> {
    let syn = tcp_with(SYN, &[2, 4, 5, 0xb4], &[0; 200]);
    let frame = ethernet(IPV4, &ipv4([198, 18, 3, 3], TCP, &syn));
    let case = |name: &str, first| {
        Case::passed(name, frame.clone())
            .counted_for([198, 18, 3, 3])
            .unanswerable()
            .split(first)
    };
    vec![
        case("SYNs whose data lies elsewhere", 100),
        case("SYNs that lie elsewhere", 40),
        case("SYNs that lie elsewhere, not enforced", 40).spared(),
    ]
}
