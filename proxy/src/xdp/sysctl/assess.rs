//! What the switches that were found mean for SYN cookies from XDP, and which to write. Does no I/O.

use weir_common::settings::{CookieMode, Cookies};

use super::{Finding, Sysctl};

/// Switches of a network namespace. `None`: the kernel has no such switch, or does not show it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// `net.ipv4.tcp_syncookies`; absent from a kernel without `CONFIG_SYN_COOKIES`.
    pub tcp_syncookies: Option<u32>,
    /// `net.ipv4.tcp_timestamps`
    pub tcp_timestamps: Option<u32>,
    /// `net.ipv4.tcp_window_scaling`: 0 = no window scale is offered or accepted.
    pub tcp_window_scaling: Option<u32>,
    /// `net.ipv4.tcp_sack`: 0 = no SACK is offered or accepted.
    pub tcp_sack: Option<u32>,
    /// `net.ipv4.tcp_ecn`: 0 = ECN is not accepted, but for routes that have the feature; with any other it is.
    pub tcp_ecn: Option<u32>,
    /// The third of `net.ipv4.tcp_rmem`: largest receive buffer of a TCP socket, bytes.
    pub tcp_rmem_max: Option<u32>,
    /// `net.core.rmem_max`: largest receive buffer that a program may ask for, bytes. One for all network namespaces:
    /// Linux 6.12 shows it in each, 6.1 in the first alone.
    pub rmem_max: Option<u32>,
}

/// What SYN cookies from XDP can do here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assessment {
    /// Whether the kernel makes cookies for XDP, once [`Assessment::writes`] are done.
    pub cookies_work: bool,
    /// Whether answers may carry window scale and SACK, in a timestamp; otherwise they carry the MSS alone. A client's ACK
    /// that echoes an option which is switched off here is refused (`cookie_timestamp_decode`), so it is all or nothing.
    pub options: bool,
    /// Window scale to offer, 0 to 14; 0 without `options`.
    pub window_scale: u8,
    /// Whether answers may accept ECN, which the kernel then remembers by the timestamp; not without `options`.
    pub ecn: bool,
    /// What is wrong and will not be put right by `writes`.
    pub findings: Vec<Finding>,
    /// What the switches are to be, with consent; also those that are so already.
    pub wants: Vec<(Sysctl, u32)>,
    /// Those of `wants` that are to be written.
    pub writes: Vec<(Sysctl, u32)>,
}

/// Judges the switches for cookies of `mode`. With `manage`, the operator's consent, what is wrong and can be put right
/// comes as [`Assessment::writes`]; without, as a finding. With cookies off nothing is wanted and nothing works.
///
/// Without consent this is also the way to tell whether somebody changed the switches since.
pub fn assess(mode: CookieMode, manage: bool, found: &Found) -> Assessment {
    let consent = if manage {
        Consent::Given
    } else {
        Consent::None
    };
    judge(mode, consent, found)
}

/// Whether weir may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// It may.
    Given,
    /// It might have, and could not: advice to give it consent would be none.
    Useless,
    /// It may not.
    None,
}

/// See [`assess`].
pub(super) fn judge(mode: CookieMode, consent: Consent, found: &Found) -> Assessment {
    let mut assessment = Assessment::default();
    if mode == CookieMode::Off {
        return assessment;
    }
    assessment.cookies_work = assessment.demand(
        (Sysctl::Syncookies, found.tcp_syncookies),
        consent,
        "SYN cookies from XDP do not work",
        "the kernel may be built without CONFIG_SYN_COOKIES; set `[shield.syn_cookies] mode = \"off\"`",
    );
    if !assessment.cookies_work {
        return assessment;
    }
    let prerequisites = [
        ("net.ipv4.tcp_window_scaling", found.tcp_window_scaling),
        ("net.ipv4.tcp_sack", found.tcp_sack),
        ("net.ipv4.tcp_rmem", found.tcp_rmem_max),
    ];
    for (name, value) in prerequisites {
        assessment.findings.extend(match value {
            Some(0) => Some(Finding {
                sentence: format!("{name} is 0: {MSS_ONLY}"),
                fix: format!("sysctl -w {name}=1"),
            }),
            Some(_) => None,
            None => Some(unreadable(name, MSS_ONLY, PROC)),
        });
    }
    if !assessment.findings.is_empty() {
        // The timestamp would have nothing to carry.
        return assessment;
    }
    assessment.options = assessment.demand(
        (Sysctl::Timestamps, found.tcp_timestamps),
        consent,
        MSS_ONLY,
        PROC,
    );
    if assessment.options {
        let largest = found.tcp_rmem_max.max(found.rmem_max).unwrap_or_default();
        assessment.window_scale = window_scale(largest.into());
        assessment.ecn = found.tcp_ecn.is_some_and(|ecn| ecn != 0);
    }
    assessment
}

