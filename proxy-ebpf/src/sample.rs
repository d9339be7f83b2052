//! Samples of dropped frames for user space, within a budget per CPU and window.

use weir_common::sample::HEAD_BYTES;
use weir_common::{Outcome, Sample, ShieldSettings};
use weir_ebpf::packet::{Packet as _, XdpFrame};

use crate::maps;

/// Writes a sample of the frame, if this CPU's budget and the ring have room for one.
#[inline(always)]
pub(crate) fn offer(
    frame: &XdpFrame<'_>,
    outcome: Outcome,
    settings: &ShieldSettings,
    now_ns: u64,
) {
    let Some(gate) = maps::sample_gate() else {
        return;
    };
    let window = now_ns >> WINDOW_SHIFT;
    if gate.window != window {
        gate.window = window;
        gate.used = 0;
    }
    if gate.used >= u64::from(settings.samples_per_window) {
        gate.skipped += 1;
        return;
    }
    gate.used += 1;
    let Some(mut record) = maps::reserve_sample() else {
        gate.skipped += 1;
        maps::count_lost_sample();
        return;
    };
    let head_len = frame.first_buffer_len().min(HEAD_BYTES);
    let sample = record.write(Sample {
        when_ns: now_ns,
        skipped: gate.skipped,
        slot: maps::slot(),
        frame_len: frame.frame_len() as u32,
        head_len: head_len as u16,
        outcome: outcome as u8,
        reserved: [0; 5],
        head: [0; HEAD_BYTES],
    });
    // Byte by byte: a helper would want a length whose lower bound the verifier can see, and LLVM optimises that
    // away. A few samples per window can afford it.
    for (at, byte) in sample.head.iter_mut().enumerate() {
        let Some([value]) = frame.load(at) else {
            break;
        };
        *byte = value;
    }
    gate.skipped = 0;
    record.submit(0);
}

/// A window is 2^28 ns: 268 ms.
const WINDOW_SHIFT: u32 = 28;
