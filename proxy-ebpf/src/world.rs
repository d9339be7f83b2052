//! What the verdicts ask the kernel: lists, memory of sources, sockets. The XDP program answers from maps and helpers, a
//! test on the host from whatever it likes.

use weir_common::{CpuState, Entry, PrefixState, Pressure, ShieldSettings, SourceState};

use crate::packet::Packet;
use crate::parse::tcp::Segment;
use crate::parse::{self, Ip, Upper};
use crate::shared::Shared;
use crate::track;
use crate::verdict::account::{self, Accounted, Load};
use crate::verdict::cookies::{self, Answer, Check, Completes, Stage, Turned};
use crate::verdict::exempt;
use crate::verdict::inner;
use crate::verdict::lists::{self, Candidates, Listed};
use crate::verdict::sanity::{self, Sane};

/// Everything outside the frame and the settings. Look-ups that find no room or no map are `None`: the packet then
/// passes what they are for.
pub trait World {
    /// `CLOCK_MONOTONIC`, to the coarse clock's tick. Asked only when it matters, for it costs something.
    fn now_ns(&self) -> u64;
    /// Words of the pre-tests; all bits set if there are none.
    fn bits<const N: usize>(&self, words: [u32; N]) -> [u64; N];
    /// The longest entry of `ALLOW_LPM4` that covers the first `prefix_len` bits of the address and is no longer than that.
    fn allow_lpm4(&self, address: u32, prefix_len: u32) -> Option<Shared<'_, Entry>>;
    /// `ALLOW_LPM6`, as [`World::allow_lpm4`].
    fn allow_lpm6(&self, address: [u64; 2], prefix_len: u32) -> Option<Shared<'_, Entry>>;
    /// `BLOCK4`
    fn block4(&self, address: u32) -> Option<Shared<'_, Entry>>;
    /// `BLOCK6`
    fn block6(&self, key: [u64; 2]) -> Option<Shared<'_, Entry>>;
    /// `BLOCK_LPM4`, as [`World::allow_lpm4`].
    fn block_lpm4(&self, address: u32, prefix_len: u32) -> Option<Shared<'_, Entry>>;
    /// `BLOCK_LPM6`, as [`World::allow_lpm4`].
    fn block_lpm6(&self, address: [u64; 2], prefix_len: u32) -> Option<Shared<'_, Entry>>;

    /// Whether the frame came in by the loopback interface, where every source is this host's.
    fn on_loopback(&self) -> bool;
    /// Whether the stack receives the frames as another interface's: a bridge's, bond's or VRF's that this is a port of.
    fn as_another(&self) -> bool;
    /// Whether an address ([as mapped](weir_common::Source::mapped)) is this host's.
    fn is_own(&self, mapped: [u64; 2]) -> bool;
    /// As [`World::is_own`], and quick for an address that was one when last asked about. What user space takes off the host's
    /// addresses may be one for the rest of an epoch, if the settings stay as they are.
    #[inline(always)]
    fn is_own_again(&self, mapped: [u64; 2]) -> bool {
        self.is_own(mapped)
    }

    /// This CPU's memory.
    fn cpu(&self) -> Option<Shared<'_, CpuState>>;
    /// All CPUs' SYNs.
    fn pressure(&self) -> Option<Shared<'_, Pressure>>;
    /// A cell of the sketch.
    fn cell(&self, index: u32) -> Option<Shared<'_, u32>>;
    /// A source's state.
    fn source(&self, key: u64) -> Option<Shared<'_, SourceState>>;
    /// A new state, or the one that another CPU just made.
    fn add_source(&self, key: u64, now_ns: u64) -> Option<Shared<'_, SourceState>>;
    /// A prefix's state.
    fn prefix(&self, key: u64) -> Option<Shared<'_, PrefixState>>;
    /// A new state, or the one that another CPU just made.
    fn add_prefix(&self, key: u64, now_ns: u64) -> Option<Shared<'_, PrefixState>>;

