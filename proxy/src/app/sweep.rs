//! The sweep thread: removes expired list entries and counts the live ones.
//!
//! It walks every entry, which takes seconds with a million of them: too long for the control thread, which has signals
//! and the admin API to answer. Expiry does not depend on it: the kernel looks at the time itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;

use crate::clock;
use crate::xdp::{Census, ErrorKind, Maps, ShieldError};

/// What the last sweep found.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    census: Mutex<Option<Census>>,
}

impl Sweep {
    /// Starts the thread, which ends with the process.
    pub(super) fn start(pin_dir: &Path) -> anyhow::Result<Arc<Self>> {
        let maps = Maps::open(pin_dir)?;
        let sweep = Arc::new(Self::default());
        let kept = Arc::clone(&sweep);
        std::thread::Builder::new()
            .name("sweep".to_owned())
            .spawn(move || sweep.run(&maps))
            .context("cannot start the sweep thread")?;
        Ok(kept)
    }

    /// How many live entries the lists have: exactly while they are short, else as of the last sweep.
    pub(super) fn census(&self, maps: &Maps) -> Result<Census, ShieldError> {
        let known = *self.census.lock();
        match known {
            Some(census) if census.blocks + census.allows > COUNTED_AT_ONCE => Ok(census),
            _ => maps.census(clock::kernel_now_ns()),
        }
    }

    fn run(&self, maps: &Maps) {
        let mut told = String::new();
        loop {
            let start = clock::now();
            match maps.sweep(clock::kernel_now_ns()) {
                Ok(census) => {
                    *self.census.lock() = Some(census);
                    told.clear();
                }
                // Detached by hand: the control thread tells it for each interface.
                Err(error) if error.kind == ErrorKind::NotAttached => {}
                Err(error) => {
                    let error = error.to_string();
                    // Once, not every time.
                    if error != told {
                        tracing::warn!(%error, "cannot remove expired entries");
                        told = error;
                    }
                }
            }
            std::thread::sleep(pause_after(clock::now().saturating_duration_since(start)));
        }
    }
}

/// At most a twentieth of a core goes into sweeping.
fn pause_after(took: Duration) -> Duration {
    INTERVAL.max(took * 19)
}

/// How often expired entries are removed while the lists are short.
const INTERVAL: Duration = Duration::from_secs(2);
/// Entries that a status may count anew: about 20 ms.
const COUNTED_AT_ONCE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lists_are_swept_every_two_seconds_and_long_ones_take_a_twentieth_of_a_core() {
        for (took_ms, pause_ms) in [(0, 2000), (100, 2000), (200, 3800), (2000, 38_000)] {
            let pause = pause_after(Duration::from_millis(took_ms));
            assert_eq!(pause, Duration::from_millis(pause_ms), "{took_ms} ms");
        }
    }
}
