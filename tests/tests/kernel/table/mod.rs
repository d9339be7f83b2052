//! The table: frames, and what the shield makes of each. One file per subject.

mod buffers;
mod classes;
mod cookies;
mod exempt;
mod fragments;
mod ipv4;
mod ipv6;
mod limits;
mod link;
mod lists;
mod sanity;
mod tunnels;

use std::net::IpAddr;

use weir_common::settings::Sanity;
use weir_common::{DropClass, Outcome, Policy, ShieldSettings, Verdict, addr};

use crate::frames::{DOT1AD, DOT1Q, ETHERNET_LEN, OWN4, OWN6, SOURCE4, SOURCE6, tagged};
use crate::pair::Plan;
use crate::rules::{Rule, source};
use crate::shield::Action;

/// A few frames in a row and what is expected of them.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) description: String,
    pub(crate) plan: Plan,
    pub(crate) steps: Vec<Step>,
    /// Whose state these frames leave, and only this one's; `None` = nobody's.
    pub(crate) source: Option<u64>,
    /// Whether the frames count as new connections.
    pub(crate) syn: bool,
    /// How many of them do, if not all.
    pub(crate) syns: Option<u64>,
    /// Hits of each rule, in their order.
    pub(crate) hits: Vec<u64>,
}

/// One frame, once or more often.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) frame: Vec<u8>,
    /// Bytes of the first buffer, if the rest is to lie elsewhere.
    pub(crate) split: Option<usize>,
    pub(crate) times: u32,
    pub(crate) action: Action,
    /// Under which it, and only this, is counted.
    pub(crate) outcome: Outcome,
    pub(crate) spared: bool,
    /// Whether the frame counts for its source.
    pub(crate) counts: bool,
    /// Counter of the source that grows.
    pub(crate) drop: Option<DropClass>,
}

/// The whole table: what does not depend on tags is there without, with one, and with two.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = link::cases();
    for case in independent_of_tags() {
        cases.push(case.clone().tagged("802.1Q", &[DOT1Q]));
        cases.push(case.clone().tagged("QinQ", &[DOT1AD, DOT1Q]));
        cases.push(case);
    }
    cases
}

/// The table with each frame once.
pub(crate) fn cases_once() -> Vec<Case> {
    let mut cases = link::cases();
    cases.extend(independent_of_tags());
    cases
}

