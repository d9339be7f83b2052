//! From `[shield]` to what the program reads.

use nix::unistd::{SysconfVar, sysconf};
use weir_common::ShieldSettings;
use weir_common::settings::{
    CookieMode, Cookies, Limit, Limits as KernelLimits, Ports, Sanity as KernelSanity,
};
use weir_common::time::EPOCH_SHIFT;

use super::super::sysctl::Assessment;
use super::super::{Limits, Rate, Sanity, Settings};

/// Writes into `kernel` what `settings` say; lists, own addresses and what is known of the host's TCP stay.
pub(super) fn apply(settings: &Settings, kernel: &mut ShieldSettings) {
    *kernel = ShieldSettings {
        enforce: u8::from(settings.enforce),
        samples_per_epoch: SAMPLES_PER_EPOCH,
        cpus_log2: log2_of_cpus(),
        calm: CALM,
        prefix_heavy: prefix_heavy(&settings.limits),
        sanity: sanity(&settings.sanity),
        cookies: Cookies {
            start: per_epoch(settings.syn_cookies.start.into()).max(1),
            ..kernel.cookies
        },
        limits: limits(&settings.limits, 1),
        prefix_limits: limits(&settings.limits, settings.limits.prefix_factor.into()),
        amplification_ports: ports(&settings.amplification_ports),
        failsafe_ports: ports(&settings.failsafe_ports),
        quic_ports: ports(&settings.quic_ports),
        ..*kernel
    };
}

/// Writes into `kernel` what SYN cookies of `mode` can do here: nothing at all, answers with the MSS alone, or with window
/// scale and SACK.
pub(super) fn apply_cookies(mode: CookieMode, found: &Assessment, kernel: &mut ShieldSettings) {
    let mode = if found.cookies_work {
        mode
    } else {
        CookieMode::Off
    };
    kernel.cookies.mode = mode as u8;
    kernel.cookies.window_scale = found.window_scale.min(WINDOW_SCALE_MAX);
    kernel.cookies.options = found.cookie_options();
}

fn sanity(sanity: &Sanity) -> KernelSanity {
    KernelSanity {
        malformed: sanity.malformed as u8,
        fragments: sanity.fragments as u8,
        bad_flags: sanity.bad_flags as u8,
        spoofed: sanity.spoofed as u8,
        amplification: sanity.amplification as u8,
        icmp: sanity.icmp as u8,
        quic: sanity.quic as u8,
        closed_ports: sanity.closed_ports as u8,
        non_ip: sanity.non_ip as u8,
        pppoe: sanity.pppoe as u8,
        inner: u8::from(sanity.inner_headers),
        reserved: 0,
    }
}

fn limits(limits: &Limits, factor: u64) -> KernelLimits {
    let limit = |rate: Option<Rate>| match rate {
        Some(rate) => Limit::per_second(
            rate.rate.saturating_mul(factor),
            rate.burst.saturating_mul(factor),
        ),
        None => Limit::NONE,
    };
    KernelLimits {
        packets: limit(limits.packets),
        bytes: limit(limits.bytes),
        syn: limit(limits.syn),
        udp: limit(limits.udp),
        icmp: limit(limits.icmp),
    }
}

/// Packets of a prefix in an epoch at which it gets a state: a quarter of what the tightest of its limits allows, so that
/// it has one before the limit matters. Bytes count as packets of full size.
fn prefix_heavy(limits: &Limits) -> u32 {
    let packets = [limits.packets, limits.syn, limits.udp, limits.icmp];
    let rates = packets.into_iter().flatten().map(|rate| rate.rate);
    let bytes = limits
        .bytes
        .map(|rate| rate.rate.div_ceil(FULL_FRAME_BYTES));
    let Some(tightest) = rates.chain(bytes).min() else {
        return u32::MAX;
    };
    let allowed = per_epoch(tightest.saturating_mul(limits.prefix_factor.into()));
    (allowed / 4).clamp(1, PREFIX_HEAVY_MAX)
}

/// What a rate a second comes to in an epoch.
fn per_epoch(per_second: u64) -> u32 {
    let epoch_ns = u128::from(1_u64 << EPOCH_SHIFT);
    let per_epoch = u128::from(per_second) * epoch_ns / 1_000_000_000;
    u32::try_from(per_epoch).unwrap_or(u32::MAX)
}

fn ports(numbers: &[u16]) -> Ports {
    let mut ports = Ports::EMPTY;
    for number in numbers {
        ports.insert(*number);
    }
    ports
}

/// Of the CPUs that are on, rounded up.
fn log2_of_cpus() -> u8 {
    let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    let cpus = cpus.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1);
    u8::try_from(cpus.next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX)
}

/// Samples a CPU writes in an epoch of 268 ms: 60 a second, 8 KB/s. The ring holds 1,800, half a minute's worth of one
/// CPU.
const SAMPLES_PER_EPOCH: u8 = 16;
/// See [`ShieldSettings::calm`]: 4,000 strangers' packets a second and CPU.
const CALM: u32 = 1024;
/// RFC 7323 §2.3
const WINDOW_SCALE_MAX: u8 = 14;
/// A sketch's cell counts 16 bits.
const PREFIX_HEAVY_MAX: u32 = 60_000;
/// The largest Ethernet frame without jumbo frames.
const FULL_FRAME_BYTES: u64 = 1514;

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Limits = Limits {
        packets: None,
        syn: None,
        udp: None,
        icmp: None,
        bytes: None,
        prefix_factor: 16,
    };

    const fn rate(rate: u64) -> Rate {
        Rate { rate, burst: rate }
    }

    #[test]
    fn a_prefix_gets_a_state_at_a_quarter_of_its_tightest_limit() {
        let of = |limits| prefix_heavy(&limits);
        assert_eq!(of(NONE), u32::MAX);
        // 50 a second, 16 times as much for a prefix: 214 in an epoch.
        let icmp = Limits {
            icmp: Some(rate(50)),
            packets: Some(rate(50_000)),
            ..NONE
        };
        assert_eq!(of(icmp), 53);
        let few = Limits {
            icmp: Some(rate(1)),
            prefix_factor: 1,
            ..NONE
        };
        assert_eq!(of(few), 1);
        let many = Limits {
            bytes: Some(rate(1 << 40)),
            ..NONE
        };
        assert_eq!(of(many), PREFIX_HEAVY_MAX);
    }

    #[test]
    fn rates_become_epochs_and_factors_multiply_rate_and_burst() {
        assert_eq!(per_epoch(5_000), 1342);
        assert_eq!(per_epoch(u64::MAX), u32::MAX);
        let limits = |factor| {
            limits(
                &Limits {
                    syn: Some(rate(200)),
                    ..NONE
                },
                factor,
            )
        };
        assert_eq!(limits(1).syn, Limit::per_second(200, 200));
        assert_eq!(limits(16).syn, Limit::per_second(3200, 3200));
        assert_eq!(limits(1).udp, Limit::NONE);
    }
}
