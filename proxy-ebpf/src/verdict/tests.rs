//! Host tests of the verdicts.

use core::cell::Cell;

use weir_common::Source;

use super::*;
use crate::parse::{Facts, Transport};

const NOW: u64 = 1_000;
const V4: Source = Source::V4([198, 18, 0, 7]);
const V6: Source = Source::V6([0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7]);

/// The list maps: for each kind what a lookup finds; prefixes from longest to shortest.
#[derive(Default)]
struct Stub {
    allow: Vec<Hit>,
    exact: Option<Hit>,
    prefix64: Option<Hit>,
    block: Vec<Hit>,
    lookups: Cell<u32>,
}

impl Stub {
    fn looked_up<T>(&self, found: T) -> T {
        self.lookups.set(self.lookups.get() + 1);
        found
    }

    fn longest(&self, entries: &[Hit], prefix_len: u32) -> Option<Hit> {
        self.looked_up(
            entries
                .iter()
                .find(|hit| u32::from(hit.prefix_len) <= prefix_len)
                .copied(),
        )
    }
}

impl Lists for Stub {
    fn allow_lpm4(&self, _: [u8; 4], prefix_len: u32) -> Option<Hit> {
        self.longest(&self.allow, prefix_len)
    }
    fn allow_lpm6(&self, _: [u8; 16], prefix_len: u32) -> Option<Hit> {
        self.longest(&self.allow, prefix_len)
    }
    fn block4(&self, _: [u8; 4]) -> Option<Hit> {
        self.looked_up(self.exact)
    }
    fn block6(&self, _: [u8; 16]) -> Option<Hit> {
        self.looked_up(self.exact)
    }
    fn block6_64(&self, prefix: [u8; 8]) -> Option<Hit> {
        assert_eq!(prefix, [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 2]);
        self.looked_up(self.prefix64)
    }
    fn block_lpm4(&self, _: [u8; 4], prefix_len: u32) -> Option<Hit> {
        self.longest(&self.block, prefix_len)
    }
    fn block_lpm6(&self, _: [u8; 16], prefix_len: u32) -> Option<Hit> {
        self.longest(&self.block, prefix_len)
    }
}

fn hit(prefix_len: u8, expires_ns: u64) -> Hit {
    Hit {
        expires_ns,
        prefix_len,
    }
}

fn packet(source: Source) -> Parsed {
    fragment(source, Fragment::Whole)
}

fn fragment(source: Source, fragment: Fragment) -> Parsed {
    Parsed::Ip(Facts {
        source,
        protocol: 47,
        fragment,
        transport: Transport::Opaque,
        tags: 0,
    })
}

const ENFORCING: ShieldSettings = ShieldSettings {
    enforce: 1,
    malformed: Policy::Drop as u8,
    fragments: Policy::Drop as u8,
    samples_per_window: 0,
    lists: ShieldSettings::LIST_ALL,
};

#[test]
fn nothing_listed_passes() {
    for source in [V4, V6] {
        let decision = decide(&packet(source), &Stub::default(), &ENFORCING, NOW);
        assert_eq!(decision, Decision::Pass(Outcome::Passed));
    }
}

#[test]
fn non_ip_passes_without_a_lookup() {
    let lists = Stub::default();
    let decision = decide(&Parsed::NonIp, &lists, &ENFORCING, NOW);
    assert_eq!(decision, Decision::Pass(Outcome::NonIp));
    assert_eq!(lists.lookups.get(), 0);
}

#[test]
fn every_block_list_blocks_alone() {
    let exact = || Stub {
        exact: Some(hit(0, 0)),
        ..Stub::default()
    };
    let prefix64 = || Stub {
        prefix64: Some(hit(64, 0)),
        ..Stub::default()
    };
    let prefix = || Stub {
        block: vec![hit(8, 0)],
        ..Stub::default()
    };
    let cases = [
        ("exact", V4, exact()),
        ("prefix", V4, prefix()),
        ("exact, IPv6", V6, exact()),
        ("/64", V6, prefix64()),
        ("prefix, IPv6", V6, prefix()),
    ];
    for (what, source, lists) in cases {
        let decision = decide(&packet(source), &lists, &ENFORCING, NOW);
        assert_eq!(decision, Decision::Drop(Outcome::Blocked), "{what}");
    }
}

