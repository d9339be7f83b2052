//! The checks: facts in, findings out. They touch nothing, so each is tested with facts that are made up.

mod drivers;
mod interface;
mod kernel;
mod native;
mod offloads;
mod process;
mod queues;
mod stacking;
mod sysctls;

#[cfg(test)]
mod tests;

use self::native::Subject;
use super::facts::{Facts, Interfaces, Layer, Link};
use super::{Finding, Severity};

/// Everything there is to say: the host first, then each interface in order.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(choice(facts));
    findings.extend(kernel::findings(facts));
    findings.extend(process::findings(facts));
    findings.extend(sysctls::findings(facts));
    // An interface that nobody said is to be guarded is no problem, whatever it is.
    let worst = if facts.is_guarding_by_name() {
        Severity::Problem
    } else {
        Severity::Warning
    };
    for examined in facts.examined() {
        match examined {
            Ok(link) => {
                let found = of_interface(facts, link).into_iter();
                findings.extend(found.map(|finding| Finding {
                    severity: finding.severity.min(worst),
                    ..finding.on(&link.name)
                }));
            }
            Err(name) => findings.push(interface::unknown(facts, name).on(name)),
        }
    }
    findings
}

/// Which interfaces are looked at, if that needs saying.
fn choice(facts: &Facts) -> Option<Finding> {
    if let Err(unseen) = &facts.links {
        return Some(Finding::unseen(
            "interfaces",
            "the interfaces",
            unseen,
            "rtnetlink tells their drivers, modes and programs",
        ));
    }
    match &facts.wanted.interfaces {
        Interfaces::Named(names) if names.is_empty() => Some(
            Finding::new(
                "interfaces",
                Severity::Note,
                "`[shield] interfaces` is empty: weir guards none",
                "without an interface there is no packet filter, only the proxy",
            )
            .fix("name the interfaces that face the clients in `[shield] interfaces`"),
        ),
        Interfaces::Named(_) => None,
        Interfaces::Up { because } => Some(
            Finding::new(
                "interfaces",
                Severity::Note,
                format!("{because}: every interface that is up was looked at"),
                "which of them weir is to guard, and how, is in its configuration",
            )
            .fix("weir doctor -c FILE"),
        ),
    }
}

fn of_interface(facts: &Facts, link: &Link) -> Vec<Finding> {
    let subject = Subject { facts, link };
    let mut findings = interface::findings(subject);
    if matches!(link.layer, Layer::Other(_)) {
        return findings;
    }
    findings.extend(native::findings(subject));
    if has_receiver(subject) {
        findings.extend(offloads::findings(subject));
        findings.extend(queues::findings(subject));
    }
    findings.extend(stacking::findings(subject));
    findings
}

/// Whether offloads and queues are this interface's own, not those of one below it.
fn has_receiver(subject: Subject<'_>) -> bool {
    subject.link.layer == Layer::Ethernet && matches!(subject.kind(), "" | "veth" | "bond" | "team")
}
