//! Makes the frames of a flood and hands them to the kernel.

use std::io::IoSlice;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket,
};

use super::{Flood, PACING_STEP, Sources};
use crate::frame::frame;
use crate::topology::{ATTACKER_SIDE, attacker_v4, attacker_v6, gateway_address, gateway_mac};

/// One flood's socket and where it is in its sequence.
pub(super) struct Generator<'a> {
    flood: &'a Flood,
    socket: OwnedFd,
    random: u64,
    /// Made beforehand, so that making them takes nothing from the cores while they are measured; sent in turn.
    frames: Vec<Vec<u8>>,
    next: usize,
}

impl<'a> Generator<'a> {
    /// Must run inside the attackers' namespace; the socket stays there.
    pub(super) fn open(flood: &'a Flood) -> Result<Self> {
        let mut generator = Self {
            flood,
            socket: open_socket()?,
            random: 0x2545_f491_4f6c_dd1d,
            frames: Vec::new(),
            next: 0,
        };
        let frames = usize::try_from(flood.packets).map_or(MOST_FRAMES, |n| n.min(MOST_FRAMES));
        generator.frames = (0..frames).map(|index| generator.make(index)).collect();
        Ok(generator)
    }

    /// Sends `count` frames with one system call; returns how many the kernel took.
    pub(super) fn burst(&mut self, count: usize) -> Result<usize> {
        let slices: Vec<_> = (0..count)
            .map(|ahead| {
                [IoSlice::new(
                    &self.frames[(self.next + ahead) % self.frames.len()],
                )]
            })
            .collect();
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(count, None);
        let sent = sendmmsg(
            self.socket.as_raw_fd(),
            &mut headers,
            &slices,
            vec![None; count],
            [],
            MsgFlags::empty(),
        );
        match sent {
            Ok(results) => {
                let sent = results.count();
                self.next += sent;
                Ok(sent)
            }
            // The peer's ring was full: nothing of this burst was taken.
            Err(Errno::ENOBUFS | Errno::EAGAIN) => {
                std::thread::sleep(PACING_STEP);
                Ok(0)
            }
            Err(error) => Err(error).context("sending frames"),
        }
    }

    fn make(&mut self, index: usize) -> Vec<u8> {
        let sources = &self.flood.sources[index % self.flood.sources.len()];
        let source = match sources {
            Sources::Listed(list) => list[index / self.flood.sources.len() % list.len()],
            Sources::Within(net) => self.address_in(*net),
        };
        let kind = self.flood.kinds[index % self.flood.kinds.len()];
        let destination = match source {
            IpAddr::V4(_) => gateway_address(attacker_v4(0)),
            IpAddr::V6(_) => gateway_address(attacker_v6(0)),
        };
        let [salt, _] = self.next_random();
        frame(kind, gateway_mac(ATTACKER_LINK), source, destination, salt)
    }

    fn address_in(&mut self, net: IpNet) -> IpAddr {
        let [low, high] = self.next_random();
        match net {
            IpNet::V4(net) => {
                let bits = (net.network().to_bits(), net.hostmask().to_bits());
                IpAddr::V4((bits.0 | (low & bits.1)).into())
            }
            IpNet::V6(net) => {
                let random =
                    u128::from(low) << 64 | u128::from(high) << 96 | u128::from(low ^ high);
                let bits = (net.network().to_bits(), net.hostmask().to_bits());
                IpAddr::V6((bits.0 | (random & bits.1)).into())
            }
        }
    }

    /// Marsaglia's xorshift64*: repeatable, and good enough to spread addresses.
    fn next_random(&mut self) -> [u32; 2] {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let mixed = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
        [
            u32::try_from(mixed & 0xffff_ffff).expect("masked"),
            u32::try_from(mixed >> 32).expect("shifted"),
        ]
    }
}

/// A raw socket on the attackers' `eth0`; must run inside their namespace.
pub(super) fn open_socket() -> Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .context("opening a packet socket")?;
    let link = nix::ifaddrs::getifaddrs()?
        .filter(|interface| interface.interface_name == "eth0")
        .find_map(|interface| interface.address?.as_link_addr().copied())
        .with_context(|| format!("the peer of {ATTACKER_SIDE} has no link-layer address"))?;
    bind(socket.as_raw_fd(), &link)?;
    Ok(socket)
}

const ATTACKER_LINK: u8 = 2;
/// Different frames of a flood: at most 8 MiB of them.
const MOST_FRAMES: usize = 65_536;
