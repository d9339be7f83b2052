//! Entry point: from a frame to an XDP action, on one screen.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use weir_ebpf::packet::{Packet as _, XdpFrame};
use weir_ebpf::parse::{Parsed, parse};
use weir_ebpf::verdict::{Decision, decide};

use crate::{maps, sample, stats};

/// Judges one frame. `frags`: frames of several buffers (jumbo MTU, LRO) are welcome; headers lie in the first.
#[xdp(frags)]
pub(crate) fn weir(context: XdpContext) -> u32 {
    let frame = XdpFrame::new(&context);
    let parsed = parse(&frame);
    let now_ns = match parsed {
        Parsed::NonIp => 0,
        Parsed::Malformed(_) | Parsed::Ip(_) => maps::coarse_clock_ns(),
    };
    let settings = maps::settings();
    let decision = decide(&parsed, &maps::KernelLists, &settings, now_ns);

    stats::count_total(decision.outcome(), frame.frame_len());
    stats::count_source(&parsed, decision, frame.frame_len(), now_ns);
    if decision.counts_as_dropped() {
        sample::offer(&frame, decision.outcome(), &settings, now_ns);
    }
    match decision {
        Decision::Pass(_) | Decision::Spare(_) => XDP_PASS,
        Decision::Drop(_) => XDP_DROP,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
