//! What health checks say of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwapOption;

use super::Turn;
use crate::balance::HealthSettings;

/// Written by whoever checks, one at a time; read by all workers. A server counts as healthy until checks say otherwise.
#[derive(Debug, Default)]
pub(in crate::balance) struct Probed {
    down: AtomicBool,
    /// Checks in a row that contradict `down`.
    streak: AtomicU32,
    /// Why the last check failed; `None` when it did not.
    reason: ArcSwapOption<Reason>,
}

/// `ArcSwap` wants a sized type.
#[derive(Debug)]
struct Reason(Arc<str>);

impl Probed {
    pub(in crate::balance) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Why the last check failed.
    pub(in crate::balance) fn reason(&self) -> Option<Arc<str>> {
        self.reason.load().as_ref().map(|text| Arc::clone(&text.0))
    }

    /// Forgets everything: there are no checks any more.
    pub(in crate::balance) fn reset(&self) {
        self.down.store(false, Ordering::Relaxed);
        self.streak.store(0, Ordering::Relaxed);
        self.reason.store(None);
    }

    /// A check ended.
    pub(in crate::balance) fn observe(
        &self,
        settings: &HealthSettings,
        outcome: Result<(), &str>,
    ) -> Option<Turn> {
        self.reason
            .store(outcome.err().map(|why| Arc::new(Reason(why.into()))));
        let down = self.is_down();
        if outcome.is_err() == down {
            self.streak.store(0, Ordering::Relaxed);
            return None;
        }
        let streak = self.streak.load(Ordering::Relaxed) + 1;
        let (needed, turn) = if down {
            (settings.rise, Turn::Up)
        } else {
            (settings.fall, Turn::Down)
        };
        if streak < needed {
            self.streak.store(streak, Ordering::Relaxed);
            return None;
        }
        self.streak.store(0, Ordering::Relaxed);
        self.down.store(turn == Turn::Down, Ordering::Relaxed);
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_in_a_row_take_a_server_out_and_bring_it_back() {
        let settings = HealthSettings {
            rise: 2,
            fall: 3,
            ..HealthSettings::default()
        };
        let probed = Probed::default();
        let steps = [
            (Err("refused"), None),
            (Err("refused"), None),
            (Ok(()), None),
            (Err("refused"), None),
            (Err("refused"), None),
            (Err("timed out"), Some(Turn::Down)),
            (Err("timed out"), None),
            (Ok(()), None),
            (Err("refused"), None),
            (Ok(()), None),
            (Ok(()), Some(Turn::Up)),
            (Ok(()), None),
        ];
        for (number, (outcome, turn)) in steps.into_iter().enumerate() {
            assert_eq!(probed.observe(&settings, outcome), turn, "step {number}");
            assert_eq!(probed.reason().as_deref(), outcome.err(), "step {number}");
        }
        assert!(!probed.is_down());
    }

    #[test]
    fn without_checks_a_server_is_healthy() {
        let probed = Probed::default();
        let once = HealthSettings {
            fall: 1,
            ..HealthSettings::default()
        };
        assert_eq!(probed.observe(&once, Err("refused")), Some(Turn::Down));
        probed.reset();
        assert!(!probed.is_down());
        assert_eq!(probed.reason(), None);
    }
}
