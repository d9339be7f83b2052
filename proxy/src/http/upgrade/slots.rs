//! How many upgrades there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Upgrades of all workers.
#[derive(Debug)]
pub struct Upgrades {
    max: AtomicUsize,
    open: AtomicUsize,
    total: AtomicU64,
    refused: AtomicU64,
}

/// One upgrade; dropping it makes room.
#[derive(Debug)]
pub(in crate::http) struct Slot(Arc<Upgrades>);

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Full;

impl Upgrades {
    /// At most `max` at a time.
    pub fn new(max: usize) -> Self {
        Self {
            max: AtomicUsize::new(max),
            open: AtomicUsize::new(0),
            total: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// At most `max` from now on; those that are open stay.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Open now, those that wait for their origin's answer included.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Agreed to since the start.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Refused for the limit since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(in crate::http) fn take(self: &Arc<Self>) -> Result<Slot, Full> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max.load(Ordering::Relaxed) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Full);
        }
        Ok(Slot(Arc::clone(self)))
    }
}

impl Slot {
    /// The origin agreed.
    pub(in crate::http) fn count(&self) {
        self.0.total.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let upgrades = Arc::new(Upgrades::new(1));
        let slot = upgrades.take().expect("the first");
        slot.count();
        assert_eq!(upgrades.take().expect_err("the second"), Full);
        drop(slot);
        assert!(upgrades.take().is_ok());
        assert_eq!(
            (upgrades.open(), upgrades.total(), upgrades.refused()),
            (0, 1, 1)
        );
    }
}
