//! Interfaces that stand upon or below others: VLANs, bonds, teams, bridges, pairs. Where the shield should hang.

use super::super::facts::{Layer, Link};
use super::super::{Finding, Severity};
use super::native::Subject;
use crate::xdp::AttachedMode;

pub(super) fn findings(subject: Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(alone(subject));
    findings.extend(member(subject));
    findings
}

/// What the interface itself is.
fn alone(subject: Subject<'_>) -> Option<Finding> {
    if subject.link.layer == Layer::Loopback {
        return Some(Finding::new(
            "stacking",
            Severity::Note,
            "is the loopback interface",
            "what arrives here comes from this host; it is for trying the shield out",
        ));
    }
    match subject.kind() {
        "vlan" => Some(vlan(subject)),
        "macvlan" | "macvtap" | "ipvlan" | "ipvtap" => Some(upon(subject)),
        "bond" => Some(bond(subject)),
        "team" => Some(team(subject)),
        "bridge" => Some(bridge(subject)),
        "veth" if subject.expects_native() => Some(veth(subject)),
        _ => carries_vlans(subject),
    }
}

fn vlan(subject: Subject<'_>) -> Finding {
    let id = subject.link.vlan.unwrap_or_default();
    let why = "a VLAN sub-interface gets its frames late, from the stack; its parent sees them in the driver, with their \
               tags, and weir reads up to two";
    match lower(subject) {
        Ok(parent) => Finding::new(
            "stacking",
            Severity::Warning,
            format!("is VLAN {id} of {}", parent.name),
            why,
        )
        .fix(guard(&[&parent.name])),
        Err(place) => Finding::new(
            "stacking",
            Severity::Warning,
            format!("is VLAN {id} of an interface {place}"),
            why,
        )
        .fix("run weir where that interface is, and guard it"),
    }
}

fn upon(subject: Subject<'_>) -> Finding {
    let kind = subject.kind();
    let why = "what stands upon another interface gets its frames late, from the stack; the lower one sees them in the driver";
    match lower(subject) {
        Ok(lower) => Finding::new(
            "stacking",
            Severity::Warning,
            format!("is a {kind} upon {}", lower.name),
            why,
        )
        .fix(guard(&[&lower.name])),
        Err(place) => Finding::new(
            "stacking",
            Severity::Warning,
            format!("is a {kind} upon an interface {place}"),
            why,
        ),
    }
}

fn bond(subject: Subject<'_>) -> Finding {
    let members = names(subject);
    let why = "a bond runs the program in each member's driver, and new members get it too; where a member cannot, guard \
               those that can, one by one";
    if subject.expects_native() {
        return Finding::new(
            "stacking",
            Severity::Ok,
            format!("is a bond of {}", listed(&members)),
            why,
        );
    }
    let able: Vec<&str> = subject
        .receivers()
        .iter()
        .filter(|member| member.expects_native())
        .map(|member| member.link.name.as_str())
        .collect();
    let finding = Finding::new(
        "stacking",
        Severity::Note,
        format!("is a bond of {}, guarded in generic mode", listed(&members)),
        why,
    );
    if !able.is_empty() && able.len() == members.len() {
        finding.fix(guard(&able))
    } else {
        finding
    }
}

fn team(subject: Subject<'_>) -> Finding {
    let members = names(subject);
    let finding = Finding::new(
        "stacking",
        Severity::Warning,
        format!("is a team of {}", listed(&members)),
        "the team driver has no native XDP, its members may",
    );
    if members.is_empty() {
        finding
    } else {
        finding.fix(guard(&members))
    }
}

fn bridge(subject: Subject<'_>) -> Finding {
    let ports = names(subject);
    let finding = Finding::new(
        "stacking",
        Severity::Warning,
        format!("is a bridge of {}", listed(&ports)),
        "a bridge hands XDP, in generic mode only, what is for this host; its ports see everything, in their drivers",
    );
    if ports.is_empty() {
        finding
    } else {
        finding.fix("guard the ports that face the clients: `[shield] interfaces` in weir.toml")
    }
}

fn veth(subject: Subject<'_>) -> Finding {
    let why = "in native mode what XDP sends back itself (SYN cookies) reaches the other end only if that has a native XDP \
               program too; one that passes everything will do";
    let other_end = match lower(subject) {
        Ok(peer) if has_native_program(peer) => {
            return Finding::new(
                "stacking",
                Severity::Ok,
                format!(
                    "is a veth; its other end {} has a native XDP program",
                    peer.name
                ),
                why,
            );
        }
        Ok(peer) => format!("{} has no native XDP program", peer.name),
        Err(place) => format!("is {place}"),
    };
    Finding::new(
        "stacking",
        Severity::Note,
        format!("is a veth; its other end {other_end}"),
        why,
    )
    .fix("attach a program to the other end, or set `[shield] mode = \"generic\"`")
}

fn has_native_program(link: &Link) -> bool {
    let native = Some(AttachedMode::Native);
    link.programs.iter().any(|program| program.mode == native)
}

