//! Cases of the lists: sources that are blocked, one that is not, and sources never seen before.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use aya::maps::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weir_common::Outcome;

use crate::frames::{ACK, TCP, frame, ipv4, ipv6, tcp};
use crate::measure::{Costs, Subject, together};
use crate::reference::{Loaded, Object, References};
use crate::report::{Figure, Report, Row, Target};
use crate::shield::{Capacity, Settings, Shape, Shield};
use crate::step::{Frame, Sources, costs, stepping_ns};

/// Measures them.
pub(crate) fn run(references: &References, report: &Report) -> Result<()> {
    report.group("lists: one packet, BPF_PROG_TEST_RUN")?;
    floor(references, report)?;
    blocked(references, report, &FEW)?;
    let shield = blocked(references, report, &MANY)?;
    known(references, report, &shield)?;
    random(references, report, &shield)
}

/// What other ratios are based on, and what giving a packet its source takes.
fn floor(references: &References, report: &Report) -> Result<()> {
    let (v4, v6) = (hot_v4(), hot_v6());
    let (empty, parse) = (references.empty()?, references.parse_drop()?);
    let subjects = [(empty, &v4), (parse, &v4), (parse, &v6)]
        .map(|(program, frame)| Subject { program, frame });
    let costs = together(&subjects)?;
    let names = ["empty drop", "parse + drop, IPv4", "parse + drop, IPv6"];
    let steps = [
        ("(next source, not in any figure)", FEW.sources()),
        ("(random source, not in any figure)", PRIVATE),
    ];
    let rows = names.into_iter().zip(costs.ns);
    let steps = steps
        .into_iter()
        .map(|(name, sources)| Ok((name, stepping_ns(references, Frame::Kept(&v4), sources)?)))
        .collect::<Result<Vec<_>>>()?;
    for (case, ns) in rows.chain(steps) {
        report.row(&Row {
            case: case.to_owned(),
            weir: None,
            reference: Some(("C", Figure::Ns(ns))),
            target: Target::None,
            note: String::new(),
        })?;
    }
    Ok(())
}

/// A blocklist of IPv4 addresses, and the part of it that sends.
pub(crate) struct Blocklist {
    pub(crate) first: Ipv4Addr,
    pub(crate) entries: u32,
    /// Senders: `first` with any of these bits.
    pub(crate) senders: u32,
}

impl Blocklist {
    fn sources(&self) -> Sources {
        Sources::Turn {
            base: self.first,
            mask: self.senders,
        }
    }
}

/// Blocked sources, each packet from another, against the hash map in C.
fn blocked(references: &References, report: &Report, list: &Blocklist) -> Result<Shield> {
    let mut shield = Shield::load(Capacity::Blocks(list.entries))?;
    shield.fill_blocks(list.first, list.entries)?;
    shield.fill_prefixes(&prefixes())?;
    shield.settings(Settings::Everything)?;
    let hash = hash(list, Shield::blocklist()?)?;

    let (frame, sources) = (hot_v4(), list.sources());
    let before = shield.counted(Outcome::Blocked)?;
    let programs = [shield.program()?, hash.program("hash_drop")?];
    let costs = costs(references, Frame::Kept(&frame), sources, &programs)?;
    report.row(&Row {
        case: format!(
            "drop, blocked: {} of {} entries send",
            list.senders + 1,
            list.entries
        ),
        weir: Some(Figure::Ns(costs.ns[0])),
        reference: Some(("C hash", Figure::Ns(costs.ns[1]))),
        target: Target::AtMost(1.25),
        note: [
            share("weir", &costs, shield.counted(Outcome::Blocked)? - before),
            share("C", &costs, hash.count("PACKETS")?),
        ]
        .concat(),
    })?;
    Ok(shield)
}

/// The reference with the same entries, in a map of the same shape.
pub(crate) fn hash(list: &Blocklist, shape: Shape) -> Result<Loaded> {
    let defines = [
        ("ENTRIES", list.entries),
        ("VALUE_BYTES", shape.value_bytes),
        ("MAP_FLAGS", shape.flags),
    ];
    let mut hash = Object::compile("hash", &defines)?.load(&["hash_drop"])?;
    let map = hash.map_mut("BLOCKED")?;
    match shape.value_bytes {
        16 => fill::<16>(map, list)?,
        96 => fill::<96>(map, list)?,
        other => anyhow::bail!("the bench does not know blocklist values of {other} bytes"),
    }
    Ok(hash)
}

fn fill<const N: usize>(map: &mut aya::maps::Map, list: &Blocklist) -> Result<()> {
    let mut map = HashMap::<_, [u8; 4], [u8; N]>::try_from(map)?;
    for address in addresses(list.first, list.entries) {
        map.insert(address.octets(), [0; N], 0)?;
    }
    Ok(())
}

