//! What is known of drivers, for kernels before 6.3, which do not say it themselves, and for the reasons.
//!
//! From the kernel's sources and the tables of <https://docs.ebpf.io/linux/program-type/BPF_PROG_TYPE_XDP/>. The MTU is
//! the largest at which a frame fits into one buffer, with pages of 4 KiB.

/// A driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Driver {
    /// As `/sys` and `ethtool -i` call it.
    pub(super) name: &'static str,
    pub(super) xdp: Xdp,
}

/// Its native XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Xdp {
    Native(Native),
    /// Never had any, and what to do about that.
    Never(&'static str),
}

/// How far native XDP goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Native {
    /// The kernel it came with.
    pub(super) since: (u32, u32),
    /// Largest MTU with one buffer a frame, bytes; none: no limit is known.
    pub(super) mtu_max: Option<u32>,
    /// The kernel that frames in several buffers came with, which lift the limit.
    pub(super) frags: Option<(u32, u32)>,
    /// Anything else to know.
    pub(super) remark: &'static str,
}

/// The driver `name`, if it is known.
pub(super) fn find(name: &str) -> Option<&'static Xdp> {
    DRIVERS
        .iter()
        .find(|driver| driver.name == name)
        .map(|driver| &driver.xdp)
}

const fn native(
    name: &'static str,
    since: (u32, u32),
    mtu_max: Option<u32>,
    frags: Option<(u32, u32)>,
) -> Driver {
    remarked(name, since, mtu_max, frags, "")
}

const fn remarked(
    name: &'static str,
    since: (u32, u32),
    mtu_max: Option<u32>,
    frags: Option<(u32, u32)>,
    remark: &'static str,
) -> Driver {
    Driver {
        name,
        xdp: Xdp::Native(Native {
            since,
            mtu_max,
            frags,
            remark,
        }),
    }
}

const fn never(name: &'static str, instead: &'static str) -> Driver {
    Driver {
        name,
        xdp: Xdp::Never(instead),
    }
}

const OTHER_CARD: &str = "a card with one of the drivers virtio_net, ena, gve, igb, igc, ixgbe, i40e, ice, mlx5_core or bnxt_en has it";
const EMULATED: &str = "if the card is emulated, let the hypervisor give a virtio-net card instead";
const FUNCTION: &str =
    "it drives a virtual function; attach on the host that owns the card, or use a virtio-net card";

const DRIVERS: [Driver; 54] = [
    native("atlantic", (5, 19), Some(2048), Some((5, 19))),
    native("bnxt_en", (4, 11), Some(3502), Some((5, 19))),
    native("cpsw", (5, 3), None, None),
    native("ena", (5, 6), Some(3498), None),
    remarked(
        "fec",
        (6, 2),
        None,
        None,
        "frames are sent back only since Linux 6.6",
    ),
    native("fsl_dpa", (5, 11), Some(3706), None),
    native("fsl_dpaa2_eth", (5, 0), None, None),
    native("fsl_enetc", (5, 13), None, None),
    native("gve", (6, 4), Some(2032), None),
    native("hv_netvsc", (5, 6), Some(3506), None),
    native("i40e", (4, 13), Some(3046), Some((6, 4))),
    native("ice", (5, 5), Some(3046), Some((6, 3))),
    native("igb", (5, 10), Some(3046), None),
    native("igc", (5, 13), Some(1500), None),
    native("ionic", (6, 9), Some(3502), Some((6, 9))),
    native("ixgbe", (4, 12), Some(3050), None),
    remarked(
        "ixgbevf",
        (4, 17),
        Some(3050),
        None,
        "it cannot redirect, which weir does not need",
    ),
    native("mana", (5, 17), Some(3506), None),
    native("mlx4_core", (4, 8), Some(3498), None),
    native("mlx5_core", (4, 9), Some(3498), Some((6, 4))),
    native("mtk_soc_eth", (6, 0), Some(3520), None),
    native("mvneta", (5, 5), Some(3520), Some((5, 18))),
    native("mvpp2", (5, 9), Some(3552), None),
    native("netsec", (5, 3), Some(1500), None),
    native("nfp", (4, 10), Some(4096), None),
    native("nicvf", (4, 12), Some(1508), None),
    native("qede", (4, 10), None, None),
    native("rvu_nicpf", (5, 16), Some(1508), None),
    native("rvu_nicvf", (5, 16), Some(1508), None),
    native("sfc", (5, 5), Some(3508), None),
    native("tsnep", (6, 3), None, None),
    native("tun", (4, 14), Some(1500), None),
    native("veth", (4, 19), Some(3520), Some((5, 18))),
    native("virtio_net", (4, 10), Some(3506), Some((6, 3))),
    native("vmxnet3", (6, 6), Some(3494), None),
    never("8139cp", EMULATED),
    never("8139too", EMULATED),
    never("alx", OTHER_CARD),
    never("asix", OTHER_CARD),
    never("ax88179_178a", OTHER_CARD),
    never("be2net", OTHER_CARD),
    never("bnx2", OTHER_CARD),
    never("bnx2x", OTHER_CARD),
    never("cdc_ether", OTHER_CARD),
    never("cxgb4", OTHER_CARD),
    never("e1000", EMULATED),
    never("e1000e", EMULATED),
    never("enic", OTHER_CARD),
    never("forcedeth", OTHER_CARD),
    never("iavf", FUNCTION),
    never("pcnet32", EMULATED),
    never("r8152", OTHER_CARD),
    never("r8169", OTHER_CARD),
    never("tg3", OTHER_CARD),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_within_both_halves_so_that_nothing_is_in_it_twice() {
        let (with, without): (Vec<&Driver>, Vec<&Driver>) = DRIVERS
            .iter()
            .partition(|driver| matches!(driver.xdp, Xdp::Native(_)));
        for half in [with, without] {
            assert!(half.is_sorted_by(|a, b| a.name < b.name));
        }
        assert!(DRIVERS.iter().filter(|d| d.name == "igb").count() == 1);
    }

    #[test]
    fn frames_in_several_buffers_never_came_before_native_xdp() {
        for driver in DRIVERS {
            if let Xdp::Native(native) = driver.xdp {
                assert!(native.frags.is_none_or(|frags| frags >= native.since));
            }
        }
    }
}
