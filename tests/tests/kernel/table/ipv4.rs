//! IPv4: options, lengths, and what lies above.

use weir_common::{Outcome, Policy};

use super::Case;
use crate::frames::{
    ACK, ETHERNET_LEN, GRE, ICMP, ICMPV6, IGMP, IPV4, SOURCE4, SYN, TCP, UDP, cut, echo, ethernet,
    ipv4, ipv4_with_options, padded, patch, tcp, tcp_with, udp,
};
use crate::rules::{allow, block};

/// Where things lie in an untagged frame without options.
const VERSION: usize = ETHERNET_LEN;
const TOTAL_LEN: usize = ETHERNET_LEN + 2;
const PAYLOAD: usize = ETHERNET_LEN + 20;

pub(super) fn cases() -> Vec<Case> {
    [transports(), headers(), listed(), transport_headers()]
        .into_iter()
        .flatten()
        .collect()
}

fn transports() -> Vec<Case> {
    let syn_with = |options: &[u8]| packet(TCP, &tcp_with(SYN, options, &[]));
    vec![
        Case::passed("TCP with options", syn_with(&[1; 40]))
            .v4()
            .syn(),
        Case::passed(
            "TCP with data",
            packet(TCP, &tcp_with(ACK, &[1; 12], &[9; 900])),
        )
        .v4(),
        Case::passed("UDP", packet(UDP, &udp(b"data"))).v4(),
        Case::passed("UDP without data", packet(UDP, &udp(b""))).v4(),
        Case::passed(
            "UDP shorter than its packet",
            packet(UDP, &padded(udp(b"data"), 40)),
        )
        .v4(),
        Case::passed("ICMP echo", packet(ICMP, &echo(8))).v4(),
        Case::passed("IGMP", packet(IGMP, &[0x16, 0, 0, 0, 224, 0, 0, 9])).v4(),
        Case::passed("GRE", packet(GRE, &[0; 4])).v4(),
        Case::passed("unknown protocol without payload", packet(253, &[])).v4(),
        Case::passed("the other version's ICMP is unknown", packet(ICMPV6, &[1])).v4(),
    ]
}

/// What contradicts itself in or before the IP header is nobody's: its source is not believed.
fn headers() -> Vec<Case> {
    let syn = || packet(TCP, &tcp(SYN));
    let options = |len: usize| {
        ethernet(
            IPV4,
            &ipv4_with_options(SOURCE4, TCP, &vec![1; len], &tcp(SYN)),
        )
    };
    vec![
        Case::passed("4 bytes of options", options(4)).v4().syn(),
        Case::passed("40 bytes of options", options(40)).v4().syn(),
        Case::malformed("cut within the options", cut(options(40), PAYLOAD + 39)),
        Case::malformed("cut within the fixed header", cut(syn(), PAYLOAD - 1)),
        Case::malformed("cut behind the fixed header", cut(syn(), PAYLOAD)),
        Case::malformed("version 6", patch(syn(), VERSION, &[0x65])),
        Case::malformed("version 0", patch(syn(), VERSION, &[0x05])),
        Case::malformed("header length 0", patch(syn(), VERSION, &[0x40])),
        Case::malformed("header length 16", patch(syn(), VERSION, &[0x44])),
        Case::malformed(
            "header length beyond the packet",
            patch(syn(), VERSION, &[0x4f]),
        ),
        Case::malformed("total length 0", patch(syn(), TOTAL_LEN, &[0, 0])),
        Case::malformed("total length 19", patch(syn(), TOTAL_LEN, &[0, 19])),
        Case::malformed(
            "total length one beyond the frame",
            patch(syn(), TOTAL_LEN, &[0, 41]),
        ),
        Case::malformed("total length 65535", patch(syn(), TOTAL_LEN, &[255, 255])),
        Case::malformed("total length 0, spared", patch(syn(), TOTAL_LEN, &[0, 0])).spared(),
        Case::malformed(
            "headers in the padding only",
            patch(syn(), TOTAL_LEN, &[0, 20]),
        )
        .v4(),
    ]
}

/// Headers that contradict themselves, from sources that lists know.
fn listed() -> Vec<Case> {
    let broken = || patch(packet(TCP, &tcp(SYN)), TOTAL_LEN, &[0, 19]);
    let lenient = |policy: Policy, outcome| {
        Case::new(format!("broken header, {policy:?}"), broken(), outcome)
            .with(move |s| s.sanity.malformed = policy as u8)
    };
    let renamed = |case: Case, name: &str| Case {
        description: format!("{} {name}", case.description),
        ..case
    };
    vec![
        lenient(Policy::Count, Outcome::Malformed).counted_only(),
        lenient(Policy::Pass, Outcome::Passed),
        renamed(
            lenient(Policy::Drop, Outcome::Malformed)
                .rules([block("198.18.0.7/32")])
                .hits([0]),
            "of a blocked source",
        ),
        renamed(
            lenient(Policy::Count, Outcome::Blocked)
                .rules([block("198.18.0.7/32")])
                .hits([1]),
            "of a blocked source",
        ),
        renamed(
            lenient(Policy::Pass, Outcome::Blocked)
                .rules([block("198.18.0.0/16")])
                .hits([1]),
            "of a blocked source",
        ),
        renamed(
            lenient(Policy::Drop, Outcome::Malformed).rules([allow("198.18.0.7/32")]),
            "of an allowed source",
        ),
        renamed(
            lenient(Policy::Count, Outcome::Malformed)
                .counted_only()
                .rules([allow("198.18.0.7/32")]),
            "of an allowed source",
        ),
        renamed(
            lenient(Policy::Pass, Outcome::Allowed).rules([allow("198.18.0.7/32")]),
            "of an allowed source",
        ),
    ]
}

fn transport_headers() -> Vec<Case> {
    let whole = |protocol, header: &[u8]| packet(protocol, header);
    let data_offset = |byte| patch(packet(TCP, &tcp(SYN)), PAYLOAD + 12, &[byte]);
    let udp_len = |len| patch(packet(UDP, &udp(b"data")), PAYLOAD + 4, &[0, len]);
    vec![
        Case::malformed("TCP without a byte", whole(TCP, &[])).v4(),
        Case::malformed("TCP with 19 bytes", whole(TCP, &tcp(SYN)[..19])).v4(),
        Case::malformed("TCP data offset 4", data_offset(0x40)).v4(),
        Case::malformed("TCP data offset 0", data_offset(0x00)).v4(),
        Case::malformed("TCP data offset beyond the packet", data_offset(0x60)).v4(),
        Case::malformed("UDP with 7 bytes", whole(UDP, &udp(b"")[..7])).v4(),
        Case::malformed("UDP length 0", udp_len(0)).v4(),
        Case::malformed("UDP length 7", udp_len(7)).v4(),
        Case::malformed("UDP length beyond the packet", udp_len(13)).v4(),
        Case::malformed("ICMP with 7 bytes", whole(ICMP, &echo(8)[..7])).v4(),
    ]
}

fn packet(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV4, &ipv4(SOURCE4, protocol, payload))
}
