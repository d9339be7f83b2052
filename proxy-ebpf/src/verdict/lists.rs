//! Allowlist and blocklist: which lookups an address takes, and when an entry has an effect.
//!
//! Each lookup is behind two cheaper questions: whether the map holds anything (a bit in the settings), and whether it can
//! hold this address (the [pre-tests](weir_common::bits)).

use weir_common::addr::BLOCK64_MARKER;
use weir_common::bits::{CLASSES6, PrefixList, Probe, exact4, exact6, prefix4, prefix6};
use weir_common::entry::is_live;
use weir_common::{Entry, ShieldSettings};

use crate::opaque::opaque;
use crate::shared::Shared;
use crate::world::World;

/// What the lists say of a source.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listed {
    /// Nothing.
    No = 0,
    /// It is allowed.
    Allowed = 1,
    /// It is blocked, and not allowed.
    Blocked = 2,
}

impl Listed {
    /// The variant with this number.
    #[inline(always)]
    pub fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Self::No,
            1 => Self::Allowed,
            _ => Self::Blocked,
        }
    }
}

/// IPv4 lists that may hold an address, as their pre-tests say. Handed to [`check4`], so that no pre-test is looked at twice.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidates(u32);

impl Candidates {
    const ALLOW: u32 = 1;
    const EXACT: u32 = 1 << 1;
    const PREFIX: u32 = 1 << 2;

    /// As a number, and back.
    #[inline(always)]
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// See [`Candidates::to_bits`].
    #[inline(always)]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether no list can say anything.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline(always)]
    fn has(self, list: u32) -> bool {
        self.0 & list != 0
    }

    #[inline(always)]
    fn without(self, list: u32) -> Self {
        Self(self.0 & !list)
    }
}

/// What a look at the exact block entries alone finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Glance {
    /// The source is blocked.
    Blocked,
    /// Nothing, in the lists that are no candidates any more.
    Open(Candidates),
}

/// The IPv4 lists that may hold an address: none of them for most packets. Two loads answer all.
#[inline(always)]
pub fn candidates4<W: World>(world: &W, settings: &ShieldSettings, address: u32) -> Candidates {
    const IPV4: u32 =
        ShieldSettings::LIST_ALLOW4 | ShieldSettings::LIST_BLOCK4 | ShieldSettings::LIST_BLOCK_LPM4;
    if settings.lists & IPV4 == 0 {
        return Candidates(0);
    }
    let exact = exact4(address, settings.seed, settings.exact_log2);
    let block = prefix4(PrefixList::Block, address);
    let allow = prefix4(PrefixList::Allow, address);
    let [exactly, prefix] = world.bits([exact.word, block.word]);
    let candidate = |populated, may_hold, list| {
        if settings.lists & populated != 0 && may_hold {
            list
        } else {
            0
        }
    };
    Candidates(
        candidate(
            ShieldSettings::LIST_BLOCK4,
            exact.hits(exactly),
            Candidates::EXACT,
        ) | candidate(
            ShieldSettings::LIST_BLOCK_LPM4,
            block.hits(prefix),
            Candidates::PREFIX,
        ) | candidate(
            ShieldSettings::LIST_ALLOW4,
            allow.hits(prefix),
            Candidates::ALLOW,
        ),
    )
}

/// Finds a block entry without an end that nothing can overrule: what nearly all of a flood of blocked sources meets. It
/// counts as hit. Whatever else there may be is left to [`check4`].
#[inline(always)]
pub fn glance4<W: World>(world: &W, address: u32, candidates: Candidates) -> Glance {
    if !candidates.has(Candidates::EXACT) || candidates.has(Candidates::ALLOW) {
        return Glance::Open(candidates);
    }
    match world.block4(address) {
        None => Glance::Open(candidates.without(Candidates::EXACT)),
        Some(entry) if expires_ns(entry) == 0 => {
            hit(Some(entry));
            Glance::Blocked
        }
        Some(_) => Glance::Open(candidates),
    }
}

/// Whether the lists can say anything of any IPv6 source. Its pre-tests are several, and looked at with the lists.
#[inline(always)]
pub(super) fn may_have6(settings: &ShieldSettings) -> bool {
    const IPV6: u32 =
        ShieldSettings::LIST_ALLOW6 | ShieldSettings::LIST_BLOCK6 | ShieldSettings::LIST_BLOCK_LPM6;
    settings.lists & IPV6 != 0
}

/// Looks an IPv4 source up in its candidates; allow beats block. A block that is found counts as hit, whatever becomes of
/// the packet.
#[inline(always)]
pub fn check4<W: World>(world: &W, address: u32, candidates: Candidates) -> Listed {
    let blocked = blocked4(world, address, candidates);
    if candidates.has(Candidates::ALLOW)
        && covering(world, 32, |len| world.allow_lpm4(address, len)).is_some()
    {
        return Listed::Allowed;
    }
    hit(blocked)
}

/// As [`check4`], for IPv6.
#[inline(always)]
pub fn check6<W: World>(world: &W, settings: &ShieldSettings, address: [u64; 2]) -> Listed {
    let blocked = blocked6(world, settings, address);
    if settings.lists & ShieldSettings::LIST_ALLOW6 != 0
        && prefix_may_have6(world, settings, PrefixList::Allow, address)
        && covering(world, 128, |len| world.allow_lpm6(address, len)).is_some()
    {
        return Listed::Allowed;
    }
    hit(blocked)
}

