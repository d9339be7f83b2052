//! One server's passive health: failures in a row, errors within a window, and until when it is left out. An ejection
//! leaves the count of failures as it is, so that after it the first failure ejects anew; only a response restores full
//! trust.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::balance::EjectSettings;

/// Relaxed throughout: the words guard no other memory, and a reader that sees one a moment late picks a server that
/// was right a moment ago.
#[derive(Debug, Default)]
pub(in crate::balance) struct Ejection {
    consecutive_failures: AtomicU32,
    /// Milliseconds since the upstream's epoch.
    until_ms: AtomicU64,
    /// How long it was left out last.
    last_ms: AtomicU64,
    window: Window,
}

/// Errors since the first one of a window. Requests without error write nothing here: their number at the beginning is
/// noted and compared.
#[derive(Debug, Default)]
struct Window {
    began_ms: AtomicU64,
    requests_before: AtomicU64,
    errors: AtomicU32,
}

/// What speaks for an ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::balance) enum Rule {
    /// Too many failures in a row.
    Failures,
    /// Too large a share of errors; counts only if the others do better.
    Errors,
}

impl Ejection {
    /// Milliseconds that the server is still left out; 0 = it gets requests.
    pub(in crate::balance) fn left_ms(&self, now_ms: u64) -> u64 {
        self.until_ms().saturating_sub(now_ms)
    }

    /// When the last ejection ends or ended; 0 = there was none.
    pub(in crate::balance) fn until_ms(&self) -> u64 {
        self.until_ms.load(Ordering::Relaxed)
    }

    /// A response head came: trust is restored, unless the server is ejected right now.
    pub(in crate::balance) fn responded(&self, now_ms: u64) {
        // The load first: the usual case, a healthy server, then writes nothing to a line that all workers share.
        if self.consecutive_failures.load(Ordering::Relaxed) != 0 && self.left_ms(now_ms) == 0 {
            self.consecutive_failures.store(0, Ordering::Relaxed);
        }
    }

    /// An attempt failed.
    pub(in crate::balance) fn failed(
        &self,
        settings: &EjectSettings,
        requests: u64,
        now_ms: u64,
    ) -> Option<Rule> {
        if self.left_ms(now_ms) > 0 {
            return None;
        }
        let rule = self.errored(settings, requests, now_ms);
        let before =
            self.consecutive_failures
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1));
        if before.unwrap_or(u32::MAX).saturating_add(1) >= settings.failures {
            Some(Rule::Failures)
        } else {
            rule
        }
    }

    /// An attempt ended in an error. `requests` is the number of the server's requests ever, this one included.
    pub(in crate::balance) fn errored(
        &self,
        settings: &EjectSettings,
        requests: u64,
        now_ms: u64,
    ) -> Option<Rule> {
        if self.left_ms(now_ms) > 0 {
            return None;
        }
        let (errors, requests) = self.window.error(settings, requests, now_ms);
        let percent = u64::from(settings.error_percent);
        let too_many = percent > 0
            && requests >= settings.min_requests.into()
            && errors * 100 >= requests * percent;
        too_many.then_some(Rule::Errors)
    }

    /// Errors and requests of the window, if it is not over.
    pub(in crate::balance) fn recent(
        &self,
        settings: &EjectSettings,
        requests: u64,
        now_ms: u64,
    ) -> Option<(u64, u64)> {
        self.window.read(settings, requests, now_ms)
    }

    /// Leaves the server out, longer on each repeat. How long, in milliseconds; `None` if it is already left out. Callers
    /// exclude each other.
    pub(in crate::balance) fn eject(&self, settings: &EjectSettings, now_ms: u64) -> Option<u64> {
        if self.left_ms(now_ms) > 0 {
            return None;
        }
        let shortest = millis(settings.duration);
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        // Who stayed in as long as it had been out before has a clean record.
        let again = last_ms > 0 && now_ms.saturating_sub(self.until_ms()) < last_ms;
        let for_ms = if again {
            let longest = millis(settings.duration_max).max(shortest);
            last_ms.saturating_mul(2).clamp(shortest, longest)
        } else {
            shortest
        };
        self.window.restart();
        self.last_ms.store(for_ms, Ordering::Relaxed);
        self.until_ms
            .store(now_ms.saturating_add(for_ms), Ordering::Relaxed);
        Some(for_ms)
    }
}

impl Window {
    /// Counts an error and returns errors and requests so far.
    fn error(&self, settings: &EjectSettings, requests: u64, now_ms: u64) -> (u64, u64) {
        let began_ms = self.began_ms.load(Ordering::Relaxed);
        let is_over = !self.is_running(settings, now_ms);
        if is_over
            && self
                .began_ms
                .compare_exchange(began_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.requests_before
                .store(requests.saturating_sub(1), Ordering::Relaxed);
            self.errors.store(0, Ordering::Relaxed);
        }
        let errors = self
            .errors
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        (errors.into(), self.requests(requests))
    }

    fn read(&self, settings: &EjectSettings, requests: u64, now_ms: u64) -> Option<(u64, u64)> {
        let errors = self.errors.load(Ordering::Relaxed);
        self.is_running(settings, now_ms)
            .then(|| (errors.into(), self.requests(requests)))
    }

    fn is_running(&self, settings: &EjectSettings, now_ms: u64) -> bool {
        let began_ms = self.began_ms.load(Ordering::Relaxed);
        self.errors.load(Ordering::Relaxed) > 0
            && now_ms.saturating_sub(began_ms) < millis(settings.window)
    }

    fn requests(&self, requests: u64) -> u64 {
        requests.saturating_sub(self.requests_before.load(Ordering::Relaxed))
    }

    fn restart(&self) {
        self.errors.store(0, Ordering::Relaxed);
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
