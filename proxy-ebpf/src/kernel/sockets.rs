//! The host's sockets: who would get a packet, and the kernel's own SYN cookies for its listeners.
//!
//! `bpf_tcp_gen_syncookie` and `bpf_tcp_check_syncookie` work with the listener that was looked up, so the kernel accepts
//! what this makes without netfilter, and a listener that never ran over marks itself as one that makes cookies.
//!
//! One BPF function of its own for all questions: it needs a stack of its own, and few packets get here.
#![allow(
    unsafe_code,
    reason = "helpers take and return raw pointers; every socket looked up here is released here"
)]

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::{bpf_sock, bpf_sock_tuple, tcphdr, xdp_md};
use aya_ebpf::helpers::generated::{
    bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_check_syncookie,
    bpf_tcp_gen_syncookie,
};
use aya_ebpf::programs::XdpContext;
use weir_common::Source;
use weir_ebpf::packet::{Bytes as _, XdpBytes, XdpFrame};
use weir_ebpf::parse::tcp::{ACK, MIN_HEADER, SYN};
use weir_ebpf::parse::{Ip, Version};

/// What is asked.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Whether a segment is for a connection that is established or closing.
    IsConnected,
    /// Whether a datagram is for a socket.
    HasUdp,
    /// A listener's cookie for a SYN.
    MakeCookie,
    /// Whether an ACK is for a listener and acknowledges a cookie of its, or [`NO_COOKIE`].
    CheckCookie,
}

/// What a listener is asked about.
#[derive(Clone, Copy)]
struct Question {
    /// [`Ask`]
    ask: u32,
    ip: *const Ip,
    segment_at: u32,
    mss: u16,
}

/// Asks the kernel: [`YES`], [`NO`] or [`NO_COOKIE`]; for a cookie the cookie, or something negative.
#[inline(always)]
pub(crate) fn ask(
    context: *mut xdp_md,
    ask: Ask,
    ip: &Ip,
    (source_port, destination_port): (u16, u16),
    (segment_at, mss): (usize, u16),
) -> i64 {
    // As they lie in `bpf_sock_tuple`.
    let ports = u32::from(source_port.to_be()) | u32::from(destination_port.to_be()) << 16;
    let rest = segment_at as u64 & 0xffff | u64::from(mss) << 16 | u64::from(ask as u32) << 32;
    answer(context, ip, ports, rest)
}

/// `rest`: where the segment begins in the lowest 16 bits, the MSS it announces in the next, then [`Ask`].
#[inline(never)]
fn answer(context: *mut xdp_md, ip: *const Ip, ports: u32, rest: u64) -> i64 {
    let question = Question {
        ask: (rest >> 32) as u32,
        ip,
        segment_at: rest as u32 & 0xffff,
        mss: (rest >> 16) as u16,
    };
    // Not a field of something: LLVM would clear it, byte by byte.
    let mut tuple = MaybeUninit::<bpf_sock_tuple>::uninit();
    let start = tuple.as_mut_ptr();
    // SAFETY: `ask` passes a reference; the union has 36 bytes, and `bpf_sock_tuple` lays out addresses, then ports, without
    // gaps.
    let tuple_len = unsafe {
        match ((*ip).source(), (*ip).destination()) {
            (Source::V4(source), Source::V4(destination)) => {
                let words = start.cast::<u32>();
                words.write(source.to_be());
                words.add(1).write(destination.to_be());
                words.add(2).write(ports);
                12
            }
            (Source::V6(source), Source::V6(destination)) => {
                let halves = start.cast::<u64>();
                halves.write_unaligned(source[0].to_be());
                halves.add(1).write_unaligned(source[1].to_be());
                halves.add(2).write_unaligned(destination[0].to_be());
                halves.add(3).write_unaligned(destination[1].to_be());
                start.cast::<u32>().add(8).write(ports);
                36
            }
            // Both are of one version; the parser made them.
            _ => return NO,
        }
    };
    if question.ask == Ask::HasUdp as u32 {
        return has_udp(context, start, tuple_len);
    }
    // SAFETY: the tuple lies on the stack and is as long as said.
    let socket = unsafe { bpf_skc_lookup_tcp(context.cast(), start, tuple_len, THIS_NAMESPACE, 0) };
    if socket.is_null() {
        return NO;
    }
    // SAFETY: not null, and held.
    let state = unsafe { (*socket).state };
    let answer = if question.ask == Ask::IsConnected as u32 {
        yes(is_connected(state))
    } else if state == LISTEN {
        let context = XdpContext::new(context);
        of_listener(&XdpFrame::new(&context), &question, socket)
    } else {
        NO
    };
    // SAFETY: looked up above, not used any more.
    unsafe { bpf_sk_release(socket.cast()) };
    answer
}