fn carries_vlans(subject: Subject<'_>) -> Option<Finding> {
    let vlans = subject.facts.vlans(subject.link);
    if vlans.is_empty() {
        return None;
    }
    let names: Vec<&str> = vlans.iter().map(|vlan| vlan.name.as_str()).collect();
    Some(Finding::new(
        "stacking",
        Severity::Ok,
        format!("carries VLANs: {}", names.join(", ")),
        "their frames are judged here, with up to two tags; the sub-interfaces need no shield of their own",
    ))
}

/// What the interface is part of.
fn member(subject: Subject<'_>) -> Option<Finding> {
    let controller = subject.facts.link(subject.link.controller?)?;
    let name = &controller.name;
    match controller.kind.as_deref() {
        Some(kind @ ("bond" | "team")) => Some(member_of_bond(subject, controller, kind)),
        Some("bridge") => Some(Finding::new(
            "stacking",
            Severity::Note,
            format!("is a port of the bridge {name}"),
            "the shield here also judges what the bridge forwards to other ports, not only what is for this host",
        )),
        _ => None,
    }
}

fn member_of_bond(subject: Subject<'_>, controller: &Link, kind: &str) -> Finding {
    let examined: Vec<&Link> = subject.facts.examined().into_iter().flatten().collect();
    let is_examined = |link: &Link| examined.iter().any(|other| other.index == link.index);
    let name = &controller.name;
    let unguarded: Vec<&str> = subject
        .facts
        .members(controller)
        .into_iter()
        .filter(|member| !is_examined(member))
        .map(|member| member.name.as_str())
        .collect();
    if subject.facts.is_guarding_by_name() && is_examined(controller) && kind == "bond" {
        return Finding::new(
            "stacking",
            Severity::Problem,
            format!("is a member of the bond {name}, which is to be guarded too"),
            "in native mode a bond puts the program on its members itself, and refuses when one has its own",
        )
        .fix(guard(&[name]));
    }
    if unguarded.is_empty() {
        return Finding::new(
            "stacking",
            Severity::Ok,
            format!("is a member of the {kind} {name}, like all that are guarded"),
            "members of a bond are guarded each by itself or by the bond",
        );
    }
    let finding = Finding::new(
        "stacking",
        Severity::Warning,
        format!(
            "is a member of the {kind} {name}; {} go unguarded",
            unguarded.join(", ")
        ),
        "what arrives by the other members passes the shield by",
    );
    if kind == "bond" {
        finding.fix(guard(&[name]))
    } else {
        finding.fix(guard(&names(Subject {
            facts: subject.facts,
            link: controller,
        })))
    }
}

/// The interface it stands upon, or the other end; an error says where that is instead.
fn lower(subject: Subject<'_>) -> Result<&Link, &'static str> {
    if subject.link.lower_is_elsewhere {
        return Err("in another network namespace");
    }
    let index = subject.link.lower.ok_or("that is not known")?;
    subject.facts.link(index).ok_or("that is not known")
}

fn names(subject: Subject<'_>) -> Vec<&str> {
    let members = subject.facts.members(subject.link).into_iter();
    members.map(|member| member.name.as_str()).collect()
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        "nothing yet".to_owned()
    } else {
        names.join(", ")
    }
}