fn independent_of_tags() -> Vec<Case> {
    [
        buffers::cases(),
        classes::cases(),
        cookies::cases(),
        exempt::cases(),
        fragments::cases(),
        ipv4::cases(),
        ipv6::cases(),
        limits::cases(),
        lists::cases(),
        sanity::cases(),
        tunnels::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Everything on, no list populated, no limits: every source has a state at once.
pub(crate) fn enforcing() -> Box<ShieldSettings> {
    let mut settings = Box::new(ShieldSettings::OPEN);
    settings.enforce = 1;
    settings.calm = u32::MAX;
    // Beyond the budget for samples, drops are attributed to their sources in lots.
    settings.samples_per_epoch = u8::MAX;
    settings.prefix_heavy = u32::MAX;
    settings.sanity = Sanity {
        closed_ports: Policy::Pass as u8,
        ..Sanity::all(Policy::Drop)
    };
    settings
}

impl Case {
    /// An enforcing shield without lists; outcome and action go together, nobody's state grows.
    fn new(description: impl Into<String>, frame: Vec<u8>, outcome: Outcome) -> Self {
        Self {
            description: description.into(),
            plan: Plan {
                settings: enforcing(),
                rules: Vec::new(),
                own: vec![OWN4.into(), OWN6.into()],
            },
            steps: vec![Step::new(frame, outcome)],
            source: None,
            syn: false,
            syns: None,
            hits: Vec::new(),
        }
    }

    /// A packet that passes.
    fn passed(description: impl Into<String>, frame: Vec<u8>) -> Self {
        Self::new(description, frame, Outcome::Passed)
    }

    /// A packet that is cut behind its IP header, or a frame whose source is not read.
    fn malformed(description: impl Into<String>, frame: Vec<u8>) -> Self {
        Self::new(description, frame, Outcome::Malformed)
    }

    /// A fragment, dropped.
    fn fragment(description: impl Into<String>, frame: Vec<u8>) -> Self {
        Self::new(description, frame, Outcome::Fragment)
    }

    /// Counted for the IPv4 test source.
    fn v4(self) -> Self {
        self.counted_for(SOURCE4)
    }

    /// Counted for the /64 of the IPv6 test source.
    fn v6(self) -> Self {
        self.counted_for(SOURCE6)
    }

    fn counted_for(self, address: impl Into<IpAddr>) -> Self {
        Self {
            source: Some(addr::source_key(source(address.into()))),
            ..self
        }
    }

    /// Counted as new connections.
    fn syn(self) -> Self {
        Self { syn: true, ..self }
    }

    fn rules<const N: usize>(mut self, rules: [Rule; N]) -> Self {
        self.plan.rules = rules.into();
        self
    }

    fn hits<const N: usize>(self, hits: [u64; N]) -> Self {
        Self {
            hits: hits.into(),
            ..self
        }
    }

    fn with(mut self, change: impl FnOnce(&mut ShieldSettings)) -> Self {
        change(&mut self.plan.settings);
        self
    }

    /// Counted under its outcome, but passed, and not as dropped: a policy of `count`.
    fn counted_only(mut self) -> Self {
        for step in &mut self.steps {
            step.action = Action::Pass;
            step.drop = None;
        }
        self
    }

    /// A shield that does not enforce: counted as dropped, but passed.
    fn spared(mut self) -> Self {
        for step in &mut self.steps {
            if step.outcome.verdict() == Verdict::Drop {
                step.action = Action::Pass;
                step.spared = true;
            }
        }
        self.with(|settings| settings.enforce = 0)
    }

    /// The last frame so many times.
    fn times(mut self, times: u32) -> Self {
        if let Some(step) = self.steps.last_mut() {
            step.times = times;
        }
        self
    }

    /// Then the last frame again, with another outcome.
    fn then(self, times: u32, outcome: Outcome) -> Self {
        let frame = self.steps.last().map(|step| step.frame.clone());
        self.then_frame(frame.expect("a case has a frame"), times, outcome)
    }

    /// Then another frame.
    fn then_frame(mut self, frame: Vec<u8>, times: u32, outcome: Outcome) -> Self {
        self.steps.push(Step {
            times,
            ..Step::new(frame, outcome)
        });
        self
    }

    /// Nobody's state grows.
    fn nobodys(self) -> Self {
        Self {
            source: None,
            ..self
        }
    }

    /// Only so many bytes of each frame lie in its first buffer.
    fn split(mut self, first_buffer: usize) -> Self {
        for step in &mut self.steps {
            step.split = Some(first_buffer);
        }
        self
    }

    /// Every frame behind tags. Nobody knows there whether a port is closed.
    fn tagged(mut self, name: &str, tags: &[u16]) -> Self {
        self.description = format!("{}, {name}", self.description);
        for step in &mut self.steps {
            if step.outcome == Outcome::PortClosed {
                step.outcome = Outcome::Passed;
                step.action = Action::Pass;
                step.spared = false;
                step.drop = None;
            }
            let before = step.frame.len();
            for &tpid in tags.iter().rev() {
                step.frame = tagged(tpid, &step.frame);
            }
            let longer = step.frame.len() - before;
            step.split = step.split.map(|split| match split {
                ..ETHERNET_LEN => split,
                _ => split + longer,
            });
        }
        self
    }
}

impl Step {
    fn new(frame: Vec<u8>, outcome: Outcome) -> Self {
        let action = match outcome.verdict() {
            Verdict::Pass => Action::Pass,
            Verdict::Drop => Action::Drop,
        };
        Self {
            frame,
            split: None,
            times: 1,
            action,
            outcome,
            spared: false,
            counts: !matches!(outcome, Outcome::Blocked | Outcome::Spoofed),
            drop: drop_class(outcome),
        }
    }
}

/// Where a source's drops of this outcome are counted.
fn drop_class(outcome: Outcome) -> Option<DropClass> {
    match outcome {
        Outcome::Malformed
        | Outcome::Fragment
        | Outcome::BadFlags
        | Outcome::Amplification
        | Outcome::IcmpType
        | Outcome::QuicInvalid
        | Outcome::PortClosed => Some(DropClass::Sanity),
        Outcome::RatePackets
        | Outcome::RateBytes
        | Outcome::RateSyn
        | Outcome::RateUdp
        | Outcome::RateIcmp => Some(DropClass::Rate),
        Outcome::RatePrefix => Some(DropClass::Prefix),
        Outcome::Allowed
        | Outcome::Passed
        | Outcome::NonIp
        | Outcome::Blocked
        | Outcome::Spoofed
        | Outcome::SynCookie
        | Outcome::BadCookie
        | Outcome::Ethertype => None,
    }
}
