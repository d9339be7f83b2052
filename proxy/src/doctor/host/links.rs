//! Interfaces and what they are stacked upon, from rtnetlink(7).

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    BondMode as KernelBondMode, BondXmitHashPolicy, InfoBond, InfoData, InfoVlan, LinkAttribute,
    LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::super::facts::{BondMode, Hardware, Layer, Link, Program};
use crate::netlink::{self, Want};
use crate::xdp::{self, AttachedMode};

/// Every interface of the thread's network namespace.
pub(super) fn all() -> io::Result<Vec<Link>> {
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let answers = netlink::ask(NETLINK_ROUTE, request, Want::All)?;
    Ok(answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(read(link)),
            _ => None,
        })
        .map(named)
        .collect())
}

/// The interface with the names of its programs.
fn named(mut link: Link) -> Link {
    for program in &mut link.programs {
        program.name = xdp::program_name(program.id);
    }
    link
}

fn read(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        name: String::new(),
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp),
        mtu: 0,
        layer: match message.header.link_layer_type {
            LinkLayerType::Ether => Layer::Ethernet,
            LinkLayerType::Loopback => Layer::Loopback,
            other => Layer::Other(other.to_string()),
        },
        kind: None,
        lower: None,
        lower_is_elsewhere: false,
        controller: None,
        vlan: None,
        bond: None,
        programs: Vec::new(),
        hardware: None,
    };
    let (mut bus, mut device) = (None, None);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            // An interface that is stacked upon nothing may name itself.
            LinkAttribute::Link(lower) => {
                link.lower = Some(lower).filter(|lower| *lower != 0 && *lower != link.index);
            }
            LinkAttribute::LinkNetNsId(_) => link.lower_is_elsewhere = true,
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::LinkInfo(info) => info.into_iter().for_each(|info| add(&mut link, info)),
            LinkAttribute::Xdp(xdp) => link.programs = xdp.iter().filter_map(program).collect(),
            LinkAttribute::ParentDevBusName(name) => bus = Some(name),
            LinkAttribute::ParentDevName(name) => device = Some(name),
            _ => {}
        }
    }
    link.hardware = bus
        .zip(device)
        .map(|(bus, device)| Hardware { bus, device });
    link
}

fn add(link: &mut Link, info: LinkInfo) {
    match info {
        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
        LinkInfo::Data(InfoData::Vlan(vlan)) => {
            link.vlan = vlan.into_iter().find_map(|info| match info {
                InfoVlan::Id(id) => Some(id),
                _ => None,
            });
        }
        LinkInfo::Data(InfoData::Bond(bond)) => link.bond = bond_mode(&bond),
        _ => {}
    }
}

/// What the bonding driver's `bond_xdp_check` says of it.
fn bond_mode(bond: &[InfoBond]) -> Option<BondMode> {
    let mode = bond.iter().find_map(|info| match info {
        InfoBond::Mode(mode) => Some(mode),
        _ => None,
    })?;
    let by_vlan = bond.iter().any(|info| {
        matches!(
            info,
            InfoBond::XmitHashPolicy(BondXmitHashPolicy::VlanSrcMac)
        )
    });
    let hashes = matches!(
        mode,
        KernelBondMode::BalanceXor | KernelBondMode::Ieee8023Ad
    );
    let rotates = matches!(
        mode,
        KernelBondMode::BalanceRr | KernelBondMode::ActiveBackup
    );
    Some(if hashes && by_vlan {
        BondMode::NoXdp(format!("{mode} with xmit_hash_policy vlan+srcmac"))
    } else if hashes || rotates {
        BondMode::Xdp(mode.to_string())
    } else {
        BondMode::NoXdp(mode.to_string())
    })
}

fn program(xdp: &LinkXdp) -> Option<Program> {
    let (mode, id) = match *xdp {
        LinkXdp::DrvProgId(id) => (Some(AttachedMode::Native), id),
        LinkXdp::SkbProgId(id) => (Some(AttachedMode::Generic), id),
        LinkXdp::HwProgId(id) => (None, id),
        _ => return None,
    };
    Some(Program {
        id,
        mode,
        name: None,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::InfoKind;

    use super::*;

    fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.attributes = attributes;
        message
    }

    #[test]
    fn loopback_is_among_all_interfaces_and_known_as_such() {
        let links = all().expect("rtnetlink answers");
        let lo = links.iter().find(|link| link.name == "lo");
        assert_eq!(lo.map(|link| &link.layer), Some(&Layer::Loopback));
    }

    #[test]
    fn a_vlan_sub_interface_knows_its_parent_and_its_number() {
        let link = read(message(vec![
            LinkAttribute::Link(2),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(100)])),
            ]),
        ]));
        assert_eq!(link.kind.as_deref(), Some("vlan"));
        assert_eq!((link.lower, link.vlan), (Some(2), Some(100)));
        assert!(!link.lower_is_elsewhere);
    }

    #[test]
    fn a_veth_whose_peer_moved_away_says_so_and_nothing_is_its_own_lower() {
        let moved = read(message(vec![
            LinkAttribute::Link(3),
            LinkAttribute::LinkNetNsId(0),
        ]));
        assert!(moved.lower_is_elsewhere);
        assert_eq!(read(message(vec![LinkAttribute::Link(7)])).lower, None);
    }

    #[test]
    fn bond_modes_divide_into_those_with_native_xdp_and_those_without() {
        let xdp = |name: &str| BondMode::Xdp(name.to_owned());
        let no_xdp = |name: &str| BondMode::NoXdp(name.to_owned());
        let policy = InfoBond::XmitHashPolicy(BondXmitHashPolicy::VlanSrcMac);
        for (mode, policy, expected) in [
            (KernelBondMode::ActiveBackup, None, xdp("active-backup")),
            (KernelBondMode::Ieee8023Ad, None, xdp("802.3ad")),
            (
                KernelBondMode::Ieee8023Ad,
                Some(policy),
                no_xdp("802.3ad with xmit_hash_policy vlan+srcmac"),
            ),
            (KernelBondMode::BalanceAlb, None, no_xdp("balance-alb")),
        ] {
            let infos: Vec<InfoBond> = [InfoBond::Mode(mode)].into_iter().chain(policy).collect();
            assert_eq!(bond_mode(&infos), Some(expected));
        }
    }

    #[test]
    fn programs_are_read_with_their_modes() {
        let link = read(message(vec![LinkAttribute::Xdp(vec![
            LinkXdp::ProgId(9),
            LinkXdp::SkbProgId(9),
            LinkXdp::HwProgId(4),
        ])]));
        let found: Vec<_> = link.programs.iter().map(|p| (p.id, p.mode)).collect();
        assert_eq!(found, [(9, Some(AttachedMode::Generic)), (4, None)]);
    }
}
