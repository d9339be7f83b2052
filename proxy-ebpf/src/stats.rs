//! What is counted for every judged frame: its outcome, on this interface.

use weir_common::Outcome;

use crate::maps;

/// Counts the frame under its outcome.
#[inline(always)]
pub(crate) fn count(outcome: Outcome, spared: bool, frame_len: usize) {
    if let Some(tally) = maps::tally(outcome, spared) {
        tally.packets += 1;
        tally.bytes += frame_len as u64;
    }
}
