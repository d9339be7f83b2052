//! A SYN flood at full speed, made and answered by one core, while an honest client on another link connects.

use anyhow::{Context as _, Result};
use aya::programs::XdpMode;
use weir_common::Outcome;

use super::generator::{Generator, Sent};
use super::honest::{Connections, Echo, connect};
use super::{Links, WINDOW_SCALE};
use crate::cookies::{LOOKUP, responder};
use crate::measure::pin_to_last_core;
use crate::reference::References;
use crate::report::{Figure, Report, Row, Target};
use crate::shield::{Ability, Answers, Capacity, Settings, Shield};

/// Measures it.
pub(crate) fn run(references: &References, report: &Report) -> Result<()> {
    let reference = reference(references)?;
    let shield = shield()?;
    let rate = |flood: Flood| Figure::PerSecond(1e9 / flood.sent.ns);
    report.row(&Row {
        case: "SYNs answered".to_owned(),
        weir: shield.map(rate),
        reference: Some(("C, with look-up", rate(reference))),
        target: Target::Reaches(Figure::PerSecond(3.5e6)),
        note: reference.note("C") + &shield.map_or_else(String::new, |shield| shield.note("weir")),
    })
}

/// How a flood went, and what the client got meanwhile.
#[derive(Clone, Copy)]
struct Flood {
    sent: Sent,
    answered: u64,
    connections: Connections,
}

impl Flood {
    fn note(self, who: &str) -> String {
        let Connections {
            tried,
            completed,
            slowest,
        } = self.connections;
        let Sent { frames, lost, .. } = self.sent;
        let answered = self.answered * 1000 / frames.max(1);
        format!(
            "{who}: {}.{} % of {frames} SYNs answered, {lost} lost before; {completed} of {tried} connections completed, the slowest in {:.1} ms. ",
            answered / 10,
            answered % 10,
            slowest.as_secs_f64() * 1e3
        )
    }
}

fn reference(references: &References) -> Result<Flood> {
    let links = Links::new()?;
    let mut responder = responder(references, Answers::Full(WINDOW_SCALE))?;
    links.server.run(|| {
        for interface in GUARDED {
            responder
                .program_mut(LOOKUP)?
                .attach(interface, XdpMode::Driver)
                .with_context(|| format!("attaching the responder to {interface}"))?;
        }
        anyhow::Ok(())
    })??;
    flood(&links)
}

/// `None` if the object has no cookies.
fn shield() -> Result<Option<Flood>> {
    let mut shield = Shield::load(Capacity::Default)?;
    if !shield.can(Ability::Cookies) {
        return Ok(None);
    }
    let links = Links::new()?;
    shield.settings(Settings::Cookies(Answers::Full(WINDOW_SCALE)))?;
    links.server.run(|| {
        GUARDED
            .iter()
            .try_for_each(|interface| shield.attach(interface))
    })??;
    let flood = flood(&links)?;
    let counted = shield.counted(Outcome::SynCookie)?;
    anyhow::ensure!(
        counted >= flood.answered,
        "weir says that it answered {counted} SYNs, and {} answers came back",
        flood.answered
    );
    Ok(Some(flood))
}

fn flood(links: &Links) -> Result<Flood> {
    let mut generator = Generator::load(links, SOURCES - 1)?;
    links.client.run(|| generator.attach_pass("eth0"))??;
    let core = pin_to_last_core()?;
    let _echo = Echo::start(links, core)?;
    let client = connect(links, core, CONNECTIONS)?;
    let before = generator.returned()?;
    let mut portions = 0;
    let sent = generator.send(links, MOST_PORTIONS, || {
        portions += 1;
        portions > FEWEST_PORTIONS && client.is_finished()
    })?;
    let answered = generator.returned()? - before;
    let connections = client.join().expect("the client does not panic");
    Ok(Flood {
        sent,
        answered,
        connections,
    })
}

/// What the server protects: the attacker's link and the client's.
const GUARDED: [&str; 2] = ["in0", "pub0"];
const SOURCES: u32 = 1 << 17;
const CONNECTIONS: u32 = 100;
/// Two seconds or so.
const FEWEST_PORTIONS: u32 = 400;
/// Ten seconds or so, if the client is that slow.
const MOST_PORTIONS: u32 = 2000;
