//! The table: frames, and what the shield makes of each. One file per subject.

mod ipv4;
mod ipv6;
mod link;
mod lists;
mod policies;

use weir_common::{Outcome, Policy, ShieldSettings, Verdict};

use crate::frames::{SOURCE4, SOURCE6};
use crate::rules::Rule;
use crate::shield::Action;

/// One frame and what is expected of it.
pub(crate) struct Case {
    pub(crate) description: &'static str,
    pub(crate) frame: Vec<u8>,
    pub(crate) settings: ShieldSettings,
    pub(crate) rules: Vec<Rule>,
    pub(crate) action: Action,
    /// Under which the frame, and only this, is counted.
    pub(crate) outcome: Outcome,
    /// Key of the source whose counters grow by this frame, and only this one's; `None` = none's.
    pub(crate) source: Option<Vec<u8>>,
    /// By how much the source's `syns` and `dropped` grow.
    pub(crate) syns: u64,
    pub(crate) dropped: u64,
}

/// The whole table.
pub(crate) fn cases() -> Vec<Case> {
    [
        link::cases(),
        ipv4::cases(),
        ipv6::cases(),
        lists::cases(),
        policies::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Everything on, no list populated.
pub(crate) const ENFORCING: ShieldSettings = ShieldSettings {
    enforce: 1,
    malformed: Policy::Drop as u8,
    fragments: Policy::Drop as u8,
    samples_per_window: 0,
    lists: 0,
};

impl Case {
    /// An enforcing shield without lists; outcome and action go together, no source, no SYN.
    fn new(description: &'static str, frame: Vec<u8>, outcome: Outcome) -> Self {
        let action = match outcome.verdict() {
            Verdict::Pass => Action::Pass,
            Verdict::Drop => Action::Drop,
        };
        Self {
            description,
            frame,
            settings: ENFORCING,
            rules: Vec::new(),
            action,
            outcome,
            source: None,
            syns: 0,
            dropped: u64::from(action == Action::Drop),
        }
    }

    /// A packet that passes.
    fn passed(description: &'static str, frame: Vec<u8>) -> Self {
        Self::new(description, frame, Outcome::Passed)
    }

    /// A malformed packet.
    fn malformed(description: &'static str, frame: Vec<u8>) -> Self {
        Self::new(description, frame, Outcome::Malformed)
    }

    /// A fragment, dropped.
    fn fragment(description: &'static str, frame: Vec<u8>) -> Self {
        Self::new(description, frame, Outcome::Fragment)
    }

    /// Counted for the IPv4 test source.
    fn v4(self) -> Self {
        self.counted_for(&SOURCE4)
    }

    /// Counted for the /64 of the IPv6 test source.
    fn v6(self) -> Self {
        self.counted_for(&SOURCE6[..8])
    }

    fn counted_for(self, key: &[u8]) -> Self {
        Self {
            source: Some(key.to_vec()),
            ..self
        }
    }

    /// Counted as a SYN.
    fn syn(self) -> Self {
        Self { syns: 1, ..self }
    }

    fn rules<const N: usize>(self, rules: [Rule; N]) -> Self {
        Self {
            rules: rules.into(),
            ..self
        }
    }

    fn settings(self, settings: ShieldSettings) -> Self {
        Self { settings, ..self }
    }

    /// Counted under its outcome, but passed, and not as dropped: a policy of `count`.
    fn counted_only(self) -> Self {
        Self {
            action: Action::Pass,
            dropped: 0,
            ..self
        }
    }

    /// Counted as dropped, but passed: a shield that does not enforce.
    fn spared(self) -> Self {
        Self {
            action: Action::Pass,
            dropped: 1,
            ..self
        }
    }
}
