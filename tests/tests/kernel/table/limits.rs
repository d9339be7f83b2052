//! Limits of sources and prefixes: several frames in a row. Rates are so low that nothing comes back during a test.

use weir_common::settings::{Limit, Limits};
use weir_common::{Outcome, ShieldSettings};

use super::Case;
use super::classes::ports;
use crate::frames::{
    ACK, ICMP, ICMPV6, IPV4, IPV6, SOURCE4, SOURCE6, SYN, TCP, UDP, ethernet, fragment4, icmp,
    ipv4, ipv6, tcp, tcp_with, udp,
};
use crate::rules::allow;

pub(super) fn cases() -> Vec<Case> {
    [sources(), both_limits(), prefixes(), exempt()]
        .into_iter()
        .flatten()
        .collect()
}

/// `burst` at once, and then one in an hour (which a burst of at most 30 s makes one in 30 s).
fn few(burst: u64) -> Limit {
    Limit {
        burst: Limit::BURST_MAX,
        ..Limit::per_second(1, 1)
    }
    .at_most(burst)
}

trait AtMost {
    fn at_most(self, burst: u64) -> Self;
}

impl AtMost for Limit {
    /// The same burst in time, for `burst` units.
    fn at_most(self, burst: u64) -> Self {
        Self {
            cost: (u64::from(self.burst) / burst) << weir_common::settings::COST_SHIFT,
            ..self
        }
    }
}

/// Name, limit, what it refuses, protocols, payload, and whether a packet is a new connection.
type Kind = (&'static str, Set, Outcome, u8, u8, Vec<u8>, bool);
type Set = fn(&mut Limits) -> &mut Limit;

fn sources() -> Vec<Case> {
    let quic = [&[0xc0, 0, 0, 0, 1], [0; 1195].as_slice()].concat();
    let kinds: [Kind; 6] = [
        (
            "packets",
            |l| &mut l.packets,
            Outcome::RatePackets,
            TCP,
            TCP,
            tcp(ACK),
            false,
        ),
        (
            "SYNs",
            |l| &mut l.syn,
            Outcome::RateSyn,
            TCP,
            TCP,
            tcp(SYN),
            true,
        ),
        (
            "QUIC Initials",
            |l| &mut l.syn,
            Outcome::RateSyn,
            UDP,
            UDP,
            udp(&quic),
            true,
        ),
        (
            "datagrams",
            |l| &mut l.udp,
            Outcome::RateUdp,
            UDP,
            UDP,
            udp(&[0x40; 20]),
            false,
        ),
        (
            "pings",
            |l| &mut l.icmp,
            Outcome::RateIcmp,
            ICMP,
            ICMPV6,
            icmp(8, 0),
            false,
        ),
        (
            "packets of an unknown protocol",
            |l| &mut l.packets,
            Outcome::RatePackets,
            253,
            253,
            vec![0; 9],
            false,
        ),
    ];
    let mut cases = Vec::new();
    for (name, limit, outcome, protocol4, protocol6, payload, opens) in kinds {
        let payload6 = match protocol6 {
            ICMPV6 => icmp(128, 0),
            _ => payload.clone(),
        };
        let frame4 = ethernet(IPV4, &ipv4(SOURCE4, protocol4, &payload));
        let frame6 = ethernet(IPV6, &ipv6(SOURCE6, protocol6, &payload6));
        for (version, frame) in [("IPv4", frame4), ("IPv6", frame6)] {
            for (enforcement, spared) in [("", false), (", not enforced", true)] {
                let description =
                    format!("five {name} of a source that may send three, {version}{enforcement}");
                let case = Case::passed(description, frame.clone())
                    .times(3)
                    .then(2, outcome)
                    .with(|s| {
                        s.quic_ports = ports(&[443]);
                        *limit(&mut s.limits) = few(3);
                    });
                let case = if version == "IPv4" {
                    case.v4()
                } else {
                    case.v6()
                };
                let case = if opens { case.syn() } else { case };
                cases.push(if spared { case.spared() } else { case });
            }
        }
    }
    cases
}

fn both_limits() -> Vec<Case> {
    let small = || ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(ACK)));
    let large = || ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp_with(ACK, &[], &[0; 1000])));
    let small6 = || ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp(ACK)));
    let large6 = || ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp_with(ACK, &[], &[0; 1000])));
    let bytes = |name: &str, large: Vec<u8>, small: Vec<u8>| {
        Case::passed(name, large)
            .times(2)
            .then(1, Outcome::RateBytes)
            .then_frame(small, 1, Outcome::Passed)
            .with(|s| s.limits.bytes = few(2500))
    };
    vec![
        bytes("bytes of frames", large(), small()).v4(),
        bytes("bytes of frames, not enforced", large(), small())
            .v4()
            .spared(),
        bytes("bytes of frames, IPv6", large6(), small6()).v6(),
        bytes("bytes of frames, IPv6, not enforced", large6(), small6())
            .v6()
            .spared(),
        Case::passed("packets before bytes", large())
            .then(2, Outcome::RatePackets)
            .v4()
            .with(|s| {
                s.limits.packets = few(1);
                s.limits.bytes = few(1500);
            }),
        Case::passed(
            "SYNs before packets",
            ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN))),
        )
        .syn()
        .then(1, Outcome::RateSyn)
        .v4()
        .with(|s| {
            s.limits.syn = few(1);
            s.limits.packets = few(2);
        }),
        Case::passed(
            "fragments count as packets",
            ethernet(IPV4, &fragment4(ipv4(SOURCE4, UDP, &[0; 8]), 9, false)),
        )
        .then(1, Outcome::RatePackets)
        .v4()
        .with(|s| {
            s.sanity.fragments = 0;
            s.limits.packets = few(1);
            s.limits.udp = few(1);
        }),
        Case::new(
            "what a check drops costs nothing",
            ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(0))),
            Outcome::BadFlags,
        )
        .times(3)
        .then_frame(small(), 1, Outcome::Passed)
        .then(1, Outcome::RatePackets)
        .v4()
        .with(|s| s.limits.packets = few(1)),
        Case::passed("strangers have no limit", small())
            .times(7)
            .then(3, Outcome::RatePackets)
            .v4()
            .with(|s| {
                s.calm = 0;
                s.limits.packets = few(1);
            })
            .heavy_at_eight(),
    ]
}