impl Assessment {
    /// [`Cookies::options`]
    pub(in crate::xdp) fn cookie_options(&self) -> u8 {
        let bit = |is_on, bit| if is_on { bit } else { 0 };
        bit(self.options, Cookies::TIMESTAMPS) | bit(self.ecn, Cookies::ECN)
    }

    /// Whether the switch is 2 or will be; otherwise a finding says that `so`, and what to do if it is not there at all.
    fn demand(
        &mut self,
        (sysctl, found): (Sysctl, Option<u32>),
        consent: Consent,
        so: &str,
        if_absent: &str,
    ) -> bool {
        let Some(value) = found else {
            let finding = unreadable(sysctl.name(), so, if_absent);
            self.findings.push(finding);
            return false;
        };
        if consent == Consent::Given {
            self.wants.push((sysctl, NEEDED));
            if value != NEEDED {
                self.writes.push((sysctl, NEEDED));
            }
            return true;
        }
        if value != NEEDED {
            let advice = match consent {
                Consent::None => MANAGE,
                Consent::Given | Consent::Useless => "",
            };
            self.findings.push(Finding {
                sentence: format!("{sysctl} is {value}: {so}"),
                fix: format!("sysctl -w {sysctl}={NEEDED}{advice}"),
            });
        }
        value == NEEDED
    }
}

/// The window scale that the kernel works out for a connection (`tcp_select_initial_window`, Linux 6.1 to 6.18 alike), from
/// the larger of the third `net.ipv4.tcp_rmem` and `net.core.rmem_max`, bytes. 0 to 14.
///
/// It takes a smaller one for a route with a `window` metric, and for a listener with `SO_RCVBUF` or `TCP_WINDOW_CLAMP` set,
/// which weir's have not. Where the two ends disagree, a scale offered too small costs speed, and one too large makes the
/// client send more than there is room for.
pub fn window_scale(largest_buffer: u64) -> u8 {
    let log2 = largest_buffer.max(1).ilog2();
    u8::try_from(log2.saturating_sub(15)).map_or(TCP_MAX_WSCALE, |scale| scale.min(TCP_MAX_WSCALE))
}

fn unreadable(name: &str, so: &str, fix: &str) -> Finding {
    Finding {
        sentence: format!("{name} cannot be read: {so}"),
        fix: fix.to_owned(),
    }
}

/// What both switches of [`Sysctl`] have to be.
const NEEDED: u32 = 2;
/// RFC 7323 §2.3
const TCP_MAX_WSCALE: u8 = 14;

