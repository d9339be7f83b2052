//! Samples of dropped frames for user space; `track::attend` decides which.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use weir_common::sample::HEAD_BYTES;
use weir_common::{Outcome, Sample};
use weir_ebpf::packet::{Bytes as _, Packet as _, XdpFrame};

use crate::maps;

/// Writes a sample of the frame, if the ring has room for one. `spared`: the packet passed, because the shield does not
/// enforce.
#[inline(always)]
pub(crate) fn write(context: *mut xdp_md, outcome: Outcome, spared: bool) {
    sample(context, outcome as u32, u32::from(spared));
}

/// A BPF function of its own, for its stack.
#[inline(never)]
fn sample(context: *mut xdp_md, outcome: u32, spared: u32) -> u32 {
    let context = XdpContext::new(context);
    let frame = XdpFrame::new(&context);
    let frame_len = frame.frame_len();
    let Some(cpu) = maps::cpu() else {
        return 0;
    };
    let skipped = cpu.skipped().read();
    let Some(mut record) = maps::reserve_sample() else {
        cpu.skipped().write(skipped + 1);
        maps::count_lost_sample();
        return 0;
    };
    let head_len = frame_len.min(HEAD_BYTES);
    let sample = record.write(Sample {
        when_ns: maps::coarse_clock_ns(),
        skipped,
        slot: maps::slot(),
        frame_len: frame_len as u32,
        head_len: head_len as u16,
        outcome: outcome as u8,
        spared: spared as u8,
        reserved: [0; 4],
        head: [0; HEAD_BYTES],
    });
    // Byte by byte: a helper would want a length whose lower bound the verifier can see, and LLVM optimises that
    // away. A few samples an epoch can afford it.
    for (at, byte) in sample.head.iter_mut().enumerate() {
        let Some(value) = frame.load::<1>(at) else {
            break;
        };
        *byte = value.byte::<0>();
    }
    cpu.skipped().write(0);
    record.submit(0);
    1
}
