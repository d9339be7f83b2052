//! Where each sanity check draws its line.

use weir_common::{Outcome, Policy, ShieldSettings};

use super::Case;
use super::classes::ports;
use crate::frames::{
    ACK, FIN, HOP_BY_HOP, ICMP, ICMPV6, IGMP, IPV4, IPV6, OWN4, OWN6, RST, SOURCE4, SOURCE6, SYN,
    TCP, UDP, ethernet, extension, hops6, icmp, ipv4, ipv6, tcp, to4, to6, udp, udp_between,
};

pub(super) fn cases() -> Vec<Case> {
    [
        flags(),
        martians4(),
        martians6(),
        own_sources(),
        icmp4(),
        icmp6(),
        amplification(),
        quic(),
        closed_ports(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn flags() -> Vec<Case> {
    const PSH: u8 = 0x08;
    const URG: u8 = 0x20;
    const ECE: u8 = 0x40;
    const CWR: u8 = 0x80;
    let good = [
        ("SYN", SYN),
        ("SYN with ECN", SYN | ECE | CWR),
        ("SYN ACK", SYN | ACK),
        ("ACK", ACK),
        ("ACK PSH URG", ACK | PSH | URG),
        ("FIN ACK", FIN | ACK),
        ("RST", RST),
        ("RST ACK", RST | ACK),
    ];
    let bad = [
        ("no flags", 0),
        ("FIN alone", FIN),
        ("FIN PSH URG", FIN | PSH | URG),
        ("PSH alone", PSH),
        ("ECN alone", ECE | CWR),
        ("SYN FIN", SYN | FIN),
        ("SYN RST", SYN | RST),
        ("SYN ACK FIN", SYN | ACK | FIN),
        ("FIN RST", FIN | RST),
        ("FIN RST ACK", FIN | RST | ACK),
        ("all flags", 0xff),
    ];
    let mut cases = Vec::new();
    for (outcome, list) in [
        (Outcome::Passed, good.as_slice()),
        (Outcome::BadFlags, bad.as_slice()),
    ] {
        for &(name, flags) in list {
            let opens = flags & (SYN | ACK) == SYN;
            for case in [
                Case::new(format!("TCP {name}"), packet4(TCP, &tcp(flags)), outcome).v4(),
                Case::new(
                    format!("TCP {name}, IPv6"),
                    packet6(TCP, &tcp(flags)),
                    outcome,
                )
                .v6(),
            ] {
                cases.push(if opens { case.syn() } else { case });
            }
        }
    }
    cases
}

fn martians4() -> Vec<Case> {
    let from = |source: [u8; 4], protocol, payload: &[u8]| {
        ethernet(IPV4, &ipv4(source, protocol, payload))
    };
    let syn = |source| from(source, TCP, &tcp(SYN));
    let spoofed =
        |name: &str, source| Case::new(format!("source {name}"), syn(source), Outcome::Spoofed);
    let passed = |name: &str, source| {
        Case::passed(format!("source {name}"), syn(source))
            .syn()
            .counted_for(source)
    };
    let dhcp = udp_between(68, 67, &[1; 40]);
    vec![
        spoofed("0.0.0.0", [0; 4]),
        spoofed("0.1.2.3", [0, 1, 2, 3]),
        spoofed("127.0.0.1", [127, 0, 0, 1]),
        spoofed("127.255.255.255", [127, 255, 255, 255]),
        spoofed("224.0.0.1", [224, 0, 0, 1]),
        spoofed("239.255.255.255", [239, 255, 255, 255]),
        spoofed("240.0.0.1", [240, 0, 0, 1]),
        spoofed("255.255.255.255", [255; 4]),
        passed("1.0.0.1", [1, 0, 0, 1]),
        passed("126.0.0.1", [126, 0, 0, 1]),
        passed("128.0.0.1", [128, 0, 0, 1]),
        passed("223.255.255.255", [223, 255, 255, 255]),
        passed("10.0.0.1", [10, 0, 0, 1]),
        passed("169.254.0.1", [169, 254, 0, 1]),
        Case::passed("DHCP before there is an address", from([0; 4], UDP, &dhcp))
            .counted_for([0; 4]),
        Case::new(
            "DHCP from 0.0.0.1",
            from([0, 0, 0, 1], UDP, &dhcp),
            Outcome::Spoofed,
        ),
        Case::new(
            "a DHCP server's answer from 0.0.0.0",
            from([0; 4], UDP, &udp_between(67, 68, b"")),
            Outcome::Spoofed,
        ),
        Case::passed(
            "IGMP before there is an address",
            from([0; 4], IGMP, &[0x22, 0, 0, 0, 0, 0, 0, 0]),
        )
        .counted_for([0; 4]),
        Case::new(
            "UDP from 0.0.0.0",
            from([0; 4], UDP, &udp(b"")),
            Outcome::Spoofed,
        ),
        Case::new(
            "blocked and spoofed is blocked",
            syn([127, 0, 0, 1]),
            Outcome::Blocked,
        )
        .rules([crate::rules::block("127.0.0.0/8")])
        .hits([1]),
        Case::new(
            "allowed and spoofed is allowed",
            syn([127, 0, 0, 1]),
            Outcome::Allowed,
        )
        .rules([crate::rules::allow("127.0.0.0/8")])
        .counted_for([127, 0, 0, 1])
        .syn(),
    ]
}

fn martians6() -> Vec<Case> {
    let from =
        |source: &str, next, payload: &[u8]| ethernet(IPV6, &ipv6(octets(source), next, payload));
    let spoofed = |source: &str| {
        Case::new(
            format!("source {source}"),
            from(source, TCP, &tcp(SYN)),
            Outcome::Spoofed,
        )
    };
    let passed = |source: &str| {
        Case::passed(format!("source {source}"), from(source, TCP, &tcp(SYN)))
            .syn()
            .counted_for(octets(source))
    };
    let unspecified = |kind: u8, outcome| {
        // What is for neighbours has a hop limit of 255, what is for routers next door of 1; 64 makes neither exempt.
        Case::new(
            format!("ICMPv6 {kind} from ::, hop limit 64"),
            from("::", ICMPV6, &icmp(kind, 0)),
            outcome,
        )
    };
    vec![
        spoofed("::"),
        spoofed("::1"),
        spoofed("::ffff:198.18.0.7"),
        spoofed("::ffff:0.0.0.0"),
        spoofed("ff02::1"),
        spoofed("ff00::"),
        passed("::2"),
        passed("::fffe:c612:7"),
        passed("fe80::1"),
        passed("fd00::1"),
        passed("2001:db8::1"),
        unspecified(131, Outcome::Passed).counted_for([0; 16]),
        unspecified(132, Outcome::Passed).counted_for([0; 16]),
        unspecified(143, Outcome::Passed).counted_for([0; 16]),
        unspecified(128, Outcome::Spoofed),
        unspecified(134, Outcome::IcmpType).counted_for([0; 16]),
        unspecified(133, Outcome::IcmpType).counted_for([0; 16]),
        unspecified(135, Outcome::IcmpType).counted_for([0; 16]),
        Case::passed(
            "duplicate address detection",
            ethernet(IPV6, &hops6(ipv6([0; 16], ICMPV6, &icmp(135, 0)), 255)),
        ),
        Case::passed(
            "listener report before there is an address",
            ethernet(
                IPV6,
                &hops6(
                    ipv6([0; 16], HOP_BY_HOP, &extension(ICMPV6, 0, &icmp(143, 0))),
                    1,
                ),
            ),
        )
        .counted_for([0; 16]),
    ]
}

fn own_sources() -> Vec<Case> {
    let from4 = |source| ethernet(IPV4, &to4(ipv4(source, TCP, &tcp(ACK)), [198, 18, 9, 9]));
    let from6 = |source: [u8; 16]| {
        ethernet(
            IPV6,
            &to6(ipv6(source, TCP, &tcp(ACK)), octets("2001:db8:9::9")),
        )
    };
    let no_own = |mut case: Case| {
        case.plan.own.clear();
        case
    };
    vec![
        Case::new("own source", from4(OWN4), Outcome::Spoofed),
        Case::new("own source, IPv6", from6(OWN6), Outcome::Spoofed),
        Case::passed("a neighbour's source", from4([198, 18, 255, 2]))
            .counted_for([198, 18, 255, 2]),
        no_own(Case::passed("a source that is not known as own", from4(OWN4)).counted_for(OWN4)),
        no_own(
            Case::passed("a source that is not known as own, IPv6", from6(OWN6)).counted_for(OWN6),
        ),
        Case::passed("own source with another seed of the filter", from4(SOURCE4))
            .v4()
            .with(|s| s.seed = 99),
        Case::new(
            "own source with another seed",
            from4(OWN4),
            Outcome::Spoofed,
        )
        .with(|s| s.seed = 99),
    ]
}

fn icmp4() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [0, 3, 8, 11, 12] {
        let frame = packet4(ICMP, &icmp(kind, 0));
        cases.push(Case::passed(format!("ICMP {kind}"), frame).v4());
    }
    for kind in [
        1, 2, 4, 5, 6, 9, 10, 13, 14, 15, 17, 18, 30, 42, 63, 64, 67, 255,
    ] {
        let frame = packet4(ICMP, &icmp(kind, 0));
        cases.push(Case::new(format!("ICMP {kind}"), frame, Outcome::IcmpType).v4());
    }
    cases
}

fn icmp6() -> Vec<Case> {
    let frame =
        |kind: u8, hops: u8| ethernet(IPV6, &hops6(ipv6(SOURCE6, ICMPV6, &icmp(kind, 0)), hops));
    let useful = |kind: u8, hops: u8| {
        Case::passed(
            format!("ICMPv6 {kind}, hop limit {hops}"),
            frame(kind, hops),
        )
    };
    let useless = |kind: u8, hops: u8| {
        Case::new(
            format!("ICMPv6 {kind}, hop limit {hops}"),
            frame(kind, hops),
            Outcome::IcmpType,
        )
        .v6()
    };
    let mut cases = Vec::new();
    for kind in [1, 2, 3, 4, 128, 129, 130, 131, 132, 143] {
        cases.push(useful(kind, 64).v6());
    }
    // Neighbour discovery proper is never counted; what belongs to it is.
    for kind in 133..=137 {
        cases.push(useful(kind, 255));
        cases.push(useless(kind, 254));
    }
    for kind in [141, 142, 148, 149] {
        cases.push(useful(kind, 255).v6());
        cases.push(useless(kind, 254));
    }
    for kind in 151..=153 {
        cases.push(useful(kind, 1).v6());
        cases.push(useless(kind, 2));
    }
    for kind in [
        0, 5, 100, 127, 138, 139, 140, 144, 145, 146, 147, 154, 200, 255,
    ] {
        cases.push(useless(kind, 64));
    }
    cases
}

fn amplification() -> Vec<Case> {
    let watch = |s: &mut ShieldSettings| s.amplification_ports = ports(&[53, 123, 11_211]);
    let between = |from, to| udp_between(from, to, b"data");
    let mut cases = Vec::new();
    for port in [53, 123, 11_211] {
        let name = format!("from reflector port {port}");
        cases.extend([
            Case::new(
                name.clone(),
                packet4(UDP, &between(port, 40_000)),
                Outcome::Amplification,
            )
            .v4()
            .with(watch),
            Case::new(
                format!("{name}, IPv6"),
                packet6(UDP, &between(port, 40_000)),
                Outcome::Amplification,
            )
            .v6()
            .with(watch),
        ]);
    }
    cases.extend([
        Case::passed("to a reflector port", packet4(UDP, &between(40_000, 53)))
            .v4()
            .with(watch),
        Case::passed("from a port beside it", packet4(UDP, &between(54, 40_000)))
            .v4()
            .with(watch),
        Case::passed("TCP from port 53", {
            let mut segment = tcp(ACK);
            segment[..2].copy_from_slice(&53_u16.to_be_bytes());
            packet4(TCP, &segment)
        })
        .v4()
        .with(watch),
    ]);
    cases
}

fn quic() -> Vec<Case> {
    let watch = |s: &mut ShieldSettings| s.quic_ports = ports(&[443]);
    let data = |first: u8, version: u32, len: usize| {
        let mut data = [&[first], version.to_be_bytes().as_slice()].concat();
        data.resize(len, 0);
        data
    };
    let valid = [
        ("QUIC Initial of 1,200 bytes", data(0xc0, 1, 1200), true),
        ("QUIC Initial of 1,252 bytes", data(0xc3, 1, 1252), true),
        ("QUIC v2 Initial", data(0xd0, 0x6b33_43cf, 1200), true),
        ("QUIC 0-RTT", data(0xd0, 1, 100), false),
        ("QUIC handshake", data(0xe0, 1, 100), false),
        ("QUIC retry", data(0xf0, 1, 100), false),
        ("QUIC v2 0-RTT", data(0xe0, 0x6b33_43cf, 60), false),
        ("QUIC v2 retry", data(0xc0, 0x6b33_43cf, 60), false),
        ("QUIC short header", data(0x40, 0, 30), false),
        ("QUIC short header of a byte", vec![0x40], false),
    ];
    let invalid = [
        ("QUIC Initial of 1,199 bytes", data(0xc0, 1, 1199)),
        (
            "QUIC v2 Initial of 1,199 bytes",
            data(0xd0, 0x6b33_43cf, 1199),
        ),
        ("QUIC version 0", data(0x80, 0, 1200)),
        ("QUIC draft 29", data(0xc0, 0xff00_001d, 1200)),
        ("QUIC grease version", data(0xc0, 0x1a2a_3a4a, 1200)),
        ("QUIC long header of 4 bytes", vec![0xc0, 0, 0, 0]),
        ("QUIC without data", Vec::new()),
    ];
    let mut cases = Vec::new();
    for (name, data, opens) in valid {
        for case in [
            Case::passed(name, packet4(UDP, &udp(&data))).v4(),
            Case::passed(format!("{name}, IPv6"), packet6(UDP, &udp(&data))).v6(),
        ] {
            let case = if opens { case.syn() } else { case };
            cases.push(case.with(watch));
        }
    }
    for (name, data) in invalid {
        let outcome = Outcome::QuicInvalid;
        cases.extend([
            Case::new(name, packet4(UDP, &udp(&data)), outcome)
                .v4()
                .with(watch),
            Case::new(format!("{name}, IPv6"), packet6(UDP, &udp(&data)), outcome)
                .v6()
                .with(watch),
        ]);
    }
    cases.push(
        Case::passed(
            "no QUIC on another port",
            packet4(UDP, &udp_between(40_000, 444, &[])),
        )
        .v4()
        .with(watch),
    );
    cases
}

fn closed_ports() -> Vec<Case> {
    let watch = |s: &mut ShieldSettings| s.sanity.closed_ports = Policy::Drop as u8;
    let elsewhere6 = octets("2001:db8:9::9");
    let frame4 = |to, port| {
        ethernet(
            IPV4,
            &to4(ipv4(SOURCE4, UDP, &udp_between(7, port, b"")), to),
        )
    };
    let frame6 = |to, port| {
        ethernet(
            IPV6,
            &to6(ipv6(SOURCE6, UDP, &udp_between(7, port, b"")), to),
        )
    };
    vec![
        Case::passed("UDP to an open port", frame4(OWN4, 443))
            .v4()
            .with(watch),
        Case::passed("UDP to an open port, IPv6", frame6(OWN6, 443))
            .v6()
            .with(watch),
        Case::passed("UDP to another host's port", frame4([198, 18, 9, 9], 9))
            .v4()
            .with(watch),
        Case::passed("UDP to another host's port, IPv6", frame6(elsewhere6, 9))
            .v6()
            .with(watch),
        Case::passed("UDP to a multicast group", frame4([224, 0, 0, 251], 5353))
            .v4()
            .with(watch),
        Case::passed("UDP to everybody", frame4([255; 4], 9))
            .v4()
            .with(watch),
        Case::new("UDP to a TCP port", frame4(OWN4, 22), Outcome::PortClosed)
            .v4()
            .with(watch),
    ]
}

fn octets(address: &str) -> [u8; 16] {
    let address: std::net::Ipv6Addr = address.parse().expect("an address in a test");
    address.octets()
}

fn packet4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV4, &ipv4(SOURCE4, protocol, payload))
}

fn packet6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV6, &ipv6(SOURCE6, next_header, payload))
}
