//! Policies per class, and a shield that does not enforce.

use weir_common::{Outcome, Policy, ShieldSettings};

use super::{Case, ENFORCING};
use crate::frames::{
    FRAGMENT, IPV4, IPV6, SOURCE4, SOURCE6, SYN, TCP, UDP, cut, ethernet, fragment4, fragment6,
    ipv4, ipv6, tcp,
};
use crate::rules::{allow, block};

pub(super) fn cases() -> Vec<Case> {
    [malformed(), fragments(), unenforced()]
        .into_iter()
        .flatten()
        .collect()
}

fn malformed() -> Vec<Case> {
    let count = malformed_policy(Policy::Count);
    let pass = malformed_policy(Policy::Pass);
    let counted = |description, frame| {
        Case::malformed(description, frame)
            .counted_only()
            .settings(count)
    };
    vec![
        counted("counted malformed", truncated4()).v4(),
        counted("counted malformed without a source", cut(syn4(), 20)),
        Case::malformed(
            "counted malformed without a source while anybody is blocked",
            cut(syn4(), 20),
        )
        .settings(count)
        .rules([block("203.0.113.0/24")]),
        counted("counted malformed of an allowed source", truncated4())
            .v4()
            .rules([allow("198.18.0.0/16")]),
        Case::new(
            "counted malformed of a blocked source",
            truncated4(),
            Outcome::Blocked,
        )
        .v4()
        .settings(count)
        .rules([block("198.18.0.7/32")]),
        Case::passed("passed malformed", truncated4())
            .v4()
            .settings(pass),
        Case::passed("passed malformed without a source", cut(syn4(), 14)).settings(pass),
        Case::new(
            "passed malformed of a blocked source",
            truncated4(),
            Outcome::Blocked,
        )
        .v4()
        .settings(pass)
        .rules([block("198.18.0.0/16")]),
        Case::new(
            "passed malformed of an allowed source",
            truncated4(),
            Outcome::Allowed,
        )
        .v4()
        .settings(pass)
        .rules([allow("198.18.0.0/16")]),
    ]
}

fn fragments() -> Vec<Case> {
    let count = fragment_policy(Policy::Count);
    let pass = fragment_policy(Policy::Pass);
    vec![
        Case::fragment("counted fragment", later4())
            .counted_only()
            .v4()
            .settings(count),
        Case::fragment("counted fragment, IPv6", later6())
            .counted_only()
            .v6()
            .settings(count),
        Case::new(
            "counted fragment of a blocked source",
            later4(),
            Outcome::Blocked,
        )
        .v4()
        .settings(count)
        .rules([block("198.18.0.7/32")]),
        Case::passed("passed fragment", later4())
            .v4()
            .settings(pass),
        Case::passed("passed fragment, IPv6", later6())
            .v6()
            .settings(pass),
    ]
}

fn unenforced() -> Vec<Case> {
    let lenient = ShieldSettings {
        enforce: 0,
        ..ENFORCING
    };
    let spared = |description, frame, outcome| {
        Case::new(description, frame, outcome)
            .spared()
            .settings(lenient)
    };
    vec![
        spared("spared block", syn4(), Outcome::Blocked)
            .v4()
            .syn()
            .rules([block("198.18.0.7/32")]),
        spared("spared malformed", truncated4(), Outcome::Malformed).v4(),
        spared(
            "spared malformed without a source",
            cut(syn4(), 15),
            Outcome::Malformed,
        ),
        spared("spared fragment", later6(), Outcome::Fragment).v6(),
        Case::passed("nothing to spare", syn4())
            .v4()
            .syn()
            .settings(lenient),
        // What the program does before user space has written its settings.
        Case::passed("settings all zero", later4())
            .v4()
            .settings(UNWRITTEN),
    ]
}

const UNWRITTEN: ShieldSettings = ShieldSettings {
    enforce: 0,
    malformed: 0,
    fragments: 0,
    samples_per_window: 0,
    lists: 0,
};

fn malformed_policy(policy: Policy) -> ShieldSettings {
    ShieldSettings {
        malformed: policy as u8,
        ..ENFORCING
    }
}

fn fragment_policy(policy: Policy) -> ShieldSettings {
    ShieldSettings {
        fragments: policy as u8,
        ..ENFORCING
    }
}

fn syn4() -> Vec<u8> {
    ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)))
}

fn truncated4() -> Vec<u8> {
    cut(syn4(), 40)
}

fn later4() -> Vec<u8> {
    ethernet(IPV4, &fragment4(ipv4(SOURCE4, UDP, &[0; 8]), 5, false))
}

fn later6() -> Vec<u8> {
    ethernet(
        IPV6,
        &ipv6(SOURCE6, FRAGMENT, &fragment6(UDP, 5, true, &[0; 8])),
    )
}
