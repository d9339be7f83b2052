//! A frame as an XDP program gets it.
//!
//! Loads and stores of two, four and eight bytes are spelled in assembly: packets align nothing, LLVM would take them
//! apart into bytes, and the machine below (x86-64, arm64) needs no such care.
#![allow(
    unsafe_code,
    reason = "the XDP context hands out addresses, not slices; the casts are here"
)]

use core::arch::asm;
use core::cell::Cell;
use core::marker::PhantomData;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::XdpContext;

use super::{Bytes, MAX_LOAD, MAX_OFFSET, Packet, SHORT};
use crate::opaque::opaque;
use crate::parse::{Link, tagged};
use crate::verdict::cookies::Options;

/// The frame an XDP program was called for.
pub struct XdpFrame<'a> {
    context: &'a XdpContext,
    /// What is known of its length, in bytes; 0: nothing.
    frame_len: Cell<usize>,
}

/// Where helpers copy what does not lie in a frame's first buffer. On the stack, of 512 bytes, there is no room for it.
#[map]
static BEYOND: PerCpuArray<[u8; MAX_LOAD]> = PerCpuArray::with_max_entries(1, 0);

impl<'a> XdpFrame<'a> {
    /// A frame whose length is asked for when it is needed.
    #[inline(always)]
    pub fn new(context: &'a XdpContext) -> Self {
        Self {
            context,
            frame_len: Cell::new(0),
        }
    }

    /// A frame whose length is asked for once: now, or, if its first buffer is [`SHORT`], when a header claims more.
    #[inline(always)]
    pub fn measured(context: &'a XdpContext) -> Self {
        let frame = Self::new(context);
        let first = frame.first_buffer_len();
        let frame_len = if first < SHORT {
            first
        } else {
            frame.ask_len()
        };
        // SAFETY: the kernel hands no frame to XDP that is shorter than an Ethernet header.
        unsafe { core::hint::assert_unchecked(frame_len != 0) };
        frame.frame_len.set(frame_len);
        frame
    }

    /// Whether all of it lies in the first buffer.
    #[inline(always)]
    pub fn is_linear(&self) -> bool {
        self.first_buffer_len() == self.ask_len()
    }

    #[inline(always)]
    fn ask_len(&self) -> usize {
        // SAFETY: the helper takes any XDP context and only reads it.
        unsafe { bpf_xdp_get_buff_len(self.context.ctx) as usize }
    }

    /// Length of the first buffer in bytes.
    #[inline(always)]
    pub fn first_buffer_len(&self) -> usize {
        self.context.data_end() - self.context.data()
    }

    /// The context, for helpers.
    #[inline(always)]
    pub fn context(&self) -> *mut xdp_md {
        self.context.ctx
    }

    /// The `N` bytes at `at`, if they lie in the first buffer and `at` is at most [`MAX_OFFSET`].
    #[inline(always)]
    pub fn window<const N: usize>(&self, at: usize) -> Option<XdpBytes<'_, N>> {
        // LLVM would compare what `at` was computed from instead, and leave the verifier without a bound for `at` itself.
        let at = opaque(at as u32) as usize;
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
        (end <= self.context.data_end()).then_some(XdpBytes(start, PhantomData))
    }

    /// Makes the frame, which [is linear](Self::is_linear), `len` bytes long: of one in several buffers the helper would cut
    /// the last, and what was behind the headers be sent. Everything known about its memory is void afterwards.
    #[inline(always)]
    pub fn resize(&self, len: usize) -> bool {
        let have = self.first_buffer_len();
        if have == len {
            return true;
        }
        // SAFETY: the helper takes any context and checks the length.
        unsafe { bpf_xdp_adjust_tail(self.context.ctx, len as i32 - have as i32) == 0 }
    }

    /// Bytes of a frame in several buffers that do not lie in its first. Rare, so a helper may do it.
    #[inline(always)]
    fn load_beyond<const N: usize>(&self, at: usize) -> Option<XdpBytes<'_, N>> {
        const { assert!(N <= MAX_LOAD) };
        if self.is_linear() || at > MAX_OFFSET {
            return None;
        }
        let bytes = BEYOND.get_ptr_mut(0)?;
        // SAFETY: this CPU's element, which nothing else holds. The helper writes `N` bytes, which fit, or returns an error.
        let loaded =
            unsafe { bpf_xdp_load_bytes(self.context.ctx, at as u32, bytes.cast(), N as u32) };
        (loaded == 0).then_some(XdpBytes(bytes as usize, PhantomData))
    }
}