#[inline(always)]
fn has_udp(context: *mut xdp_md, tuple: *mut bpf_sock_tuple, tuple_len: u32) -> i64 {
    // SAFETY: as in `answer`.
    let socket = unsafe { bpf_sk_lookup_udp(context.cast(), tuple, tuple_len, THIS_NAMESPACE, 0) };
    if socket.is_null() {
        return NO;
    }
    // SAFETY: looked up above, not used any more.
    unsafe { bpf_sk_release(socket.cast()) };
    YES
}

/// Asks a listener. A header that does not lie in the first buffer is left to the kernel.
#[inline(always)]
fn of_listener(frame: &XdpFrame<'_>, question: &Question, socket: *mut bpf_sock) -> i64 {
    let making = question.ask == Ask::MakeCookie as u32;
    let Some(fixed) = frame.window::<MIN_HEADER>(question.segment_at as usize) else {
        return NO;
    };
    // A TCP header of constant length for the helpers: the segment's fixed part and an MSS option. Its length is a constant
    // to the verifier, and of a SYN's options only the MSS goes into a cookie.
    let flags = if making { SYN } else { ACK };
    let mut header = [
        u32::from_ne_bytes(fixed.octets4::<0>()),
        u32::from_ne_bytes(fixed.octets4::<4>()),
        u32::from_ne_bytes(fixed.octets4::<8>()),
        u32::from_ne_bytes([(HEADER_LEN as u8 / 4) << 4, flags, 0, 0]),
        0,
        (0x0204_0000 | u32::from(question.mss)).to_be(),
    ];
    let (tcp, len) = (header.as_mut_ptr().cast::<tcphdr>(), HEADER_LEN as u32);

    // SAFETY: `ask` passes a reference.
    let (at, version) = unsafe { ((*question.ip).at(), (*question.ip).version()) };
    let (ip, ip_len) = match version {
        Version::V4 => (frame.window::<20>(at).map(XdpBytes::address), 20),
        Version::V6 => (frame.window::<40>(at).map(XdpBytes::address), 40),
    };
    let Some(ip) = ip else {
        return NO;
    };
    let ip = ip as *mut c_void;
    // SAFETY: the socket is held, `ip` points to `ip_len` readable bytes, the TCP header lies on the stack.
    unsafe {
        if making {
            bpf_tcp_gen_syncookie(socket.cast(), ip, ip_len, tcp, len)
        } else {
            match bpf_tcp_check_syncookie(socket.cast(), ip, ip_len, tcp, len) {
                0 => YES,
                NO_ENTRY => NO_COOKIE,
                // An error other than "no such cookie" (sysctls that make none) is no reason to drop.
                _ => NO,
            }
        }
    }
}

/// Established, or closing; not TIME-WAIT, nor a connection that is being opened.
#[inline(always)]
fn is_connected(state: u32) -> bool {
    const STATES: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
    state < 32 && STATES >> state & 1 != 0
}

#[inline(always)]
fn yes(answer: bool) -> i64 {
    if answer { YES } else { NO }
}

pub(crate) const YES: i64 = 1;
pub(crate) const NO: i64 = -1;
/// An ACK is for a listener, and acknowledges no cookie.
pub(crate) const NO_COOKIE: i64 = -2;

const HEADER_LEN: usize = 24;
/// `BPF_F_CURRENT_NETNS`: any negative number.
const THIS_NAMESPACE: u64 = u32::MAX as u64;
const NO_ENTRY: i64 = -2;
/// `include/net/tcp_states.h`
const LISTEN: u32 = 10;
