//! The kernel, as the verdicts ask it: maps and socket look-ups of this packet's set of lists.

mod answer;
mod clock;
mod functions;
mod sockets;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use weir_common::time::epoch;
use weir_common::{CpuState, Entry, PrefixState, Pressure, ShieldSettings, SourceState};
use weir_ebpf::packet::{Packet, XdpFrame};
use weir_ebpf::parse::tcp::Segment;
use weir_ebpf::parse::{Ip, Upper, Version};
use weir_ebpf::shared::Shared;
use weir_ebpf::verdict::account::{Accounted, Load};
use weir_ebpf::verdict::cookies::{Answer, Check, Completes, Stage, Turned};
use weir_ebpf::verdict::lists::{Candidates, Listed};
use weir_ebpf::verdict::sanity::Sane;
use weir_ebpf::world::World;

pub(crate) use self::clock::{Asked, Clock, Once};
use self::sockets::Ask;
use crate::maps;

/// The maps and sockets.
pub(crate) struct Kernel<'a, C> {
    /// Only for what concerns the packet itself; null where nothing does.
    pub(crate) context: *mut xdp_md,
    pub(crate) settings: &'a ShieldSettings,
    clock: C,
}

impl<'a, C: Clock> Kernel<'a, C> {
    /// `context`: null if no packet is concerned.
    #[inline(always)]
    pub(crate) fn new(context: *mut xdp_md, settings: &'a ShieldSettings, clock: C) -> Self {
        Self {
            context,
            settings,
            clock,
        }
    }
}