impl Case {
    /// Of a source that the sketch finds heavy with its eighth packet, which is the first that its state counts.
    fn heavy_at_eight(mut self) -> Self {
        let [strangers, known] = self.steps.as_mut_slice() else {
            panic!("two steps");
        };
        strangers.counts = false;
        let mut first = strangers.clone();
        first.times = 1;
        first.counts = true;
        known.times -= 1;
        self.steps.insert(1, first);
        self
    }
}

fn prefixes() -> Vec<Case> {
    let from4 = |last| ethernet(IPV4, &ipv4([198, 18, 0, last], TCP, &tcp(ACK)));
    let from6 = |net| {
        let mut source = SOURCE6;
        source[7] = net;
        ethernet(IPV6, &ipv6(source, TCP, &tcp(ACK)))
    };
    let limit = |s: &mut ShieldSettings| {
        s.prefix_heavy = 1;
        s.prefix_limits.packets = few(3);
    };
    vec![
        Case::passed("a /24 that may send three", from4(7))
            .times(3)
            .then(2, Outcome::RatePrefix)
            .v4()
            .with(limit),
        Case::passed("a /48 that may send three", from6(2))
            .times(3)
            .then(2, Outcome::RatePrefix)
            .v6()
            .with(limit),
        Case::passed("a /24 that may send three, not enforced", from4(7))
            .times(3)
            .then(2, Outcome::RatePrefix)
            .v4()
            .with(limit)
            .spared(),
        Case::passed("a /48 that may send three, not enforced", from6(2))
            .times(3)
            .then(2, Outcome::RatePrefix)
            .v6()
            .with(limit)
            .spared(),
        Case::passed("strangers of one /24 share a limit", from4(1))
            .then_frame(from4(2), 1, Outcome::Passed)
            .then_frame(from4(3), 1, Outcome::Passed)
            .then_frame(from4(4), 1, Outcome::RatePrefix)
            .then_frame(from4(5), 1, Outcome::RatePrefix)
            .with(limit)
            .with(|s| s.calm = 0)
            .nobodys(),
        Case::passed("strangers of one /48 share a limit", from6(1))
            .then_frame(from6(2), 1, Outcome::Passed)
            .then_frame(from6(3), 1, Outcome::Passed)
            .then_frame(from6(4), 2, Outcome::RatePrefix)
            .with(limit)
            .with(|s| s.calm = 0)
            .nobodys(),
        Case::passed("another /24 has its own limit", from4(1))
            .times(3)
            .then(1, Outcome::RatePrefix)
            .then_frame(
                ethernet(IPV4, &ipv4([198, 18, 1, 1], TCP, &tcp(ACK))),
                3,
                Outcome::Passed,
            )
            .with(limit)
            .with(|s| s.calm = 0)
            .nobodys(),
        Case::passed("a prefix gets its limit when it is heavy", from4(1))
            .times(7)
            .then(1, Outcome::RatePrefix)
            .with(limit)
            .with(|s| {
                s.calm = 0;
                s.prefix_heavy = 5;
            })
            .nobodys(),
    ]
}

fn exempt() -> Vec<Case> {
    let limit = |s: &mut ShieldSettings| {
        s.limits = Limits {
            packets: few(1),
            bytes: few(1),
            syn: few(1),
            udp: few(1),
            icmp: few(1),
        };
        s.prefix_heavy = 1;
        s.prefix_limits = s.limits;
    };
    let free = |name: &str, frame: Vec<u8>| {
        Case::passed(format!("{name} under limits"), frame)
            .times(5)
            .with(limit)
    };
    let failsafe = |s: &mut ShieldSettings| s.failsafe_ports = ports(&[443]);
    vec![
        free(
            "path MTU",
            ethernet(IPV4, &ipv4(SOURCE4, ICMP, &icmp(3, 4))),
        )
        .v4(),
        free(
            "packet too big",
            ethernet(IPV6, &ipv6(SOURCE6, ICMPV6, &icmp(2, 0))),
        )
        .v6(),
        free(
            "a SYN to a failsafe port",
            ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN))),
        )
        .with(failsafe)
        .v4()
        .syn(),
        free(
            "an ACK to a failsafe port",
            ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp(ACK))),
        )
        .with(failsafe)
        .v6(),
        free(
            "a datagram to a failsafe port",
            ethernet(IPV6, &ipv6(SOURCE6, UDP, &udp(b"x"))),
        )
        .with(failsafe)
        .v6(),
        Case::new(
            "an allowed source under limits",
            ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN))),
            Outcome::Allowed,
        )
        .times(5)
        .with(limit)
        .rules([allow("198.18.0.0/24")])
        .v4()
        .syn(),
        Case::new(
            "port unreachable is no path MTU",
            ethernet(IPV4, &ipv4(SOURCE4, ICMP, &icmp(3, 3))),
            Outcome::RateBytes,
        )
        .v4()
        .with(limit),
        Case::new(
            "time exceeded is no path MTU, IPv6",
            ethernet(IPV6, &ipv6(SOURCE6, ICMPV6, &icmp(3, 4))),
            Outcome::RateBytes,
        )
        .v6()
        .with(limit),
    ]
}
