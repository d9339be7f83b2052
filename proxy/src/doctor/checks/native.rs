//! Whether the shield will run in the driver (native mode) or in the stack (generic mode), and at which MTU.

use super::super::facts::{BondMode, Device, Facts, Layer, Link, XdpFeatures};
use super::super::{Finding, Severity};
use super::drivers::{self, Xdp};
use super::kernel::version;
use crate::xdp::Mode;

/// An interface that is looked at.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) facts: &'a Facts,
    pub(super) link: &'a Link,
}

/// Whether native XDP is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Native {
    Possible,
    /// Not, and why: "the driver has none".
    Impossible(String),
    Unknown,
}

impl<'a> Subject<'a> {
    /// What is known of its hardware.
    pub(super) fn device(&self) -> Option<&'a Device> {
        self.facts.devices.get(&self.link.index)
    }

    pub(super) fn kind(&self) -> &'a str {
        self.link.kind.as_deref().unwrap_or_default()
    }

    /// The interfaces whose hardware receives its frames: itself, or the members of a bond or team.
    pub(super) fn receivers(&self) -> Vec<Subject<'a>> {
        if !matches!(self.kind(), "bond" | "team") {
            return vec![*self];
        }
        let members = self.facts.members(self.link).into_iter();
        members
            .map(|link| Subject {
                facts: self.facts,
                link,
            })
            .collect()
    }

    /// The driver's name, or the kind of an interface without hardware.
    pub(super) fn driver(&self) -> Option<&'a str> {
        let driver = self.device().and_then(|device| device.driver.as_ref().ok());
        match driver {
            Some(Some(driver)) => Some(driver),
            _ => self.link.kind.as_deref(),
        }
    }

    fn xdp(&self) -> Option<XdpFeatures> {
        self.device()
            .and_then(|device| device.xdp.as_ref().ok())
            .copied()
    }

    /// Whether native XDP is possible here.
    pub(super) fn native(&self) -> Native {
        match self.xdp() {
            Some(features) if features.native => Native::Possible,
            Some(_) => Native::Impossible(self.why_not()),
            None => self.guess(),
        }
    }

    /// Whether the shield is going to be attached in native mode, as far as can be told.
    pub(super) fn expects_native(&self) -> bool {
        self.facts.wanted.mode != Mode::Generic && !matches!(self.native(), Native::Impossible(_))
    }

    /// For kernels that do not say it: by the kind of interface, or by what is known of the driver.
    fn guess(&self) -> Native {
        if self.link.layer == Layer::Loopback {
            return Native::Impossible(self.why_not());
        }
        match self.kind() {
            "" | "veth" | "tun" => self.guess_by_driver(),
            "bond" => {
                let possible = self.bond_without_xdp().is_none()
                    && self
                        .receivers()
                        .iter()
                        .all(|member| member.native() == Native::Possible);
                if possible {
                    Native::Possible
                } else {
                    Native::Impossible(self.why_not())
                }
            }
            _ => Native::Impossible(self.why_not()),
        }
    }

    fn guess_by_driver(&self) -> Native {
        let kernel = version(&self.facts.kernel.release);
        match self.driver().and_then(drivers::find) {
            Some(Xdp::Native(native)) if kernel.is_none_or(|kernel| kernel >= native.since) => {
                Native::Possible
            }
            Some(_) => Native::Impossible(self.why_not()),
            None => Native::Unknown,
        }
    }

    /// Why there is no native XDP.
    fn why_not(&self) -> String {
        if self.link.layer == Layer::Loopback {
            return "loopback has no driver to run it".to_owned();
        }
        match self.kind() {
            "bond" => self.why_not_bond(),
            "veth" => "it has fewer receive queues than its other end has send queues".to_owned(),
            "" | "tun" => self.why_not_driver(),
            kind => format!("an interface of kind {kind} has none"),
        }
    }

    fn why_not_bond(&self) -> String {
        if let Some(mode) = self.bond_without_xdp() {
            return format!("a bond in mode {mode} has none");
        }
        let without: Vec<&str> = self
            .receivers()
            .iter()
            .filter(|member| member.native() != Native::Possible)
            .map(|member| member.link.name.as_str())
            .collect();
        if self.receivers().is_empty() {
            "the bond has no members yet".to_owned()
        } else {
            format!(
                "a bond has it when all its members have; {} have not",
                without.join(", ")
            )
        }
    }

    fn why_not_driver(&self) -> String {
        let Some(name) = self.driver() else {
            return "its driver has none".to_owned();
        };
        match drivers::find(name) {
            Some(Xdp::Never(_)) | None => format!("the driver {name} has none"),
            Some(Xdp::Native(native)) => {
                let (major, minor) = native.since;
                match version(&self.facts.kernel.release) {
                    Some(kernel) if kernel < native.since => {
                        format!("the driver {name} has it since Linux {major}.{minor}")
                    }
                    _ => format!(
                        "the driver {name} can, but not as the interface is set up now: queues, rings and offloads count"
                    ),
                }
            }
        }
    }

    fn bond_without_xdp(&self) -> Option<&'a str> {
        match &self.link.bond {
            Some(BondMode::NoXdp(mode)) => Some(mode),
            _ => None,
        }
    }
}

pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let mut findings = vec![driver(subject)];
    findings.extend(driver_unseen(subject));
    findings.extend(mtu(subject));
    findings
}

fn driver(subject: Subject<'_>) -> Finding {
    let why = "native XDP drops a packet in the driver, before the kernel spends memory on it; generic mode, which works \
               everywhere, costs two to four times as much for each packet";
    let name = subject.driver().unwrap_or("unknown");
    let finding = |severity, found: String| Finding::new("native", severity, found, why);
    match (subject.facts.wanted.mode, subject.native()) {
        (Mode::Generic, Native::Possible) => finding(
            Severity::Note,
            format!("native XDP is possible (driver {name}), but generic mode is configured"),
        )
        .fix("set `[shield] mode = \"auto\"`"),
        (Mode::Generic, _) => finding(
            Severity::Ok,
            format!("generic mode is configured (driver {name})"),
        ),
        (_, Native::Possible) => {
            let remark = match subject.driver().and_then(drivers::find) {
                Some(Xdp::Native(native)) if !native.remark.is_empty() => {
                    format!("; {}", native.remark)
                }
                _ => String::new(),
            };
            finding(
                Severity::Ok,
                format!("native XDP is possible (driver {name}){remark}"),
            )
        }
        (mode, Native::Impossible(reason)) => {
            let severity = match mode {
                Mode::Native => Severity::Problem,
                _ if subject.link.layer == Layer::Loopback => Severity::Note,
                _ => Severity::Warning,
            };
            let finding = finding(severity, format!("no native XDP: {reason}"));
            match remedy(subject, mode) {
                Some(fix) => finding.fix(fix),
                None => finding,
            }
        }
        (_, Native::Unknown) => finding(
            Severity::Note,
            format!("whether the driver {name} has native XDP is not known: weir will try"),
        ),
    }
}

fn remedy(subject: Subject<'_>, mode: Mode) -> Option<String> {
    if mode == Mode::Native {
        return Some(
            "set `[shield] mode = \"auto\"`, and weir falls back to generic mode".to_owned(),
        );
    }
    if subject.kind() == "veth" {
        let name = &subject.link.name;
        return Some(format!(
            "ethtool -L {name} rx N, N being the other end's send queues"
        ));
    }
    match subject.driver().and_then(drivers::find) {
        Some(Xdp::Never(instead)) => Some((*instead).to_owned()),
        _ => None,
    }
}

/// The driver of hardware could not be read.
fn driver_unseen(subject: Subject<'_>) -> Option<Finding> {
    let unseen = subject.device()?.driver.as_ref().err()?;
    Some(Finding::unseen(
        "native",
        "the driver's name below /sys/bus",
        unseen,
        "with it, reasons and limits could be told more precisely; is /sys mounted?",
    ))
}

/// Without `frags`, a frame, its headroom and the kernel's bookkeeping share a page of 4 KiB.
const MTU_ONE_BUFFER: u32 = 3498;

