//! Turns a SYN into its SYN-ACK, in place.
//!
//! The kernel reads from the ACK that comes back what it would have remembered: the MSS from the cookie, and window scale,
//! SACK and ECN from the lowest six bits of our timestamp, which the client echoes (`cookie_timestamp_decode`).

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use weir_common::ShieldSettings;
use weir_common::settings::Cookies;
use weir_ebpf::packet::{Bytes as _, XdpFrame};
use weir_ebpf::parse::tcp::{ACK, ECE, MIN_HEADER, SYN, Segment};
use weir_ebpf::parse::{Ip, Transport, Upper, Version};
use weir_ebpf::verdict::cookies::{Answer, Options, Turned};

use crate::maps;

/// Rewrites the frame, which is linear. `told`: the settings, and the clock that timestamps are made of.
#[inline(always)]
pub(crate) fn write(
    context: *mut xdp_md,
    told: (&ShieldSettings, u64),
    ip: &Ip,
    upper: &Upper,
    answer: &Answer,
) -> Turned {
    let context = XdpContext::new(context);
    let Transport::Tcp(segment) = upper.transport() else {
        return Turned::Not;
    };
    let full = told.0.cookies.options & Cookies::TIMESTAMPS != 0
        && answer.options.flags & Options::TIMESTAMPS != 0;
    let words = if full { FULL } else { MSS_ONLY };
    let frame = XdpFrame::new(&context);
    if !frame.resize(segment.at + MIN_HEADER + 4 * words) {
        return Turned::Not;
    }
    if turn(&frame, told, (ip, &segment), answer, full) {
        Turned::Whole
    } else {
        Turned::Partly
    }
}

/// Writes the answer, all options or the MSS alone, over a frame that is as long as it.
#[inline(always)]
fn turn(
    frame: &XdpFrame<'_>,
    told: (&ShieldSettings, u64),
    (ip, segment): (&Ip, &Segment),
    answer: &Answer,
    full: bool,
) -> bool {
    let tcp_bytes = MIN_HEADER + 4 * if full { FULL } else { MSS_ONLY };
    if !turn_ethernet(frame) {
        return false;
    }
    let addresses = match ip.version() {
        Version::V4 => turn_ipv4(frame, ip.at(), tcp_bytes),
        Version::V6 => turn_ipv6(frame, ip.at(), tcp_bytes),
    };
    let Some(addresses) = addresses else {
        return false;
    };
    let mss = own_mss(ip.version());
    if full {
        let (options, ecn) = full_options(told, &answer.options, mss);
        write_tcp::<FULL>(frame, segment, answer.cookie, ecn, options, addresses)
    } else {
        let options = [0x0204_0000 | u32::from(mss)];
        write_tcp::<MSS_ONLY>(frame, segment, answer.cookie, 0, options, addresses)
    }
}

#[inline(always)]
fn turn_ethernet(frame: &XdpFrame<'_>) -> bool {
    let Some(addresses) = frame.window::<12>(0) else {
        return false;
    };
    let (d, d_end) = (addresses.octets4::<0>(), addresses.octets2::<4>());
    let (s, s_end) = (addresses.octets4::<6>(), addresses.octets2::<10>());
    addresses.put4::<0>(s);
    addresses.put2::<4>(s_end);
    addresses.put4::<6>(d);
    addresses.put2::<10>(d_end);
    true
}

/// Writes the IPv4 header and returns the sum of its addresses.
#[inline(always)]
fn turn_ipv4(frame: &XdpFrame<'_>, at: usize, payload: usize) -> Option<u64> {
    let header = frame.window::<20>(at)?;
    let (source, destination) = (header.be32::<12>(), header.be32::<16>());
    let addresses = halves(source) + halves(destination);
    let total = 20 + payload as u32;
    // Version and header length, total length, don't fragment, TTL 64 and protocol 6.
    let checksum = !fold(0x4500 + u64::from(total) + 0x4000 + 0x4006 + addresses);
    header.put4::<0>((0x4500_0000 | total).to_be_bytes());
    header.put4::<4>(0x0000_4000_u32.to_be_bytes());
    header.put4::<8>((0x4006_0000 | u32::from(checksum)).to_be_bytes());
    header.put4::<12>(destination.to_be_bytes());
    header.put4::<16>(source.to_be_bytes());
    Some(addresses)
}

