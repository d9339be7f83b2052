//! One server's passive health: failures in a row, and until when it is left out. An ejection leaves the count as it is, so
//! that after it the first failure ejects anew; only a response restores full trust.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Relaxed throughout: the words guard no other memory, and a reader that sees one a moment late picks a server that
/// was right a moment ago.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    consecutive_failures: AtomicU32,
    /// Milliseconds since the upstream's epoch.
    until_ms: AtomicU64,
}

/// What a failure calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Keep,
    Eject,
}

impl Ejection {
    /// Milliseconds that the server is still left out; 0 = it gets requests.
    pub(super) fn left_ms(&self, now_ms: u64) -> u64 {
        self.until_ms.load(Ordering::Relaxed).saturating_sub(now_ms)
    }

    /// A response head came: trust is restored, unless the server is ejected right now.
    pub(super) fn responded(&self, now_ms: u64) {
        // The load first: the usual case, a healthy server, then writes nothing to a line that all workers share.
        if self.consecutive_failures.load(Ordering::Relaxed) != 0 && self.left_ms(now_ms) == 0 {
            self.consecutive_failures.store(0, Ordering::Relaxed);
        }
    }

    /// An attempt failed; `limit` failures in a row are too many.
    pub(super) fn failed(&self, limit: u32, now_ms: u64) -> Judgement {
        if self.left_ms(now_ms) > 0 {
            return Judgement::Keep;
        }
        let before =
            self.consecutive_failures
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1));
        if before.unwrap_or(u32::MAX).saturating_add(1) >= limit {
            Judgement::Eject
        } else {
            Judgement::Keep
        }
    }

    /// Leaves the server out until then. False if it is already left out. Callers exclude each other.
    pub(super) fn eject(&self, now_ms: u64, until_ms: u64) -> bool {
        if self.left_ms(now_ms) > 0 {
            return false;
        }
        self.until_ms.store(until_ms, Ordering::Relaxed);
        true
    }
}
