//! A healthy host to make things up on, and what is said of all of it.

use std::collections::BTreeMap;

use super::super::Unseen;
use super::super::facts::{
    BondMode, Capabilities, Channels, Device, Interfaces, Kernel, Memory, Offload, Offloads,
    Pairing, Process, Sysctls, Wanted, XdpFeatures,
};
use super::*;
use crate::xdp::Mode;

/// A host with nothing to complain about, and no interface.
pub(super) fn facts() -> Facts {
    Facts {
        wanted: Wanted {
            interfaces: Interfaces::Named(Vec::new()),
            mode: Mode::Auto,
            pin_dir: "/sys/fs/bpf/weir".into(),
            map_bytes: 800 << 20,
            connections: 10_000,
            ports: vec![443],
        },
        kernel: Kernel {
            release: "6.12.0".to_owned(),
            cpus: 4,
            jit_enable: Ok(1),
            jit_harden: Ok(0),
            unprivileged_bpf_disabled: Ok(2),
            btf: true,
            bpffs: Ok(true),
        },
        process: Process {
            root: true,
            user_namespace: Ok(false),
            capabilities: Ok(Capabilities {
                effective: u64::MAX,
                bounding: u64::MAX,
            }),
            open_files: Ok(1 << 20),
        },
        memory: Memory {
            total: Ok(8 << 30),
            available: Ok(6 << 30),
            cgroup: None,
        },
        addresses: Ok(7),
        sysctls: Sysctls {
            tcp_syncookies: Ok(2),
            tcp_timestamps: Ok(2),
            tcp_rmem_max: Ok(6_291_456),
            rmem_max: Ok(212_992),
            somaxconn: Ok(4096),
            conntrack_tcp_loose: Ok(1),
            unprivileged_port_start: Ok(1024),
        },
        links: Ok(Vec::new()),
        devices: BTreeMap::new(),
        own_programs: Ok(Vec::new()),
    }
}

/// The host with interfaces, all of which are looked at that are members of nothing.
pub(super) fn facts_with(interfaces: Vec<(Link, Device)>) -> Facts {
    let mut facts = facts();
    let examined = interfaces
        .iter()
        .filter(|(link, _)| link.controller.is_none());
    facts.wanted.interfaces =
        Interfaces::Named(examined.map(|(link, _)| link.name.clone()).collect());
    facts.devices = interfaces
        .iter()
        .map(|(link, device)| (link.index, device.clone()))
        .collect();
    facts.links = Ok(interfaces.into_iter().map(|(link, _)| link).collect());
    facts
}

/// An interface that is up.
pub(super) fn link(name: &str, index: u32) -> Link {
    Link {
        name: name.to_owned(),
        index,
        is_up: true,
        has_carrier: true,
        mtu: 1500,
        layer: Layer::Ethernet,
        kind: None,
        lower: None,
        lower_is_elsewhere: false,
        controller: None,
        vlan: None,
        bond: None,
        programs: Vec::new(),
        hardware: None,
    }
}

pub(super) fn bond(name: &str, index: u32) -> Link {
    Link {
        kind: Some("bond".to_owned()),
        bond: Some(BondMode::Xdp("802.3ad".to_owned())),
        ..link(name, index)
    }
}

/// A network card that leaves nothing to wish for but frames in several buffers.
pub(super) fn card(driver: &str) -> Device {
    Device {
        driver: Ok(Some(driver.to_owned())),
        xdp: Ok(XdpFeatures {
            native: true,
            frags: false,
        }),
        offloads: Ok(Offloads {
            lro: Offload::Off,
            gro_hw: Offload::Off,
            gro: Offload::Off,
            rx_vlan: Offload::Off,
        }),
        channels: Ok(Channels {
            rx: 4,
            rx_max: 8,
            pairing: Pairing::Combined,
        }),
        rp_filter: Ok(2),
    }
}