#[test]
fn allow_beats_block_and_the_fragment_policy() {
    let lists = Stub {
        allow: vec![hit(16, 0)],
        exact: Some(hit(32, 0)),
        block: vec![hit(24, 0)],
        ..Stub::default()
    };
    for kind in [Fragment::Whole, Fragment::First, Fragment::Later] {
        let decision = decide(&fragment(V4, kind), &lists, &ENFORCING, NOW);
        assert_eq!(decision, Decision::Pass(Outcome::Allowed));
    }
}

#[test]
fn malformed_is_judged_before_the_allowlist() {
    let lists = Stub {
        allow: vec![hit(16, 0)],
        ..Stub::default()
    };
    let decision = decide(&Parsed::Malformed(Some(V4)), &lists, &ENFORCING, NOW);
    assert_eq!(decision, Decision::Drop(Outcome::Malformed));
}

#[test]
fn block_is_judged_before_fragments() {
    let lists = Stub {
        exact: Some(hit(32, 0)),
        ..Stub::default()
    };
    let decision = decide(&fragment(V4, Fragment::Later), &lists, &ENFORCING, NOW);
    assert_eq!(decision, Decision::Drop(Outcome::Blocked));
}

#[test]
fn an_entry_ends_at_its_expiry() {
    for (expires_ns, live) in [(0, true), (NOW + 1, true), (NOW, false), (1, false)] {
        let cases = [
            Stub {
                exact: Some(hit(32, expires_ns)),
                ..Stub::default()
            },
            Stub {
                block: vec![hit(24, expires_ns)],
                ..Stub::default()
            },
        ];
        for lists in cases {
            let decision = decide(&packet(V4), &lists, &ENFORCING, NOW);
            assert_eq!(
                decision == Decision::Drop(Outcome::Blocked),
                live,
                "{expires_ns}"
            );
        }
        let lists = Stub {
            allow: vec![hit(0, expires_ns)],
            ..Stub::default()
        };
        let decision = decide(&packet(V6), &lists, &ENFORCING, NOW);
        assert_eq!(
            decision == Decision::Pass(Outcome::Allowed),
            live,
            "{expires_ns}"
        );
    }
}

#[test]
fn a_live_prefix_shows_through_expired_longer_ones() {
    for expired in 0..=6_u8 {
        let mut block: Vec<Hit> = (0..expired).map(|n| hit(30 - n, 1)).collect();
        block.push(hit(8, 0));
        let lists = Stub {
            block,
            ..Stub::default()
        };
        let decision = decide(&packet(V4), &lists, &ENFORCING, NOW);
        let found = decision == Decision::Drop(Outcome::Blocked);
        assert_eq!(found, expired <= 4, "behind {expired} expired prefixes");
        assert!(lists.lookups.get() <= 1 + 1 + 5, "the search is bounded");
    }
}

#[test]
fn an_entry_that_lies_about_its_length_ends_the_search() {
    let lists = Stub {
        block: vec![hit(0, 1)],
        ..Stub::default()
    };
    let decision = decide(&packet(V4), &lists, &ENFORCING, NOW);
    assert_eq!(decision, Decision::Pass(Outcome::Passed));
    assert_eq!(lists.lookups.get(), 3, "allow, exact, one prefix");
}

#[test]
fn lists_that_are_not_populated_are_not_looked_up() {
    let lists = Stub {
        allow: vec![hit(0, 0)],
        exact: Some(hit(0, 0)),
        prefix64: Some(hit(0, 0)),
        block: vec![hit(0, 0)],
        ..Stub::default()
    };
    let settings = ShieldSettings {
        lists: 0,
        ..ENFORCING
    };
    for source in [V4, V6] {
        let decision = decide(&packet(source), &lists, &settings, NOW);
        assert_eq!(decision, Decision::Pass(Outcome::Passed));
    }
    assert_eq!(lists.lookups.get(), 0);
}

