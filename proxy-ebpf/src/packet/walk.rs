//! The options of a SYN, in a form that the verifier follows: an unrolled walk of variable steps exceeds its budget.
#![allow(
    unsafe_code,
    reason = "the callback of bpf_loop gets its state as a raw pointer"
)]

use core::ffi::c_void;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::bpf_loop;
use aya_ebpf::programs::XdpContext;

use super::{Bytes as _, XdpFrame};
use crate::verdict::cookies::{MOST_OPTIONS, Options, step};

/// Reads the options from `at` to `end`: by one look if they are what Linux, BSD and Windows send, else one by one.
#[inline(always)]
pub(super) fn options(frame: &XdpFrame<'_>, at: usize, end: usize) -> Options {
    let common = match end - at {
        4 => mss_only(frame, at),
        20 => linux(frame, at),
        _ => None,
    };
    match common {
        Some(options) => options,
        None => walk(frame, at, end),
    }
}

/// MSS.
#[inline(always)]
fn mss_only(frame: &XdpFrame<'_>, at: usize) -> Option<Options> {
    let bytes = frame.window::<4>(at)?;
    (bytes.be16::<0>() == 0x0204).then(|| Options {
        mss: bytes.be16::<2>(),
        ..Options::NONE
    })
}

/// MSS, SACK permitted, timestamps, no operation, window scale: in this order since 2.6.
#[inline(always)]
fn linux(frame: &XdpFrame<'_>, at: usize) -> Option<Options> {
    let bytes = frame.window::<20>(at)?;
    let expected = bytes.be16::<0>() == 0x0204
        && bytes.be32::<4>() == 0x0402_080a
        && bytes.be32::<16>() >> 8 == 0x01_0303;
    expected.then(|| Options {
        mss: bytes.be16::<2>(),
        window_scale: bytes.byte::<19>().min(14),
        flags: Options::SACK | Options::TIMESTAMPS,
        timestamp: bytes.be32::<8>(),
    })
}

/// One option a turn: the body is verified once.
#[inline(always)]
fn walk(frame: &XdpFrame<'_>, at: usize, end: usize) -> Options {
    let mut state = Walk {
        context: frame.context(),
        at: at as u32,
        end: end as u32,
        options: Options::NONE,
    };
    let turn: unsafe extern "C" fn(u64, *mut c_void) -> i64 = turn;
    // SAFETY: the callback is a BPF function of the shape that the helper wants, and gets `state`, which outlives it.
    unsafe {
        bpf_loop(
            MOST_OPTIONS,
            turn as *mut c_void,
            (&raw mut state).cast(),
            0,
        );
    }
    state.options
}

/// What a turn starts from and leaves.
#[repr(C)]
struct Walk {
    context: *mut xdp_md,
    at: u32,
    end: u32,
    options: Options,
}

/// 0: go on. 1: the list has ended.
#[inline(never)]
unsafe extern "C" fn turn(_turn: u64, state: *mut c_void) -> i64 {
    // SAFETY: `walk` passes its own `Walk`.
    let state = unsafe { &mut *state.cast::<Walk>() };
    let context = XdpContext::new(state.context);
    let frame = XdpFrame::new(&context);
    let (at, end) = (state.at as usize, state.end as usize);
    if at >= end {
        return 1;
    }
    match step(&frame, at, end, &mut state.options) {
        Some(next) => {
            state.at = next as u32;
            0
        }
        None => 1,
    }
}