/// What stands behind an interface without hardware. The kernel says nothing of its XDP.
pub(super) fn virtual_device() -> Device {
    Device {
        driver: Ok(None),
        xdp: Err(Unseen::Absent),
        ..card("")
    }
}

/// The findings of one check.
pub(super) fn all(facts: &Facts, check: &str) -> Vec<Finding> {
    let mut findings = examine(facts);
    findings.retain(|finding| finding.check == check);
    findings
}

/// The only finding of a check.
pub(super) fn the(facts: &Facts, check: &str) -> Finding {
    let mut found = all(facts, check);
    assert_eq!(found.len(), 1, "{check}: {found:?}");
    found.remove(0)
}

#[test]
fn a_healthy_host_has_nothing_but_ok() {
    let facts = facts_with(vec![(link("eth0", 2), card("ixgbe"))]);
    let findings = examine(&facts);
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity == Severity::Ok),
        "{findings:#?}"
    );
    assert!(findings.iter().all(|finding| finding.fix.is_none()));
}

#[test]
fn findings_are_sentences_without_their_full_stop_and_bad_ones_have_a_fix() {
    let mut sick = facts_with(vec![
        (
            Link {
                mtu: 9000,
                is_up: false,
                ..link("eth0", 2)
            },
            card("ena"),
        ),
        (link("eth1", 3), card("r8169")),
    ]);
    sick.kernel.release = "4.4.0".to_owned();
    sick.kernel.jit_enable = Ok(0);
    sick.kernel.bpffs = Ok(false);
    sick.sysctls.tcp_syncookies = Ok(0);
    sick.sysctls.conntrack_tcp_loose = Ok(0);
    sick.memory.available = Ok(1 << 20);
    sick.process.open_files = Ok(1024);
    for finding in examine(&sick) {
        for text in [&finding.found, &finding.why] {
            assert!(
                !text.is_empty() && !text.ends_with('.') && !text.contains("  "),
                "{text}"
            );
        }
        let bad = finding.severity >= Severity::Warning;
        assert!(!bad || finding.fix.is_some(), "{finding:?}");
    }
}

#[test]
fn interfaces_that_cannot_be_read_are_noted_and_the_host_is_looked_at_all_the_same() {
    let mut facts = facts();
    facts.links = Err(Unseen::NotPermitted);
    assert_eq!(the(&facts, "interfaces").severity, Severity::Note);
    assert_eq!(the(&facts, "kernel").severity, Severity::Ok);
}

#[test]
fn without_a_configuration_every_interface_that_is_up_is_looked_at_but_for_loopback() {
    let down = Link {
        is_up: false,
        ..link("eth1", 3)
    };
    let lo = Link {
        layer: Layer::Loopback,
        ..link("lo", 1)
    };
    let mut facts = facts_with(vec![
        (lo, virtual_device()),
        (link("eth0", 2), card("ena")),
        (down, card("ena")),
    ]);
    facts.wanted.interfaces = Interfaces::Up {
        because: "there is no weir.toml".to_owned(),
    };
    let states = all(&facts, "state");
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].interface.as_deref(), Some("eth0"));
    let found = the(&facts, "interfaces").found;
    assert!(found.starts_with("there is no weir.toml: "), "{found}");
}

#[test]
fn an_interface_that_nobody_named_is_never_a_problem() {
    let tunnel = Link {
        layer: Layer::Other("NONE".to_owned()),
        ..link("wg0", 2)
    };
    let mut facts = facts_with(vec![(tunnel, virtual_device())]);
    assert_eq!(the(&facts, "ethernet").severity, Severity::Problem);
    facts.wanted.interfaces = Interfaces::Up {
        because: "there is no weir.toml".to_owned(),
    };
    assert_eq!(the(&facts, "ethernet").severity, Severity::Warning);
}

#[test]
fn a_configuration_that_guards_nothing_is_noted() {
    assert_eq!(the(&facts(), "interfaces").severity, Severity::Note);
}
