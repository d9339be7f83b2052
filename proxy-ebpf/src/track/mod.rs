//! Which sources and prefixes get a state of their own.
//!
//! A state is a map element with counters and limits. Adding one costs ten times what a known source's packet does, and a
//! full map evicts somebody, so a flood of spoofed sources must not add any. Every source has a cell in a sketch (a
//! count-min sketch of two rows, counted per epoch), and the first row's cell also remembers whether a source of that cell
//! has a state. A packet of a source without one (a *stranger*) adds a state
//!
//! * at once while there are few strangers: everybody is counted from the first packet on, or
//! * when the sketch finds the source heavy, well above what strangers put into every cell by chance, or
//! * when it completes a connection by a SYN cookie, which no spoofed source can.
//!
//! So random sources end at two cells, and neither look-up nor insertion is paid for them. Sketches lose a count when two
//! CPUs write a cell at once; that only delays a state.

use weir_common::hash::mix;
use weir_common::source::sketch::{PREFIX_AT, PREFIX_LOG2, ROW_LOG2, ROW2_AT};
use weir_common::time::epoch;
use weir_common::{
    CpuState, PrefixState, ShieldSettings, Source, SourceState,
    addr::{prefix_key, source_key},
};

use crate::shared::Shared;
use crate::world::World;

/// The state of `source`, if it has or gets one.
#[inline(always)]
pub fn source<'w, W: World>(
    world: &'w W,
    settings: &ShieldSettings,
    source: Source,
    now_ns: u64,
) -> Option<Shared<'w, SourceState>> {
    let epoch = epoch(now_ns);
    let key = source_key(source);
    let hash = mix(key, settings.seed);
    let cell = world.cell(low(hash))?;
    let generation = generation(epoch);
    let here = Cell::from_bits(cell.read());
    if here.knows(generation)
        && let Some(state) = world.source(key)
    {
        if here.known != generation {
            cell.write(here.knowing(generation).to_bits());
        }
        return Some(state);
    }
    let here = here.counting(epoch);
    cell.write(here.to_bits());
    let second = world.cell(ROW2_AT + low(hash >> 32))?;
    let there = Cell::from_bits(second.read()).counting(epoch);
    second.write(there.to_bits());

    let cpu = world.cpu()?;
    roll(cpu, epoch);
    let strangers = cpu.strangers().read() + 1;
    cpu.strangers().write(strangers);
    let before = cpu.strangers_before().read();
    let calm = strangers <= settings.calm && before <= settings.calm;
    if !calm && here.count.min(there.count) < heavy(before, settings.cpus_log2) {
        return None;
    }
    let state = match world.source(key) {
        Some(state) => state,
        None => world.add_source(key, now_ns)?,
    };
    cell.write(here.knowing(generation).to_bits());
    Some(state)
}

/// Gives `source` a state, however many strangers there are: it has shown that it receives what is sent to it.
#[inline(always)]
pub fn admit<W: World>(world: &W, settings: &ShieldSettings, source: Source, now_ns: u64) {
    let key = source_key(source);
    if world.source(key).is_none() && world.add_source(key, now_ns).is_none() {
        return;
    }
    if let Some(cell) = world.cell(low(mix(key, settings.seed))) {
        let here = Cell::from_bits(cell.read());
        cell.write(here.knowing(generation(epoch(now_ns))).to_bits());
    }
}

/// Whether `source` may have a state: no is certain, and costs one load.
#[inline(always)]
pub fn may_be_known<W: World>(
    world: &W,
    settings: &ShieldSettings,
    source: Source,
    epoch: u32,
) -> bool {
    let hash = mix(source_key(source), settings.seed);
    world
        .cell(low(hash))
        .is_some_and(|cell| Cell::from_bits(cell.read()).knows(generation(epoch)))
}

/// The state of the prefix of `source`, if it has or gets one: once it sends a good part of what its limit allows.
///
/// Two prefixes in one cell get their states earlier, which costs them time and nothing else.
#[inline(always)]
pub fn prefix<'w, W: World>(
    world: &'w W,
    settings: &ShieldSettings,
    source: Source,
    now_ns: u64,
) -> Option<Shared<'w, PrefixState>> {
    let epoch = epoch(now_ns);
    let key = prefix_key(source);
    let hash = mix(key, !settings.seed);
    let index = (hash >> (64 - PREFIX_LOG2)) as u32 * 2 + PREFIX_AT;
    let (count, mark) = (world.cell(index)?, world.cell(index + 1)?);
    let generation = generation(epoch);
    // Of the mark's fields only epoch and generation are used; the count has a cell of its own, because a prefix can send
    // more than 16 bits count.
    let here = Cell::from_bits(mark.read());
    if here.knows(generation)
        && let Some(state) = world.prefix(key)
    {
        if here.known != generation {
            mark.write(here.knowing(generation).to_bits());
        }
        return Some(state);
    }
    let packets = if here.epoch == epoch as u8 {
        count.read().saturating_add(1)
    } else {
        mark.write(here.counting(epoch).to_bits());
        1
    };
    count.write(packets);
    if packets < settings.prefix_heavy {
        return None;
    }
    let state = match world.prefix(key) {
        Some(state) => state,
        None => world.add_prefix(key, now_ns)?,
    };
    mark.write(Cell::from_bits(mark.read()).knowing(generation).to_bits());
    Some(state)
}

