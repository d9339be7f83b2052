//! Floods from sources never seen before, and the states of those that were there first.

use std::collections::BTreeMap;

use weir_common::addr::source_key;
use weir_common::{Outcome, ShieldSettings, Source, SourceState};

use crate::frames::{ACK, IPV4, IPV6, SOURCE4, SOURCE6, TCP, ethernet, ipv4, ipv6, tcp};
use crate::shield::{Action, STATES_MAX, Shield};
use crate::table::enforcing;

#[test]
fn two_million_spoofed_packets_cost_no_honest_source_its_state_or_a_count() {
    let shield = shield(CALM);
    let mut senders = Senders::new();
    senders.honest(&shield);
    for _ in 0..ROUNDS {
        senders.spoofed(&shield, SPOOFED_A_ROUND);
        senders.honest(&shield);
    }
    let states: BTreeMap<u64, SourceState> = shield.sources().into_iter().collect();
    for (_, key) in &senders.honest {
        let state = states.get(key);
        let state = state.unwrap_or_else(|| panic!("{key:#x} has lost its state"));
        assert_eq!(state.packets, u64::from(ROUNDS) + 1, "{key:#x}: {state:?}");
        assert_eq!(state.dropped(), 0, "{key:#x}: {state:?}");
    }
    // Those of the first moment have a state, before it is known for a flood, and those after a pause.
    let spoofed = states.len() - senders.honest.len();
    assert!(
        spoofed < STATES_MAX as usize / 2,
        "{spoofed} spoofed sources have a state"
    );
    let sent = u64::from(ROUNDS * SPOOFED_A_ROUND) + u64::from(HONEST * (ROUNDS + 1));
    assert_eq!(shield.totals().of(Outcome::Passed).packets, sent);
}

#[test]
fn were_every_source_given_a_state_such_a_flood_would_push_the_honest_ones_out() {
    let shield = shield(u32::MAX);
    let mut senders = Senders::new();
    senders.honest(&shield);
    assert_eq!(shield.sources().len(), senders.honest.len());
    senders.spoofed(&shield, 4 * STATES_MAX);
    let states: BTreeMap<u64, SourceState> = shield.sources().into_iter().collect();
    let left = senders.honest.iter();
    let left = left.filter(|(_, key)| states.contains_key(key)).count();
    assert!(left < senders.honest.len() / 2, "{left} are left");
}

fn shield(calm: u32) -> Shield {
    let mut shield = Shield::load();
    shield.exchange_settings(&ShieldSettings {
        calm,
        ..*enforcing()
    });
    shield
}

/// Who sends. Of what makes the difference between two sources the highest bit is clear for honest ones, and set for others.
struct Senders {
    /// Frames, and keys of their sources' states; half of them IPv4.
    honest: Vec<(Vec<u8>, u64)>,
    /// One frame of each family, whose source changes from packet to packet.
    spoofed: [Vec<u8>; 2],
    sent: u32,
}

impl Senders {
    fn new() -> Self {
        let spoofed = [
            ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(ACK))),
            ethernet(IPV6, &ipv6(SOURCE6, TCP, &tcp(ACK))),
        ];
        let honest = (0..HONEST).map(|number| {
            let [mut v4, mut v6] = spoofed.clone();
            if number % 2 == 0 {
                let address = PREFIX4 | number;
                v4[AT].copy_from_slice(&address.to_be_bytes());
                (v4, source_key(Source::V4(address)))
            } else {
                v6[AT].copy_from_slice(&number.to_be_bytes());
                let low = u64::from_be_bytes(std::array::from_fn(|byte| v6[AT.start - 4 + byte]));
                (v6, source_key(Source::V6([low, 0])))
            }
        });
        let honest = honest.collect();
        Self {
            honest,
            spoofed,
            sent: 0,
        }
    }

    /// Each sends one packet.
    fn honest(&self, shield: &Shield) {
        for (frame, _) in &self.honest {
            assert_eq!(shield.run(frame), Action::Pass);
        }
    }

    /// So many packets, each from another /64, but one in eight from one of 65,536 IPv4 addresses.
    fn spoofed(&mut self, shield: &Shield, packets: u32) {
        for _ in 0..packets {
            self.sent += 1;
            // An odd factor: no two are the same.
            let scattered = self.sent.wrapping_mul(0x9e37_79b1);
            let (frame, differs) = if self.sent.is_multiple_of(8) {
                (&mut self.spoofed[0], PREFIX4 | 1 << 16 | scattered >> 16)
            } else {
                (&mut self.spoofed[1], scattered | 1 << 31)
            };
            frame[AT].copy_from_slice(&differs.to_be_bytes());
            assert_eq!(shield.run(frame), Action::Pass);
        }
    }
}

/// Where a frame has its IPv4 source, and the part of its IPv6 source behind `2001:db8`.
const AT: std::ops::Range<usize> = 26..30;
/// 198.18.0.0/15
const PREFIX4: u32 = 198 << 24 | 18 << 16;
const HONEST: u32 = 1000;
const ROUNDS: u32 = 100;
const SPOOFED_A_ROUND: u32 = 20_000;
/// What weir sets.
const CALM: u32 = 1024;