#[test]
fn policies_count_or_ignore_their_class() {
    let cases = [
        (
            Policy::Drop,
            Decision::Drop(Outcome::Malformed),
            Decision::Drop(Outcome::Fragment),
        ),
        (
            Policy::Count,
            Decision::Pass(Outcome::Malformed),
            Decision::Pass(Outcome::Fragment),
        ),
        (
            Policy::Pass,
            Decision::Pass(Outcome::Passed),
            Decision::Pass(Outcome::Passed),
        ),
    ];
    for (policy, malformed, fragmented) in cases {
        let settings = ShieldSettings {
            malformed: policy as u8,
            fragments: policy as u8,
            ..ENFORCING
        };
        for source in [Some(V4), Some(V6)] {
            let decision = decide(&Parsed::Malformed(source), &Stub::default(), &settings, NOW);
            assert_eq!(decision, malformed);
        }
        let nobody_blocked = ShieldSettings {
            lists: ShieldSettings::LIST_ALLOW4 | ShieldSettings::LIST_ALLOW6,
            ..settings
        };
        let unknown = Parsed::Malformed(None);
        let decision = decide(&unknown, &Stub::default(), &nobody_blocked, NOW);
        assert_eq!(decision, malformed);
        for kind in [Fragment::First, Fragment::Later] {
            let decision = decide(&fragment(V4, kind), &Stub::default(), &settings, NOW);
            assert_eq!(decision, fragmented);
        }
    }
}

#[test]
fn a_policy_that_lets_through_does_not_shield_from_the_blocklist() {
    let lists = Stub {
        exact: Some(hit(32, 0)),
        ..Stub::default()
    };
    for policy in [Policy::Count, Policy::Pass] {
        let settings = ShieldSettings {
            malformed: policy as u8,
            ..ENFORCING
        };
        let decision = decide(&Parsed::Malformed(Some(V4)), &lists, &settings, NOW);
        assert_eq!(decision, Decision::Drop(Outcome::Blocked));
    }
}

/// Three priority tags (VLAN 0) and Linux still delivers the packet: seen on 6.18 without 802.1Q in the kernel.
#[test]
fn a_source_that_cannot_be_read_is_no_way_past_the_blocklist() {
    for policy in [Policy::Count, Policy::Pass] {
        for list in [
            ShieldSettings::LIST_BLOCK4,
            ShieldSettings::LIST_BLOCK6,
            ShieldSettings::LIST_BLOCK6_64,
            ShieldSettings::LIST_BLOCK_LPM4,
            ShieldSettings::LIST_BLOCK_LPM6,
        ] {
            let settings = ShieldSettings {
                malformed: policy as u8,
                lists: list,
                ..ENFORCING
            };
            let decision = decide(&Parsed::Malformed(None), &Stub::default(), &settings, NOW);
            assert_eq!(decision, Decision::Drop(Outcome::Malformed), "{list:#x}");
        }
    }
}

#[test]
fn an_unknown_policy_drops() {
    let settings = ShieldSettings {
        fragments: 3,
        ..ENFORCING
    };
    let decision = decide(
        &fragment(V4, Fragment::First),
        &Stub::default(),
        &settings,
        NOW,
    );
    assert_eq!(decision, Decision::Drop(Outcome::Fragment));
}

#[test]
fn without_enforcement_drops_are_spared_but_count_as_dropped() {
    let lists = Stub {
        exact: Some(hit(32, 0)),
        ..Stub::default()
    };
    let settings = ShieldSettings {
        enforce: 0,
        ..ENFORCING
    };
    let cases = [
        (packet(V4), Outcome::Blocked),
        (Parsed::Malformed(None), Outcome::Malformed),
    ];
    for (parsed, outcome) in cases {
        let decision = decide(&parsed, &lists, &settings, NOW);
        assert_eq!(decision, Decision::Spare(outcome));
        assert!(decision.counts_as_dropped());
    }
    let passed = decide(&packet(V4), &Stub::default(), &settings, NOW);
    assert!(!passed.counts_as_dropped());
}
