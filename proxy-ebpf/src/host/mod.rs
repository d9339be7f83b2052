//! The world on the host: what the kernel's maps and sockets are to the XDP program, as plain collections. Unit tests judge
//! with it, and the kernel ring holds the kernel against it. Nothing is lost, evicted or raced for here.

mod frame;
mod lists;
mod sockets;
mod table;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use weir_common::source::sketch::CELLS;
use weir_common::{CpuState, Entry, PrefixState, Pressure, ShieldSettings, SourceState, Totals};

use self::frame::HostFrame;
pub use self::lists::{List, Lists, Place, Prefix, Rule};
pub use self::sockets::{Connection, Sockets};
pub use self::table::Table;
use crate::packet::Packet;
use crate::parse::tcp::{MIN_HEADER, Segment};
use crate::parse::{Ip, Upper, Version};
use crate::shared::Shared;
use crate::verdict::cookies::{Answer, Completes, Turned};
use crate::verdict::inner;
use crate::verdict::sanity::Sane;
use crate::verdict::{Action, Decision, decide};
use crate::world::World;

/// Lists, memory and sockets of one host.
pub struct HostWorld {
    /// The lists in force.
    pub lists: Lists,
    /// This host's addresses, [as mapped](weir_common::Source::mapped).
    pub own: HashSet<[u64; 2]>,
    /// Whether the interface is the loopback.
    pub loopback: bool,
    /// Whether the stack receives the frames as another interface's.
    pub as_another: bool,
    /// The host's sockets.
    pub sockets: Sockets,
    /// Sources with a state.
    pub sources: Table<SourceState>,
    /// Prefixes with a state.
    pub prefixes: Table<PrefixState>,
    /// This CPU's memory.
    pub cpu: Cell<CpuState>,
    /// All CPUs' SYNs.
    pub pressure: Cell<Pressure>,
    /// Bytes of a frame's first buffer. What asks for sockets reads no further, and no SYN of a longer frame is answered.
    pub first_buffer: Cell<usize>,
    /// Whether frames have no room for an answer.
    pub is_cramped: Cell<bool>,
    /// What SYNs were answered with.
    pub answers: RefCell<Vec<Answer>>,
    now_ns: Cell<u64>,
    frame_len: Cell<usize>,
    /// What the program knows of it.
    known_len: Cell<usize>,
    totals: Cell<Totals>,
    sketch: Vec<Cell<u32>>,
    asked_cells: RefCell<HashSet<u32>>,
}

impl Default for HostWorld {
    fn default() -> Self {
        Self {
            lists: Lists::default(),
            own: HashSet::new(),
            loopback: false,
            as_another: false,
            sockets: Sockets::default(),
            sources: Table::with_capacity(SOURCES),
            prefixes: Table::with_capacity(SOURCES),
            cpu: Cell::new(CpuState::default()),
            pressure: Cell::new(Pressure::default()),
            first_buffer: Cell::new(usize::MAX),
            is_cramped: Cell::new(false),
            answers: RefCell::new(Vec::new()),
            now_ns: Cell::new(0),
            frame_len: Cell::new(0),
            known_len: Cell::new(0),
            totals: Cell::new(Totals::ZERO),
            sketch: vec![Cell::new(0); CELLS as usize],
            asked_cells: RefCell::new(HashSet::new()),
        }
    }
}

impl HostWorld {
    /// A world that nothing has happened in yet.
    pub fn listing(lists: Lists) -> Self {
        Self {
            lists,
            ..Self::default()
        }
    }

    /// Judges a frame and counts it, as the program does around its verdict. There is always room for a sample.
    pub fn judge(&self, frame: &[u8], settings: &ShieldSettings, now_ns: u64) -> Decision {
        self.now_ns.set(now_ns);
        self.frame_len.set(frame.len());
        let frame = HostFrame::measured(frame, self.first_buffer.get(), &self.known_len);
        let decision = decide(&frame, self, settings);
        let spared = decision.action == Action::Spare;
        let mut totals = self.totals.get();
        let place = decision.outcome as usize + if spared { Totals::SLOTS } else { 0 };
        let tally = totals.place(place);
        tally.packets += 1;
        tally.bytes += frame.frame_len() as u64;
        self.totals.set(totals);
        if decision.is_sampled {
            Shared::of(&self.cpu).skipped().write(0);
        }
        decision
    }

    /// What [`HostWorld::judge`] counted.
    pub fn totals(&self) -> Totals {
        self.totals.get()
    }

    /// The cells of the sketch that were asked for, and what is in them.
    pub fn cells(&self) -> Vec<(u32, u32)> {
        let mut cells: Vec<_> = self.asked_cells.borrow().iter().copied().collect();
        cells.sort_unstable();
        let value = |cell: u32| (cell, self.sketch[cell as usize].get());
        cells.into_iter().map(value).collect()
    }

