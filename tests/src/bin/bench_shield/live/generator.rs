//! SYNs by `BPF_PROG_TEST_RUN` with live frames: the program `send` of `tests/bench/flood.c` makes each frame and redirects it
//! into a veth pair, whose far end receives it on the same core. Bounded in packets a call and in calls.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::programs::{Xdp, XdpMode};
use aya::{EbpfLoader, TestRun as _, TestRunAttrs, TestRunOptions};
use nix::net::if_::if_nametoindex;

use super::Links;
use crate::frames::PORT;
use crate::reference::{Loaded, Object};

/// The generator, in the attacker's namespace.
pub(crate) struct Generator {
    flood: Loaded,
    /// `struct xdp_md` of the frames it starts from.
    context: [u8; 24],
}

/// What a number of frames took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sent {
    /// Frames in total.
    pub(crate) frames: u64,
    /// Those of them that found the far end's ring full.
    pub(crate) lost: u64,
    /// Wall time of a frame in the fastest portion that lost none, in nanoseconds; infinite if there was no such portion.
    pub(crate) ns: f64,
}

impl Generator {
    /// Loads it, to send from `source_mask` sources of 198.18.0.0/15 to the server's address on the attacker's link.
    pub(crate) fn load(links: &Links, source_mask: u32) -> Result<Self> {
        let object = Object::compile("flood", &[])?;
        links.attacker.run(|| {
            let out = if_nametoindex("out0").context("looking out0 up")?;
            let mut loader = EbpfLoader::new();
            let (base, destination) = (SOURCES.octets(), FLOODED.octets());
            let port = u32::from(PORT);
            loader
                .override_global("OUT_INTERFACE", &out, true)
                .override_global("LINK", &LINK, true)
                .override_global("SOURCE_BASE", &base, true)
                .override_global("SOURCE_MASK", &source_mask, true)
                .override_global("DESTINATION", &destination, true)
                .override_global("PORT", &port, true);
            let mut flood = object.load_with(&mut loader, &["send", "spend", "pass", "sink"])?;
            // A program that is attached somewhere is known to the kernel's dispatcher; making it known takes 20 ms a call.
            attach(flood.program_mut("send")?, "spare0")?;
            attach(flood.program_mut("spend")?, "spare1")?;
            attach(flood.program_mut("sink")?, "out0")?;
            let mut context = [0; 24];
            context[4..8].copy_from_slice(&FRAME_LEN.to_ne_bytes());
            context[12..16].copy_from_slice(&out.to_ne_bytes());
            Ok(Self { flood, context })
        })?
    }

    /// Makes `portions` times [`PORTION`] frames and drops them at once.
    pub(crate) fn spend(&self, links: &Links, portions: u32) -> Result<Sent> {
        self.run(links, "spend", portions, || false)
    }

    /// Makes and sends them, fewer if `enough` says so between two portions.
    pub(crate) fn send(
        &self,
        links: &Links,
        portions: u32,
        enough: impl FnMut() -> bool + Send,
    ) -> Result<Sent> {
        self.run(links, "send", portions, enough)
    }

    /// Frames that came back to the attacker.
    pub(crate) fn returned(&self) -> Result<u64> {
        self.flood.count("SEEN")
    }

    /// Attaches the program that passes everything: what an XDP program at the other end sends is delivered only to an
    /// interface that has one, too.
    pub(crate) fn attach_pass(&mut self, interface: &str) -> Result<()> {
        attach(self.flood.program_mut("pass")?, interface)
    }

    fn run(
        &self,
        links: &Links,
        program: &str,
        portions: u32,
        mut enough: impl FnMut() -> bool + Send,
    ) -> Result<Sent> {
        let program = self.flood.program(program)?;
        links.attacker.run(|| {
            let mut sent = Sent {
                frames: 0,
                lost: 0,
                ns: f64::INFINITY,
            };
            let started = Instant::now();
            for _ in 0..portions {
                if enough() || started.elapsed() > LONGEST {
                    break;
                }
                let (before, lost_before) = (Instant::now(), lost()?);
                program.test_run(TestRunOptions {
                    data_in: Some(&[0; FRAME_LEN as usize]),
                    ctx_in: Some(&self.context),
                    repeat: PORTION,
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::default()
                })?;
                let took = before.elapsed();
                let lost = lost()? - lost_before;
                if lost == 0 {
                    let ns = took.as_secs_f64() * 1e9 / f64::from(PORTION);
                    sent.ns = sent.ns.min(ns);
                }
                sent.lost += lost;
                sent.frames += u64::from(PORTION);
            }
            Ok(sent)
        })?
    }
}

/// Frames lost between `out0`, in this thread's namespace, and its far end so far.
fn lost() -> Result<u64> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let row = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("out0:"))
        .context("out0 is in this namespace")?;
    let column = row.split_whitespace().nth(TX_DROPPED);
    Ok(column.context("out0 has counters")?.parse()?)
}

fn attach(program: &mut Xdp, interface: &str) -> Result<()> {
    program
        .attach(interface, XdpMode::Driver)
        .with_context(|| format!("attaching an XDP program to {interface}"))?;
    Ok(())
}

/// Frames of one call: a few milliseconds, so that among many there are some that nothing else on the core interrupts.
pub(crate) const PORTION: u32 = 1 << 14;
/// Longest run, whatever is asked for.
const LONGEST: Duration = Duration::from_secs(10);
/// Frames between two flushes: a veth ring holds 256.
const BATCH: u32 = 64;
const FRAME_LEN: u32 = 60;
/// Column of `/proc/net/dev` behind the name.
const TX_DROPPED: usize = 11;
const SOURCES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
pub(crate) const FLOODED: Ipv4Addr = Ipv4Addr::new(10, 77, 8, 1);
/// Destination and source, and four bytes that are not read.
const LINK: [u8; 16] = [0x02, 0x77, 0, 0, 8, 1, 0x02, 0x77, 0, 0, 8, 2, 0, 0, 0, 0];