    /// Whether a segment is for a connection that is established or closing.
    fn is_connected(&self, ip: &Ip, segment: &Segment) -> bool;
    /// Whether a datagram is for a socket.
    fn has_udp_socket(&self, ip: &Ip, source_port: u16, destination_port: u16) -> bool;
    /// The sequence number of a SYN's answer, if it is for a listener and the kernel makes cookies. Not if it belongs to
    /// something that the kernel knows: a connection being opened, one in TIME-WAIT.
    fn make_cookie(&self, ip: &Ip, segment: &Segment, mss: u16) -> Option<u32>;
    /// Whether the whole frame lies in its first buffer.
    fn is_linear(&self) -> bool;
    /// Turns the SYN into its answer.
    fn answer(&self, ip: &Ip, upper: &Upper, answer: &Answer) -> Turned;
    /// What an ACK completes.
    fn completes(&self, ip: &Ip, segment: &Segment) -> Completes;

    // Parts of the verdict. The program makes BPF functions of them, each verified once and with a stack of its own:
    // together they would need more than its 512 bytes, and more paths than the verifier walks.

    /// What the lists say of an IPv4 source, pre-tests included.
    #[inline(always)]
    fn look_up4(&self, settings: &ShieldSettings, address: u32) -> Listed
    where
        Self: Sized,
    {
        let candidates = lists::candidates4(self, settings, address);
        self.search4(settings, address, candidates)
    }

    /// [`lists::check4`]
    #[inline(always)]
    fn search4(&self, _settings: &ShieldSettings, address: u32, candidates: Candidates) -> Listed
    where
        Self: Sized,
    {
        lists::check4(self, address, candidates)
    }

    /// [`exempt::from_block`]
    #[inline(always)]
    fn is_spared<P: Packet>(&self, packet: &P, settings: &ShieldSettings, ip: &Ip) -> bool
    where
        Self: Sized,
    {
        exempt::from_block(packet, self, settings, ip)
    }

    /// What the lists say of an IPv6 source.
    #[inline(always)]
    fn look_up6(&self, settings: &ShieldSettings, address: [u64; 2]) -> Listed
    where
        Self: Sized,
    {
        lists::check6(self, settings, address)
    }

    /// [`parse::upper6`] into `upper`; false if there is none.
    #[inline(always)]
    fn read_upper6<P: Packet>(&self, packet: &P, ip: &Ip, upper: &mut Upper) -> bool {
        match parse::upper6(packet, ip) {
            None => false,
            Some(read) => {
                *upper = read;
                true
            }
        }
    }

    /// [`inner::check`]
    #[inline(always)]
    fn look_inside<P: Packet>(&self, packet: &P, settings: &ShieldSettings, outer: &Upper) -> Sane
    where
        Self: Sized,
    {
        inner::check(packet, self, settings, outer)
    }

    /// [`sanity::look_closer`]
    #[inline(always)]
    fn look_closer<P: Packet>(
        &self,
        packet: &P,
        settings: &ShieldSettings,
        ip: &Ip,
        upper: &Upper,
    ) -> Sane
    where
        Self: Sized,
    {
        sanity::look_closer(packet, self, settings, ip, upper)
    }

    /// Counts a packet for its source and holds it to its limits.
    #[inline(always)]
    fn account(&self, settings: &ShieldSettings, ip: &Ip, load: Load) -> Accounted
    where
        Self: Sized,
    {
        account::check(self, settings, ip.source(), load, self.now_ns())
    }

    /// [`track::admit`]
    #[inline(always)]
    fn admit(&self, settings: &ShieldSettings, ip: &Ip)
    where
        Self: Sized,
    {
        track::admit(self, settings, ip.source(), self.now_ns());
    }

    /// SYN cookies.
    #[inline(always)]
    fn cookie<P: Packet>(
        &self,
        packet: &P,
        settings: &ShieldSettings,
        (ip, upper): (&Ip, &Upper),
        stage: Stage,
    ) -> Check
    where
        Self: Sized,
    {
        cookies::check(packet, self, settings, (ip, upper), stage)
    }
}