fn mtu(subject: Subject<'_>) -> Option<Finding> {
    if !subject.expects_native() {
        return None;
    }
    let Link { name, mtu, .. } = subject.link;
    let why =
        "a driver that has native XDP only for frames in one buffer refuses it at a larger MTU";
    let finding = |severity, found: String| Finding::new("mtu", severity, found, why);
    let limit = limit(subject);
    Some(match limit {
        None => finding(Severity::Ok, format!("MTU {mtu}")),
        Some(limit) if *mtu <= limit => finding(
            Severity::Ok,
            format!("MTU {mtu}, {limit} at most for native XDP"),
        ),
        Some(limit) => {
            let severity = match subject.facts.wanted.mode {
                Mode::Native => Severity::Problem,
                _ => Severity::Warning,
            };
            finding(
                severity,
                format!("MTU {mtu} is more than native XDP takes here: {limit}"),
            )
            .fix(format!(
                "ip link set dev {name} mtu {limit}; or set `[shield] mode = \"generic\"`"
            ))
        }
    })
}

/// Largest MTU for native XDP, bytes; none: no limit is known.
fn limit(subject: Subject<'_>) -> Option<u32> {
    let limits = subject.receivers().into_iter().map(|receiver| {
        let known = match receiver.driver().and_then(drivers::find) {
            Some(Xdp::Native(native)) => Some(native),
            _ => None,
        };
        let kernel = version(&subject.facts.kernel.release);
        let frags = match (receiver.xdp(), known) {
            (Some(features), _) => features.frags,
            (None, Some(native)) => native
                .frags
                .is_some_and(|since| kernel.is_none_or(|kernel| kernel >= since)),
            (None, None) => false,
        };
        if frags {
            return None;
        }
        known.map_or(Some(MTU_ONE_BUFFER), |native| native.mtu_max)
    });
    limits.flatten().min()
}

#[cfg(test)]
mod tests {
    use super::super::super::Unseen;
    use super::super::tests::{all, bond, card, facts_with, link, the};
    use super::*;

    fn on(driver: &str, features: Result<XdpFeatures, Unseen>, release: &str) -> Facts {
        let mut facts = facts_with(vec![(link("eth0", 2), card(driver))]);
        facts.kernel.release = release.to_owned();
        if let Some(device) = facts.devices.get_mut(&2) {
            device.xdp = features;
        }
        facts
    }

    const NONE: Result<XdpFeatures, Unseen> = Ok(XdpFeatures {
        native: false,
        frags: false,
    });
    const ONE_BUFFER: Result<XdpFeatures, Unseen> = Ok(XdpFeatures {
        native: true,
        frags: false,
    });
    const FRAGS: Result<XdpFeatures, Unseen> = Ok(XdpFeatures {
        native: true,
        frags: true,
    });

    #[test]
    fn the_kernels_word_on_native_xdp_beats_the_table() {
        for (driver, features, severity) in [
            ("ena", ONE_BUFFER, Severity::Ok),
            ("r8169", ONE_BUFFER, Severity::Ok),
            ("unheard_of", NONE, Severity::Warning),
            ("ena", NONE, Severity::Warning),
        ] {
            let facts = on(driver, features, "6.6.0");
            assert_eq!(the(&facts, "native").severity, severity, "{driver}");
        }
    }

    #[test]
    fn before_6_3_the_table_knows() {
        for (driver, release, severity, words) in [
            ("i40e", "6.1.0", Severity::Ok, "possible"),
            ("gve", "6.1.0", Severity::Warning, "since Linux 6.4"),
            (
                "r8169",
                "6.1.0",
                Severity::Warning,
                "the driver r8169 has none",
            ),
            ("ixgbevf", "6.1.0", Severity::Ok, "cannot redirect"),
            ("unheard_of", "6.1.0", Severity::Note, "not known"),
        ] {
            let facts = on(driver, Err(Unseen::Absent), release);
            let finding = the(&facts, "native");
            assert_eq!(finding.severity, severity, "{driver}");
            assert!(finding.found.contains(words), "{}", finding.found);
        }
    }

