//! Bounds-checked reads from a frame: the only place where packet memory is touched.

use crate::parse::{Link, tagged};
use crate::verdict::cookies::{Options, options};

#[cfg(target_arch = "bpf")]
mod walk;
#[cfg(target_arch = "bpf")]
mod xdp;

#[cfg(target_arch = "bpf")]
pub use xdp::{XdpBytes, XdpFrame};

/// Largest offset a header may begin at, in bytes. Bounds the verifier's idea of a variable offset, and with it what
/// an extension header chain can make the parser skip: a header beyond it reads as cut short.
pub const MAX_OFFSET: usize = 2047;
/// Most bytes one load may ask for: a fixed IPv6 header.
pub const MAX_LOAD: usize = 40;

/// Bytes of a first buffer that drivers fill before they begin another. The length of a frame whose first buffer is shorter
/// is not asked for without need: that takes a call.
pub const SHORT: usize = 256;

/// A frame from its Ethernet header on.
pub trait Packet {
    /// Some bytes of it.
    type Bytes<'p, const N: usize>: Bytes<N>
    where
        Self: 'p;

    /// Length of the frame in bytes, all its buffers together. Of a frame whose first buffer is shorter than [`SHORT`] and
    /// holds all that its headers claim, that buffer's: drivers fill the first buffer, or part headers from data in it, so
    /// what may follow is padding.
    fn frame_len(&self) -> usize;

    /// Whether the frame has at least `len` bytes.
    #[inline(always)]
    fn reaches(&self, len: usize) -> bool {
        len <= self.frame_len()
    }

    /// The `N` bytes at `at`, at most [`MAX_LOAD`], if they lie in the frame, whichever of its buffers that is, and `at` is at
    /// most [`MAX_OFFSET`]. To be read before the next load.
    fn load<const N: usize>(&self, at: usize) -> Option<Self::Bytes<'_, N>>;

    /// The headers of a frame with tags: [`tagged`].
    #[inline(always)]
    fn tagged(&self) -> Option<Link>
    where
        Self: Sized,
    {
        tagged(self)
    }

    /// The options of a SYN, which lie from `at` to `end`.
    #[inline(always)]
    fn syn_options(&self, at: usize, end: usize) -> Options
    where
        Self: Sized,
    {
        options(self, at, end)
    }
}

/// `N` bytes that are there. Reads at constant places, checked when compiled.
pub trait Bytes<const N: usize>: Copy {
    /// One byte.
    fn byte<const AT: usize>(self) -> u8;
    /// Two bytes, as they lie.
    fn octets2<const AT: usize>(self) -> [u8; 2];
    /// Four bytes, as they lie.
    fn octets4<const AT: usize>(self) -> [u8; 4];
    /// A number in network order.
    fn be64<const AT: usize>(self) -> u64;

    /// A number in network order.
    #[inline(always)]
    fn be16<const AT: usize>(self) -> u16 {
        u16::from_be_bytes(self.octets2::<AT>())
    }

    /// A number in network order.
    #[inline(always)]
    fn be32<const AT: usize>(self) -> u32 {
        u32::from_be_bytes(self.octets4::<AT>())
    }
}

impl Packet for &[u8] {
    type Bytes<'p, const N: usize>
        = &'p [u8; N]
    where
        Self: 'p;

    fn frame_len(&self) -> usize {
        self.len()
    }

    fn load<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        if at > MAX_OFFSET {
            return None;
        }
        self.get(at..)?.first_chunk()
    }
}

impl<const N: usize> Bytes<N> for &[u8; N] {
    fn byte<const AT: usize>(self) -> u8 {
        self[AT]
    }

    fn octets2<const AT: usize>(self) -> [u8; 2] {
        [self[AT], self[AT + 1]]
    }

    fn octets4<const AT: usize>(self) -> [u8; 4] {
        [self[AT], self[AT + 1], self[AT + 2], self[AT + 3]]
    }

    fn be64<const AT: usize>(self) -> u64 {
        let mut octets = [0; 8];
        octets.copy_from_slice(&self[AT..AT + 8]);
        u64::from_be_bytes(octets)
    }
}
