//! What user space tells the XDP program, through maps rather than constants, so that it can change at run time.
//!
//! One [`ShieldSettings`] is one *generation*: user space fills a new inner map and puts it into the `SETTINGS` map of
//! maps, so a packet is judged by one generation from beginning to end.

use crate::Text;

/// What to do with a class of packets.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Let it pass, uncounted under this class.
    Pass = 0,
    /// Count it under this class, let it pass.
    Count = 1,
    /// Drop it.
    Drop = 2,
}

/// When SYNs are answered with cookies.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CookieMode {
    /// Never.
    Off = 0,
    /// While more SYNs arrive than [`Cookies::start`], and for a while after.
    Auto = 1,
    /// Always.
    Always = 2,
}

/// A rate and a burst, as GCRA counts them: in [ticks](crate::time::Tick) of the theoretical arrival time.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What one unit (a packet, a byte) costs, in 2^-20 ticks ([`COST_SHIFT`]); 0 = no limit. From 256 ticks on a whole number of them.
    pub cost: u64,
    /// How far the theoretical arrival time may run ahead of the clock, in ticks. At most [`Limit::BURST_MAX`].
    pub burst: u32,
    /// Always 0.
    pub reserved: u32,
}

impl Limit {
    /// No limit.
    pub const NONE: Self = Self {
        cost: 0,
        burst: 0,
        reserved: 0,
    };
    /// Largest burst: 30 s. A state that was not touched for that long is read as untouched for ever, long before its 32
    /// bits of ticks (275 s) could wrap.
    #[allow(clippy::cast_possible_truncation, reason = "30 s are 468,750,000")]
    pub const BURST_MAX: u32 = 30 * (1_000_000_000_u64 >> crate::time::TICK_SHIFT) as u32;

    /// Highest rate a second, more than any link carries: 2^40.
    pub const RATE_MAX: u64 = 1 << 40;

    /// The limit of `rate` units a second, at most [`Self::RATE_MAX`], with `burst` units at once; the nearest that the fields
    /// can hold, which is within 4 % of the rate. 0 = none.
    pub fn per_second(rate: u64, burst: u64) -> Self {
        if rate == 0 {
            return Self::NONE;
        }
        let rate = u128::from(rate.min(Self::RATE_MAX));
        let second = u128::from(1_000_000_000_u64 >> crate::time::TICK_SHIFT);
        let rounded = |scaled: u128| ((scaled + rate / 2) / rate).max(1);
        let mut cost = rounded(second << COST_SHIFT);
        let mut ticks = second * u128::from(burst) / rate;
        // Of many ticks a fraction more or less is no matter, and without one a burst holds exactly the packets it should.
        if cost >> COST_SHIFT >= 256 {
            let whole = rounded(second);
            cost = whole << COST_SHIFT;
            ticks = ticks.max(u128::from(burst).saturating_mul(whole));
        }
        // Who may pay less than what a packet costs at most is refused.
        ticks = ticks.max((cost >> COST_SHIFT) + 1);
        Self {
            cost: u64::try_from(cost).unwrap_or(u64::MAX),
            burst: u32::try_from(ticks)
                .unwrap_or(u32::MAX)
                .min(Self::BURST_MAX),
            reserved: 0,
        }
    }
}

/// Fraction bits of [`Limit::cost`].
pub const COST_SHIFT: u32 = 20;

/// One limit per kind of traffic.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Packets.
    pub packets: Limit,
    /// Bytes of the frames.
    pub bytes: Limit,
    /// New connections: TCP SYNs, QUIC Initials.
    pub syn: Limit,
    /// UDP datagrams.
    pub udp: Limit,
    /// ICMP messages.
    pub icmp: Limit,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        packets: Limit::NONE,
        bytes: Limit::NONE,
        syn: Limit::NONE,
        udp: Limit::NONE,
        icmp: Limit::NONE,
    };
}

/// SYN cookies.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cookies {
    /// SYNs within one [epoch](crate::time::EPOCH_SHIFT), over all sources and CPUs, at which `auto` begins. It ends when
    /// there were fewer than half of that for [`Cookies::HOLD_EPOCHS`].
    pub start: u32,
    /// [`CookieMode`]
    pub mode: u8,
    /// Bit set ([`Cookies::TIMESTAMPS`], [`Cookies::ECN`]) of what answers may carry besides the MSS.
    pub options: u8,
    /// Window scale that the kernel will choose for the connection, 0 to 14.
    pub window_scale: u8,
    /// Always 0.
    pub reserved: u8,
}

impl Cookies {
    /// Off.
    pub const OFF: Self = Self {
        start: 0,
        mode: CookieMode::Off as u8,
        options: 0,
        window_scale: 0,
        reserved: 0,
    };
    /// `options` bit: timestamps, and in them window scale and SACK. Only right with `tcp_timestamps=2`: with 1 the kernel
    /// subtracts a secret offset before it decodes them.
    pub const TIMESTAMPS: u8 = 1;
    /// `options` bit: in timestamps, ECN (RFC 3168) for whoever asks for it. Only right unless `tcp_ecn=0`: the kernel
    /// would not use what was agreed on.
    pub const ECN: u8 = 2;
    /// How long `auto` goes on below its threshold: 10 s.
    pub const HOLD_EPOCHS: u32 = 38;
}

