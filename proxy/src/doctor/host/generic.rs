//! Generic netlink (Documentation/userspace-api/netlink): the families `ethtool` and `netdev`, read only.
//!
//! By hand, on `netlink-packet-core`: the crate `ethtool` brings an asynchronous stack of its own and a second
//! `thiserror` for three requests, and does not know the family `netdev`.

use std::convert::Infallible;
use std::io;

use netlink_packet_core::{
    NLA_F_NESTED, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, NlasIterator,
};
use netlink_sys::protocols::NETLINK_GENERIC;

use crate::netlink::{self, Want};

/// A family of requests, by the number the kernel gave it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family(u16);

impl Family {
    /// The family called `name`; `NotFound` if this kernel has none.
    pub(super) fn find(name: &str) -> io::Result<Self> {
        let name = [name.as_bytes(), b"\0"].concat();
        let request = attribute(CTRL_ATTR_FAMILY_NAME, &name);
        let answer = Self(GENL_ID_CTRL).ask(CTRL_CMD_GETFAMILY, request)?;
        let id = answer
            .find(CTRL_ATTR_FAMILY_ID)
            .and_then(|id| id.try_into().ok());
        id.map(|id| Self(u16::from_ne_bytes(id)))
            .ok_or_else(|| io::Error::other("generic netlink gave no family number"))
    }

    /// The answer to `command` with `attributes`.
    pub(super) fn ask(self, command: u8, attributes: Vec<u8>) -> io::Result<Attributes> {
        let message = Message {
            family: self.0,
            command,
            attributes: Attributes(attributes),
        };
        let answers = netlink::ask(NETLINK_GENERIC, message, Want::Object)?;
        answers
            .into_iter()
            .next()
            .map(|answer| answer.attributes)
            .ok_or_else(|| io::Error::other("generic netlink gave no answer"))
    }
}

/// Attributes of a message or of a nest, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// The value of the first attribute of `kind`.
    pub(super) fn find(&self, kind: u16) -> Option<Vec<u8>> {
        self.all()
            .find(|(found, _)| *found == kind)
            .map(|(_, value)| value)
    }

    /// What is in the nest `kind`; nothing if it is not there.
    pub(super) fn nest(&self, kind: u16) -> Self {
        Self(self.find(kind).unwrap_or_default())
    }

    /// The number in attribute `kind`.
    pub(super) fn u32(&self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// The number in attribute `kind`.
    pub(super) fn u64(&self, kind: u16) -> Option<u64> {
        Some(u64::from_ne_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// Every attribute, up to the first that is cut off.
    pub(super) fn all(&self) -> impl Iterator<Item = (u16, Vec<u8>)> {
        NlasIterator::new(&self.0)
            .map_while(Result::ok)
            .map(|attribute| (attribute.kind(), attribute.value().to_vec()))
    }
}

impl From<Vec<u8>> for Attributes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// One attribute, padded.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("invariant: requests are short");
    let mut bytes = [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// One attribute that holds others.
pub(super) fn nest(kind: u16, inside: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, inside)
}

/// A message with its `genlmsghdr`.
struct Message {
    family: u16,
    command: u8,
    attributes: Attributes,
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        HEADER_BYTES + self.attributes.0.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(HEADER_BYTES);
        header.copy_from_slice(&[self.command, VERSION, 0, 0]);
        attributes.copy_from_slice(&self.attributes.0);
    }
}

impl NetlinkDeserializable for Message {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Infallible> {
        Ok(Self {
            family: header.message_type,
            command: payload.first().copied().unwrap_or_default(),
            attributes: Attributes(payload.get(HEADER_BYTES..).unwrap_or_default().to_vec()),
        })
    }
}

/// `GENL_HDRLEN`
const HEADER_BYTES: usize = 4;
/// Version of every request here.
const VERSION: u8 = 1;
// `linux/genetlink.h`
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again_nested_or_not() {
        let inside = [attribute(1, b"abc\0"), attribute(2, &7_u32.to_ne_bytes())].concat();
        let bytes = [attribute(5, b"x"), nest(6, &inside)].concat();
        assert_eq!(bytes.len() % 4, 0);
        let attributes = Attributes(bytes);
        assert_eq!(attributes.find(5), Some(b"x".to_vec()));
        assert_eq!(attributes.nest(6).u32(2), Some(7));
        assert_eq!(attributes.nest(9).u32(2), None);
    }

    #[test]
    fn attributes_that_are_cut_off_are_left_out() {
        let mut bytes = [
            attribute(1, &1_u64.to_ne_bytes()),
            attribute(2, b"abcdefgh"),
        ]
        .concat();
        bytes.truncate(bytes.len() - 2);
        let attributes = Attributes(bytes);
        assert_eq!(attributes.u64(1), Some(1));
        assert_eq!(attributes.find(2), None);
    }

    #[test]
    fn a_family_that_no_kernel_has_is_not_found() {
        let error = Family::find("no-such-family").expect_err("there is none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
