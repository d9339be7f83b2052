//! From a disagreement to the least that shows it: fewer frames, fewer rules, shorter frames, more zeros.

use std::fmt;

use super::{Frame, judge};
use crate::pair::{Comparison, Pair, Plan};

/// The least that still disagrees, as far as found.
pub(crate) struct Minimal {
    plan: Plan,
    frames: Vec<Frame>,
    difference: Option<String>,
}

/// Shrinks; says so if it does not happen again.
pub(crate) fn shrink(pair: &mut Pair, plan: &Plan, frames: &[Frame]) -> Minimal {
    let mut minimal = Minimal {
        plan: plan.clone(),
        frames: frames.to_vec(),
        difference: match judge(pair, plan, frames) {
            Comparison::Disagree(difference) => Some(difference),
            Comparison::Agree | Comparison::Undecided => None,
        },
    };
    if minimal.difference.is_none() {
        return minimal;
    }
    minimal.drop_frames(pair);
    minimal.drop_rules(pair);
    for number in 0..minimal.frames.len() {
        minimal.shrink_frame(pair, number);
    }
    minimal
}

impl Minimal {
    /// Takes the smaller case if it disagrees as well, and about the same: a verdict, or what is remembered.
    fn try_instead(&mut self, pair: &mut Pair, plan: &Plan, frames: &[Frame]) -> bool {
        let is_verdict = |difference: &str| difference.starts_with("frame");
        match judge(pair, plan, frames) {
            Comparison::Disagree(difference)
                if self
                    .difference
                    .as_deref()
                    .is_some_and(|old| is_verdict(old) == is_verdict(&difference)) =>
            {
                self.plan = plan.clone();
                self.frames = frames.to_vec();
                self.difference = Some(difference);
                true
            }
            _ => false,
        }
    }

    fn drop_frames(&mut self, pair: &mut Pair) {
        let plan = self.plan.clone();
        let mut chunk = self.frames.len() / 2;
        while chunk > 0 {
            let mut at = 0;
            while at < self.frames.len() {
                let end = (at + chunk).min(self.frames.len());
                let fewer = [&self.frames[..at], &self.frames[end..]].concat();
                if fewer.is_empty() || !self.try_instead(pair, &plan, &fewer) {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
    }

    fn drop_rules(&mut self, pair: &mut Pair) {
        let frames = self.frames.clone();
        for number in (0..self.plan.rules.len()).rev() {
            let mut plan = self.plan.clone();
            plan.rules.remove(number);
            self.try_instead(pair, &plan, &frames);
        }
    }

    fn shrink_frame(&mut self, pair: &mut Pair, number: usize) {
        let plan = self.plan.clone();
        let mut attempt = |minimal: &mut Self, change: &dyn Fn(&mut Frame)| {
            let mut frames = minimal.frames.clone();
            change(&mut frames[number]);
            frames != minimal.frames && minimal.try_instead(pair, &plan, &frames)
        };
        attempt(self, &|frame| frame.split = None);
        for cut in [1000, 100, 10, 1] {
            while attempt(self, &|frame| {
                let len = frame.bytes.len().saturating_sub(cut).max(14);
                frame.bytes.truncate(len);
            }) {}
        }
        for at in 0..self.frames[number].bytes.len() {
            attempt(self, &|frame| frame.bytes[at] = 0);
        }
    }
}

impl fmt::Display for Minimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(difference) = &self.difference else {
            return f.write_str("it did not happen again");
        };
        writeln!(f, "least that disagrees: {difference}")?;
        let settings = &self.plan.settings;
        writeln!(
            f,
            "seed {:#x}, enforce {}, set {}, cpus_log2 {}, calm {}, prefix_heavy {}",
            settings.seed,
            settings.enforce,
            settings.set,
            settings.cpus_log2,
            settings.calm,
            settings.prefix_heavy
        )?;
        writeln!(f, "{:?}", settings.sanity)?;
        writeln!(f, "{:?}", settings.cookies)?;
        writeln!(f, "{:?}", settings.limits)?;
        writeln!(f, "prefix {:?}", settings.prefix_limits)?;
        let failsafe = settings.failsafe_ports.contains(443);
        writeln!(f, "own {:?}, failsafe {failsafe}", self.plan.own)?;
        for rule in &self.plan.rules {
            writeln!(f, "{:?} {} ends {:?}", rule.list, rule.network, rule.ends)?;
        }
        for frame in &self.frames {
            write!(f, "split {:?}: ", frame.split)?;
            for byte in &frame.bytes {
                write!(f, "{byte:02x}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
