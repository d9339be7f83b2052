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

/// Reads the fields in the order in which `#[repr(C)]` lays them out.
fn decode(record: &[u8]) -> Option<Sample> {
    let (when_ns, rest) = record.split_first_chunk()?;
    let (skipped, rest) = rest.split_first_chunk()?;
    let (slot, rest) = rest.split_first_chunk()?;
    let (frame_len, rest) = rest.split_first_chunk()?;
    let (head_len, rest) = rest.split_first_chunk()?;
    let (&outcome, rest) = rest.split_first()?;
    let (&reserved, rest) = rest.split_first_chunk()?;
    let (&head, _) = rest.split_first_chunk::<HEAD_BYTES>()?;
    let head_len = u16::from_ne_bytes(*head_len);
    Some(Sample {
        when_ns: u64::from_ne_bytes(*when_ns),
        skipped: u64::from_ne_bytes(*skipped),
        slot: u32::from_ne_bytes(*slot),
        frame_len: u32::from_ne_bytes(*frame_len),
        // A reader indexes `head` with it, so it is bounded here, whoever wrote the record.
        head_len: head_len.min(HEAD_BYTES_U16),
        outcome,
        reserved,
        head,
    })
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "96 fits; `TryFrom` is not const"
)]
const HEAD_BYTES_U16: u16 = HEAD_BYTES as u16;

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
