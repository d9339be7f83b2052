//! An interface as such: whether it is there, up and Ethernet, and whose XDP program it has.

use super::super::facts::{Facts, Layer, Link, Program};
use super::super::{Finding, Severity, Unseen};
use super::native::{Native, Subject};
use crate::xdp::{AttachedMode, Mode};

pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let mut findings = vec![state(subject.link)];
    findings.extend(ethernet(subject.link));
    findings.extend(programs(subject));
    findings
}

/// No interface is called `name`.
pub(super) fn unknown(facts: &Facts, name: &str) -> Finding {
    let links = facts.links.as_deref().unwrap_or_default();
    let names: Vec<&str> = links
        .iter()
        .map(|link| link.name.as_str())
        .take(NAMES_SHOWN)
        .collect();
    let more = match links.len().saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Finding::new(
        "exists",
        Severity::Problem,
        format!("there is no interface `{name}` in this network namespace"),
        "weir does not start when an interface it is to guard is missing",
    )
    .fix(format!(
        "correct `[shield] interfaces`; there are: {}{more}",
        names.join(", ")
    ))
}

/// A host with containers has hundreds.
const NAMES_SHOWN: usize = 16;

fn state(link: &Link) -> Finding {
    let name = &link.name;
    let why =
        "nothing arrives at an interface that is down; the shield can be attached all the same";
    if !link.is_up {
        return Finding::new("state", Severity::Warning, "is down", why)
            .fix(format!("ip link set dev {name} up"));
    }
    if !link.has_carrier {
        return Finding::new("state", Severity::Note, "is up, without a signal", why);
    }
    Finding::new("state", Severity::Ok, "is up", why)
}

fn ethernet(link: &Link) -> Option<Finding> {
    let Layer::Other(layer) = &link.layer else {
        return None;
    };
    Some(
        Finding::new(
            "ethernet",
            Severity::Problem,
            format!("its frames have no Ethernet header ({layer})"),
            "the shield reads Ethernet frames; here it would take IP packets for frames of some other protocol and pass them",
        )
        .fix("guard the interface that these packets come in by"),
    )
}

const PROGRAM_WHY: &str = "an interface has room for one XDP program";

fn programs(subject: Subject<'_>) -> Vec<Finding> {
    let programs = &subject.link.programs;
    if programs.is_empty() {
        let found = "has no XDP program yet";
        return vec![Finding::new("program", Severity::Ok, found, PROGRAM_WHY)];
    }
    programs
        .iter()
        .map(|program| match &subject.facts.own_programs {
            Ok(own) if own.contains(&program.id) => own_program(subject, program),
            Ok(_) => foreign_program(subject.link, program),
            Err(unseen) => unknown_program(program, unseen),
        })
        .collect()
}

fn own_program(subject: Subject<'_>, program: &Program) -> Finding {
    let mode = mode(program);
    let found = format!("has weir's program, id {}, in {mode} mode", program.id);
    let could_be_native = subject.facts.wanted.mode == Mode::Auto
        && program.mode == Some(AttachedMode::Generic)
        && subject.native() == Native::Possible;
    if could_be_native {
        return Finding::new(
            "program",
            Severity::Note,
            format!("{found}, and native is possible"),
            "weir keeps a mode that works rather than leave the interface unguarded while it tries another",
        )
        .fix("weir detach, then start weir anew");
    }
    Finding::new("program", Severity::Ok, found, PROGRAM_WHY)
}

fn foreign_program(link: &Link, program: &Program) -> Finding {
    let name = program.name.as_deref().unwrap_or("name unknown");
    let word = match program.mode {
        Some(AttachedMode::Native) => "xdp",
        Some(AttachedMode::Generic) => "xdpgeneric",
        None => "xdpoffload",
    };
    Finding::new(
        "program",
        Severity::Problem,
        format!(
            "has an XDP program that is not weir's: `{name}`, id {}, {}",
            program.id,
            mode(program)
        ),
        format!("{PROGRAM_WHY}, and weir does not replace one that it did not attach"),
    )
    .fix(if name == WEIRS_PROGRAM {
        "it may be another weir's, with another `pin_dir`: weir detach --pin-dir DIR".to_owned()
    } else {
        format!(
            "end what attached it (`bpftool prog show id {}`); if nothing that runs did: ip link set dev {} {word} off",
            program.id, link.name
        )
    })
}

