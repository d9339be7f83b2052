//! Sampled drops, as they lie in the ring buffer.

/// Bytes of the frame a sample carries.
pub const HEAD_BYTES: usize = 96;

/// One dropped packet (or, without enforcement, one that would have been): 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When it was dropped, `CLOCK_MONOTONIC`, to the coarse clock's tick.
    pub when_ns: u64,
    /// Drops on this CPU since the last sample that were not sampled.
    pub skipped: u64,
    /// Interface slot.
    pub slot: u32,
    /// Length of the frame in bytes.
    pub frame_len: u32,
    /// Bytes of `head` that are the frame's, at most [`HEAD_BYTES`].
    pub head_len: u16,
    /// [`Outcome`](crate::Outcome) index.
    pub outcome: u8,
    /// 1: the packet was spared, because the shield does not enforce.
    pub spared: u8,
    /// Always 0.
    pub reserved: [u8; 4],
    /// Start of the frame.
    pub head: [u8; HEAD_BYTES],
}

impl Sample {
    /// Reads a record of the ring; `None` if it is not one sample long.
    pub fn from_bytes(record: &[u8]) -> Option<Self> {
        let record: &[u8; size_of::<Self>()] = record.try_into().ok()?;
        let mut fields = Fields(record);
        Some(Self {
            when_ns: u64::from_ne_bytes(fields.next()?),
            skipped: u64::from_ne_bytes(fields.next()?),
            slot: u32::from_ne_bytes(fields.next()?),
            frame_len: u32::from_ne_bytes(fields.next()?),
            head_len: u16::from_ne_bytes(fields.next()?),
            outcome: u8::from_ne_bytes(fields.next()?),
            spared: u8::from_ne_bytes(fields.next()?),
            reserved: fields.next()?,
            head: fields.next()?,
        })
    }
}

/// What is left to read of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

const _: () = assert!(size_of::<Sample>() == 128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_field_by_field_in_the_order_of_the_layout() {
        let mut record = [0; 128];
        record[0..8].copy_from_slice(&1_u64.to_ne_bytes());
        record[8..16].copy_from_slice(&2_u64.to_ne_bytes());
        record[16..20].copy_from_slice(&3_u32.to_ne_bytes());
        record[20..24].copy_from_slice(&4_u32.to_ne_bytes());
        record[24..26].copy_from_slice(&5_u16.to_ne_bytes());
        record[26] = 6;
        record[32] = 7;
        record[127] = 8;
        let sample = Sample::from_bytes(&record).expect("128 bytes are a sample");
        assert_eq!((sample.when_ns, sample.skipped), (1, 2));
        assert_eq!((sample.slot, sample.frame_len), (3, 4));
        assert_eq!((sample.head_len, sample.outcome), (5, 6));
        assert_eq!((sample.head[0], sample.head[95]), (7, 8));
    }

    #[test]
    fn a_record_of_another_length_is_no_sample() {
        assert_eq!(Sample::from_bytes(&[0; 127]), None);
        assert_eq!(Sample::from_bytes(&[0; 129]), None);
    }
}
