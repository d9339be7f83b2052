//! This host's own addresses, and whether they may have changed, by rtnetlink(7).
//!
//! Of the calling thread's network namespace, when the question is asked and when the [`Watcher`] is made.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::netlink::{self, Want};

/// The addresses that are this host's, of all interfaces, whether they are up or not; ascending, IPv4 first, each once.
///
/// Loopback's are among them. IPv6 addresses that are not known to be unique are not (RFC 4862 §5.4): until duplicate address
/// detection is over, or when it failed, they may be a neighbour's, whose packets must not look forged. When it succeeds the
/// [`Watcher`] tells. Nor are addresses that only a `local` route makes this host's.
pub fn list() -> io::Result<Vec<IpAddr>> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let answers = netlink::ask(NETLINK_ROUTE, request, Want::All)?;
    let mut addresses: Vec<IpAddr> = answers.iter().filter_map(own).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// Notices changes of addresses and of interfaces, among them their MTU.
#[derive(Debug)]
pub struct Watcher(Socket);

impl Watcher {
    /// Begins to watch. Whoever makes it before it asks for [`list`] misses nothing.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.set_non_blocking(true)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self(socket))
    }

    /// Whether something changed since the last call. Never blocks.
    ///
    /// Yes, too, if the kernel had more to tell than the socket could hold (`ENOBUFS`) or cannot be asked: to look once too
    /// often costs little. What changed is not read: several changes are one.
    pub fn changed(&mut self) -> bool {
        // The datagram is cut to that, and the rest of it discarded.
        let mut start = [0_u8; 16];
        let mut changed = false;
        for _ in 0..DRAIN_MAX {
            match self.0.recv(&mut start.as_mut_slice(), 0) {
                Ok(_) => changed = true,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return changed,
                    io::ErrorKind::Interrupted => {}
                    _ => changed = true,
                },
            }
        }
        changed
    }
}

/// For poll(2): readable, or in error, when [`Watcher::changed`] has something to say.
impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The host's own address out of `RTM_NEWADDR`: `IFA_LOCAL`. `IFA_ADDRESS` is the same, or on a point-to-point link the
/// peer's; IPv6 has it alone where there is no peer.
fn own(message: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    if is_unproven(message) {
        return None;
    }
    let local = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    };
    let address = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    };
    let attributes = &message.attributes;
    let found = attributes.iter().find_map(local);
    found.or_else(|| attributes.iter().find_map(address))
}

