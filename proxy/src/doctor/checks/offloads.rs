//! Offloads that merge packets or take their tags off before XDP sees them.

use super::super::facts::{Offload, Offloads};
use super::super::{Finding, Severity};
use super::native::Subject;

/// Of the interface, or of each member of a bond or team.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for receiver in subject.receivers() {
        let Some(device) = receiver.device() else {
            continue;
        };
        let name = &receiver.link.name;
        match &device.offloads {
            Ok(offloads) => {
                findings.push(merging(subject, receiver, *offloads));
                findings.push(tags(subject, name, offloads.rx_vlan));
            }
            Err(unseen) => findings.push(Finding::unseen(
                "offloads",
                &format!("the offloads of {name}"),
                unseen,
                "LRO, hardware GRO and rxvlan change what XDP gets to see",
            )),
        }
    }
    findings
}

/// Packets made into larger ones: in hardware that is in native mode's way, in the stack in generic mode's.
fn merging(subject: Subject<'_>, receiver: Subject<'_>, offloads: Offloads) -> Finding {
    let name = &receiver.link.name;
    if !subject.expects_native() {
        return gro(name, offloads.gro);
    }
    let why = "drivers that merge packets in hardware refuse native XDP, or hand it packets that were never on the wire";
    let on = [
        ("lro", "LRO", offloads.lro),
        ("rx-gro-hw", "hardware GRO", offloads.gro_hw),
    ]
    .into_iter()
    .find(|(_, _, state)| *state != Offload::Off);
    let Some((switch, words, state)) = on else {
        return Finding::new(
            "merging",
            Severity::Ok,
            format!("LRO and hardware GRO of {name} are off"),
            why,
        );
    };
    let is_virtio = receiver.driver() == Some("virtio_net");
    match state {
        Offload::On if is_virtio => Finding::new(
            "merging",
            Severity::Ok,
            format!("{words} of {name} is on; virtio_net switches it off while XDP is attached"),
            why,
        ),
        Offload::Fixed if is_virtio => Finding::new(
            "merging",
            Severity::Warning,
            format!("{words} of {name} is on and the hypervisor does not let it be switched off"),
            why,
        )
        .fix("let the hypervisor offer ctrl_guest_offloads, or no guest offloads (QEMU: guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off)"),
        Offload::Fixed => Finding::new(
            "merging",
            Severity::Warning,
            format!("{words} of {name} is on and cannot be switched off"),
            why,
        )
        .fix("set `[shield] mode = \"generic\"` if native mode is refused"),
        Offload::On | Offload::Off => Finding::new(
            "merging",
            Severity::Warning,
            format!("{words} of {name} is on"),
            why,
        )
        .fix(format!("ethtool -K {name} {switch} off")),
    }
}

fn gro(name: &str, state: Offload) -> Finding {
    let why = "generic mode sees what GRO has made of the packets: limits and counters then count one packet for several";
    if state == Offload::Off {
        return Finding::new(
            "merging",
            Severity::Ok,
            format!("GRO of {name} is off"),
            why,
        );
    }
    Finding::new(
        "merging",
        Severity::Note,
        format!("GRO of {name} is on"),
        why,
    )
    .fix(format!("ethtool -K {name} gro off"))
}