impl<C: Clock> World for Kernel<'_, C> {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    #[inline(always)]
    fn bits<const N: usize>(&self, words: [u32; N]) -> [u64; N] {
        maps::bits(u32::from(self.settings.bits & 1), words)
    }

    #[inline(always)]
    fn allow_lpm4(&self, address: u32, prefix_len: u32) -> Option<Shared<'_, Entry>> {
        maps::allow_lpm4(self.set(), address, prefix_len)
    }

    #[inline(always)]
    fn allow_lpm6(&self, address: [u64; 2], prefix_len: u32) -> Option<Shared<'_, Entry>> {
        maps::allow_lpm6(self.set(), address, prefix_len)
    }

    #[inline(always)]
    fn block4(&self, address: u32) -> Option<Shared<'_, Entry>> {
        maps::block4(self.set(), address)
    }

    #[inline(always)]
    fn block6(&self, key: [u64; 2]) -> Option<Shared<'_, Entry>> {
        maps::block6(self.set(), key)
    }

    #[inline(always)]
    fn block_lpm4(&self, address: u32, prefix_len: u32) -> Option<Shared<'_, Entry>> {
        maps::block_lpm4(self.set(), address, prefix_len)
    }

    #[inline(always)]
    fn block_lpm6(&self, address: [u64; 2], prefix_len: u32) -> Option<Shared<'_, Entry>> {
        maps::block_lpm6(self.set(), address, prefix_len)
    }

    #[inline(always)]
    fn on_loopback(&self) -> bool {
        maps::is_loopback()
    }

    #[inline(always)]
    fn as_another(&self) -> bool {
        maps::as_another()
    }

    #[inline(always)]
    fn is_own(&self, mapped: [u64; 2]) -> bool {
        maps::is_own(mapped)
    }

    #[inline(always)]
    fn is_own_again(&self, mapped: [u64; 2]) -> bool {
        maps::is_own_again(mapped, self.settings.generation, epoch(self.now_ns()))
    }

    #[inline(always)]
    fn cpu(&self) -> Option<Shared<'_, CpuState>> {
        maps::cpu()
    }

    #[inline(always)]
    fn pressure(&self) -> Option<Shared<'_, Pressure>> {
        maps::pressure()
    }

    #[inline(always)]
    fn cell(&self, index: u32) -> Option<Shared<'_, u32>> {
        maps::cell(index)
    }

    #[inline(always)]
    fn source(&self, key: u64) -> Option<Shared<'_, SourceState>> {
        maps::source(key)
    }

    #[inline(always)]
    fn add_source(&self, key: u64, now_ns: u64) -> Option<Shared<'_, SourceState>> {
        maps::add_source(key, now_ns)
    }

    #[inline(always)]
    fn prefix(&self, key: u64) -> Option<Shared<'_, PrefixState>> {
        maps::prefix(key)
    }

    #[inline(always)]
    fn add_prefix(&self, key: u64, now_ns: u64) -> Option<Shared<'_, PrefixState>> {
        maps::add_prefix(key, now_ns)
    }

    #[inline(always)]
    fn is_connected(&self, ip: &Ip, segment: &Segment) -> bool {
        self.ask(Ask::IsConnected, ip, segment, 0) == sockets::YES
    }

    #[inline(always)]
    fn has_udp_socket(&self, ip: &Ip, source_port: u16, destination_port: u16) -> bool {
        let ports = (source_port, destination_port);
        sockets::ask(self.context, Ask::HasUdp, ip, ports, (0, 0)) == sockets::YES
    }

    #[inline(always)]
    fn make_cookie(&self, ip: &Ip, segment: &Segment, mss: u16) -> Option<u32> {
        // The upper half is the MSS that the cookie stands for.
        let cookie = self.ask(Ask::MakeCookie, ip, segment, mss);
        (cookie >= 0).then_some(cookie as u32)
    }

    #[inline(always)]
    fn is_linear(&self) -> bool {
        let context = XdpContext::new(self.context);
        XdpFrame::new(&context).is_linear()
    }

    #[inline(always)]
    fn answer(&self, ip: &Ip, upper: &Upper, answer: &Answer) -> Turned {
        let told = (self.settings, self.now_ns());
        answer::write(self.context, told, ip, upper, answer)
    }

    #[inline(always)]
    fn completes(&self, ip: &Ip, segment: &Segment) -> Completes {
        match self.ask(Ask::CheckCookie, ip, segment, 0) {
            sockets::YES => Completes::Connection,
            sockets::NO_COOKIE => Completes::Nothing,
            _ => Completes::Unknown,
        }
    }

    #[inline(always)]
    fn look_up4(&self, settings: &ShieldSettings, address: u32) -> Listed {
        Listed::from_bits(functions::weir_look_up4(settings, address))
    }

    #[inline(always)]
    fn search4(&self, settings: &ShieldSettings, address: u32, candidates: Candidates) -> Listed {
        let candidates = candidates.to_bits();
        Listed::from_bits(functions::weir_search4(settings, address, candidates))
    }

    #[inline(always)]
    fn is_spared<P: Packet>(&self, _packet: &P, settings: &ShieldSettings, ip: &Ip) -> bool {
        functions::weir_is_spared(self.context, settings, ip) != 0
    }

    #[inline(always)]
    fn look_up6(&self, settings: &ShieldSettings, [head, tail]: [u64; 2]) -> Listed {
        Listed::from_bits(functions::weir_look_up6(settings, head, tail))
    }

    #[inline(always)]
    fn read_upper6<P: Packet>(&self, _packet: &P, ip: &Ip, upper: &mut Upper) -> bool {
        functions::weir_read_upper6(self.context, ip, upper) != 0
    }

    #[inline(always)]
    fn look_inside<P: Packet>(
        &self,
        _packet: &P,
        settings: &ShieldSettings,
        outer: &Upper,
    ) -> Sane {
        Sane::from_bits(functions::weir_look_inside(self.context, settings, outer))
    }

    #[inline(always)]
    fn look_closer<P: Packet>(
        &self,
        _packet: &P,
        settings: &ShieldSettings,
        ip: &Ip,
        upper: &Upper,
    ) -> Sane {
        Sane::from_bits(functions::weir_look_closer(
            self.context,
            settings,
            ip,
            upper,
        ))
    }

    #[inline(always)]
    fn account(&self, settings: &ShieldSettings, ip: &Ip, load: Load) -> Accounted {
        let (load, now_ns) = (load.to_bits(), self.now_ns());
        // Not by matching on the address: LLVM would leave half of it unwritten on the way, and the verifier object.
        let [head, tail] = ip.source_words();
        let accounted = match ip.version() {
            Version::V4 => functions::weir_account4(settings, tail as u32, load, now_ns),
            Version::V6 => functions::weir_account6(settings, head, load, now_ns),
        };
        Accounted::from_bits(accounted)
    }

    #[inline(always)]
    fn admit(&self, settings: &ShieldSettings, ip: &Ip) {
        functions::weir_admit(settings, ip, self.now_ns());
    }

    #[inline(always)]
    fn cookie<P: Packet>(
        &self,
        _packet: &P,
        settings: &ShieldSettings,
        (ip, upper): (&Ip, &Upper),
        stage: Stage,
    ) -> Check {
        Check::from_bits(functions::weir_cookie(
            self.context,
            settings,
            ip,
            upper,
            stage as u32,
        ))
    }
}

impl<C> Kernel<'_, C> {
    /// Set of lists in force.
    #[inline(always)]
    fn set(&self) -> u32 {
        u32::from(self.settings.set & 1)
    }

    #[inline(always)]
    fn ask(&self, ask: Ask, ip: &Ip, segment: &Segment, mss: u16) -> i64 {
        let ports = (segment.source_port, segment.destination_port);
        sockets::ask(self.context, ask, ip, ports, (segment.at, mss))
    }
}
