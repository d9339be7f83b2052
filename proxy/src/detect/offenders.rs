//! Who offended before, so that a repeat is blocked for longer. Two generations: when the younger is full it becomes
//! the older and the older is forgotten, so that keeping within the bound costs nothing per offence.

use std::mem;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt};

use super::{RuleSettings, Source};

/// Offenders remembered, both generations: × about 56 bytes, at most about 8 MiB with the tables' slack.
const OFFENDERS_MAX: usize = 65_536;

/// Hits that come this soon after an offence (or within the block, if that is shorter) are what workers had counted,
/// or what was in flight, before the block took hold: not a repeat.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Offenders {
    younger: HashMap<(usize, Source), Offence>,
    older: HashMap<(usize, Source), Offence>,
}

#[derive(Debug, Clone, Copy)]
struct Offence {
    /// Blocks before this one that still count.
    repeats: u32,
    last: Instant,
}

impl Offenders {
    pub(super) fn new() -> Self {
        Self {
            younger: HashMap::new(),
            older: HashMap::new(),
        }
    }

    /// Notes an offence of `source` against rule `index` and says how long to block; `None` when it is the tail of the
    /// last one.
    pub(super) fn offend(
        &mut self,
        index: usize,
        rule: &RuleSettings,
        source: Source,
        now: Instant,
    ) -> Option<Duration> {
        let key = (index, source);
        let repeats = match self.younger.get(&key).or_else(|| self.older.get(&key)) {
            None => 0,
            Some(offence) => {
                let since = now.saturating_duration_since(offence.last);
                if since < SETTLE.min(block_duration(rule, offence.repeats)) {
                    return None;
                }
                let remembered = since < rule.block_max.saturating_mul(2);
                if remembered {
                    offence.repeats.saturating_add(1)
                } else {
                    0
                }
            }
        };
        self.remember(key, Offence { repeats, last: now });
        Some(block_duration(rule, repeats))
    }

    fn remember(&mut self, key: (usize, Source), offence: Offence) {
        if self.younger.len() >= OFFENDERS_MAX / 2 && !self.younger.contains_key(&key) {
            mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        self.younger.insert(key, offence);
    }
}

/// `block_for`, doubled `repeats` times, up to `block_max`.
fn block_duration(rule: &RuleSettings, repeats: u32) -> Duration {
    let factor = 1_u32.checked_shl(repeats).unwrap_or(u32::MAX);
    rule.block_for.saturating_mul(factor).min(rule.block_max)
}

#[cfg(test)]
mod tests {
    use super::super::{Count, Filter};
    use super::*;

    #[allow(
        clippy::disallowed_methods,
        reason = "any start will do; time then moves by hand"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn source(n: u32) -> Source {
        Source::of(std::net::IpAddr::V4(n.into()))
    }

    fn rule() -> RuleSettings {
        RuleSettings {
            name: "rule".to_owned(),
            count: Count::Requests,
            filter: Filter::default(),
            limit: 1,
            window: Duration::from_secs(10),
            block_for: Duration::from_mins(1),
            block_max: Duration::from_mins(10),
        }
    }

    #[test]
    fn each_repeat_doubles_the_block_up_to_the_longest() {
        let (mut now, rule) = (start(), rule());
        let mut offenders = Offenders::new();
        for expected in [60, 120, 240, 480, 600, 600] {
            let duration = offenders.offend(0, &rule, source(1), now);
            assert_eq!(duration, Some(Duration::from_secs(expected)));
            now += Duration::from_secs(1000);
        }
    }

    #[test]
    fn any_number_of_repeats_stays_at_the_longest_block() {
        for repeats in [31, 32, 33, u32::MAX] {
            assert_eq!(block_duration(&rule(), repeats), Duration::from_mins(10));
        }
    }

    #[test]
    fn an_offender_is_forgotten_after_twice_the_longest_block() {
        let (start, rule) = (start(), rule());
        let mut offenders = Offenders::new();
        let blocks = [(0, 60), (1199, 120), (2399, 60)];
        for (second, expected) in blocks {
            let duration =
                offenders.offend(0, &rule, source(1), start + Duration::from_secs(second));
            assert_eq!(
                duration,
                Some(Duration::from_secs(expected)),
                "second {second}"
            );
        }
    }

    #[test]
    fn offences_against_different_rules_or_by_different_sources_are_apart() {
        let (now, rule) = (start(), rule());
        let mut offenders = Offenders::new();
        for (index, n) in [(0, 1), (1, 1), (0, 2)] {
            assert_eq!(
                offenders.offend(index, &rule, source(n), now),
                Some(rule.block_for)
            );
        }
    }

    #[test]
    fn hits_counted_before_the_block_took_hold_are_no_repeat() {
        let (now, rule) = (start(), rule());
        let mut offenders = Offenders::new();
        assert!(offenders.offend(0, &rule, source(1), now).is_some());
        assert_eq!(
            offenders.offend(0, &rule, source(1), now + SETTLE / 2),
            None
        );
        let repeat = offenders.offend(0, &rule, source(1), now + SETTLE);
        assert_eq!(repeat, Some(2 * rule.block_for));
    }

    #[test]
    fn a_block_shorter_than_the_settling_time_can_be_repeated_as_soon_as_it_ends() {
        let short = Duration::from_millis(100);
        let rule = RuleSettings {
            block_for: short,
            ..rule()
        };
        let (now, mut offenders) = (start(), Offenders::new());
        assert!(offenders.offend(0, &rule, source(1), now).is_some());
        assert_eq!(
            offenders.offend(0, &rule, source(1), now + short),
            Some(2 * short)
        );
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_offenders_are_forgotten_first() {
        let (start, rule) = (start(), rule());
        let mut offenders = Offenders::new();
        let half = u32::try_from(OFFENDERS_MAX / 2).expect("fits");
        for n in 0..half * 2 {
            offenders.offend(0, &rule, source(n), start);
        }
        let later = start + 2 * SETTLE;
        // Known, and thereby young again; with it the younger generation overflows.
        assert_eq!(
            offenders.offend(0, &rule, source(0), later),
            Some(2 * rule.block_for)
        );
        assert_eq!(
            offenders.offend(0, &rule, source(1), later),
            Some(rule.block_for)
        );
        assert_eq!(
            offenders.offend(0, &rule, source(half), later),
            Some(2 * rule.block_for)
        );
        for n in 0..half * 4 {
            offenders.offend(0, &rule, source(n), later);
            assert!(offenders.younger.len() + offenders.older.len() <= OFFENDERS_MAX);
        }
    }
}