    /// Forgets everything that packets left behind; lists and sockets stay.
    pub fn forget(&mut self) {
        self.sources.clear();
        self.prefixes.clear();
        self.cpu.set(CpuState::default());
        self.pressure.set(Pressure::default());
        self.answers.borrow_mut().clear();
        self.totals.set(Totals::ZERO);
        for cell in self.asked_cells.get_mut().drain() {
            self.sketch[cell as usize].set(0);
        }
    }

    /// Whether what asks for sockets can read the headers.
    fn reaches(&self, ip: &Ip, segment: &Segment) -> bool {
        let ip_len = match ip.version() {
            Version::V4 => 20,
            Version::V6 => 40,
        };
        let end = (ip.at() + ip_len).max(segment.at + MIN_HEADER);
        end <= self.first_buffer.get()
    }
}

impl World for HostWorld {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn bits<const N: usize>(&self, words: [u32; N]) -> [u64; N] {
        words.map(|word| self.lists.bits(word))
    }

    fn allow_lpm4(&self, address: u32, prefix_len: u32) -> Option<Shared<'_, Entry>> {
        self.lists.allow4.longest(lists::left4(address), prefix_len)
    }

    fn allow_lpm6(&self, address: [u64; 2], prefix_len: u32) -> Option<Shared<'_, Entry>> {
        self.lists.allow6.longest(lists::left6(address), prefix_len)
    }

    fn block4(&self, address: u32) -> Option<Shared<'_, Entry>> {
        self.lists.exact4.get(&address).map(Shared::of)
    }

    fn block6(&self, key: [u64; 2]) -> Option<Shared<'_, Entry>> {
        self.lists.exact6.get(&key).map(Shared::of)
    }

    fn block_lpm4(&self, address: u32, prefix_len: u32) -> Option<Shared<'_, Entry>> {
        self.lists.block4.longest(lists::left4(address), prefix_len)
    }

    fn block_lpm6(&self, address: [u64; 2], prefix_len: u32) -> Option<Shared<'_, Entry>> {
        self.lists.block6.longest(lists::left6(address), prefix_len)
    }

    fn on_loopback(&self) -> bool {
        self.loopback
    }

    fn as_another(&self) -> bool {
        self.as_another
    }

    fn is_own(&self, mapped: [u64; 2]) -> bool {
        self.own.contains(&mapped)
    }

    fn cpu(&self) -> Option<Shared<'_, CpuState>> {
        Some(Shared::of(&self.cpu))
    }

    fn pressure(&self) -> Option<Shared<'_, Pressure>> {
        Some(Shared::of(&self.pressure))
    }

    fn cell(&self, index: u32) -> Option<Shared<'_, u32>> {
        let cell = self.sketch.get(index as usize)?;
        self.asked_cells.borrow_mut().insert(index);
        Some(Shared::of(cell))
    }

    fn source(&self, key: u64) -> Option<Shared<'_, SourceState>> {
        self.sources.find(key)
    }

    fn add_source(&self, key: u64, now_ns: u64) -> Option<Shared<'_, SourceState>> {
        self.sources.add(key, SourceState::first_seen_at(now_ns))
    }

    fn prefix(&self, key: u64) -> Option<Shared<'_, PrefixState>> {
        self.prefixes.find(key)
    }

    fn add_prefix(&self, key: u64, now_ns: u64) -> Option<Shared<'_, PrefixState>> {
        self.prefixes.add(key, PrefixState::first_seen_at(now_ns))
    }

    fn is_connected(&self, ip: &Ip, segment: &Segment) -> bool {
        self.sockets.is_connected(ip, segment)
    }

    fn has_udp_socket(&self, _: &Ip, _: u16, destination_port: u16) -> bool {
        self.sockets.udp.contains(&destination_port)
    }

    fn make_cookie(&self, ip: &Ip, segment: &Segment, _: u16) -> Option<u32> {
        (self.reaches(ip, segment) && self.sockets.is_for_listener(ip, segment))
            .then_some(self.sockets.cookie?)
    }

    /// The program looks inside with a frame whose length it asks for anew.
    fn look_inside<P: Packet>(&self, packet: &P, settings: &ShieldSettings, outer: &Upper) -> Sane {
        let known_len = self.known_len.replace(self.frame_len.get());
        let inside = inner::check(packet, self, settings, outer);
        self.known_len.set(known_len);
        inside
    }

    fn is_linear(&self) -> bool {
        self.frame_len.get() <= self.first_buffer.get()
    }

    fn answer(&self, _: &Ip, _: &Upper, answer: &Answer) -> Turned {
        if self.is_cramped.get() {
            return Turned::Not;
        }
        self.answers.borrow_mut().push(*answer);
        Turned::Whole
    }

    fn completes(&self, ip: &Ip, segment: &Segment) -> Completes {
        if !self.reaches(ip, segment) || !self.sockets.is_for_listener(ip, segment) {
            Completes::Unknown
        } else if self.sockets.completed.contains(&segment.sequence) {
            Completes::Connection
        } else {
            Completes::Nothing
        }
    }
}

/// Room for sources, and for prefixes.
const SOURCES: usize = 4096;
