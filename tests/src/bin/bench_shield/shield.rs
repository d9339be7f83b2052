//! weir's program and its maps, as the bench uses them. Everything the bench knows about the layout of weir's maps and
//! settings is in this file.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, ArrayOfMaps, HashMap, InnerMap, Map, MapData, PerCpuArray};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use ipnet::IpNet;
use weir_common::bits::{self, CLASSES6, PrefixList, Probe};
use weir_common::settings::{CookieMode, Cookies, Limit, Limits, Ports, Sanity};
use weir_common::{
    Entry, InterfaceSlot, Outcome, Policy, ShieldSettings, Source, SourceState, Text, Totals, maps,
};

use crate::frames::{SERVER4, SERVER6};
use crate::lists::addresses;
use crate::live::FLOODED;

/// The loaded program. Detached and gone when dropped.
pub(crate) struct Shield {
    ebpf: Ebpf,
    block4: HashMap<MapData, [u8; 4], Entry>,
    block_lpm4: LpmTrie<MapData, [u8; 8], Entry>,
    block_lpm6: LpmTrie<MapData, [u8; 16], Entry>,
    bits: Array<MapData, u64>,
    /// The words of `bits` as they are to be.
    words: Vec<u64>,
    /// [`ShieldSettings::exact_log2`]
    exact_log2: u8,
}

/// How large the lists are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// As weir loads them by default.
    Default,
    /// Room for exactly so many blocked IPv4 addresses, the rest by default.
    Blocks(u32),
}

/// What the program is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    /// Every check enforced, every limit on and so high that no source of the bench reaches it.
    Everything,
    /// The same, and every SYN answered with a cookie.
    Cookies(Answers),
}

/// What the answers to SYNs carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// The MSS.
    MssOnly,
    /// Timestamps, SACK and this window scale too.
    Full(u8),
}

/// What an eBPF object may be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Drop UDP from reflectors' ports.
    Amplification,
    /// Drop packets whose lengths contradict each other.
    Malformed,
    /// Drop TCP flags that no stack sends together.
    BadFlags,
    /// Answer SYNs with cookies.
    Cookies,
}

/// What a map of blocked IPv4 addresses looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of a value.
    pub(crate) value_bytes: u32,
    /// `BPF_F_…`
    pub(crate) flags: u32,
}

impl Shield {
    /// Creates the maps and loads the program.
    pub(crate) fn load(capacity: Capacity) -> Result<Self> {
        let path = object();
        let object = std::fs::read(&path).with_context(|| {
            format!(
                "reading {}: build it with `cargo xtask build-ebpf`",
                path.display()
            )
        })?;
        let mut ebpf = EbpfLoader::new()
            .load(&object)
            .context("creating weir's maps")?;
        let program: &mut Xdp = ebpf
            .program_mut(PROGRAM)
            .context("the object has no program named weir")?
            .try_into()?;
        program.load().context("loading weir")?;
        let blocks = match capacity {
            Capacity::Default => maps::DEFAULT_BLOCKS,
            Capacity::Blocks(entries) => entries,
        };
        Self::with_lists(ebpf, blocks)
    }

    /// Makes set 0 of the lists, with everything that weir makes.
    fn with_lists(mut ebpf: Ebpf, blocks: u32) -> Result<Self> {
        let (prefixes, allowed) = (maps::DEFAULT_PREFIXES, maps::DEFAULT_PREFIXES / 2);
        let block4 = HashMap::create(blocks, 0)?;
        let block6 = HashMap::<MapData, [u8; 16], Entry>::create(maps::DEFAULT_BLOCKS, 0)?;
        let block_lpm4 = LpmTrie::create(prefixes, NO_PREALLOC)?;
        let block_lpm6 = LpmTrie::create(prefixes, NO_PREALLOC)?;
        let allow_lpm4 = LpmTrie::<MapData, [u8; 8], Entry>::create(allowed, NO_PREALLOC)?;
        let allow_lpm6 = LpmTrie::<MapData, [u8; 16], Entry>::create(allowed, NO_PREALLOC)?;
        let bits = Array::create(bits::WORDS, 0)?;
        install(&mut ebpf, maps::BLOCK4, &block4)?;
        install(&mut ebpf, maps::BLOCK6, &block6)?;
        install(&mut ebpf, maps::BLOCK_LPM4, &block_lpm4)?;
        install(&mut ebpf, maps::BLOCK_LPM6, &block_lpm6)?;
        install(&mut ebpf, maps::ALLOW_LPM4, &allow_lpm4)?;
        install(&mut ebpf, maps::ALLOW_LPM6, &allow_lpm6)?;
        install(&mut ebpf, maps::BITS, &bits)?;
        let slot = InterfaceSlot {
            ifindex: 1,
            mtu: 1500,
            name: Text::EMPTY,
        };
        Array::<_, InterfaceSlot>::try_from(map_mut(&mut ebpf, maps::INTERFACES)?)?
            .set(0, slot, 0)?;
        Ok(Self {
            ebpf,
            block4,
            block_lpm4,
            block_lpm6,
            bits,
            words: vec![0; bits::WORDS as usize],
            exact_log2: bits::EXACT_LOG2_MIN,
        })
    }

