//! SYN cookies: which SYNs are answered, and which ACKs are stopped. Port 443 listens.

use weir_common::settings::{CookieMode, Cookies};
use weir_common::{DropClass, Outcome, ShieldSettings};
use weir_ebpf::verdict::cookies::{FORGED_PASSED, UNANSWERABLE_PASSED};

use super::Case;
use super::classes::ports;
use crate::frames::{
    ACK, DESTINATION, FIN, FRAGMENT, IPV4, IPV6, RST, SYN, TCP, ethernet, extension, fragment4,
    fragment6, ipv4, ipv4_with_options, ipv6, patch, tcp, tcp_with,
};
use crate::rules::allow;
use crate::shield::Action;

/// Sources without a connection.
const CLIENT4: [u8; 4] = [198, 18, 3, 3];
const CLIENT6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 3, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3];

pub(super) fn cases() -> Vec<Case> {
    [
        answers(),
        not_answered(),
        unanswerable(),
        acks(),
        pressure(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn mode(mode: CookieMode) -> impl FnOnce(&mut ShieldSettings) {
    move |s| {
        s.cookies = Cookies {
            start: 4,
            mode: mode as u8,
            options: 1,
            window_scale: 7,
            reserved: 0,
        };
    }
}

impl Case {
    /// Of all steps only the last is a new connection.
    fn only_last_opens(mut self) -> Self {
        let opening = self.steps.last().map_or(0, |step| step.times);
        self.syns = Some(u64::from(opening));
        self
    }

    pub(super) fn always(self) -> Self {
        self.with(mode(CookieMode::Always))
    }

    /// So many of the last frame, a SYN, are left to the kernel in an epoch; the next ones are dropped before anybody looks
    /// for the state of their source.
    pub(super) fn unanswerable(self) -> Self {
        let mut case = self
            .always()
            .syn()
            .times(UNANSWERABLE_PASSED)
            .then(2, Outcome::SynCookie);
        if let Some(step) = case.steps.last_mut() {
            step.counts = false;
        }
        case
    }

    /// As [`Case::unanswerable`], if options of TCP tell: whoever has a state, as everybody has behind a first frame, is
    /// counted before they are read.
    fn unanswerable_late(self) -> Self {
        self.always()
            .syn()
            .times(UNANSWERABLE_PASSED)
            .then(2, Outcome::SynCookie)
            .known()
    }

    /// The last step is answered.
    fn answered(mut self) -> Self {
        let step = self.steps.last_mut().expect("a case has a frame");
        step.action = Action::Tx;
        self
    }

    /// The last step is of a source that has a state.
    fn known(mut self) -> Self {
        let step = self.steps.last_mut().expect("a case has a frame");
        step.drop = Some(DropClass::Cookie);
        self
    }
}

fn answers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, options) in [
        ("without options", Vec::new()),
        ("with MSS", vec![2, 4, 5, 0xb4]),
        ("as Linux sends it", LINUX.to_vec()),
        (
            "with odd options",
            vec![8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1],
        ),
        ("with broken options", vec![3, 0, 2, 4]),
        ("with 40 bytes of options", vec![1; 40]),
    ] {
        let frame4 = ethernet(IPV4, &ipv4(CLIENT4, TCP, &tcp_with(SYN, &options, &[])));
        let frame6 = ethernet(IPV6, &ipv6(CLIENT6, TCP, &tcp_with(SYN, &options, &[])));
        for (version, frame) in [("IPv4", frame4), ("IPv6", frame6)] {
            // A stranger is answered before anybody looks for its state.
            let case = |what: &str| {
                Case::new(
                    format!("SYN {name} {what}, {version}"),
                    frame.clone(),
                    Outcome::SynCookie,
                )
                .always()
            };
            cases.push(case("answered").answered());
            cases.push(case("would be answered").spared());
        }
    }
    let with_data = ethernet(
        IPV4,
        &ipv4(CLIENT4, TCP, &tcp_with(SYN | 0xc0, &LINUX, &[7; 100])),
    );
    cases.push(
        Case::new(
            "SYN with data and ECN answered",
            with_data,
            Outcome::SynCookie,
        )
        .always()
        .answered(),
    );
    let syn = |version: &str| match version {
        "IPv4" => ethernet(IPV4, &ipv4(CLIENT4, TCP, &tcp(SYN))),
        _ => ethernet(IPV6, &ipv6(CLIENT6, TCP, &tcp(SYN))),
    };
    let ack = |version: &str| match version {
        "IPv4" => ethernet(IPV4, &ipv4(CLIENT4, TCP, &tcp(ACK))),
        _ => ethernet(IPV6, &ipv6(CLIENT6, TCP, &tcp(ACK))),
    };
    for version in ["IPv4", "IPv6"] {
        // Whoever has a state is counted, and held to its limits, before it is answered.
        let known = |what: &str| {
            let case = Case::passed(
                format!("SYNs of a known source {what}, {version}"),
                ack(version),
            )
            .then_frame(syn(version), 3, Outcome::SynCookie)
            .known()
            .always();
            match version {
                "IPv4" => case.counted_for(CLIENT4),
                _ => case.counted_for(CLIENT6),
            }
        };
        cases.push(known("answered").answered().only_last_opens());
        cases.push(known("would be answered").spared().only_last_opens());
        // One in sixteen is looked at all the same.
        let sixteenth = Case::new(
            format!("the sixteenth SYN of strangers, {version}"),
            syn(version),
            Outcome::SynCookie,
        )
        .times(15)
        .answered()
        .always();
        let mut sixteenth = sixteenth
            .then(1, Outcome::SynCookie)
            .answered()
            .known()
            .syn();
        sixteenth.steps[0].counts = false;
        cases.push(match version {
            "IPv4" => sixteenth.counted_for(CLIENT4),
            _ => sixteenth.counted_for(CLIENT6),
        });
    }
    cases
}

fn not_answered() -> Vec<Case> {
    let syn = tcp(SYN);
    let other_port = patch(syn.clone(), 2, &444_u16.to_be_bytes());
    let passed4 = |name: &str, packet: Vec<u8>| {
        Case::passed(name, ethernet(IPV4, &packet))
            .always()
            .syn()
            .counted_for(CLIENT4)
    };
    vec![
        passed4(
            "SYN to a port without a listener",
            ipv4(CLIENT4, TCP, &other_port),
        ),
        passed4("SYN to a failsafe port", ipv4(CLIENT4, TCP, &syn))
            .with(|s| s.failsafe_ports = ports(&[443])),
        passed4("SYN while cookies are off", ipv4(CLIENT4, TCP, &syn)).with(mode(CookieMode::Off)),
        Case::new(
            "SYN of an allowed source",
            ethernet(IPV4, &ipv4(CLIENT4, TCP, &syn)),
            Outcome::Allowed,
        )
        .always()
        .rules([allow("198.18.3.3/32")])
        .syn()
        .counted_for(CLIENT4),
        Case::passed(
            "SYN into a connection",
            ethernet(IPV4, &ipv4([198, 18, 0, 7], TCP, &syn)),
        )
        .always()
        .syn()
        .v4(),
        Case::passed(
            "RST while cookies are made",
            ethernet(IPV4, &ipv4(CLIENT4, TCP, &tcp(RST))),
        )
        .always()
        .counted_for(CLIENT4),
        Case::passed(
            "SYN ACK while cookies are made",
            ethernet(IPV6, &ipv6(CLIENT6, TCP, &tcp(SYN | ACK))),
        )
        .always()
        .counted_for(CLIENT6),
    ]
}

/// SYNs that only the kernel can answer, in every form.
fn unanswerable() -> Vec<Case> {
    let syn = tcp(SYN);
    let case4 = |name: &str, packet: Vec<u8>| {
        Case::passed(name, ethernet(IPV4, &packet)).counted_for(CLIENT4)
    };
    let case6 = |name: &str, next: u8, rest: Vec<u8>| {
        Case::passed(name, ethernet(IPV6, &ipv6(CLIENT6, next, &rest))).counted_for(CLIENT6)
    };
    let whole = |more| fragment6(TCP, 0, more, &tcp_with(SYN, &[2, 4, 5, 0xb4], &[]));
    let options4 = ipv4_with_options(CLIENT4, TCP, &[1; 4], &syn);
    let parts = |s: &mut ShieldSettings| s.sanity.fragments = 0;
    vec![
        case4("SYNs with IP options", options4.clone()).unanswerable(),
        case4("SYNs with IP options, not enforced", options4.clone())
            .unanswerable()
            .spared(),
        case4("SYNs with IP options, cookies off", options4)
            .times(UNANSWERABLE_PASSED + 1)
            .syn(),
        case6(
            "SYNs with extension headers",
            DESTINATION,
            extension(TCP, 0, &syn),
        )
        .unanswerable(),
        case6("SYNs in atomic fragments", FRAGMENT, whole(false)).unanswerable(),
        case6("SYNs in first fragments, IPv6", FRAGMENT, whole(true))
            .with(parts)
            .unanswerable(),
        case4(
            "SYNs in first fragments",
            fragment4(
                ipv4(CLIENT4, TCP, &tcp_with(SYN, &[2, 4, 5, 0xb4], &[])),
                0,
                true,
            ),
        )
        .with(parts)
        .unanswerable(),
        case4(
            "SYNs with TCP-MD5",
            ipv4(CLIENT4, TCP, &tcp_with(SYN, &MD5, &[])),
        )
        .unanswerable_late(),
        case6("SYNs with TCP-AO", TCP, tcp_with(SYN, &AO, &[])).unanswerable_late(),
        case6(
            "SYNs with TCP-AO, not enforced",
            TCP,
            tcp_with(SYN, &AO, &[]),
        )
        .unanswerable_late()
        .spared(),
    ]
}

/// Strangers' ACKs; whoever has a state is held to its limits.
fn acks() -> Vec<Case> {
    let stranger = |s: &mut ShieldSettings| s.calm = 0;
    let passed = |name: &str, frame| Case::passed(name, frame).always().with(stranger);
    let forged = |name: &str, flags| {
        // So few that the kernel may answer them with a reset, from sources that stay strangers.
        let sources = FORGED_PASSED.div_ceil(LIGHT);
        let mut case = passed(name, ack4(client(0), flags)).times(LIGHT);
        for source in 1..sources {
            let times = LIGHT.min(FORGED_PASSED - source * LIGHT);
            case = case.then_frame(ack4(client(source), flags), times, Outcome::Passed);
        }
        case.then_frame(ack4(CLIENT4, flags), 2, Outcome::BadCookie)
            .then_frame(ack6(CLIENT6, flags), 2, Outcome::BadCookie)
    };
    vec![
        forged("forged ACKs", ACK),
        forged("forged FIN ACKs", FIN | ACK),
        forged("forged ACKs, not enforced", ACK).spared(),
        passed("a forged ACK is answered with a reset", ack4(CLIENT4, ACK)),
        passed("ACK of a connection", ack4([198, 18, 0, 7], ACK)),
        passed(
            "ACK to a port without a listener",
            patch(ack4(CLIENT4, ACK), 36, &444_u16.to_be_bytes()),
        ),
        passed("forged ACK to a failsafe port", ack4(CLIENT4, ACK))
            .with(|s| s.failsafe_ports = ports(&[443])),
        passed("forged ACK while cookies are off", ack4(CLIENT4, ACK)).with(mode(CookieMode::Off)),
        passed("forged ACK without pressure", ack4(CLIENT4, ACK)).with(mode(CookieMode::Auto)),
        Case::passed("forged ACK of a known source", ack4(CLIENT4, ACK))
            .always()
            .counted_for(CLIENT4),
    ]
}

fn ack4(source: [u8; 4], flags: u8) -> Vec<u8> {
    ethernet(IPV4, &ipv4(source, TCP, &tcp(flags)))
}

fn ack6(source: [u8; 16], flags: u8) -> Vec<u8> {
    ethernet(IPV6, &ipv6(source, TCP, &tcp(flags)))
}

fn client(number: u32) -> [u8; 4] {
    let number = u8::try_from(number).expect("a few dozen");
    [198, 18, 4, number]
}

/// Cookies begin with the SYN that makes the epoch's number full, and then every SYN is answered.
fn pressure() -> Vec<Case> {
    let syn4 = ethernet(IPV4, &ipv4(CLIENT4, TCP, &tcp(SYN)));
    let ack6 = ethernet(IPV6, &ipv6(CLIENT6, TCP, &tcp(ACK)));
    vec![
        // The first SYN of an epoch after a pause begins the count, and is not in it.
        Case::passed("SYNs under pressure", syn4.clone())
            .times(4)
            .then(3, Outcome::SynCookie)
            .answered()
            .known()
            .with(mode(CookieMode::Auto))
            .syn()
            .counted_for(CLIENT4),
        Case::passed("SYNs of strangers under pressure", syn4)
            .times(4)
            .then(3, Outcome::SynCookie)
            .answered()
            .then_frame(ack6, 2, Outcome::Passed)
            .with(mode(CookieMode::Auto))
            .with(|s| s.calm = 0),
    ]
}

/// Packets in an epoch that make nobody heavy.
const LIGHT: u32 = 7;
/// MSS, no operation twice, and a digest.
const MD5: [u8; 24] = [
    2, 4, 5, 0xb4, 1, 1, 19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
/// A key's number, the next one's, and a code of 96 bits.
const AO: [u8; 16] = [29, 16, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const LINUX: [u8; 20] = [
    2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
];