/// Name of weir's program, whichever weir's.
const WEIRS_PROGRAM: &str = "weir";

fn unknown_program(program: &Program, unseen: &Unseen) -> Finding {
    Finding::unseen(
        "program",
        &format!("whose XDP program id {} is", program.id),
        unseen,
        PROGRAM_WHY,
    )
}

fn mode(program: &Program) -> &'static str {
    program.mode.map_or("offloaded", AttachedMode::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Interfaces;
    use super::super::tests::{all, card, facts_with, link, the};
    use super::*;

    fn one(change: impl FnOnce(&mut Link)) -> Facts {
        let mut link = link("eth0", 2);
        change(&mut link);
        facts_with(vec![(link, card("ena"))])
    }

    fn program(id: u32, mode: Option<AttachedMode>) -> Program {
        Program {
            id,
            mode,
            name: Some("xdp_dispatcher".to_owned()),
        }
    }

    #[test]
    fn a_name_that_no_interface_has_is_a_problem_that_lists_the_names_there_are() {
        let mut facts = one(|_| {});
        facts.wanted.interfaces = Interfaces::Named(vec!["eth9".to_owned()]);
        let finding = the(&facts, "exists");
        assert_eq!(finding.severity, Severity::Problem);
        assert_eq!(finding.interface.as_deref(), Some("eth9"));
        assert!(
            finding
                .fix
                .is_some_and(|fix| fix.ends_with("there are: eth0"))
        );
    }

    #[test]
    fn an_interface_that_is_down_has_a_command_and_one_without_signal_a_note() {
        let down = the(&one(|link| link.is_up = false), "state");
        assert_eq!(down.severity, Severity::Warning);
        assert_eq!(down.fix.as_deref(), Some("ip link set dev eth0 up"));
        let silent = the(&one(|link| link.has_carrier = false), "state");
        assert_eq!(silent.severity, Severity::Note);
    }

    #[test]
    fn frames_without_ethernet_header_are_a_problem() {
        let facts = one(|link| link.layer = Layer::Other("NONE".to_owned()));
        assert_eq!(the(&facts, "ethernet").severity, Severity::Problem);
        assert!(all(&one(|_| {}), "ethernet").is_empty());
    }

    #[test]
    fn a_foreign_program_is_a_problem_with_its_name_and_the_way_to_take_it_off() {
        for (mode, word) in [
            (Some(AttachedMode::Native), "eth0 xdp off"),
            (Some(AttachedMode::Generic), "eth0 xdpgeneric off"),
            (None, "eth0 xdpoffload off"),
        ] {
            let finding = the(
                &one(|link| link.programs = vec![program(7, mode)]),
                "program",
            );
            assert_eq!(finding.severity, Severity::Problem);
            assert!(
                finding.found.contains("`xdp_dispatcher`, id 7"),
                "{}",
                finding.found
            );
            assert!(finding.fix.is_some_and(|fix| fix.ends_with(word)));
        }
    }

    #[test]
    fn a_program_of_another_weir_is_taken_off_by_weir() {
        let facts = one(|link| {
            let name = Some("weir".to_owned());
            let mode = Some(AttachedMode::Native);
            link.programs = vec![Program { id: 7, mode, name }];
        });
        let finding = the(&facts, "program");
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.fix.is_some_and(|fix| fix.contains("weir detach")));
    }

    #[test]
    fn weirs_own_program_is_as_it_should_be_and_noted_if_it_could_be_native() {
        for (mode, severity) in [
            (AttachedMode::Native, Severity::Ok),
            (AttachedMode::Generic, Severity::Note),
        ] {
            let mut facts = one(|link| link.programs = vec![program(7, Some(mode))]);
            facts.own_programs = Ok(vec![7]);
            assert_eq!(the(&facts, "program").severity, severity, "{mode:?}");
        }
    }

    #[test]
    fn whose_a_program_is_can_be_hidden() {
        let mut facts = one(|link| link.programs = vec![program(7, Some(AttachedMode::Native))]);
        facts.own_programs = Err(Unseen::NotPermitted);
        let finding = the(&facts, "program");
        assert_eq!(finding.severity, Severity::Note);
        assert_eq!(finding.fix.as_deref(), Some("sudo weir doctor"));
    }
}
