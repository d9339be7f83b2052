//! From hits to block decisions.

use std::time::{Duration, Instant};

use super::offenders::Offenders;
use super::window::{Counted, Window};
use super::{Count, RuleSettings, Rules, Source};

/// A source broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDecision {
    /// Rule name.
    pub rule: String,
    /// What to block.
    pub network: ipnet::IpNet,
    /// For how long: doubled on each repeat, up to `block_max`.
    pub duration: Duration,
    /// For the operator: `42 requests in 10s, limit 20`. At most 48 bytes.
    pub reason: String,
}

/// Counts over windows. Lives on the control thread. Memory is bounded: 65,536 sources a rule and window half, and
/// 65,536 remembered offenders.
///
/// The count never exceeds what the source did within the window, so that one which keeps to the limit is never blamed.
/// More than the limit within half a window, or steadily more than the limit per window, is always found; bursts that
/// are more than half a window apart can reach twice the limit within one window, but not more than the limit on average.
#[derive(Debug)]
pub struct Detector {
    rules: Vec<(RuleSettings, Window)>,
    offenders: Offenders,
    untracked: u64,
}

impl Detector {
    /// Nothing counted yet.
    pub fn new(rules: &Rules, now: Instant) -> Self {
        let rules = rules.settings().iter();
        Self {
            rules: rules
                .map(|rule| (rule.clone(), Window::new(rule.window, now)))
                .collect(),
            offenders: Offenders::new(),
            untracked: 0,
        }
    }

    /// Adds `hits` of `source` under rule `rule`. `Some` when that crosses the limit; then the source's count starts
    /// anew, so that each offence is reported once. Crossing it again within 2 s (or within the block, if that is
    /// shorter) is taken for the tail of the same offence and not reported.
    pub fn observe(
        &mut self,
        rule: usize,
        source: Source,
        hits: u32,
        now: Instant,
    ) -> Option<BlockDecision> {
        let (settings, window) = self.rules.get_mut(rule)?;
        let count = match window.add(source, hits, now) {
            Counted::Tracked(count) => count,
            Counted::Untracked(count) => {
                if count <= settings.limit {
                    self.untracked = self.untracked.saturating_add(u64::from(hits));
                }
                count
            }
        };
        if count <= settings.limit {
            return None;
        }
        window.forget(source);
        let duration = self.offenders.offend(rule, settings, source, now)?;
        Some(BlockDecision {
            rule: settings.name.clone(),
            network: source.network(),
            duration,
            reason: reason(settings, count),
        })
    }

    /// Hits that were not counted because a window was full.
    pub fn untracked(&self) -> u64 {
        self.untracked
    }
}

/// At most 48 bytes: 8 digits + ` TLS failures in ` + `3599.9s` + `, limit ` + 8 digits = 48.
fn reason(rule: &RuleSettings, count: u32) -> String {
    let count = count.min(99_999_999);
    let counted = match rule.count {
        Count::Requests => "requests",
        Count::Responses => "responses",
        Count::TlsFailures => "TLS failures",
        Count::ProtocolErrors => "violations",
        Count::SlowRequests => "timeouts",
        Count::Connections => "connections",
    };
    let (window, limit) = (rule.window, rule.limit);
    if window.subsec_nanos() == 0 {
        format!("{count} {counted} in {}s, limit {limit}", window.as_secs())
    } else {
        let tenths = window.as_millis() / 100;
        format!(
            "{count} {counted} in {}.{}s, limit {limit}",
            tenths / 10,
            tenths % 10
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::super::window::SOURCES_MAX;
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

    fn rule(limit: u32) -> RuleSettings {
        RuleSettings {
            name: "flood".to_owned(),
            count: Count::Requests,
            filter: Filter::default(),
            limit,
            window: Duration::from_secs(10),
            block_for: Duration::from_mins(1),
            block_max: Duration::from_mins(10),
        }
    }

    fn detector(rules: Vec<RuleSettings>, now: Instant) -> Detector {
        Detector::new(&Rules::new(rules), now)
    }

    #[test]
    fn crossing_the_limit_is_reported_once_with_what_to_block_and_why() {
        let now = start();
        let mut detector = detector(vec![rule(20)], now);
        assert_eq!(detector.observe(0, source(0xc000_0201), 20, now), None);
        let decision = detector.observe(0, source(0xc000_0201), 22, now);
        let expected = BlockDecision {
            rule: "flood".to_owned(),
            network: "192.0.2.1/32".parse().expect("a network"),
            duration: Duration::from_mins(1),
            reason: "42 requests in 10s, limit 20".to_owned(),
        };
        assert_eq!(decision, Some(expected));
        assert_eq!(detector.observe(0, source(0xc000_0201), 20, now), None);
    }

    #[test]
    fn what_two_workers_saw_of_one_flood_is_one_offence() {
        let now = start();
        let mut detector = detector(vec![rule(20)], now);
        assert!(detector.observe(0, source(1), 2500, now).is_some());
        let soon = now + Duration::from_millis(25);
        assert_eq!(detector.observe(0, source(1), 2500, soon), None);
    }

    #[test]
    fn a_repeat_after_the_block_is_blocked_for_twice_as_long() {
        let now = start();
        let mut detector = detector(vec![rule(20)], now);
        detector.observe(0, source(1), 21, now);
        let decision = detector.observe(0, source(1), 21, now + Duration::from_secs(61));
        assert_eq!(decision.map(|d| d.duration), Some(Duration::from_mins(2)));
    }

    #[test]
    fn rules_and_sources_are_counted_apart() {
        let now = start();
        let mut detector = detector(vec![rule(20), rule(20)], now);
        for (rule, n) in [(0, 1), (1, 1), (0, 2)] {
            assert_eq!(detector.observe(rule, source(n), 20, now), None);
        }
        assert!(detector.observe(1, source(1), 1, now).is_some());
    }

    #[test]
    fn keeping_to_the_limit_in_every_window_is_never_an_offence() {
        let now = start();
        let mut detector = detector(vec![rule(20)], now);
        for burst in 0..100 {
            // Always at least a window apart, at any place in a half.
            let now = now + Duration::from_millis(10_000 * burst + 1300 * (burst / 3));
            assert_eq!(detector.observe(0, source(1), 20, now), None);
        }
    }

    #[test]
    fn a_full_window_still_reports_who_breaks_the_limit_in_one_report() {
        let now = start();
        let mut detector = detector(vec![rule(20)], now);
        for n in 0..u32::try_from(SOURCES_MAX).expect("fits") {
            detector.observe(0, source(n), 1, now);
        }
        assert_eq!(detector.untracked(), 0);
        assert_eq!(detector.observe(0, source(u32::MAX), 20, now), None);
        assert_eq!(detector.untracked(), 20);
        assert!(detector.observe(0, source(u32::MAX), 21, now).is_some());
        assert_eq!(detector.untracked(), 20);
    }

    #[test]
    fn a_rule_index_of_another_site_is_ignored() {
        let now = start();
        assert_eq!(detector(vec![], now).observe(0, source(1), 99, now), None);
    }

    #[test]
    fn a_reason_fits_into_48_bytes_at_its_longest() {
        let longest = RuleSettings {
            count: Count::TlsFailures,
            limit: 10_000_000,
            window: Duration::from_nanos(3_599_999_999_999),
            ..rule(0)
        };
        let text = reason(&longest, u32::MAX);
        assert_eq!(text, "99999999 TLS failures in 3599.9s, limit 10000000");
        assert!(text.len() <= 48);
    }
}
