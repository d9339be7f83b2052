//! One request to the kernel over netlink(7) and its answers, whatever the protocol: interfaces (`xdp`) and what else
//! there is to know about them (`doctor`). The answers are those of the calling thread's network namespace.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// What is wanted of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// One object.
    Object,
    /// Every object of the kind.
    All,
    /// That something be done.
    Deed,
}

/// Sends `message` by `protocol` (`NETLINK_ROUTE`, ...) and returns the answers: none for a deed.
pub(crate) fn ask<M>(protocol: isize, message: M, want: Want) -> io::Result<Vec<M>>
where
    M: NetlinkSerializable + NetlinkDeserializable,
{
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST
        | match want {
            Want::Object => 0,
            Want::All => NLM_F_DUMP,
            Want::Deed => NLM_F_ACK,
        };
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let more = read(&datagram, &mut answers)?;
        if want != Want::All || more == More::No {
            return Ok(answers);
        }
    }
}

/// Whether a dump goes on after a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

/// Adds the messages of one datagram to `answers`.
fn read<M: NetlinkDeserializable>(datagram: &[u8], answers: &mut Vec<M>) -> io::Result<More> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<M>::deserialize(rest).map_err(io::Error::other)?;
        match message.payload {
            NetlinkPayload::InnerMessage(message) => answers.push(message),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(More::No),
            _ => {}
        }
        // Messages are aligned; `deserialize` has checked the length, which is never less than the header's.
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        let next = length.max(HEADER_BYTES).next_multiple_of(ALIGN);
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(More::Yes)
}

/// `NLMSG_HDRLEN`
const HEADER_BYTES: usize = 16;
/// `NLMSG_ALIGNTO`
const ALIGN: usize = 4;

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::{LinkAttribute, LinkMessage};
    use netlink_sys::protocols::NETLINK_ROUTE;
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn a_dump_has_the_loopback_interface_among_others() {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let links = ask(NETLINK_ROUTE, request, Want::All).expect("rtnetlink answers");
        let lo = LinkAttribute::IfName("lo".to_owned());
        assert!(links.iter().any(|link| matches!(
            link,
            RouteNetlinkMessage::NewLink(link) if link.attributes.contains(&lo)
        )));
    }

    #[test]
    fn the_kernels_refusal_is_an_error_with_its_number() {
        let mut message = LinkMessage::default();
        message.header.index = i32::MAX.cast_unsigned();
        let request = RouteNetlinkMessage::GetLink(message);
        let error = ask(NETLINK_ROUTE, request, Want::Object).expect_err("there is none");
        assert_eq!(error.raw_os_error(), Some(Errno::ENODEV as i32));
    }

    #[test]
    fn a_datagram_may_hold_several_messages_and_its_end_may_be_cut_off() {
        let mut message = NetlinkMessage::new(
            NetlinkHeader::default(),
            NetlinkPayload::from(RouteNetlinkMessage::NewLink(LinkMessage::default())),
        );
        message.finalize();
        let mut one = vec![0; message.buffer_len()];
        message.serialize(&mut one);

        let mut links: Vec<RouteNetlinkMessage> = Vec::new();
        let twice = [one.as_slice(), one.as_slice()].concat();
        assert_eq!(read(&twice, &mut links).expect("readable"), More::Yes);
        assert_eq!(links.len(), 2);
        assert!(read(&twice[..one.len() + 4], &mut links).is_err());
    }
}
