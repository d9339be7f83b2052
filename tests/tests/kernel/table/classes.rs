//! Every class of the sanity checks, in both IP versions, under each policy.

use weir_common::settings::Ports;
use weir_common::{Outcome, Policy, ShieldSettings};

use super::Case;
use crate::frames::{
    FRAGMENT, ICMP, ICMPV6, IPV4, IPV6, OWN4, OWN6, SOURCE4, SOURCE6, SYN, TCP, UDP, cut, ethernet,
    fragment4, fragment6, icmp, ipv4, ipv6, tcp, to4, to6, udp, udp_between,
};

struct Class {
    name: &'static str,
    outcome: Outcome,
    policy: fn(&mut ShieldSettings) -> &mut u8,
    frame4: Vec<u8>,
    frame6: Vec<u8>,
}

pub(super) fn cases() -> Vec<Case> {
    classes().iter().flat_map(all_policies).collect()
}

fn all_policies(class: &Class) -> Vec<Case> {
    let mut cases = Vec::new();
    for (version, frame) in [("IPv4", &class.frame4), ("IPv6", &class.frame6)] {
        let case = |what: &str, outcome| {
            let description = format!("{} {what}, {version}", class.name);
            let case = Case::new(description, frame.clone(), outcome).with(watch_ports);
            let case = if version == "IPv4" {
                case.v4()
            } else {
                case.v6()
            };
            match class.outcome {
                Outcome::Spoofed => case.syn(),
                _ => case,
            }
        };
        // Who sent a spoofed packet is not known.
        let dropped = |what| match class.outcome {
            Outcome::Spoofed => case(what, class.outcome).nobodys(),
            _ => case(what, class.outcome),
        };
        let set = |policy: u8| move |s: &mut ShieldSettings| *(class.policy)(s) = policy;
        let mut counted = case("counted", class.outcome).counted_only();
        for step in &mut counted.steps {
            step.counts = true;
        }
        cases.extend([
            dropped("dropped").with(set(Policy::Drop as u8)),
            dropped("spared").spared().with(set(Policy::Drop as u8)),
            dropped("under a policy that nobody knows").with(set(3)),
            counted.with(set(Policy::Count as u8)),
            case("passed", Outcome::Passed).with(set(Policy::Pass as u8)),
        ]);
    }
    cases
}

fn classes() -> Vec<Class> {
    let class = |name, outcome, policy, packets: (Vec<u8>, Vec<u8>)| Class {
        name,
        outcome,
        policy,
        frame4: ethernet(IPV4, &packets.0),
        frame6: ethernet(IPV6, &packets.1),
    };
    let both = |protocol, payload: &[u8]| {
        (
            ipv4(SOURCE4, protocol, payload),
            ipv6(SOURCE6, protocol, payload),
        )
    };
    let syn = both(TCP, &tcp(SYN));
    vec![
        Class {
            name: "TCP header cut",
            outcome: Outcome::Malformed,
            policy: |s| &mut s.sanity.malformed,
            frame4: ethernet(IPV4, &ipv4(SOURCE4, TCP, &cut(tcp(SYN), 19))),
            frame6: ethernet(IPV6, &ipv6(SOURCE6, TCP, &cut(tcp(SYN), 19))),
        },
        class(
            "later fragment",
            Outcome::Fragment,
            |s| &mut s.sanity.fragments,
            (
                fragment4(ipv4(SOURCE4, UDP, &[0; 8]), 5, false),
                ipv6(SOURCE6, FRAGMENT, &fragment6(UDP, 5, true, &[0; 8])),
            ),
        ),
        class(
            "TCP without flags",
            Outcome::BadFlags,
            |s| &mut s.sanity.bad_flags,
            both(TCP, &tcp(0)),
        ),
        class(
            "land",
            Outcome::Spoofed,
            |s| &mut s.sanity.spoofed,
            (to4(syn.0, SOURCE4), to6(syn.1, SOURCE6)),
        ),
        class(
            "DNS answer",
            Outcome::Amplification,
            |s| &mut s.sanity.amplification,
            both(UDP, &udp_between(53, 40_000, b"data")),
        ),
        class(
            "useless ICMP",
            Outcome::IcmpType,
            |s| &mut s.sanity.icmp,
            (
                ipv4(SOURCE4, ICMP, &icmp(13, 0)),
                ipv6(SOURCE6, ICMPV6, &icmp(139, 0)),
            ),
        ),
        class(
            "short QUIC Initial",
            Outcome::QuicInvalid,
            |s| &mut s.sanity.quic,
            both(UDP, &udp(&[0xc0, 0, 0, 0, 1, 8])),
        ),
        class(
            "UDP to a closed port",
            Outcome::PortClosed,
            |s| &mut s.sanity.closed_ports,
            (
                to4(ipv4(SOURCE4, UDP, &udp_between(40_000, 9_999, b"x")), OWN4),
                to6(ipv6(SOURCE6, UDP, &udp_between(40_000, 9_999, b"x")), OWN6),
            ),
        ),
    ]
}

fn watch_ports(settings: &mut ShieldSettings) {
    settings.quic_ports = ports(&[443]);
    settings.amplification_ports = ports(&[53]);
}

/// A set of ports.
pub(super) fn ports(of: &[u16]) -> Ports {
    let mut ports = Ports::EMPTY;
    for &port in of {
        ports.insert(port);
    }
    ports
}
