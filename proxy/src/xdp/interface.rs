//! Network interfaces as rtnetlink shows them (rtnetlink(7)): index, MTU, and which XDP programs hang where.
//!
//! aya attaches but cannot tell which mode it got or what is attached already. The answers are those of the calling
//! thread's network namespace.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use super::AttachedMode;
use crate::netlink::{self, Want};

/// An interface and what is attached to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    /// Bytes.
    pub(super) mtu: u32,
    pub(super) kind: Kind,
    pub(super) received_as: ReceivedAs,
    /// XDP programs, at most one per hook.
    pub(super) programs: Vec<Attached>,
}

/// What an interface is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To other hosts.
    Link,
    /// To this host.
    Loopback,
}

/// As which interface the stack receives what the program lets pass: that one's sockets get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceivedAs {
    /// The one that the program sees.
    Itself,
    /// It is a port of a bridge, bond or VRF, which receives it; or it is a bond, and its ports run the program.
    Another,
}

/// An attached XDP program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) hook: Hook,
    pub(super) program_id: u32,
}

/// Where in the receive path a program hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Native,
    Generic,
    /// On the network card itself; weir never attaches there.
    Offloaded,
}

impl Link {
    /// The mode in which `program_id` is attached here, if it is.
    pub(super) fn mode_of(&self, program_id: u32) -> Option<AttachedMode> {
        let attached = self.programs.iter().find(|p| p.program_id == program_id)?;
        match attached.hook {
            Hook::Native => Some(AttachedMode::Native),
            Hook::Generic => Some(AttachedMode::Generic),
            Hook::Offloaded => None,
        }
    }
}

/// The interface called `name`; `None` if there is none.
pub(super) fn by_name(name: &str) -> io::Result<Option<Link>> {
    if name.is_empty() || name.len() >= IFNAMSIZ {
        return Ok(None);
    }
    let mut request = LinkMessage::default();
    request
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    get(request)
}

/// The interface with `index`; `None` if there is none.
pub(super) fn by_index(index: u32) -> io::Result<Option<Link>> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    get(request)
}

/// Takes off a program that was attached without a bpf link, in `mode`.
pub(super) fn clear(index: u32, mode: AttachedMode) -> io::Result<()> {
    let mut request = LinkMessage::default();
    request.header.index = index;
    request.attributes.push(LinkAttribute::Xdp(vec![
        LinkXdp::Fd(-1),
        LinkXdp::Flags(match mode {
            AttachedMode::Generic => XDP_FLAGS_SKB_MODE,
            AttachedMode::Native => XDP_FLAGS_DRV_MODE,
        }),
    ]));
    let request = RouteNetlinkMessage::SetLink(request);
    netlink::ask(NETLINK_ROUTE, request, Want::Deed).map(|_| ())
}

/// The names of all interfaces, for hints. Empty if they cannot be read.
pub(super) fn names() -> Vec<String> {
    let Ok(interfaces) = nix::net::if_::if_nameindex() else {
        return Vec::new();
    };
    interfaces
        .iter()
        .map(|interface| interface.name().to_string_lossy().into_owned())
        .collect()
}

fn get(request: LinkMessage) -> io::Result<Option<Link>> {
    let request = RouteNetlinkMessage::GetLink(request);
    match netlink::ask(NETLINK_ROUTE, request, Want::Object) {
        Ok(answers) => match answers.into_iter().next() {
            Some(RouteNetlinkMessage::NewLink(link)) => Ok(Some(read(link))),
            _ => Err(io::Error::other("rtnetlink gave no link")),
        },
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(message: LinkMessage) -> Link {
    let mut link = Link {
        name: String::new(),
        index: message.header.index,
        mtu: 0,
        kind: if message.header.flags.contains(LinkFlags::Loopback) {
            Kind::Loopback
        } else {
            Kind::Link
        },
        received_as: ReceivedAs::Itself,
        programs: Vec::new(),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(_) => link.received_as = ReceivedAs::Another,
            LinkAttribute::LinkInfo(info) if info.contains(&LinkInfo::Kind(InfoKind::Bond)) => {
                link.received_as = ReceivedAs::Another;
            }
            LinkAttribute::Xdp(xdp) => link.programs = xdp.iter().filter_map(attached).collect(),
            _ => {}
        }
    }
    link
}

/// The per-hook program ids are there since Linux 4.19; `IFLA_XDP_PROG_ID` is not if programs hang on two hooks.
fn attached(xdp: &LinkXdp) -> Option<Attached> {
    let (hook, program_id) = match *xdp {
        LinkXdp::DrvProgId(id) => (Hook::Native, id),
        LinkXdp::SkbProgId(id) => (Hook::Generic, id),
        LinkXdp::HwProgId(id) => (Hook::Offloaded, id),
        _ => return None,
    };
    Some(Attached { hook, program_id })
}

/// Longest interface name with its NUL, bytes; `linux/if.h`.
const IFNAMSIZ: usize = 16;
/// `linux/if_link.h`
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// `linux/if_link.h`
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_by_name_and_index() {
        let by_name = by_name("lo")
            .expect("rtnetlink answers")
            .expect("lo exists");
        assert_eq!(by_name.kind, Kind::Loopback);
        let by_index = by_index(by_name.index).expect("rtnetlink answers");
        assert_eq!(by_index.map(|link| link.name).as_deref(), Some("lo"));
    }

    #[test]
    fn a_name_that_no_interface_has_is_none() {
        for name in ["", "nosuchif0", "a-name-longer-than-any-interface"] {
            assert_eq!(by_name(name).expect("rtnetlink answers"), None, "{name}");
        }
    }

    #[test]
    fn what_a_bond_or_a_port_of_another_interface_lets_pass_is_received_as_another() {
        let kind = |kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]);
        for (attribute, expected) in [
            (LinkAttribute::Mtu(1500), ReceivedAs::Itself),
            (kind(InfoKind::Veth), ReceivedAs::Itself),
            (kind(InfoKind::Bridge), ReceivedAs::Itself),
            (kind(InfoKind::Bond), ReceivedAs::Another),
            (LinkAttribute::Controller(9), ReceivedAs::Another),
        ] {
            let mut message = LinkMessage::default();
            message.attributes.push(attribute);
            assert_eq!(read(message).received_as, expected);
        }
    }

    #[test]
    fn every_hook_is_read() {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Xdp(vec![
            LinkXdp::ProgId(7),
            LinkXdp::DrvProgId(7),
            LinkXdp::HwProgId(8),
        ]));
        let link = read(message);
        assert_eq!(link.mode_of(7), Some(AttachedMode::Native));
        assert_eq!(link.mode_of(8), None);
        assert_eq!(link.programs.len(), 2);
    }
}