#[inline(always)]
fn hit(entry: Option<Shared<'_, Entry>>) -> Listed {
    match entry {
        None => Listed::No,
        Some(entry) => {
            entry.hits_note_and_len().add(Entry::HIT);
            Listed::Blocked
        }
    }
}

/// Whether there may be a block entry at all. `populated`: [`ShieldSettings::lists`].
#[inline(always)]
pub(super) fn blocks_anybody(populated: u32) -> bool {
    const BLOCKLIST: u32 = ShieldSettings::LIST_BLOCK4
        | ShieldSettings::LIST_BLOCK6
        | ShieldSettings::LIST_BLOCK_LPM4
        | ShieldSettings::LIST_BLOCK_LPM6;
    populated & BLOCKLIST != 0
}

/// A live block entry that covers the address; exact ones first.
#[inline(always)]
fn blocked4<W: World>(
    world: &W,
    address: u32,
    candidates: Candidates,
) -> Option<Shared<'_, Entry>> {
    if candidates.has(Candidates::EXACT)
        && let Some(entry) = live(world, world.block4(address))
    {
        return Some(entry);
    }
    if candidates.has(Candidates::PREFIX) {
        return covering(world, 32, |len| world.block_lpm4(address, len));
    }
    None
}

#[inline(always)]
fn blocked6<'w, W: World>(
    world: &'w W,
    settings: &ShieldSettings,
    address: [u64; 2],
) -> Option<Shared<'w, Entry>> {
    if settings.lists & ShieldSettings::LIST_BLOCK6 != 0 {
        for key in [address, [address[0], BLOCK64_MARKER]] {
            if may_have(world, exact6(key, settings.seed, settings.exact_log2))
                && let Some(entry) = live(world, world.block6(key))
            {
                return Some(entry);
            }
        }
    }
    if settings.lists & ShieldSettings::LIST_BLOCK_LPM6 != 0
        && prefix_may_have6(world, settings, PrefixList::Block, address)
    {
        return covering(world, 128, |len| world.block_lpm6(address, len));
    }
    None
}

#[inline(always)]
fn live<'w, W: World>(world: &W, entry: Option<Shared<'w, Entry>>) -> Option<Shared<'w, Entry>> {
    entry.filter(|entry| has_effect(world, expires_ns(*entry)))
}

/// Whether an entry that ends at `expires_ns` has an effect now. Most have no end, and need no clock.
#[inline(always)]
fn has_effect<W: World>(world: &W, expires_ns: u64) -> bool {
    expires_ns == 0 || is_live(expires_ns, world.now_ns())
}

/// The live entry that covers the address. A lookup shows the longest prefix only, so behind an expired one the search
/// goes on with the next shorter, through at most [`NESTED_EXPIRED`] of them.
#[inline(always)]
fn covering<'w, W: World>(
    world: &W,
    address_len: u32,
    lookup: impl Fn(u32) -> Option<Shared<'w, Entry>>,
) -> Option<Shared<'w, Entry>> {
    let mut prefix_len = address_len;
    for _ in 0..opaque(NESTED_EXPIRED + 1) {
        let entry = lookup(prefix_len)?;
        if has_effect(world, expires_ns(entry)) {
            return Some(entry);
        }
        // An entry whose length is 0, or not below the one just tried (a foreign writer), leaves nothing to look for.
        let shorter = entry_len(entry).checked_sub(1)?;
        if shorter >= prefix_len {
            return None;
        }
        prefix_len = shorter;
    }
    None
}

/// [`Entry::expires_ns`], without a look at the other word.
#[inline(always)]
fn expires_ns(entry: Shared<'_, Entry>) -> u64 {
    let entry = Entry {
        expiry_and_added: entry.expiry_and_added().read(),
        hits_note_and_len: 0,
    };
    entry.expires_ns()
}

/// [`Entry::prefix_len`], without a look at the other word.
#[inline(always)]
fn entry_len(entry: Shared<'_, Entry>) -> u32 {
    let entry = Entry {
        expiry_and_added: 0,
        hits_note_and_len: entry.hits_note_and_len().read(),
    };
    u32::from(entry.prefix_len())
}

#[inline(always)]
fn may_have<W: World>(world: &W, probe: Probe) -> bool {
    let [word] = world.bits([probe.word]);
    probe.hits(word)
}

#[inline(always)]
fn prefix_may_have6<W: World>(
    world: &W,
    settings: &ShieldSettings,
    list: PrefixList,
    address: [u64; 2],
) -> bool {
    let first = match list {
        PrefixList::Allow => ShieldSettings::LIST_ALLOW6_CLASS,
        PrefixList::Block => ShieldSettings::LIST_BLOCK6_CLASS,
    };
    let may = |index: u32, class: u8| {
        settings.lists & first << index != 0
            && may_have(world, prefix6(list, class, address, settings.seed))
    };
    let [long, middle, short] = CLASSES6;
    may(0, long) || may(1, middle) || may(2, short)
}

/// Expired prefixes nested within each other that a search steps over. User space removes expired entries within
/// seconds; without it, deeper nesting than this reads as not listed.
const NESTED_EXPIRED: u32 = 8;
