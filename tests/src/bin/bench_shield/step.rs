//! The program that stands in front of the one under test and gives each packet its own source: see `tests/bench/step.c`.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use aya::maps::ProgramArray;
use aya::programs::Xdp;
use aya::{EbpfLoader, TestRun as _, TestRunOptions};

use crate::measure::{Costs, Subject, together};
use crate::reference::{Loaded, Object, References};

/// Which source the next packet has. The bits of `mask` change, those of `base` do not; of an IPv6 frame's source `base`
/// and `mask` are the second 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sources {
    /// Every address in turn, in an order without neighbours.
    Turn { base: Ipv4Addr, mask: u32 },
    /// A random one.
    Random { base: Ipv4Addr, mask: u32 },
}

/// What `programs` cost a packet of `sources`, without what stepping costs. With [`Frame::Restored`] the frame is written
/// back before each packet; otherwise a packet's frame is what the one before left.
pub(crate) fn costs(
    references: &References,
    frame: Frame<'_>,
    sources: Sources,
    programs: &[&Xdp],
) -> Result<Costs> {
    let empty = references.empty()?;
    let stepped = std::iter::once(&empty)
        .chain(programs)
        .map(|program| Stepped::new(&references.step, program, sources, frame))
        .collect::<Result<Vec<_>>>()?;
    let mut subjects = vec![Subject {
        program: empty,
        frame: frame.bytes(),
    }];
    for stepped in &stepped {
        subjects.push(Subject {
            program: stepped.0.program("step")?,
            frame: frame.bytes(),
        });
    }
    let Costs { ns, packets } = together(&subjects)?;
    let stepping = ns[1] - ns[0];
    let ns = ns[2..].iter().map(|ns| ns - stepping).collect();
    Ok(Costs { ns, packets })
}

/// Packets for one program, each of the next of `sources`.
pub(crate) struct Flood {
    stepped: Stepped,
    /// As the last packet left it, so that the sources go on from there.
    frame: Vec<u8>,
}

impl Flood {
    /// A flood of copies of `frame`.
    pub(crate) fn new(
        references: &References,
        program: &Xdp,
        frame: &[u8],
        sources: Sources,
    ) -> Result<Self> {
        Ok(Self {
            stepped: Stepped::new(&references.step, program, sources, Frame::Kept(frame))?,
            frame: frame.to_vec(),
        })
    }

    /// Runs the program on so many packets.
    pub(crate) fn send(&mut self, packets: u32) -> Result<()> {
        let before = self.frame.clone();
        let result = self.stepped.0.program("step")?.test_run(TestRunOptions {
            data_in: Some(&before),
            data_out: Some(&mut self.frame),
            repeat: packets,
            ..TestRunOptions::default()
        })?;
        ensure!(
            result.return_value == XDP_PASS,
            "the last packet of a flood did not pass"
        );
        Ok(())
    }
}

/// What stepping costs.
pub(crate) fn stepping_ns(
    references: &References,
    frame: Frame<'_>,
    sources: Sources,
) -> Result<f64> {
    let empty = references.empty()?;
    let stepped = Stepped::new(&references.step, empty, sources, frame)?;
    let costs = together(&[empty, stepped.0.program("step")?].map(|program| Subject {
        program,
        frame: frame.bytes(),
    }))?;
    Ok(costs.ns[1] - costs.ns[0])
}

/// The frame of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frame<'a> {
    /// As the packet before left it.
    Kept(&'a [u8]),
    /// Written back before each packet: 8 to 96 bytes.
    Restored(&'a [u8]),
}

impl<'a> Frame<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Kept(bytes) | Self::Restored(bytes) => bytes,
        }
    }
}

/// `step`, loaded and pointing at another program.
struct Stepped(Loaded);

impl Stepped {
    fn new(step: &Object, program: &Xdp, sources: Sources, frame: Frame<'_>) -> Result<Self> {
        let (mode, base, mask): (u32, _, _) = match sources {
            Sources::Turn { base, mask } => (1, base, mask),
            Sources::Random { base, mask } => (2, base, mask),
        };
        let base = base.octets();
        let mut template = [0_u8; 96];
        let mut len = 0_u32;
        if let Frame::Restored(bytes) = frame {
            template[..bytes.len()].copy_from_slice(bytes);
            len = u32::try_from(bytes.len())?;
        }
        let mut loader = EbpfLoader::new();
        loader
            .override_global("MODE", &mode, true)
            .override_global("MASK", &mask, true)
            .override_global("BASE", &base, true)
            .override_global("STEP", &GOLDEN, true)
            .override_global("FRAME_LEN", &len, true)
            .override_global("FRAME", &template, true);
        let mut loaded = step.load_with(&mut loader, &["step"])?;
        ProgramArray::try_from(loaded.map_mut("NEXT")?)?.set(0, program.fd()?, 0)?;
        Ok(Self(loaded))
    }
}

/// 2^32 divided by the golden ratio, odd: adding it visits every value of a mask, far from the one before.
const GOLDEN: u32 = 0x9e37_79b1;
const XDP_PASS: u32 = 2;
