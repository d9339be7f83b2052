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
    /// Always 0.
    pub reserved: [u8; 5],
    /// Start of the frame.
    pub head: [u8; HEAD_BYTES],
}

const _: () = assert!(size_of::<Sample>() == 128);