/// Writes the IPv6 header and returns the sum of its addresses.
#[inline(always)]
fn turn_ipv6(frame: &XdpFrame<'_>, at: usize, payload: usize) -> Option<u64> {
    let header = frame.window::<40>(at)?;
    let (s0, s1) = (header.be64::<8>(), header.be64::<16>());
    let (d0, d1) = (header.be64::<24>(), header.be64::<32>());
    header.put4::<0>(0x6000_0000_u32.to_be_bytes());
    header.put4::<4>(((payload as u32) << 16 | 0x0640).to_be_bytes());
    header.put8::<8>(d0);
    header.put8::<16>(d1);
    header.put8::<24>(s0);
    header.put8::<32>(s1);
    Some(
        [s0, s1, d0, d1]
            .into_iter()
            .map(quarters)
            .fold(0, |sum, part| sum + part),
    )
}

/// Writes the TCP header with `W` words of options.
#[inline(always)]
fn write_tcp<const W: usize>(
    frame: &XdpFrame<'_>,
    segment: &Segment,
    cookie: u32,
    ecn: u8,
    options: [u32; W],
    addresses: u64,
) -> bool {
    let at = segment.at;
    let len = MIN_HEADER + 4 * W;
    let ports = u32::from(segment.destination_port) << 16 | u32::from(segment.source_port);
    let acknowledged = segment.sequence.wrapping_add(1);
    let control = (len as u32 / 4) << 28 | u32::from(SYN | ACK | ecn) << 16 | WINDOW;
    let mut sum = addresses
        + 6
        + len as u64
        + halves(ports)
        + halves(cookie)
        + halves(acknowledged)
        + halves(control);
    for option in options {
        sum += halves(option);
    }
    let Some(fixed) = frame.window::<MIN_HEADER>(at) else {
        return false;
    };
    fixed.put4::<0>(ports.to_be_bytes());
    fixed.put4::<4>(cookie.to_be_bytes());
    fixed.put4::<8>(acknowledged.to_be_bytes());
    fixed.put4::<12>(control.to_be_bytes());
    fixed.put4::<16>((u32::from(!fold(sum)) << 16).to_be_bytes());
    for (word, option) in options.into_iter().enumerate() {
        let Some(place) = frame.window::<4>(at + MIN_HEADER + 4 * word) else {
            return false;
        };
        place.put4::<0>(option.to_be_bytes());
    }
    true
}

/// MSS, SACK permitted, timestamps, window scale; and the ECN flag of the answer.
#[inline(always)]
fn full_options(
    (settings, now_ns): (&ShieldSettings, u64),
    options: &Options,
    mss: u16,
) -> ([u32; FULL], u8) {
    let Options {
        timestamp,
        window_scale,
        flags: asked,
        ..
    } = *options;
    let sack = asked & Options::SACK != 0;
    let wants_ecn = asked & Options::ECN != 0;
    let facts = u32::from(window_scale)
        | if sack { 1 << 4 } else { 0 }
        | if wants_ecn { 1 << 5 } else { 0 };
    let scale = if window_scale == Options::NO_SCALE {
        0x0101_0101
    } else {
        0x0103_0300 | u32::from(settings.cookies.window_scale)
    };
    let options = [
        0x0204_0000 | u32::from(mss),
        if sack { 0x0402_080a } else { 0x0101_080a },
        encode(now_ns, facts),
        timestamp,
        scale,
    ];
    (options, if wants_ecn { ECE } else { 0 })
}

/// A timestamp in milliseconds, as the kernel's own, with `facts` in its lowest six bits, and never in the future: the
/// client would drop our first data as older than this (PAWS, RFC 7323 §5).
#[inline(always)]
fn encode(now_ns: u64, facts: u32) -> u32 {
    let now = (now_ns / 1_000_000) as u32;
    let stamp = now & !63 | facts;
    if stamp.wrapping_sub(now) as i32 > 0 {
        stamp.wrapping_sub(64)
    } else {
        stamp
    }
}

/// What the interface can receive in one segment; the least that every host can if its MTU is not known.
#[inline(always)]
fn own_mss(version: Version) -> u16 {
    let (headers, least) = match version {
        Version::V4 => (40, 536),
        Version::V6 => (60, 1220),
    };
    let mtu = maps::mtu();
    if mtu < least + headers {
        return least as u16;
    }
    let mss = mtu - headers;
    if mss > 0xffff { 0xffff } else { mss as u16 }
}

#[inline(always)]
fn halves(word: u32) -> u64 {
    u64::from(word >> 16) + u64::from(word & 0xffff)
}

#[inline(always)]
fn quarters(octets: u64) -> u64 {
    halves((octets >> 32) as u32) + halves(octets as u32)
}

/// RFC 1071. Sums here are below 2^32.
#[inline(always)]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Words of options.
const MSS_ONLY: usize = 1;
/// Words of options.
const FULL: usize = 5;
/// What the kernel announces at first; the first ACK corrects it.
const WINDOW: u32 = 0xffff;