/// Policies of the sanity checks: [`Policy`] each.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sanity {
    /// Cut short, or with lengths that contradict each other.
    pub malformed: u8,
    /// IP fragments.
    pub fragments: u8,
    /// TCP flags that no stack sends together.
    pub bad_flags: u8,
    /// Own, martian or land source.
    pub spoofed: u8,
    /// UDP from a reflector's port.
    pub amplification: u8,
    /// ICMP types nobody needs.
    pub icmp: u8,
    /// QUIC packets to a QUIC port that open no connection that could be.
    pub quic: u8,
    /// UDP to this host without a listener.
    pub closed_ports: u8,
    /// Neither IPv4 nor IPv6 nor ARP.
    pub non_ip: u8,
    /// PPPoE sessions and discovery.
    pub pppoe: u8,
    /// 1: of IPIP, 6in4 and GRE, what is inside is judged too.
    pub inner: u8,
    /// Always 0.
    pub reserved: u8,
}

impl Sanity {
    /// Everything passes.
    pub const PASS: Self = Self::all(Policy::Pass);

    /// The same policy for everything, the inner headers not looked at.
    pub const fn all(policy: Policy) -> Self {
        let policy = policy as u8;
        Self {
            malformed: policy,
            fragments: policy,
            bad_flags: policy,
            spoofed: policy,
            amplification: policy,
            icmp: policy,
            quic: policy,
            closed_ports: policy,
            non_ip: policy,
            pppoe: policy,
            inner: 0,
            reserved: 0,
        }
    }
}

/// A set of 16-bit port numbers: 8 KiB.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports([u64; Self::WORDS]);

impl Ports {
    const WORDS: usize = 1 << 10;
    /// No port.
    pub const EMPTY: Self = Self([0; Self::WORDS]);

    /// Whether `port` is in the set.
    #[inline(always)]
    pub fn contains(&self, port: u16) -> bool {
        // The mask is a no-op that spares the BPF build a bounds check with a panic behind it.
        self.0[usize::from(port >> 6) & (Self::WORDS - 1)] >> (port & 63) & 1 != 0
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: u16) {
        self.0[usize::from(port >> 6)] |= 1 << (port & 63);
    }
}

/// One generation of everything user space tells the program. 24.7 KiB; two exist while one replaces the other.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShieldSettings {
    /// Number of the generation, for people and tests.
    pub generation: u64,
    /// Key of all hashes: random, so that nobody can choose what collides. Kept as long as the maps are.
    pub seed: u64,
    /// 1: drops are carried out. 0: packets that would be dropped are counted and sampled as such, and pass.
    pub enforce: u8,
    /// Samples written per CPU and epoch; 0 = none.
    pub samples_per_epoch: u8,
    /// Which of the two sets of list maps is in force: 0 or 1.
    pub set: u8,
    /// log2 of the number of CPUs that may run the program, rounded up.
    pub cpus_log2: u8,
    /// Bit set (`LIST_…`) of the list maps that hold entries; the others are not looked up.
    pub lists: u32,
    /// Packets of sources without a state in one epoch on one CPU up to which each such source gets one at once. Above it
    /// only those do that the sketch finds heavy.
    pub calm: u32,
    /// Packets of one prefix in one epoch from which on the prefix gets a state, and with it a limit.
    pub prefix_heavy: u32,
    /// Sanity checks.
    pub sanity: Sanity,
    /// SYN cookies.
    pub cookies: Cookies,
    /// Which of the two arrays of pre-tests is in force: 0 or 1. Not always that of `set`: an array is built anew when its
    /// list has outgrown it.
    pub bits: u8,
    /// log2 of the words that exact addresses' pre-tests are spread over: [`EXACT_LOG2_MIN`](crate::bits::EXACT_LOG2_MIN) to
    /// [`EXACT_LOG2_MAX`](crate::bits::EXACT_LOG2_MAX). Few words stay in the processor's caches.
    pub exact_log2: u8,
    /// Always 0.
    pub reserved: [u8; 2],
    /// Per source.
    pub limits: Limits,
    /// Per source prefix.
    pub prefix_limits: Limits,
    /// Filter over this host's own addresses (see [`crate::bits::own`]): a clear bit says that an address is not one.
    pub own: [u64; OWN_WORDS],
    /// UDP source ports of reflectors.
    pub amplification_ports: Ports,
    /// Ports that limits and cookies never touch.
    pub failsafe_ports: Ports,
    /// UDP ports where QUIC is served.
    pub quic_ports: Ports,
}

/// Words of [`ShieldSettings::own`].
pub const OWN_WORDS: usize = 8;

