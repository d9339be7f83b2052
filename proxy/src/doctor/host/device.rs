//! Driver, XDP abilities, offloads and queues of one interface.

use std::io;

use nix::errno::Errno;

use super::super::facts::{Channels, Hardware, Link, Offload, Offloads, Pairing, XdpFeatures};
use super::super::{Device, Unseen};
use super::files::sysctl;
use super::generic::{Attributes, Family, attribute, nest};

/// Everything about the device of `link`.
pub(super) fn look(link: &Link) -> Device {
    Device {
        driver: driver(link.hardware.as_ref()),
        xdp: xdp_features(link.index).map_err(unseen),
        offloads: offloads(link.index).map_err(unseen),
        channels: channels(link.index).map_err(unseen),
        rp_filter: rp_filter(&link.name),
    }
}

/// `EOPNOTSUPP` is how a driver says that it has no such thing.
fn unseen(error: io::Error) -> Unseen {
    if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) {
        return Unseen::Absent;
    }
    Unseen::from(error)
}

/// The driver, by way of the hardware that rtnetlink names: `/sys/class/net` would show the interfaces of the network
/// namespace that `/sys` was mounted in, which may be another.
fn driver(hardware: Option<&Hardware>) -> Result<Option<String>, Unseen> {
    let Some(Hardware { bus, device }) = hardware else {
        return Ok(None);
    };
    let driver = std::fs::read_link(format!("/sys/bus/{bus}/devices/{device}/driver"))?;
    Ok(driver
        .file_name()
        .map(|name| name.to_string_lossy().into_owned()))
}

fn xdp_features(index: u32) -> io::Result<XdpFeatures> {
    let family = Family::find("netdev")?;
    let request = attribute(NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes());
    let answer = family.ask(NETDEV_CMD_DEV_GET, request)?;
    let features = answer
        .u64(NETDEV_A_DEV_XDP_FEATURES)
        .ok_or_else(|| io::Error::other("the kernel named no XDP features"))?;
    Ok(XdpFeatures {
        native: features & NETDEV_XDP_ACT_BASIC != 0,
        frags: features & NETDEV_XDP_ACT_RX_SG != 0,
    })
}

fn offloads(index: u32) -> io::Result<Offloads> {
    let answer = ethtool(index, ETHTOOL_MSG_FEATURES_GET, ETHTOOL_A_FEATURES_HEADER)?;
    let [active, changeable, fixed] = [
        ETHTOOL_A_FEATURES_ACTIVE,
        ETHTOOL_A_FEATURES_HW,
        ETHTOOL_A_FEATURES_NOCHANGE,
    ]
    .map(|set| names(&answer.nest(set)));
    let state = |name: &str| {
        let among = |set: &[String]| set.iter().any(|found| found == name);
        match (among(&active), among(&changeable) && !among(&fixed)) {
            (false, _) => Offload::Off,
            (true, true) => Offload::On,
            (true, false) => Offload::Fixed,
        }
    };
    Ok(Offloads {
        lro: state("rx-lro"),
        gro_hw: state("rx-gro-hw"),
        gro: match state("rx-gro") {
            // GRO is the stack's: it can be switched off although no driver lists it as its own.
            Offload::Fixed => Offload::On,
            other => other,
        },
        rx_vlan: state("rx-vlan-hw-parse"),
    })
}

/// The names of the bits of an ethtool bitset (Documentation/networking/ethtool-netlink.rst).
fn names(bitset: &Attributes) -> Vec<String> {
    bitset
        .nest(ETHTOOL_A_BITSET_BITS)
        .all()
        .filter(|(kind, _)| *kind == ETHTOOL_A_BITSET_BITS_BIT)
        .filter_map(|(_, bit)| Attributes::from(bit).find(ETHTOOL_A_BITSET_BIT_NAME))
        .map(|name| {
            String::from_utf8_lossy(&name)
                .trim_end_matches('\0')
                .to_owned()
        })
        .collect()
}

fn channels(index: u32) -> io::Result<Channels> {
    let answer = ethtool(index, ETHTOOL_MSG_CHANNELS_GET, ETHTOOL_A_CHANNELS_HEADER)?;
    let count = |kind| answer.u32(kind).unwrap_or(0);
    let combined_max = count(ETHTOOL_A_CHANNELS_COMBINED_MAX);
    Ok(Channels {
        rx: count(ETHTOOL_A_CHANNELS_RX_COUNT) + count(ETHTOOL_A_CHANNELS_COMBINED_COUNT),
        // Drivers that can do both share the same queues between them.
        rx_max: combined_max.max(count(ETHTOOL_A_CHANNELS_RX_MAX)),
        pairing: if combined_max > 0 {
            Pairing::Combined
        } else {
            Pairing::Separate
        },
    })
}

fn ethtool(index: u32, command: u8, header: u16) -> io::Result<Attributes> {
    let device = attribute(ETHTOOL_A_HEADER_DEV_INDEX, &index.to_ne_bytes());
    Family::find("ethtool")?.ask(command, nest(header, &device))
}

fn rp_filter(name: &str) -> Result<u64, Unseen> {
    let own = sysctl(&format!("net/ipv4/conf/{name}/rp_filter"))?;
    Ok(own.max(sysctl("net/ipv4/conf/all/rp_filter")?))
}

// `linux/netdev.h`
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_BASIC: u64 = 1;
const NETDEV_XDP_ACT_RX_SG: u64 = 1 << 5;
// `linux/ethtool_netlink.h`
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_MSG_CHANNELS_GET: u8 = 17;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_HW: u16 = 2;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_FEATURES_NOCHANGE: u16 = 5;
const ETHTOOL_A_CHANNELS_HEADER: u16 = 1;
const ETHTOOL_A_CHANNELS_RX_MAX: u16 = 2;
const ETHTOOL_A_CHANNELS_COMBINED_MAX: u16 = 5;
const ETHTOOL_A_CHANNELS_RX_COUNT: u16 = 6;
const ETHTOOL_A_CHANNELS_COMBINED_COUNT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn bitset(names: &[&str]) -> Vec<u8> {
        let bits = names.iter().flat_map(|name| {
            let name = [name.as_bytes(), b"\0"].concat();
            nest(
                ETHTOOL_A_BITSET_BITS_BIT,
                &attribute(ETHTOOL_A_BITSET_BIT_NAME, &name),
            )
        });
        nest(ETHTOOL_A_BITSET_BITS, &bits.collect::<Vec<u8>>())
    }

    #[test]
    fn the_bits_of_a_bitset_are_known_by_name() {
        let set = Attributes::from(bitset(&["rx-gro", "rx-lro"]));
        assert_eq!(names(&set), ["rx-gro", "rx-lro"]);
        assert!(names(&Attributes::from(Vec::new())).is_empty());
    }
}