/// How to say in the configuration which interfaces to guard.
fn guard<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("\"{}\"", name.as_ref()))
        .collect();
    format!("set `[shield] interfaces = [{}]`", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{Facts, Interfaces, Program};
    use super::super::tests::{all, bond as a_bond, card, facts_with, link, the, virtual_device};
    use super::*;

    fn kind(name: &str, index: u32, kind: &str, lower: Option<u32>) -> Link {
        Link {
            kind: Some(kind.to_owned()),
            lower,
            vlan: (kind == "vlan").then_some(100),
            ..link(name, index)
        }
    }

    fn member(name: &str, index: u32, controller: u32) -> Link {
        Link {
            controller: Some(controller),
            ..link(name, index)
        }
    }

    /// Looks at the interfaces called `names`.
    fn looking_at(names: &[&str], links: Vec<Link>) -> Facts {
        let devices = links
            .into_iter()
            .map(|link| {
                let device = if link.kind.is_some() {
                    virtual_device()
                } else {
                    card("ixgbe")
                };
                (link, device)
            })
            .collect();
        let mut facts = facts_with(devices);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        facts.wanted.interfaces = Interfaces::Named(names);
        facts
    }

    #[test]
    fn a_vlan_sub_interface_sends_to_its_parent() {
        let facts = looking_at(
            &["eth0.100"],
            vec![link("eth0", 2), kind("eth0.100", 5, "vlan", Some(2))],
        );
        let finding = the(&facts, "stacking");
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.found, "is VLAN 100 of eth0");
        assert_eq!(
            finding.fix.as_deref(),
            Some("set `[shield] interfaces = [\"eth0\"]`")
        );
        assert_eq!(the(&facts, "native").severity, Severity::Warning);
    }

    #[test]
    fn a_vlan_whose_parent_is_elsewhere_says_so() {
        let moved = Link {
            lower_is_elsewhere: true,
            ..kind("eth0.100", 5, "vlan", Some(2))
        };
        // Index 2 of this namespace is another interface.
        let facts = looking_at(&["eth0.100"], vec![link("eth0", 2), moved]);
        let finding = the(&facts, "stacking");
        assert!(
            finding.found.ends_with("in another network namespace"),
            "{}",
            finding.found
        );
    }

    #[test]
    fn a_parent_of_vlans_is_where_the_shield_belongs() {
        let facts = looking_at(
            &["eth0"],
            vec![link("eth0", 2), kind("eth0.100", 5, "vlan", Some(2))],
        );
        let finding = the(&facts, "stacking");
        assert_eq!(finding.severity, Severity::Ok);
        assert_eq!(finding.found, "carries VLANs: eth0.100");
    }

    #[test]
    fn what_stands_upon_another_interface_sends_there() {
        let facts = looking_at(
            &["mac0"],
            vec![link("eth0", 2), kind("mac0", 5, "macvlan", Some(2))],
        );
        let finding = the(&facts, "stacking");
        assert_eq!(finding.found, "is a macvlan upon eth0");
        assert!(finding.fix.is_some());
    }

    #[test]
    fn a_bond_is_guarded_as_a_whole() {
        let links = || {
            vec![
                a_bond("bond0", 9),
                member("eth0", 2, 9),
                member("eth1", 3, 9),
            ]
        };
        let facts = looking_at(&["bond0"], links());
        assert_eq!(the(&facts, "stacking").severity, Severity::Ok);

        let facts = looking_at(&["eth0"], links());
        let finding = the(&facts, "stacking");
        assert_eq!(finding.severity, Severity::Warning);
        assert!(
            finding.found.contains("eth1 go unguarded"),
            "{}",
            finding.found
        );
        assert_eq!(
            finding.fix.as_deref(),
            Some("set `[shield] interfaces = [\"bond0\"]`")
        );

        let facts = looking_at(&["eth0", "eth1"], links());
        assert!(
            all(&facts, "stacking")
                .iter()
                .all(|f| f.severity == Severity::Ok)
        );

        let facts = looking_at(&["bond0", "eth0"], links());
        let findings = all(&facts, "stacking");
        assert_eq!(findings[1].severity, Severity::Problem);
    }

    #[test]
    fn of_interfaces_that_nobody_named_bond_and_member_do_not_collide() {
        let links = vec![a_bond("bond0", 9), member("eth0", 2, 9)];
        let mut facts = looking_at(&[], links);
        facts.wanted.interfaces = Interfaces::Up {
            because: String::new(),
        };
        assert!(
            all(&facts, "stacking")
                .iter()
                .all(|f| f.severity == Severity::Ok)
        );
    }

    #[test]
    fn a_team_sends_to_its_members() {
        let facts = looking_at(
            &["team0"],
            vec![
                kind("team0", 9, "team", None),
                member("eth0", 2, 9),
                member("eth1", 3, 9),
            ],
        );
        assert_eq!(
            the(&facts, "stacking").fix.as_deref(),
            Some("set `[shield] interfaces = [\"eth0\", \"eth1\"]`")
        );
    }

    #[test]
    fn a_bridge_and_its_ports_are_told_apart() {
        let links = || vec![kind("br0", 9, "bridge", None), member("eth0", 2, 9)];
        let finding = the(&looking_at(&["br0"], links()), "stacking");
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(finding.found, "is a bridge of eth0");
        let finding = the(&looking_at(&["eth0"], links()), "stacking");
        assert_eq!(finding.severity, Severity::Note);
        assert_eq!(finding.found, "is a port of the bridge br0");
    }

    #[test]
    fn a_veth_wants_a_program_at_its_other_end() {
        let links = |programs: Vec<Program>| {
            vec![
                kind("v0", 2, "veth", Some(3)),
                Link {
                    programs,
                    ..kind("v1", 3, "veth", Some(2))
                },
            ]
        };
        let mut facts = looking_at(&["v0"], links(Vec::new()));
        assert_eq!(the(&facts, "stacking").severity, Severity::Note);
        facts.wanted.mode = crate::xdp::Mode::Generic;
        assert!(
            all(&facts, "stacking").is_empty(),
            "generic mode needs none"
        );
        let program = Program {
            id: 4,
            mode: Some(AttachedMode::Native),
            name: None,
        };
        let facts = looking_at(&["v0"], links(vec![program]));
        assert_eq!(the(&facts, "stacking").severity, Severity::Ok);
    }

    #[test]
    fn loopback_is_noted_and_no_warning() {
        let lo = Link {
            layer: Layer::Loopback,
            ..link("lo", 1)
        };
        let facts = looking_at(&["lo"], vec![lo]);
        assert_eq!(the(&facts, "stacking").severity, Severity::Note);
    }
}