/// Whether duplicate address detection has not passed it. The header has the low 8 bits of the flags, these among them.
fn is_unproven(message: &AddressMessage) -> bool {
    let in_header = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let in_attribute = AddressFlags::Tentative | AddressFlags::Dadfailed;
    message.header.flags.intersects(in_header)
        || message.attributes.iter().any(|attribute| {
            matches!(attribute, AddressAttribute::Flags(flags) if flags.intersects(in_attribute))
        })
}

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`: the groups as bits; `linux/rtnetlink.h`.
const GROUPS: u32 = 1 | 1 << 4 | 1 << 8;
/// Most datagrams taken at once: a storm of changes must not hold the caller. The default receive buffer holds a few hundred.
const DRAIN_MAX: u32 = 4096;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::link::{LinkFlags, LinkMessage};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// On interface `index`, with `attributes`.
    fn message(
        index: u32,
        prefix_len: u8,
        attributes: Vec<AddressAttribute>,
    ) -> RouteNetlinkMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = prefix_len;
        message.header.family = AddressFamily::Inet;
        let is_v6 = |attribute: &AddressAttribute| {
            matches!(
                attribute,
                AddressAttribute::Local(IpAddr::V6(_)) | AddressAttribute::Address(IpAddr::V6(_))
            )
        };
        if attributes.iter().any(is_v6) {
            message.header.family = AddressFamily::Inet6;
        }
        message.attributes = attributes;
        RouteNetlinkMessage::NewAddress(message)
    }

    #[test]
    fn of_a_point_to_point_link_the_near_end_is_ours() {
        for (near, far) in [
            ("192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::2"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            let attributes = vec![
                AddressAttribute::Address(ip(far)),
                AddressAttribute::Local(ip(near)),
            ];
            assert_eq!(own(&message(1, 32, attributes)), Some(ip(near)));
        }
    }

    #[test]
    fn an_ipv6_address_without_a_peer_comes_alone() {
        let attributes = vec![AddressAttribute::Address(ip("2001:db8::1"))];
        assert_eq!(own(&message(1, 64, attributes)), Some(ip("2001:db8::1")));
        assert_eq!(own(&message(1, 64, Vec::new())), None);
    }

    #[test]
    fn an_address_that_may_be_a_neighbours_is_not_ours() {
        for (flags, is_own) in [
            (AddressFlags::Permanent, true),
            (AddressFlags::Permanent | AddressFlags::Tentative, false),
            (AddressFlags::Tentative | AddressFlags::Dadfailed, false),
            (AddressFlags::Deprecated, true),
        ] {
            let attributes = vec![
                AddressAttribute::Address(ip("2001:db8::1")),
                AddressAttribute::Flags(flags),
            ];
            assert_eq!(
                own(&message(1, 64, attributes)).is_some(),
                is_own,
                "{flags:?}"
            );
        }
        let mut old = AddressMessage::default();
        old.header.flags = AddressHeaderFlags::Dadfailed;
        old.attributes = vec![AddressAttribute::Address(ip("2001:db8::1"))];
        assert_eq!(own(&RouteNetlinkMessage::NewAddress(old)), None);
    }

    #[test]
    fn the_list_is_ascending_and_has_each_address_once() {
        let addresses = list().expect("rtnetlink answers");
        assert!(addresses.is_sorted_by(|a, b| a < b), "{addresses:?}");
    }

    #[test]
    fn a_watcher_is_silent_until_it_was_told_something() {
        // On the host's namespace others may change things; that a second look right after a quiet one can be a no is enough.
        let mut watcher = Watcher::new().expect("anyone may watch");
        assert!((0..1000).any(|_| !watcher.changed()));
    }

    fn deed(message: RouteNetlinkMessage) {
        netlink::ask(NETLINK_ROUTE, message, Want::Deed).expect("the kernel does it");
    }

    fn gone(message: RouteNetlinkMessage) -> RouteNetlinkMessage {
        match message {
            RouteNetlinkMessage::NewAddress(message) => RouteNetlinkMessage::DelAddress(message),
            other => other,
        }
    }

    #[test]
    #[ignore = "needs root: the net ring runs it"]
    fn addresses_that_come_and_go_are_noticed_and_listed() {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may");
            let mut watcher = Watcher::new().expect("anyone may watch");
            assert!(!watcher.changed());
            assert!(list().expect("a list").is_empty(), "lo is down");

            let mut up = LinkMessage::default();
            up.header.index = 1;
            up.header.flags = LinkFlags::Up;
            up.header.change_mask = LinkFlags::Up;
            deed(RouteNetlinkMessage::SetLink(up));
            assert!(watcher.changed());
            assert!(!watcher.changed(), "told once");
            let lo = [ip("127.0.0.1"), ip("::1")];
            assert_eq!(list().expect("a list"), lo);

            let near = |near: &str, far: &str, prefix_len| {
                let attributes = vec![
                    AddressAttribute::Local(ip(near)),
                    AddressAttribute::Address(ip(far)),
                ];
                message(1, prefix_len, attributes)
            };
            let added = [
                near("198.18.0.1", "198.18.0.2", 32),
                near("2001:db8::1", "2001:db8::2", 128),
                near("198.18.1.1", "198.18.1.1", 24),
            ];
            for message in &added {
                deed(message.clone());
                assert!(watcher.changed(), "{message:?}");
            }
            let all = [
                lo[0],
                ip("198.18.0.1"),
                ip("198.18.1.1"),
                lo[1],
                ip("2001:db8::1"),
            ];
            // An IPv6 address is tentative for a moment, also on lo, and the end of that is told as well.
            for _ in 0..1000 {
                if list().expect("a list") == all {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            assert_eq!(list().expect("a list"), all);
            watcher.changed();
            for message in added {
                deed(gone(message.clone()));
                assert!(watcher.changed(), "{message:?}");
            }
            assert_eq!(list().expect("a list"), lo);
            assert!(!watcher.changed());

            // More than the socket holds: what was lost counts.
            for last in 1..=u8::MAX {
                for third in 0..4 {
                    let address = IpAddr::V4(Ipv4Addr::new(198, 19, third, last));
                    let attributes = vec![AddressAttribute::Local(address)];
                    deed(message(1, 32, attributes));
                }
            }
            assert_eq!(list().expect("a list").len(), 2 + 4 * 255);
            assert!(watcher.changed());
            assert!(!watcher.changed());
        })
        .join()
        .expect("the thread's own asserts");
    }
}
