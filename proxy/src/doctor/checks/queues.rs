//! Receive queues: how many CPUs a flood is spread over.

use super::super::facts::Channels;
use super::super::{Finding, Severity, Unseen};
use super::native::Subject;

/// Of the interface, or of each member of a bond or team.
pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for receiver in subject.receivers() {
        let Some(device) = receiver.device() else {
            continue;
        };
        match &device.channels {
            Ok(channels) => {
                findings.push(spread(receiver, *channels));
                if subject.expects_native() && receiver.driver() == Some("virtio_net") {
                    findings.push(virtio(receiver, *channels));
                }
            }
            // Devices without a choice of queues have one.
            Err(Unseen::Absent) if receiver.link.hardware.is_none() => {}
            Err(unseen) => findings.push(Finding::unseen(
                "queues",
                &format!("the receive queues of {}", receiver.link.name),
                unseen,
                WHY,
            )),
        }
    }
    findings
}

const WHY: &str = "the packets of a receive queue are judged by one CPU, so with fewer queues than CPUs some of them idle \
                   while the others drown";

fn spread(receiver: Subject<'_>, channels: Channels) -> Finding {
    let name = &receiver.link.name;
    let cpus = receiver.facts.kernel.cpus;
    let Channels {
        rx,
        rx_max,
        pairing,
    } = channels;
    let found =
        format!("{name} receives by {rx} queue(s), of {rx_max} it could have, on {cpus} CPU(s)");
    let useful = cpus.min(rx_max);
    if rx >= cpus {
        Finding::new("queues", Severity::Ok, found, WHY)
    } else if rx < useful {
        Finding::new("queues", Severity::Warning, found, WHY)
            .fix(format!("ethtool -L {name} {} {useful}", pairing.as_str()))
    } else {
        Finding::new("queues", Severity::Note, found, WHY)
    }
}

/// `virtnet_xdp_set` wants a send queue of its own for each CPU.
fn virtio(receiver: Subject<'_>, channels: Channels) -> Finding {
    let name = &receiver.link.name;
    let cpus = receiver.facts.kernel.cpus;
    let needed = channels.rx.saturating_add(cpus);
    let why = "virtio_net gives XDP a send queue per CPU beside those in use; where there are too few, what XDP sends \
               back itself (SYN cookies) goes through shared queues behind a lock, which is slower";
    if needed <= channels.rx_max {
        return Finding::new(
            "send-queues",
            Severity::Ok,
            format!("{name} has a send queue of its own for XDP on each CPU"),
            why,
        );
    }
    Finding::new(
        "send-queues",
        Severity::Note,
        format!(
            "{name} has {} queue pair(s), XDP would like {needed}",
            channels.rx_max
        ),
        why,
    )
    .fix(format!(
        "let the hypervisor give {} queue pairs, two for each CPU",
        cpus.saturating_mul(2)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Facts, Hardware, Pairing};
    use super::super::tests::{all, card, facts_with, link, the};
    use super::*;

    fn with(driver: &str, cpus: u32, rx: u32, rx_max: u32) -> Facts {
        let mut device = card(driver);
        device.channels = Ok(Channels {
            rx,
            rx_max,
            pairing: Pairing::Combined,
        });
        let mut facts = facts_with(vec![(link("eth0", 2), device)]);
        facts.kernel.cpus = cpus;
        facts
    }

    #[test]
    fn fewer_queues_than_cpus_are_a_warning_where_more_could_be_had() {
        for (cpus, rx, rx_max, severity, fix) in [
            (4, 4, 8, Severity::Ok, None),
            (4, 8, 8, Severity::Ok, None),
            (
                8,
                2,
                4,
                Severity::Warning,
                Some("ethtool -L eth0 combined 4"),
            ),
            (
                8,
                2,
                16,
                Severity::Warning,
                Some("ethtool -L eth0 combined 8"),
            ),
            (8, 4, 4, Severity::Note, None),
            (2, 1, 1, Severity::Note, None),
        ] {
            let finding = the(&with("ena", cpus, rx, rx_max), "queues");
            assert_eq!(finding.severity, severity, "{cpus} {rx} {rx_max}");
            assert_eq!(finding.fix.as_deref(), fix);
        }
    }

    #[test]
    fn queues_that_do_not_come_in_pairs_are_named_as_ethtool_names_them() {
        let mut facts = with("veth", 4, 1, 4);
        if let Some(device) = facts.devices.get_mut(&2) {
            device.channels = Ok(Channels {
                rx: 1,
                rx_max: 4,
                pairing: Pairing::Separate,
            });
        }
        let fix = the(&facts, "queues").fix;
        assert_eq!(fix.as_deref(), Some("ethtool -L eth0 rx 4"));
    }

    #[test]
    fn virtio_net_wants_two_queue_pairs_a_cpu() {
        assert_eq!(
            the(&with("virtio_net", 4, 4, 8), "send-queues").severity,
            Severity::Ok
        );
        let finding = the(&with("virtio_net", 4, 4, 4), "send-queues");
        assert_eq!(finding.severity, Severity::Note);
        assert!(finding.fix.is_some_and(|fix| fix.contains("8 queue pairs")));
        assert!(all(&with("ena", 4, 4, 4), "send-queues").is_empty());
    }

    #[test]
    fn a_device_without_a_choice_of_queues_is_passed_over_unless_it_is_hardware() {
        let mut facts = with("ena", 4, 4, 4);
        if let Some(device) = facts.devices.get_mut(&2) {
            device.channels = Err(Unseen::Absent);
        }
        assert!(all(&facts, "queues").is_empty());
        facts.links.as_mut().expect("links")[0].hardware = Some(Hardware {
            bus: "pci".to_owned(),
            device: "0000:00:03.0".to_owned(),
        });
        assert_eq!(the(&facts, "queues").severity, Severity::Note);
    }
}
