//! Bounds-checked reads from a frame: the only place where packet memory is touched.
#![allow(
    unsafe_code,
    reason = "the XDP context hands out addresses, not slices; the one cast is below"
)]

/// Largest offset a header may begin at, in bytes. Bounds the verifier's idea of a variable offset, and with it what
/// an extension header chain can make the parser skip: a header beyond it reads as cut short.
pub const MAX_OFFSET: usize = 2047;

/// A frame from its Ethernet header on.
pub trait Packet {
    /// Length of the frame in bytes, all its buffers together.
    fn frame_len(&self) -> usize;

    /// The `N` bytes at `at`, if they lie in the frame's first buffer and `at` is at most [`MAX_OFFSET`].
    fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl Packet for &[u8] {
    fn frame_len(&self) -> usize {
        self.len()
    }

    fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if at > MAX_OFFSET {
            return None;
        }
        self.get(at..)?.first_chunk().copied()
    }
}

#[cfg(target_arch = "bpf")]
pub use bpf::XdpFrame;

#[cfg(target_arch = "bpf")]
mod bpf {
    use core::arch::asm;

    use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
    use aya_ebpf::programs::XdpContext;

    use super::{MAX_OFFSET, Packet};

    /// The frame an XDP program was called for.
    pub struct XdpFrame<'a> {
        context: &'a XdpContext,
        frame_len: usize,
    }

    impl<'a> XdpFrame<'a> {
        /// Asks for the frame's length once.
        #[inline(always)]
        pub fn new(context: &'a XdpContext) -> Self {
            // SAFETY: the helper takes any XDP context and only reads it.
            let frame_len = unsafe { bpf_xdp_get_buff_len(context.ctx) };
            Self {
                context,
                frame_len: frame_len as usize,
            }
        }

        /// Length of the first buffer in bytes: what [`Packet::load`] can reach.
        #[inline(always)]
        pub fn first_buffer_len(&self) -> usize {
            self.context.data_end() - self.context.data()
        }
    }

    impl Packet for XdpFrame<'_> {
        #[inline(always)]
        fn frame_len(&self) -> usize {
            self.frame_len
        }

        #[inline(always)]
        fn load<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
            if at > MAX_OFFSET {
                return None;
            }
            let start = self.context.data() + at;
            let end: usize;
            // The end is computed where LLVM cannot see how: it would turn `start + 1 > data_end` into
            // `start >= data_end`, for which the verifier grants no readable range. The asm has to emit instructions:
            // an empty one leaves two line records at one instruction, which BPF_PROG_LOAD refuses with EINVAL.
            // SAFETY: two register instructions without side effects.
            unsafe {
                asm!(
                    "{end} = {start}",
                    "{end} += {len}",
                    end = out(reg) end,
                    start = in(reg) start,
                    len = const N,
                    options(pure, nomem, nostack),
                );
            }
            if end > self.context.data_end() {
                return None;
            }
            // SAFETY: `start..start + N` lies between `data` and `data_end` (checked above, and by the verifier again);
            // a byte array has alignment 1 and any bit pattern is one.
            Some(unsafe { *(start as *const [u8; N]) })
        }
    }
}