const MSS_ONLY: &str = "SYN cookies from XDP carry the MSS only, without window scale and SACK";
const PROC: &str = "look whether /proc/sys is mounted";
const MANAGE: &str =
    ", or set `[shield] manage_sysctls = true`: then weir sets it, and restores it on detach";

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Found = Found {
        tcp_syncookies: Some(2),
        tcp_timestamps: Some(2),
        tcp_window_scaling: Some(1),
        tcp_sack: Some(1),
        tcp_ecn: Some(2),
        tcp_rmem_max: Some(6_291_456),
        rmem_max: Some(212_992),
    };
    /// The kernel's defaults.
    const FRESH: Found = Found {
        tcp_syncookies: Some(1),
        tcp_timestamps: Some(1),
        ..READY
    };

    #[test]
    fn a_host_that_is_ready_has_everything_and_needs_nothing() {
        for mode in [CookieMode::Auto, CookieMode::Always] {
            for manage in [false, true] {
                let assessment = assess(mode, manage, &READY);
                assert!(assessment.cookies_work && assessment.options);
                assert_eq!(assessment.window_scale, 7);
                assert_eq!(assessment.findings, []);
                assert_eq!(assessment.writes, []);
            }
        }
    }

    #[test]
    fn without_consent_nothing_is_written_and_each_wrong_switch_is_told_with_its_fix() {
        let assessment = assess(CookieMode::Auto, false, &FRESH);
        assert!(!assessment.cookies_work && !assessment.options);
        assert!(assessment.wants.is_empty() && assessment.writes.is_empty());
        // What cookies carry is no matter while there are none.
        let [finding] = assessment.findings.as_slice() else {
            panic!("{assessment:?}");
        };
        assert_eq!(
            finding.sentence,
            "net.ipv4.tcp_syncookies is 1: SYN cookies from XDP do not work"
        );
        assert!(
            finding.fix.starts_with(
                "sysctl -w net.ipv4.tcp_syncookies=2, or set `[shield] manage_sysctls = true`"
            ),
            "{}",
            finding.fix
        );

        for value in [0, 1] {
            let found = Found {
                tcp_timestamps: Some(value),
                ..READY
            };
            let assessment = assess(CookieMode::Auto, false, &found);
            assert!(assessment.cookies_work && !assessment.options);
            assert_eq!(assessment.window_scale, 0);
            assert!(assessment.findings[0].sentence.contains("the MSS only"));
            assert!(assessment.findings[0].fix.contains("tcp_timestamps=2"));
        }
    }

    #[test]
    fn with_consent_the_wrong_switches_are_written_and_all_are_wanted() {
        let all = [(Sysctl::Syncookies, 2), (Sysctl::Timestamps, 2)];
        let assessment = assess(CookieMode::Auto, true, &FRESH);
        assert!(assessment.cookies_work && assessment.options);
        assert_eq!(assessment.window_scale, 7);
        assert_eq!(assessment.findings, []);
        assert_eq!(assessment.wants, all);
        assert_eq!(assessment.writes, all);
        let half = Found {
            tcp_syncookies: Some(2),
            ..FRESH
        };
        let assessment = assess(CookieMode::Auto, true, &half);
        assert_eq!(assessment.wants, all);
        assert_eq!(assessment.writes, all[1..]);
    }

    #[test]
    fn consent_that_could_not_be_used_is_not_asked_for_again() {
        let assessment = judge(CookieMode::Auto, Consent::Useless, &FRESH);
        assert!(!assessment.cookies_work);
        assert!(assessment.writes.is_empty());
        assert_eq!(
            assessment.findings[0].fix,
            "sysctl -w net.ipv4.tcp_syncookies=2"
        );
    }

    #[test]
    fn without_window_scaling_or_sack_no_option_is_offered_and_timestamps_are_left_alone() {
        let without = [
            Found {
                tcp_window_scaling: Some(0),
                ..FRESH
            },
            Found {
                tcp_sack: Some(0),
                ..FRESH
            },
            Found {
                tcp_rmem_max: None,
                ..FRESH
            },
        ];
        for found in without {
            let assessment = assess(CookieMode::Auto, true, &found);
            assert!(assessment.cookies_work && !assessment.options);
            assert_eq!(assessment.writes, [(Sysctl::Syncookies, 2)]);
            let [finding] = assessment.findings.as_slice() else {
                panic!("{assessment:?}");
            };
            assert!(finding.sentence.ends_with(MSS_ONLY), "{finding:?}");
            // Consent is for the two switches of the contract alone.
            assert!(!finding.fix.contains("manage_sysctls"), "{finding:?}");
        }
    }

    #[test]
    fn ecn_is_accepted_where_the_kernel_accepts_it_and_timestamps_remember_it() {
        for (tcp_ecn, tcp_timestamps, expected) in [
            (Some(2), Some(2), Cookies::TIMESTAMPS | Cookies::ECN),
            (Some(1), Some(2), Cookies::TIMESTAMPS | Cookies::ECN),
            (Some(0), Some(2), Cookies::TIMESTAMPS),
            (None, Some(2), Cookies::TIMESTAMPS),
            (Some(2), Some(1), 0),
        ] {
            let found = Found {
                tcp_timestamps,
                tcp_ecn,
                ..READY
            };
            let assessment = assess(CookieMode::Auto, false, &found);
            assert_eq!(assessment.cookie_options(), expected, "{tcp_ecn:?}");
        }
    }

    #[test]
    fn a_kernel_without_cookies_is_told_apart_and_nothing_is_written() {
        let found = Found {
            tcp_syncookies: None,
            ..FRESH
        };
        let assessment = assess(CookieMode::Always, true, &found);
        assert!(!assessment.cookies_work);
        assert!(assessment.wants.is_empty());
        assert!(assessment.findings[0].fix.contains("CONFIG_SYN_COOKIES"));
    }

    #[test]
    fn with_cookies_off_nothing_is_wanted() {
        assert_eq!(assess(CookieMode::Off, true, &FRESH), Assessment::default());
    }

    #[test]
    fn the_window_scale_is_the_kernels() {
        // From 65,535 on: what Linux 6.18 chose on loopback connections, with and without cookies (TCP_INFO).
        for (largest, expected) in [
            (0, 0),
            (32_768, 0),
            (65_535, 0),
            (65_536, 1),
            (212_992, 2),
            (4_194_304, 7),
            (6_291_456, 7),
            (33_554_432, 10),
            (2_147_483_647, 14),
            (u64::MAX, 14),
        ] {
            assert_eq!(window_scale(largest), expected, "{largest}");
        }
    }

    #[test]
    fn the_larger_of_the_two_buffers_counts_and_one_that_is_not_shown_does_not() {
        for (rmem_max, expected) in [(None, 7), (Some(212_992), 7), (Some(33_554_432), 10)] {
            let found = Found { rmem_max, ..READY };
            let assessment = assess(CookieMode::Auto, false, &found);
            assert_eq!(assessment.window_scale, expected, "{rmem_max:?}");
        }
    }
}