    #[test]
    fn no_native_xdp_is_a_problem_where_native_mode_is_demanded_and_none_where_generic_is() {
        for (mode, severity) in [
            (Mode::Native, Severity::Problem),
            (Mode::Auto, Severity::Warning),
            (Mode::Generic, Severity::Ok),
        ] {
            let mut facts = on("r8169", NONE, "6.6.0");
            facts.wanted.mode = mode;
            assert_eq!(the(&facts, "native").severity, severity, "{mode:?}");
        }
        let mut facts = on("ena", ONE_BUFFER, "6.6.0");
        facts.wanted.mode = Mode::Generic;
        assert_eq!(the(&facts, "native").severity, Severity::Note);
    }

    #[test]
    fn a_jumbo_mtu_takes_frames_in_several_buffers() {
        for (driver, features, release, mtu, severity) in [
            ("ena", ONE_BUFFER, "6.6.0", 3498, Severity::Ok),
            ("ena", ONE_BUFFER, "6.6.0", 9001, Severity::Warning),
            ("ice", FRAGS, "6.6.0", 9000, Severity::Ok),
            ("ice", Err(Unseen::Absent), "6.1.0", 3046, Severity::Ok),
            ("ice", Err(Unseen::Absent), "6.1.0", 3047, Severity::Warning),
            ("mvneta", Err(Unseen::Absent), "6.1.0", 9000, Severity::Ok),
            ("unheard_of", ONE_BUFFER, "6.6.0", 9000, Severity::Warning),
        ] {
            let mut facts = on(driver, features, release);
            facts.links.as_mut().expect("links")[0].mtu = mtu;
            assert_eq!(the(&facts, "mtu").severity, severity, "{driver} {mtu}");
            facts.wanted.mode = Mode::Native;
            let demanded = the(&facts, "mtu").severity;
            assert_eq!(demanded == Severity::Problem, severity != Severity::Ok);
            facts.wanted.mode = Mode::Generic;
            assert!(
                all(&facts, "mtu").is_empty(),
                "any MTU will do in generic mode"
            );
        }
    }

    #[test]
    fn a_bond_has_native_xdp_when_its_mode_and_all_members_have() {
        let members = |second: &str| {
            let member = |name: &str, index| Link {
                controller: Some(9),
                ..link(name, index)
            };
            let mut facts = facts_with(vec![
                (bond("bond0", 9), card("bonding")),
                (member("eth0", 2), card("ixgbe")),
                (member("eth1", 3), card(second)),
            ]);
            facts.kernel.release = "6.1.0".to_owned();
            for device in facts.devices.values_mut() {
                device.xdp = Err(Unseen::Absent);
            }
            facts
        };
        assert_eq!(the(&members("i40e"), "native").severity, Severity::Ok);
        let finding = the(&members("tg3"), "native");
        assert_eq!(finding.severity, Severity::Warning);
        assert!(
            finding.found.ends_with("eth1 have not"),
            "{}",
            finding.found
        );

        let mut facts = members("i40e");
        facts.links.as_mut().expect("links")[0].bond = Some(BondMode::NoXdp("balance-alb".into()));
        let found = the(&facts, "native").found;
        assert!(found.contains("mode balance-alb"), "{found}");
    }

    #[test]
    fn the_mtu_of_a_bond_is_limited_by_its_narrowest_member() {
        let member = |name: &str, index| Link {
            controller: Some(9),
            ..link(name, index)
        };
        let mut facts = facts_with(vec![
            (bond("bond0", 9), card("bonding")),
            (member("eth0", 2), card("ena")),
            (member("eth1", 3), card("ixgbe")),
        ]);
        facts.links.as_mut().expect("links")[0].mtu = 3100;
        let finding = the(&facts, "mtu");
        assert!(finding.found.ends_with(": 3050"), "{}", finding.found);
    }

    #[test]
    fn a_driver_that_cannot_be_read_is_noted() {
        let mut facts = on("ena", ONE_BUFFER, "6.6.0");
        if let Some(device) = facts.devices.get_mut(&2) {
            device.driver = Err(Unseen::NotPermitted);
        }
        let notes = all(&facts, "native");
        assert_eq!(notes.len(), 2);
        assert!(notes[1].found.contains("/sys"), "{}", notes[1].found);
    }
}
