//! Sampled drops: from the bytes in the ring to [`DropSample`].

use aya::maps::{MapData, RingBuf};
use weir_common::sample::HEAD_BYTES;
use weir_common::{Outcome, Sample};

/// A decoded sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropSample {
    /// Interface name.
    pub interface: String,
    /// Why.
    pub outcome: Outcome,
    /// As it lay in the ring.
    pub sample: Sample,
}

/// Takes at most `max` samples out of `ring`; never blocks. Records that are no samples are skipped.
pub(super) fn take(
    ring: &mut RingBuf<MapData>,
    max: usize,
    interface: impl Fn(u32) -> String,
) -> Vec<DropSample> {
    let mut samples = Vec::new();
    for _ in 0..max {
        let Some(record) = ring.next() else { break };
        let Some(sample) = decode(&record) else {
            continue;
        };
        let Some(outcome) = Outcome::from_index(usize::from(sample.outcome)) else {
            continue;
        };
        samples.push(DropSample {
            interface: interface(sample.slot),
            outcome,
            sample,
        });
    }
    samples
}

/// A reader indexes `head` with its length, so that is bounded here, whoever wrote the record.
fn decode(record: &[u8]) -> Option<Sample> {
    let sample = Sample::from_bytes(record)?;
    let head_len =
        u16::try_from(HEAD_BYTES).map_or(sample.head_len, |max| sample.head_len.min(max));
    Some(Sample { head_len, ..sample })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(head_len: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(1_u64.to_ne_bytes());
        bytes.extend(2_u64.to_ne_bytes());
        bytes.extend(3_u32.to_ne_bytes());
        bytes.extend(1500_u32.to_ne_bytes());
        bytes.extend(head_len.to_ne_bytes());
        bytes.push(Outcome::Blocked as u8);
        bytes.extend([0; 5]);
        bytes.extend([0xab; HEAD_BYTES]);
        bytes
    }

    #[test]
    fn a_record_is_read_field_by_field() {
        let bytes = record(60);
        assert_eq!(bytes.len(), size_of::<Sample>());
        let sample = decode(&bytes).expect("whole record");
        assert_eq!((sample.when_ns, sample.skipped), (1, 2));
        assert_eq!(
            (sample.slot, sample.frame_len, sample.head_len),
            (3, 1500, 60)
        );
        assert_eq!(sample.outcome, Outcome::Blocked as u8);
        assert_eq!(sample.spared, 0);
        assert_eq!(sample.head, [0xab; HEAD_BYTES]);
    }

    #[test]
    fn a_record_cut_short_is_none() {
        let bytes = record(60);
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_head_never_claims_more_bytes_than_it_has() {
        let sample = decode(&record(u16::MAX)).expect("whole record");
        assert_eq!(usize::from(sample.head_len), HEAD_BYTES);
    }
}