impl Packet for XdpFrame<'_> {
    type Bytes<'p, const N: usize>
        = XdpBytes<'p, N>
    where
        Self: 'p;

    #[inline(always)]
    fn frame_len(&self) -> usize {
        match self.frame_len.get() {
            0 => self.ask_len(),
            known => known,
        }
    }

    #[inline(always)]
    fn reaches(&self, len: usize) -> bool {
        if len <= self.frame_len.get() {
            return true;
        }
        let frame_len = self.ask_len();
        self.frame_len.set(frame_len);
        len <= frame_len
    }

    #[inline(always)]
    fn load<const N: usize>(&self, at: usize) -> Option<XdpBytes<'_, N>> {
        match self.window(at) {
            Some(bytes) => Some(bytes),
            None => self.load_beyond(at),
        }
    }

    #[inline(always)]
    fn tagged(&self) -> Option<Link> {
        // What a BPF function returns is any number to the verifier, so what follows is not verified for each number of tags.
        let link = weir_tagged(self.context.ctx);
        (link != 0).then(|| Link {
            ethertype: link as u16,
            at: (link >> 16 & 0xff) as usize,
            tags: (link >> 24) as u8,
        })
    }

    #[inline(always)]
    fn syn_options(&self, at: usize, end: usize) -> Options {
        super::walk::options(self, at, end)
    }
}

/// One load of a size.
macro_rules! load {
    ($self:ident, $at:ident, $instruction:literal, $bytes:literal) => {{
        const { assert!($at + $bytes <= N) };
        let value: u64;
        // SAFETY: `N` bytes are there and these are within them; the verifier checks it again.
        unsafe {
            asm!(
                $instruction,
                value = out(reg) value,
                at = in(reg) $self.0,
                offset = const $at,
                options(pure, readonly, nostack),
            );
        }
        value
    }};
}

/// Ethertype, place and tags of what follows a frame's tags, from the lowest bit on; 0 if it cannot be read.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn weir_tagged(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    match tagged(&XdpFrame::new(&context)) {
        None => 0,
        Some(link) => {
            u32::from(link.ethertype) | (link.at as u32) << 16 | u32::from(link.tags) << 24
        }
    }
}

/// `N` bytes of a frame: their address, which was checked.
#[derive(Clone, Copy)]
pub struct XdpBytes<'p, const N: usize>(usize, PhantomData<&'p ()>);

impl<const N: usize> XdpBytes<'_, N> {
    /// Their address, for helpers.
    #[inline(always)]
    pub fn address(self) -> usize {
        self.0
    }

    /// Writes four bytes at `AT`.
    #[inline(always)]
    pub fn put4<const AT: usize>(self, octets: [u8; 4]) {
        const { assert!(AT + 4 <= N) };
        // SAFETY: `N` bytes are there, `AT + 4` is within them; the verifier checks it again.
        unsafe {
            asm!(
                "*(u32 *)({at} + {offset}) = {value}",
                at = in(reg) self.0,
                offset = const AT,
                value = in(reg) u64::from(u32::from_ne_bytes(octets)),
                options(nostack),
            );
        }
    }

    /// Writes two bytes at `AT`.
    #[inline(always)]
    pub fn put2<const AT: usize>(self, octets: [u8; 2]) {
        const { assert!(AT + 2 <= N) };
        // SAFETY: as in `put4`.
        unsafe {
            asm!(
                "*(u16 *)({at} + {offset}) = {value}",
                at = in(reg) self.0,
                offset = const AT,
                value = in(reg) u64::from(u16::from_ne_bytes(octets)),
                options(nostack),
            );
        }
    }

    /// Writes a number in network order at `AT`.
    #[inline(always)]
    pub fn put8<const AT: usize>(self, number: u64) {
        const { assert!(AT + 8 <= N) };
        // SAFETY: as in `put4`.
        unsafe {
            asm!(
                "*(u64 *)({at} + {offset}) = {value}",
                at = in(reg) self.0,
                offset = const AT,
                value = in(reg) number.to_be(),
                options(nostack),
            );
        }
    }
}

impl<const N: usize> Bytes<N> for XdpBytes<'_, N> {
    #[inline(always)]
    fn byte<const AT: usize>(self) -> u8 {
        load!(self, AT, "{value} = *(u8 *)({at} + {offset})", 1) as u8
    }

    #[inline(always)]
    fn octets2<const AT: usize>(self) -> [u8; 2] {
        (load!(self, AT, "{value} = *(u16 *)({at} + {offset})", 2) as u16).to_ne_bytes()
    }

    #[inline(always)]
    fn octets4<const AT: usize>(self) -> [u8; 4] {
        (load!(self, AT, "{value} = *(u32 *)({at} + {offset})", 4) as u32).to_ne_bytes()
    }

    #[inline(always)]
    fn be64<const AT: usize>(self) -> u64 {
        u64::from_be(load!(self, AT, "{value} = *(u64 *)({at} + {offset})", 8))
    }
}