/// One source that nothing speaks against, over and over.
fn known(references: &References, report: &Report, shield: &Shield) -> Result<()> {
    for (case, frame) in [("IPv4", hot_v4()), ("IPv6", hot_v6())] {
        let before = shield.counted(Outcome::Passed)?;
        let subjects = [shield.program()?, references.empty()?].map(|program| Subject {
            program,
            frame: &frame,
        });
        let costs = together(&subjects)?;
        report.row(&Row {
            case: format!("pass, known source, {case}: everything on"),
            weir: Some(Figure::Ns(costs.ns[0])),
            reference: Some(("C empty", Figure::Ns(costs.ns[1]))),
            target: Target::AtMost(13.0),
            note: share("weir", &costs, shield.counted(Outcome::Passed)? - before),
        })?;
    }
    Ok(())
}

/// Each packet from a source never seen before; whatever becomes of it.
fn random(references: &References, report: &Report, shield: &Shield) -> Result<()> {
    let empty = references.empty()?;
    let cases = [("IPv4", hot_v4(), PRIVATE), ("IPv6", hot_v6(), ANY)];
    for (case, frame, sources) in cases {
        let programs = [shield.program()?, empty];
        let costs = costs(references, Frame::Kept(&frame), sources, &programs)?;
        report.row(&Row {
            case: format!("random spoofed sources, {case}: everything on"),
            weir: Some(Figure::Ns(costs.ns[0])),
            reference: Some(("C empty", Figure::Ns(costs.ns[1]))),
            target: Target::AtMost(150.0 / 7.0),
            note: String::new(),
        })?;
    }
    Ok(())
}

/// A remark if not (nearly) all packets of a measurement were counted as they should.
pub(crate) fn share(who: &str, Costs { packets, .. }: &Costs, counted: u64) -> String {
    if counted >= packets / 1000 * 999 {
        return String::new();
    }
    format!("{who} counted {counted} of {packets} packets so; the rest went another way. ")
}

/// `count` addresses from `first` on.
pub(crate) fn addresses(first: Ipv4Addr, count: u32) -> impl Iterator<Item = Ipv4Addr> {
    let first = first.to_bits();
    (first..first + count).map(Ipv4Addr::from_bits)
}

/// 10,000 blocked prefixes of each IP version, the same ones each time: IPv4 /24 all over the address space except where the
/// bench's own sources are, IPv6 /48 of `fd00::/8`.
pub(crate) fn prefixes() -> Vec<IpNet> {
    // Knuth's multiplier for a linear congruential generator: good enough to spread prefixes.
    let random = std::iter::successors(Some(1_u64), |state| {
        Some(state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1))
    });
    random
        .map(|state| (state >> 24).to_be_bytes())
        .filter_map(|[.., first, second, third, fourth, fifth]| {
            let v4 = Ipv4Addr::new(1 + first % 223, second, third, 0);
            if SPARED.iter().any(|net| net.contains(&v4)) {
                return None;
            }
            let head = [0xfd, first, second, third, fourth, fifth];
            let mut v6 = [0; 16];
            v6[..6].copy_from_slice(&head);
            Some([
                IpNet::V4(Ipv4Net::new_assert(v4, 24)),
                IpNet::V6(Ipv6Net::new_assert(v6.into(), 48)),
            ])
        })
        .take(PREFIXES)
        .flatten()
        .collect()
}

fn hot_v4() -> Vec<u8> {
    frame(&ipv4(HOT_V4, TCP, &tcp(ACK, &[])))
}

fn hot_v6() -> Vec<u8> {
    frame(&ipv6(HOT_V6, TCP, &tcp(ACK, &[])))
}

const FEW: Blocklist = Blocklist {
    first: Ipv4Addr::new(198, 18, 0, 0),
    entries: 65_536,
    senders: 0xffff,
};
/// Nothing with these sources leaves `BPF_PROG_TEST_RUN`; they are private addresses (RFC 1918), of which there are enough.
const MANY: Blocklist = Blocklist {
    first: Ipv4Addr::new(172, 16, 0, 0),
    entries: 1_000_000,
    senders: 0x7_ffff,
};
/// 10.0.0.0/8, as above: 16 million sources.
const PRIVATE: Sources = Sources::Random {
    base: Ipv4Addr::new(10, 0, 0, 0),
    mask: 0xff_ffff,
};
/// Any /64 of `2001:db8::/32`.
const ANY: Sources = Sources::Random {
    base: Ipv4Addr::UNSPECIFIED,
    mask: u32::MAX,
};
/// Not among [`MANY`].
pub(crate) const HOT_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 7);
/// A source that nothing speaks against.
pub(crate) const HOT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
const PREFIXES: usize = 10_000;
const SPARED: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
];