/// Begins a new epoch of this CPU's counts, if it is one.
#[inline(always)]
pub fn roll(cpu: Shared<'_, CpuState>, epoch: u32) {
    let before = cpu.epoch().read();
    if before == epoch {
        return;
    }
    let strangers = if before.wrapping_add(1) == epoch {
        cpu.strangers().read()
    } else {
        0
    };
    cpu.epoch().write(epoch);
    cpu.strangers_before().write(strangers);
    cpu.strangers().write(0);
    cpu.samples().write(0);
    cpu.forged().write(0);
    cpu.unanswerable().write(0);
}

/// How a drop is attended to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attention {
    /// It may be sampled.
    pub is_sampled: bool,
    /// Drops that it stands for: itself, and those before it that nobody looked at.
    pub weight: u32,
}

/// Whether somebody looks at this drop: samples it, and attributes it to its source.
///
/// Both cost more than the drop. So once an epoch's samples are used up, the next [`PAUSE`] drops of this CPU are passed
/// over, without so much as a look at the clock, and the one after them stands for all.
#[inline(always)]
pub fn attend<W: World>(world: &W, settings: &ShieldSettings) -> Option<Attention> {
    let cpu = world.cpu()?;
    let pause = cpu.pause().read();
    if pause != 0 {
        cpu.pause().write(pause - 1);
        cpu.skipped().write(cpu.skipped().read() + 1);
        return None;
    }
    let before = cpu.samples().read();
    let budget = u32::from(settings.samples_per_epoch);
    let weight = if before > budget { PAUSE + 1 } else { 1 };
    roll(cpu, epoch(world.now_ns()));
    let used = cpu.samples().read();
    let is_sampled = used < budget;
    if is_sampled {
        cpu.samples().write(used + 1);
    } else {
        // One above the budget says that there was a pause.
        cpu.samples().write(budget + 1);
        cpu.pause().write(PAUSE);
        cpu.skipped().write(cpu.skipped().read() + 1);
    }
    Some(Attention { is_sampled, weight })
}

/// Drops passed over when a CPU has seen enough of them.
pub const PAUSE: u32 = 127;

/// One cell of the sketch: 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cell {
    /// Packets in `epoch`.
    count: u16,
    /// Low bits of the epoch.
    epoch: u8,
    /// Generation in which a source of the cell was last seen to have a state; 0 = never.
    known: u8,
}

impl Cell {
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        Self {
            count: bits as u16,
            epoch: (bits >> 16) as u8,
            known: (bits >> 24) as u8,
        }
    }

    #[inline(always)]
    fn to_bits(self) -> u32 {
        u32::from(self.count) | u32::from(self.epoch) << 16 | u32::from(self.known) << 24
    }

    /// Whether a source of this cell was seen to have a state lately: in this generation or the one before.
    #[inline(always)]
    fn knows(self, generation: u8) -> bool {
        self.known == generation || self.known == (generation.wrapping_sub(1) | KNOWN)
    }

    #[inline(always)]
    fn counting(self, epoch: u32) -> Self {
        let count = if self.epoch == epoch as u8 {
            self.count.saturating_add(1)
        } else {
            1
        };
        Self {
            count,
            epoch: epoch as u8,
            ..self
        }
    }

    #[inline(always)]
    fn knowing(self, generation: u8) -> Self {
        Self {
            known: generation,
            ..self
        }
    }
}

/// A generation is 2^10 epochs, 4.6 minutes. Its top bit is set, so that none is 0.
#[inline(always)]
fn generation(epoch: u32) -> u8 {
    (epoch >> 10) as u8 | KNOWN
}

/// Packets in an epoch from which on a stranger is heavy: [`LEAST_HEAVY`], and four times what random strangers put into
/// each cell. Twice that many in one cell of either row is what chance makes of nobody: with 10 a cell on average, 48 has a
/// probability of 10^-17 a row.
///
/// This CPU's strangers stand for every CPU's. Where a card has fewer queues than there are CPUs, some see none, and the
/// threshold is higher than it need be, at most by the ratio of the two: with 16 CPUs on 4 queues and ten million strangers'
/// packets a second, a source is heavy from 630 packets a second on instead of 180. Until then it goes without a state and its
/// own limits. The error is on the safe side: a threshold that is too low would give states to chance.
#[inline(always)]
fn heavy(strangers_before: u32, cpus_log2: u8) -> u16 {
    let noise = (u64::from(strangers_before) << (cpus_log2 & 15)) >> ROW_LOG2;
    (4 * noise + LEAST_HEAVY).min(u64::from(u16::MAX)) as u16
}

#[inline(always)]
fn low(hash: u64) -> u32 {
    hash as u32 & (ROW2_AT - 1)
}

const LEAST_HEAVY: u64 = 8;
const KNOWN: u8 = 0x80;

#[cfg(test)]
mod tests;
