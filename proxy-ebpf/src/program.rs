//! Entry point: from a frame to an XDP action, on one screen.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use weir_common::Outcome;
use weir_ebpf::packet::{Packet as _, XdpFrame};
use weir_ebpf::verdict::{Action, Decision, decide};

use crate::kernel::{Asked, Kernel};
use crate::{maps, sample, stats};

/// Judges one frame. `frags`: frames of several buffers (jumbo MTU, LRO) are welcome.
#[xdp(frags)]
pub(crate) fn weir(context: XdpContext) -> u32 {
    judge(&context)
}

#[inline(always)]
pub(crate) fn judge(context: &XdpContext) -> u32 {
    let frame = XdpFrame::measured(context);
    let Some(settings) = maps::settings() else {
        // User space has written nothing yet.
        stats::count(Outcome::Passed, false, frame.frame_len());
        return XDP_PASS;
    };
    let kernel = Kernel::new(context.ctx, settings, Asked);
    let Decision {
        action,
        outcome,
        is_sampled,
    } = decide(&frame, &kernel, settings);
    let spared = action == Action::Spare;
    stats::count(outcome, spared, frame.frame_len());
    if is_sampled {
        sample::write(context.ctx, outcome, spared);
    }
    match action {
        Action::Pass | Action::Spare => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Answer => XDP_TX,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
