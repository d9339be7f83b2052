//! Parts of the verdict as BPF functions with global linkage: the kernel verifies each of them once, for any arguments,
//! instead of along every path that leads to it, and each has a stack of its own.
//!
//! Their arguments are numbers, the context and addresses of structs without gaps (the verifier knows their size from BTF,
//! and that they may be null); their results are numbers. 0 stands for what a null argument gets.
#![allow(
    unsafe_code,
    reason = "exported symbols are unsafe attributes, and references arrive as raw pointers"
)]

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use weir_common::{ShieldSettings, Source};
use weir_ebpf::packet::XdpFrame;
use weir_ebpf::parse::{self, Ip, Upper};
use weir_ebpf::track;
use weir_ebpf::verdict::account::{self, Load};
use weir_ebpf::verdict::lists::{self, Candidates};
use weir_ebpf::verdict::{cookies, exempt, inner, sanity};

use super::{Asked, Clock, Kernel, Once};

/// `Listed` of an IPv4 source.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_look_up4(settings: *const ShieldSettings, address: u32) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let Some(settings) = (unsafe { settings.as_ref() }) else {
        return 0;
    };
    let kernel = kernel(settings, Asked);
    let candidates = lists::candidates4(&kernel, settings, address);
    lists::check4(&kernel, address, candidates) as u32
}

/// `Listed` of an IPv4 source, by its `Candidates`.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_search4(
    settings: *const ShieldSettings,
    address: u32,
    candidates: u32,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let Some(settings) = (unsafe { settings.as_ref() }) else {
        return 0;
    };
    let candidates = Candidates::from_bits(candidates);
    lists::check4(&kernel(settings, Asked), address, candidates) as u32
}

/// 1: a packet of a blocked source passes all the same.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_is_spared(
    context: *mut xdp_md,
    settings: *const ShieldSettings,
    ip: *const Ip,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let (Some(settings), Some(ip)) = (unsafe { (settings.as_ref(), ip.as_ref()) }) else {
        return 0;
    };
    let kernel = Kernel::new(context, settings, Asked);
    let context = XdpContext::new(context);
    let frame = XdpFrame::new(&context);
    u32::from(exempt::from_block(&frame, &kernel, settings, ip))
}

/// `Listed` of an IPv6 source.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_look_up6(
    settings: *const ShieldSettings,
    head: u64,
    tail: u64,
) -> u32 {
    // SAFETY: null or a live settings value; so says the caller, and the verifier.
    let Some(settings) = (unsafe { settings.as_ref() }) else {
        return 0;
    };
    lists::check6(&kernel(settings, Asked), settings, [head, tail]) as u32
}

/// Reads what IPv6 carries; 0 if it cannot be read.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_read_upper6(
    context: *mut xdp_md,
    ip: *const Ip,
    upper: *mut Upper,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let (Some(ip), Some(upper)) = (unsafe { (ip.as_ref(), upper.as_mut()) }) else {
        return 0;
    };
    let context = XdpContext::new(context);
    match parse::upper6(&XdpFrame::new(&context), ip) {
        None => 0,
        Some(read) => {
            *upper = read;
            1
        }
    }
}

/// `Sane`: what `inner::check` finds.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_look_inside(
    context: *mut xdp_md,
    settings: *const ShieldSettings,
    outer: *const Upper,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let (Some(settings), Some(outer)) = (unsafe { (settings.as_ref(), outer.as_ref()) }) else {
        return 0;
    };
    let kernel = Kernel::new(context, settings, Asked);
    let context = XdpContext::new(context);
    inner::check(&XdpFrame::new(&context), &kernel, settings, outer).to_bits()
}

/// `Sane`: what `sanity::look_closer` finds.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_look_closer(
    context: *mut xdp_md,
    settings: *const ShieldSettings,
    ip: *const Ip,
    upper: *const Upper,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let (Some(settings), Some(ip), Some(upper)) =
        (unsafe { (settings.as_ref(), ip.as_ref(), upper.as_ref()) })
    else {
        return 0;
    };
    let kernel = Kernel::new(context, settings, Asked);
    let context = XdpContext::new(context);
    sanity::look_closer(&XdpFrame::new(&context), &kernel, settings, ip, upper).to_bits()
}

/// `Accounted`, for an IPv4 source.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_account4(
    settings: *const ShieldSettings,
    address: u32,
    load: u64,
    now_ns: u64,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let Some(settings) = (unsafe { settings.as_ref() }) else {
        return 0;
    };
    let load = Load::from_bits(load);
    account::check(
        &kernel(settings, Once::answered(now_ns)),
        settings,
        Source::V4(address),
        load,
        now_ns,
    )
    .to_bits()
}

/// `Accounted`, for an IPv6 source; only the first half of its address matters.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_account6(
    settings: *const ShieldSettings,
    head: u64,
    load: u64,
    now_ns: u64,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let Some(settings) = (unsafe { settings.as_ref() }) else {
        return 0;
    };
    let load = Load::from_bits(load);
    account::check(
        &kernel(settings, Once::answered(now_ns)),
        settings,
        Source::V6([head, 0]),
        load,
        now_ns,
    )
    .to_bits()
}

/// `Check` of SYN cookies. `stage`: a `Stage`.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_cookie(
    context: *mut xdp_md,
    settings: *const ShieldSettings,
    ip: *const Ip,
    upper: *const Upper,
    stage: u32,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    let (Some(settings), Some(ip), Some(upper)) =
        (unsafe { (settings.as_ref(), ip.as_ref(), upper.as_ref()) })
    else {
        return 0;
    };
    let kernel = Kernel::new(context, settings, Once::new());
    let context = XdpContext::new(context);
    let frame = XdpFrame::new(&context);
    let stage = cookies::Stage::from_bits(stage);
    cookies::check(&frame, &kernel, settings, (ip, upper), stage) as u32
}

/// `track::admit`; the result says nothing.
#[inline(never)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn weir_admit(
    settings: *const ShieldSettings,
    ip: *const Ip,
    now_ns: u64,
) -> u32 {
    // SAFETY: as in `weir_look_up6`.
    if let (Some(settings), Some(ip)) = unsafe { (settings.as_ref(), ip.as_ref()) } {
        track::admit(
            &kernel(settings, Once::answered(now_ns)),
            settings,
            ip.source(),
            now_ns,
        );
    }
    0
}

/// For what concerns no packet.
#[inline(always)]
fn kernel<C: Clock>(settings: &ShieldSettings, clock: C) -> Kernel<'_, C> {
    Kernel::new(core::ptr::null_mut(), settings, clock)
}
