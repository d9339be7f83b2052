//! 65,536 blocked sources dropped by one core: the shield beside nftables.
//!
//! The core that receives also makes the frames. What making them takes is measured alone and subtracted, so a figure is
//! what is left for a core that only receives.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;
use weir_common::Outcome;
use weir_lab::Namespace;

use super::Links;
use super::generator::{Generator, PORTION, Sent};
use super::nft::{Hook, Table};
use crate::lists::{Blocklist, addresses, hash};
use crate::reference::Object;
use crate::report::{Figure, Report, Row, Target};
use crate::shield::{Capacity, Settings, Shape, Shield};

/// Measures it.
pub(crate) fn run(report: &Report) -> Result<()> {
    let links = Links::new()?;
    let generator = Generator::load(&links, SOURCES - 1)?;
    let making_ns = generator.spend(&links, PORTIONS)?.ns;
    report.note(&format!(
        "making a frame takes {making_ns:.1} ns, which is not in these figures"
    ))?;
    let bench = Bench {
        generator,
        links,
        making_ns,
    };

    let (shield, shape) = bench.shield()?;
    let references = [
        (
            "nft, netdev ingress",
            bench.nftables(Hook::Ingress)?,
            Some(2.3),
        ),
        ("nft, inet input", bench.nftables(Hook::Input)?, Some(3.0)),
        ("C hash", bench.hash(shape)?, None),
        ("C empty", bench.empty()?, None),
    ];
    for (name, reference, target) in references {
        report.row(&Row {
            case: format!(
                "drops a second ({:.0} ns beside {:.0} ns)",
                shield.ns, reference.ns
            ),
            weir: Some(Figure::PerSecond(1e9 / shield.ns)),
            reference: Some((name, Figure::PerSecond(1e9 / reference.ns))),
            target: target.map_or(Target::None, Target::AtLeast),
            note: [shield.lost("weir"), reference.lost(name)].concat(),
        })?;
    }
    Ok(())
}

struct Bench {
    // Dropped before what it is attached to.
    generator: Generator,
    links: Links,
    making_ns: f64,
}

/// How receiving went.
#[derive(Clone, Copy)]
struct Received {
    /// Nanoseconds a frame.
    ns: f64,
    sent: Sent,
    /// Those of them that were dropped for their source.
    dropped: u64,
}

impl Bench {
    /// Floods the server; `dropped` is asked when it is over.
    fn flood(&self, dropped: impl FnOnce() -> Result<u64>) -> Result<Received> {
        let sent = self.generator.send(&self.links, PORTIONS, || false)?;
        Ok(Received {
            ns: sent.ns - self.making_ns,
            sent,
            dropped: dropped()?,
        })
    }

    fn shield(&self) -> Result<(Received, Shape)> {
        let mut shield = Shield::load(Capacity::Blocks(SOURCES))?;
        shield.fill_blocks(LIST.first, SOURCES)?;
        shield.settings(Settings::Everything)?;
        self.links.server.run(|| shield.attach("in0"))??;
        let received = self.flood(|| shield.counted(Outcome::Blocked))?;
        Ok((received, Shield::blocklist()?))
    }

    fn nftables(&self, hook: Hook) -> Result<Received> {
        let server = &self.links.server;
        receive_offload(server, "on")?;
        let table = Table::add(server, hook, addresses(LIST.first, SOURCES))?;
        let received = self.flood(|| table.dropped())?;
        table.remove()?;
        receive_offload(server, "off")?;
        Ok(received)
    }

    fn hash(&self, shape: Shape) -> Result<Received> {
        let mut hash = hash(&LIST, shape)?;
        self.links.server.run(|| {
            let program = hash.program_mut("hash_drop")?;
            program.attach("in0", XdpMode::Driver)?;
            anyhow::Ok(())
        })??;
        self.flood(|| hash.count("PACKETS"))
    }

    fn empty(&self) -> Result<Received> {
        let mut drop = Object::compile("drop", &[])?.load(&["empty"])?;
        self.links.server.run(|| {
            let program = drop.program_mut("empty")?;
            program.attach("in0", XdpMode::Driver)?;
            anyhow::Ok(())
        })??;
        // It counts nothing.
        let all = u64::from(PORTIONS) * u64::from(PORTION);
        self.flood(|| Ok(all))
    }
}

impl Received {
    /// A remark if frames arrived that were not dropped for their source.
    fn lost(self, who: &str) -> String {
        let Sent { frames, lost, ns } = self.sent;
        if ns.is_infinite() {
            return format!("{who} lost frames all the time, {lost} of {frames}. ");
        }
        if self.dropped + lost >= frames / 1000 * 999 {
            return String::new();
        }
        format!(
            "{who} dropped {} of {} frames. ",
            self.dropped,
            frames - lost
        )
    }
}

/// Redirected frames reach an interface without an XDP program only if it polls, which a veth does for receive offload. It
/// is on by default on network cards.
fn receive_offload(server: &Namespace, state: &str) -> Result<()> {
    let output = server
        .run(|| {
            Command::new("ethtool")
                .args(["-K", "in0", "gro", state])
                .output()
        })?
        .context("starting ethtool; `cargo xtask bench shield` installs it")?;
    ensure!(
        output.status.success(),
        "ethtool -K in0 gro {state}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// 5 million frames: at 3 million a second 1.7 s.
const PORTIONS: u32 = 320;
const SOURCES: u32 = LIST.entries;
const LIST: Blocklist = Blocklist {
    first: Ipv4Addr::new(198, 18, 0, 0),
    entries: 65_536,
    senders: 0xffff,
};