    /// Whether the object has what a case is about.
    #[allow(
        clippy::unused_self,
        reason = "what an object can do may become a question to the object"
    )]
    pub(crate) fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Malformed | Ability::Amplification | Ability::BadFlags | Ability::Cookies => {
                true
            }
        }
    }

    /// Blocks `count` addresses from `first` on, for good.
    pub(crate) fn fill_blocks(&mut self, first: Ipv4Addr, count: u32) -> Result<()> {
        self.exact_log2 = bits::exact_log2(count as usize);
        let entry = Entry::new(0, 32, 1, 1);
        for address in addresses(first, count) {
            self.block4.insert(address.octets(), entry, 0)?;
            self.mark(bits::exact4(
                address.to_bits(),
                SEED,
                bits::exact_log2(count as usize),
            ));
        }
        self.write_bits()
    }

    /// Blocks `prefixes`, none of them a single address, for good.
    pub(crate) fn fill_prefixes(&mut self, prefixes: &[IpNet]) -> Result<()> {
        for prefix in prefixes {
            let len = prefix.prefix_len();
            let entry = Entry::new(0, len, 1, 1);
            match prefix {
                IpNet::V4(net) => {
                    let mut key = [0; 8];
                    key[..4].copy_from_slice(&net.addr().octets());
                    self.block_lpm4
                        .insert(&Key::new(len.into(), key), entry, 0)?;
                    let ranges = 1_u32 << bits::RANGE4_LEN.saturating_sub(len);
                    for range in 0..ranges {
                        let address = net.network().to_bits() + (range << 12);
                        self.mark(bits::prefix4(PrefixList::Block, address));
                    }
                }
                IpNet::V6(net) => {
                    let key = Key::new(len.into(), net.addr().octets());
                    self.block_lpm6.insert(&key, entry, 0)?;
                    let class = CLASSES6.into_iter().find(|class| *class <= len);
                    let class = class.context("the bench has no prefixes shorter than /16")?;
                    let [h0, h1, h2, h3, ..] = net.network().segments();
                    let head = [h0, h1, h2, h3]
                        .into_iter()
                        .fold(0, |head, segment| head << 16 | u64::from(segment));
                    // Prefixes of the bench end within the first half.
                    let halves = [head, 0];
                    self.mark(bits::prefix6(PrefixList::Block, class, halves, SEED));
                }
            }
        }
        self.write_bits()
    }

    fn mark(&mut self, probe: Probe) {
        self.words[probe.word as usize] |= probe.mask;
    }

    fn write_bits(&mut self) -> Result<()> {
        for (index, word) in (0..).zip(&self.words) {
            if *word != 0 {
                self.bits.set(index, word, 0)?;
            }
        }
        Ok(())
    }

    /// Tells the program; call it after filling the lists.
    pub(crate) fn settings(&mut self, settings: Settings) -> Result<()> {
        let high = Limit::per_second(1 << 33, 1 << 36);
        let limits = Limits {
            packets: high,
            bytes: Limit::per_second(1 << 40, 1 << 43),
            syn: high,
            udp: high,
            icmp: high,
        };
        let mut amplification_ports = Ports::EMPTY;
        for port in [53, 123, 161, 389, 1900, 11211] {
            amplification_ports.insert(port);
        }
        let mut failsafe_ports = Ports::EMPTY;
        failsafe_ports.insert(22);
        let cookies = match settings {
            Settings::Everything => Cookies {
                start: 5_000_000,
                mode: CookieMode::Auto as u8,
                ..Cookies::OFF
            },
            Settings::Cookies(answers) => Cookies {
                mode: CookieMode::Always as u8,
                options: u8::from(answers != Answers::MssOnly),
                window_scale: match answers {
                    Answers::MssOnly => 0,
                    Answers::Full(scale) => scale,
                },
                ..Cookies::OFF
            },
        };
        let mut value = ShieldSettings {
            generation: 1,
            seed: SEED,
            enforce: 1,
            samples_per_epoch: 16,
            cpus_log2: 1,
            exact_log2: self.exact_log2,
            lists: ShieldSettings::LIST_ALL,
            calm: 1024,
            prefix_heavy: 60_000,
            sanity: Sanity {
                closed_ports: Policy::Pass as u8,
                non_ip: Policy::Pass as u8,
                pppoe: Policy::Pass as u8,
                ..Sanity::all(Policy::Drop)
            },
            cookies,
            limits,
            prefix_limits: limits,
            amplification_ports,
            failsafe_ports,
            ..ShieldSettings::OPEN
        };
        self.own(&mut value)?;
        if let Settings::Cookies(_) = settings {
            // What an answer costs, beside a responder that does nothing else, and in the middle of a flood: the bench pauses
            // between runs, and in calm after each of them sources would get states that a flood's have not.
            value.lists = 0;
            value.calm = 0;
            value.limits = Limits::NONE;
            value.prefix_limits = Limits::NONE;
        }
        let mut inner = Array::<MapData, ShieldSettings>::create(1, 0)?;
        inner.set(0, value, 0)?;
        install(&mut self.ebpf, maps::SETTINGS, &inner)
    }

    /// The bench's servers are this host.
    fn own(&mut self, settings: &mut ShieldSettings) -> Result<()> {
        let mut own = HashMap::<_, [u8; 16], u32>::try_from(map_mut(&mut self.ebpf, maps::OWN)?)?;
        let half = |at: usize| {
            let bytes: [u8; 8] = std::array::from_fn(|index| SERVER6.octets()[at + index]);
            u64::from_be_bytes(bytes)
        };
        for (key, source) in [
            (SERVER4.to_ipv6_mapped(), Source::V4(SERVER4.to_bits())),
            (FLOODED.to_ipv6_mapped(), Source::V4(FLOODED.to_bits())),
            (SERVER6, Source::V6([half(0), half(8)])),
        ] {
            own.insert(key.octets(), 1, 0)?;
            let probe = bits::own(source, SEED);
            settings.own[probe.word as usize] |= probe.mask;
        }
        Ok(())
    }

    /// What a map of blocked IPv4 addresses looks like: the reference's is made like it.
    pub(crate) fn blocklist() -> Result<Shape> {
        Ok(Shape {
            value_bytes: u32::try_from(size_of::<Entry>())?,
            flags: 0,
        })
    }

    /// Packets counted under `outcome`, over all interfaces and cores.
    pub(crate) fn counted(&self, outcome: Outcome) -> Result<u64> {
        let totals = PerCpuArray::<_, Totals>::try_from(self.map(maps::TOTALS)?)?;
        let mut sum = 0;
        for slot in 0..maps::MAX_INTERFACES {
            for totals in totals.get(&slot, 0)?.iter() {
                sum += totals.of(outcome).packets;
            }
        }
        Ok(sum)
    }

    /// The state of every source that has one, by key.
    pub(crate) fn sources(&self) -> Result<BTreeMap<u64, SourceState>> {
        let sources = HashMap::<_, [u8; 8], SourceState>::try_from(self.map(maps::SOURCES)?)?;
        sources
            .iter()
            .map(|row| {
                let (key, state) = row?;
                Ok((u64::from_be_bytes(key), state))
            })
            .collect()
    }

    /// The program.
    pub(crate) fn program(&self) -> Result<&Xdp> {
        let program = self.ebpf.program(PROGRAM).context("weir is loaded")?;
        Ok(program.try_into()?)
    }

    /// Attaches the program to an interface of this thread's namespace, natively.
    pub(crate) fn attach(&mut self, interface: &str) -> Result<()> {
        let program: &mut Xdp = self
            .ebpf
            .program_mut(PROGRAM)
            .context("weir is loaded")?
            .try_into()?;
        program
            .attach(interface, XdpMode::Driver)
            .with_context(|| format!("attaching weir to {interface}"))?;
        Ok(())
    }

    fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf
            .map(name)
            .with_context(|| format!("the object has no map {name}"))
    }
}

fn map_mut<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Map> {
    ebpf.map_mut(name)
        .with_context(|| format!("the object has no map {name}"))
}

/// Puts `inner` into the map of maps `name`.
fn install<V: InnerMap>(ebpf: &mut Ebpf, name: &str, inner: &V) -> Result<()> {
    ArrayOfMaps::<_, V>::try_from(map_mut(ebpf, name)?)?
        .set(0, inner, 0)
        .with_context(|| format!("filling {name}"))
}

/// `WEIR_EBPF_OBJECT`, or where `cargo xtask build-ebpf` puts the object.
fn object() -> PathBuf {
    std::env::var_os("WEIR_EBPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/weir.bpf.o"),
        PathBuf::from,
    )
}

const PROGRAM: &str = "weir";
/// Any number: the bench attacks with addresses it chose before.
const SEED: u64 = 0x5eed_5eed_5eed_5eed;
/// `BPF_F_NO_PREALLOC`
const NO_PREALLOC: u32 = 1;
