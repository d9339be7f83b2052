//! What no list stops: neighbours on the link, and the operator's own session.

use weir_common::{Outcome, ShieldSettings};

use super::Case;
use super::classes::ports;
use crate::frames::{
    ACK, FIN, FRAGMENT, ICMPV6, IPV4, IPV6, RST, SOURCE4, SOURCE6, SYN, TCP, UDP, ethernet,
    extension, fragment6, hops6, icmp, ipv4, ipv6, patch, tcp, udp,
};
use crate::rules::{Rule, block};

pub(super) fn cases() -> Vec<Case> {
    [neighbours(), sessions()].into_iter().flatten().collect()
}

fn neighbours() -> Vec<Case> {
    let frame =
        |kind: u8, hops: u8| ethernet(IPV6, &hops6(ipv6(SOURCE6, ICMPV6, &icmp(kind, 0)), hops));
    let rules: [Rule; 1] = [block("::/0")];
    let mut cases = Vec::new();
    for kind in 133..=137 {
        // Passed because it is neighbour discovery, and hit all the same.
        cases.push(
            Case::new(
                format!("ICMPv6 {kind} of a blocked neighbour"),
                frame(kind, 255),
                Outcome::Allowed,
            )
            .rules(rules)
            .hits([1])
            .v6(),
        );
        cases.push(
            Case::new(
                format!("ICMPv6 {kind} of a blocked source from afar"),
                frame(kind, 254),
                Outcome::Blocked,
            )
            .rules(rules)
            .hits([1]),
        );
    }
    let blocked = |name: &str, frame| {
        Case::new(name, frame, Outcome::Blocked)
            .rules([block("2001:db8:1:2::/64")])
            .hits([1])
    };
    let solicitation = icmp(135, 0);
    cases.extend([
        blocked("echo of a blocked neighbour", frame(128, 255)),
        blocked("inverse discovery of a blocked neighbour", frame(141, 255)),
        blocked(
            "blocked neighbour behind options",
            ethernet(
                IPV6,
                &hops6(ipv6(SOURCE6, 60, &extension(ICMPV6, 0, &solicitation)), 255),
            ),
        ),
        blocked(
            "fragmented discovery of a blocked neighbour",
            ethernet(
                IPV6,
                &hops6(
                    ipv6(
                        SOURCE6,
                        FRAGMENT,
                        &fragment6(ICMPV6, 0, true, &solicitation),
                    ),
                    255,
                ),
            ),
        ),
        blocked(
            "cut discovery of a blocked neighbour",
            ethernet(IPV6, &hops6(ipv6(SOURCE6, ICMPV6, &[135, 0, 0]), 255)),
        ),
    ]);
    cases
}

fn sessions() -> Vec<Case> {
    let failsafe = |s: &mut ShieldSettings| s.failsafe_ports = ports(&[443]);
    let frame4 = |flags| ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(flags)));
    let frame6 = |flags| ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp(flags)));
    let other_client = patch(frame4(ACK), 34, &40_001_u16.to_be_bytes());
    let session4 = |name: &str, frame| {
        Case::new(name, frame, Outcome::Allowed)
            .rules([block("198.18.0.7/32")])
            .hits([1])
            .with(failsafe)
            .v4()
    };
    let session6 = |name: &str, frame| {
        Case::new(name, frame, Outcome::Allowed)
            .rules([block("2001:db8::/32")])
            .hits([1])
            .with(failsafe)
            .v6()
    };
    let blocked = |name: &str, frame| {
        Case::new(name, frame, Outcome::Blocked)
            .rules([block("198.18.0.0/15")])
            .hits([1])
            .with(failsafe)
    };
    vec![
        session4("blocked in the middle of a session", frame4(ACK)),
        session4("blocked, and ends its session", frame4(FIN | ACK)),
        session6("blocked in the middle of a session, IPv6", frame6(ACK)),
        blocked("SYN of a blocked session", frame4(SYN)),
        blocked("reset of a blocked session", frame4(RST)),
        blocked("reset with ACK of a blocked session", frame4(RST | ACK)),
        blocked("SYN ACK of a blocked session", frame4(SYN | ACK)),
        blocked("ACK without a session", other_client),
        blocked(
            "UDP to a failsafe port",
            ethernet(IPV4, &ipv4(SOURCE4, UDP, &udp(b""))),
        ),
        blocked(
            "cut segment of a blocked session",
            ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(ACK)[..19])),
        ),
        blocked("a session with a port that is not failsafe", frame4(ACK))
            .with(|s| s.failsafe_ports = ports(&[22])),
    ]
}