impl ShieldSettings {
    /// `lists` bit: the allow prefixes have IPv4 entries.
    pub const LIST_ALLOW4: u32 = 1;
    /// `lists` bit: the allow prefixes have IPv6 entries.
    pub const LIST_ALLOW6: u32 = 1 << 1;
    /// `lists` bit: `BLOCK4` has entries.
    pub const LIST_BLOCK4: u32 = 1 << 2;
    /// `lists` bit: `BLOCK6` has entries.
    pub const LIST_BLOCK6: u32 = 1 << 3;
    /// `lists` bit: `BLOCK_LPM4` has entries.
    pub const LIST_BLOCK_LPM4: u32 = 1 << 4;
    /// `lists` bit: `BLOCK_LPM6` has entries.
    pub const LIST_BLOCK_LPM6: u32 = 1 << 5;
    /// `lists` bits: one per class of IPv6 allow prefixes that has entries, in the order of
    /// [`CLASSES6`](crate::bits::CLASSES6).
    pub const LIST_ALLOW6_CLASS: u32 = 1 << 8;
    /// As [`Self::LIST_ALLOW6_CLASS`], of block prefixes.
    pub const LIST_BLOCK6_CLASS: u32 = 1 << 12;
    /// All `lists` bits: what user space sets when it does not know better.
    pub const LIST_ALL: u32 = 0x773f;

    /// Everything passes and nothing is limited: what a packet meets before user space has written anything.
    pub const OPEN: Self = Self {
        generation: 0,
        seed: 0,
        enforce: 0,
        samples_per_epoch: 0,
        set: 0,
        cpus_log2: 0,
        lists: 0,
        calm: 0,
        prefix_heavy: 0,
        sanity: Sanity::PASS,
        cookies: Cookies::OFF,
        bits: 0,
        exact_log2: crate::bits::EXACT_LOG2_MAX,
        reserved: [0; 2],
        limits: Limits::NONE,
        prefix_limits: Limits::NONE,
        own: [0; OWN_WORDS],
        amplification_ports: Ports::EMPTY,
        failsafe_ports: Ports::EMPTY,
        quic_ports: Ports::EMPTY,
    };
}

/// Value of the `INTERFACES` map: which interface a slot belongs to. Slots are kept over restarts by name.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceSlot {
    /// Interface index at the last attach; 0 = the slot is free.
    pub ifindex: u32,
    /// MTU in bytes, from which SYN cookie answers take their MSS; 0 = unknown, then the smallest that the IP version
    /// allows.
    pub mtu: u32,
    /// Interface name (IFNAMSIZ is 16 with its NUL).
    pub name: Text<16>,
}

const _: () = assert!(size_of::<Limit>() == 16);
const _: () = assert!(size_of::<Limits>() == 80);
const _: () = assert!(size_of::<Ports>() == 8192);
const _: () = assert!(size_of::<Sanity>() == 12);
const _: () = assert!(size_of::<Cookies>() == 8);
const _: () = assert!(size_of::<ShieldSettings>() == 56 + 2 * 80 + 64 + 3 * 8192);
const _: () = assert!(size_of::<InterfaceSlot>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_its_rate_in_ticks() {
        // 200 a second is one in 5 ms, 78,125 ticks of 64 ns.
        let limit = Limit::per_second(200, 400);
        assert_eq!(limit.cost >> COST_SHIFT, 78_125);
        assert_eq!(limit.burst, 2 * 15_625_000);
    }

    #[test]
    fn a_rate_of_zero_is_no_limit_and_a_burst_has_a_bound() {
        assert_eq!(Limit::per_second(0, 5), Limit::NONE);
        assert_eq!(Limit::per_second(1, 1_000_000).burst, Limit::BURST_MAX);
        assert!(Limit::per_second(u64::MAX, 1).cost >= 1);
    }

    #[test]
    fn every_rate_is_held_to_within_five_percent() {
        let second = u128::from(1_000_000_000_u64 >> crate::time::TICK_SHIFT) << COST_SHIFT;
        for log2 in 0..=40 {
            for eighths in 8..16 {
                let rate = ((eighths << log2) / 8).clamp(1, Limit::RATE_MAX);
                let cost = u128::from(Limit::per_second(rate, rate).cost);
                let error = (cost * u128::from(rate)).abs_diff(second);
                assert!(error * 20 <= second, "{rate}: {cost}");
            }
        }
        let most = Limit::per_second(Limit::RATE_MAX, 1);
        assert_eq!(Limit::per_second(u64::MAX, 1).cost, most.cost);
    }

    #[test]
    fn a_burst_holds_as_many_packets_as_it_says_whatever_the_rate() {
        for rate in 1..=2_000 {
            for burst in [1, 2, 60] {
                let limit = Limit::per_second(rate, burst);
                let charged = (limit.cost + (1 << (COST_SHIFT - 1))) >> COST_SHIFT;
                let holds = u64::from(limit.burst) >= burst * charged;
                assert!(holds || limit.burst == Limit::BURST_MAX, "{rate} {burst}");
            }
        }
    }

    #[test]
    fn a_set_of_ports_holds_what_was_put_into_it() {
        let mut ports = Ports::EMPTY;
        for port in [0, 53, 63, 64, 65_535] {
            assert!(!ports.contains(port));
            ports.insert(port);
            assert!(ports.contains(port));
        }
        assert!(!ports.contains(54));
    }
}