/// VLAN tags taken off by the card.
fn tags(subject: Subject<'_>, name: &str, state: Offload) -> Finding {
    let why = "the card takes the VLAN tag off before XDP sees the frame, so weir cannot tell VLANs apart, and what XDP \
               sends back itself (SYN cookies) goes out without the tag";
    if state == Offload::Off {
        return Finding::new(
            "vlan-offload",
            Severity::Ok,
            format!("rxvlan of {name} is off: tags stay in the frames"),
            why,
        );
    }
    let vlans: Vec<&str> = subject
        .facts
        .vlans(subject.link)
        .iter()
        .map(|vlan| vlan.name.as_str())
        .collect();
    let finding = if vlans.is_empty() {
        Finding::new(
            "vlan-offload",
            Severity::Note,
            format!("rxvlan of {name} is on; it matters if frames with VLAN tags arrive"),
            why,
        )
    } else {
        Finding::new(
            "vlan-offload",
            Severity::Warning,
            format!(
                "rxvlan of {name} is on, and there are VLANs: {}",
                vlans.join(", ")
            ),
            why,
        )
    };
    match state {
        Offload::Fixed => finding,
        Offload::On | Offload::Off => finding.fix(format!("ethtool -K {name} rxvlan off")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Unseen;
    use super::super::super::facts::{Facts, Link};
    use super::super::tests::{card, facts_with, link, the};
    use super::*;
    use crate::xdp::Mode;

    fn with(driver: &str, change: impl FnOnce(&mut Offloads)) -> Facts {
        let mut device = card(driver);
        if let Ok(offloads) = &mut device.offloads {
            change(offloads);
        }
        facts_with(vec![(link("eth0", 2), device)])
    }

    #[test]
    fn merging_in_hardware_is_in_the_way_of_native_mode() {
        let lro = with("mlx5_core", |offloads| offloads.lro = Offload::On);
        let finding = the(&lro, "merging");
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.fix.as_deref(), Some("ethtool -K eth0 lro off"));

        let gro_hw = with("bnxt_en", |offloads| offloads.gro_hw = Offload::On);
        let finding = the(&gro_hw, "merging");
        assert_eq!(
            finding.fix.as_deref(),
            Some("ethtool -K eth0 rx-gro-hw off")
        );

        let off = with("mlx5_core", |_| {});
        assert_eq!(the(&off, "merging").severity, Severity::Ok);
    }

    #[test]
    fn virtio_net_switches_hardware_gro_off_by_itself_unless_the_hypervisor_forbids() {
        let on = with("virtio_net", |offloads| offloads.gro_hw = Offload::On);
        assert_eq!(the(&on, "merging").severity, Severity::Ok);
        let fixed = with("virtio_net", |offloads| offloads.gro_hw = Offload::Fixed);
        assert_eq!(the(&fixed, "merging").severity, Severity::Warning);
    }

    #[test]
    fn gro_matters_in_generic_mode_only() {
        let mut facts = with("ena", |offloads| offloads.gro = Offload::On);
        assert_eq!(the(&facts, "merging").severity, Severity::Ok);
        facts.wanted.mode = Mode::Generic;
        let finding = the(&facts, "merging");
        assert_eq!(finding.severity, Severity::Note);
        assert_eq!(finding.fix.as_deref(), Some("ethtool -K eth0 gro off"));
    }

    #[test]
    fn tags_taken_off_by_the_card_are_a_warning_where_there_are_vlans() {
        let mut facts = with("ena", |offloads| offloads.rx_vlan = Offload::On);
        assert_eq!(the(&facts, "vlan-offload").severity, Severity::Note);
        let vlan = Link {
            kind: Some("vlan".to_owned()),
            lower: Some(2),
            vlan: Some(100),
            ..link("eth0.100", 5)
        };
        facts.links.as_mut().expect("links").push(vlan);
        let finding = the(&facts, "vlan-offload");
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.found.ends_with("eth0.100"), "{}", finding.found);
        assert_eq!(finding.fix.as_deref(), Some("ethtool -K eth0 rxvlan off"));

        let off = with("ena", |offloads| offloads.rx_vlan = Offload::Off);
        assert_eq!(the(&off, "vlan-offload").severity, Severity::Ok);
    }

    #[test]
    fn what_cannot_be_switched_has_no_command() {
        let facts = with("ena", |offloads| offloads.rx_vlan = Offload::Fixed);
        assert_eq!(the(&facts, "vlan-offload").fix, None);
    }

    #[test]
    fn offloads_that_cannot_be_read_are_noted() {
        let mut device = card("ena");
        device.offloads = Err(Unseen::Absent);
        let facts = facts_with(vec![(link("eth0", 2), device)]);
        assert_eq!(the(&facts, "offloads").severity, Severity::Note);
    }
}
