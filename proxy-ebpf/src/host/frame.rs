//! A frame as the program gets it: in two buffers, if the first is not long enough, and of a length that is not asked for
//! without need.

use std::cell::Cell;

use crate::packet::{MAX_OFFSET, Packet, SHORT};

/// A frame, and what the program knows of its length.
pub(super) struct HostFrame<'a> {
    bytes: &'a [u8],
    known_len: &'a Cell<usize>,
}

impl<'a> HostFrame<'a> {
    /// `known_len`: where what is known is kept.
    pub(super) fn measured(
        bytes: &'a [u8],
        first_buffer: usize,
        known_len: &'a Cell<usize>,
    ) -> Self {
        let is_short = first_buffer < SHORT;
        known_len.set(if is_short { first_buffer } else { usize::MAX }.min(bytes.len()));
        Self { bytes, known_len }
    }
}

impl Packet for HostFrame<'_> {
    type Bytes<'p, const N: usize>
        = &'p [u8; N]
    where
        Self: 'p;

    fn frame_len(&self) -> usize {
        self.known_len.get()
    }

    fn reaches(&self, len: usize) -> bool {
        if len > self.known_len.get() {
            self.known_len.set(self.bytes.len());
        }
        len <= self.known_len.get()
    }

    fn load<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        if at > MAX_OFFSET {
            return None;
        }
        self.bytes.get(at..)?.first_chunk()
    }
}
