//! One version of weir after another, under attack.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, ensure};
use weir_lab::tcp::{Echo, connect, echoes};
use weir_lab::topology::{BOTNET_V4, BOTNET_V6, client_v4, client_v6};
use weir_lab::weir::write_successor;
use weir_lab::{Config, Lab, Weir, until};

use crate::failstatic::{Patient, botnet};
use crate::shield::programs;
use crate::wire::{at_gateway, leaked, watch};
use crate::{SOON, Test};

#[test]
fn an_upgrade_exchanges_the_program_while_nothing_blocked_gets_by_and_nobody_is_cut_off() -> Test {
    let lab = Lab::new()?;
    watch(&lab)?;
    let old = weir_lab::weir::binary();
    let new = lab.directory().join("weir-next");
    write_successor(&new)?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", BOTNET_V4, BOTNET_V6])?;
    let sources = [client_v4(0), client_v6(0)];
    let servers = sources.map(|source| Echo::start(&lab.gateway, at_gateway(source, PORT)));
    let servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    let flooding = botnet()?.start(&lab.attackers)?;
    let patient = sources.map(|source| Patient::start(&lab, source));
    let patient = patient.into_iter().collect::<Result<Vec<_>>>()?;
    let honest = sources.into_iter().zip(&servers);
    let honest = honest.map(|(source, server)| Honest::start(&lab, source, server));
    let honest = honest.collect::<Result<Vec<_>>>()?;
    let all_go_on = || {
        patient.iter().try_for_each(Patient::goes_on)?;
        honest.iter().try_for_each(Honest::goes_on)
    };
    all_go_on()?;

    // Up after an orderly stop, back after a crash, and up again.
    let first = attached(&lab)?;
    let mut before = first.clone();
    for (binary, stop) in [
        (&new, Stop::Orderly),
        (&old, Stop::Crash),
        (&new, Stop::Crash),
    ] {
        match stop {
            Stop::Orderly => ensure!(weir.terminate()?.success()),
            Stop::Crash => weir.kill()?,
        }
        honest.iter().try_for_each(Honest::goes_on)?;
        weir.install(binary);
        weir.resume()?;
        let now = attached(&lab)?;
        ensure!(now.ids.is_disjoint(&before.ids), "{now:?} after {before:?}");
        ensure!(
            now.tags.is_disjoint(&before.tags),
            "{now:?} after {before:?}"
        );
        ensure!((now.tags == first.tags) == (*binary == old), "{now:?}");
        before = now;
        all_go_on()?;
    }

    patient.into_iter().try_for_each(Patient::finish)?;
    honest.into_iter().try_for_each(Honest::finish)?;
    let report = flooding.stop()?;
    until(SOON, "the flood to be counted as blocked", || {
        Ok(weir.counted("blocked")? >= report.sent)
    })?;
    ensure!(report.sent > 10_000, "{report:?}");
    let leaked = leaked(&lab)?;
    ensure!(leaked == 0, "{leaked} of {} got by", report.sent);
    Ok(())
}

#[derive(Clone, Copy)]
enum Stop {
    Orderly,
    Crash,
}

/// Programs on the gateway's interfaces, as `ip link` shows them.
#[derive(Debug, Clone)]
struct Attached {
    /// One an interface.
    ids: BTreeSet<u32>,
    /// Digests of their instructions.
    tags: BTreeSet<String>,
}

fn attached(lab: &Lab) -> Result<Attached> {
    let (mut ids, mut tags) = (BTreeSet::new(), BTreeSet::new());
    for line in programs(lab)? {
        let words = line
            .split_whitespace()
            .skip_while(|word| *word != "prog/xdp");
        let words: Vec<&str> = words.collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1).copied()
        };
        ids.insert(after("id").context("no id")?.parse()?);
        tags.insert(after("tag").context("no tag")?.to_owned());
    }
    ensure!(ids.len() == 2, "two interfaces are guarded: {ids:?}");
    Ok(Attached { ids, tags })
}

/// A host that speaks to a server behind the shield that is not weir: over one connection all the time, and over new ones.
/// None may fail.
struct Honest {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Honest {
    fn start(lab: &Lab, source: IpAddr, server: &Echo) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let rounds = Arc::<AtomicU64>::default();
        let (their_stop, theirs) = (Arc::clone(&stop), Arc::clone(&rounds));
        let server = server.address();
        let thread = lab.clients.spawn("honest", move || {
            let mut lasting = connect((source, 0).into(), server)?;
            while !their_stop.load(Ordering::Relaxed) {
                echoes(&mut lasting).context("an old connection")?;
                let mut new = connect((source, 0).into(), server)?;
                echoes(&mut new).context("a new connection")?;
                theirs.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(PACE);
            }
            Ok(())
        })?;
        Ok(Self {
            stop,
            rounds,
            thread,
        })
    }

    /// Waits for some more rounds.
    fn goes_on(&self) -> Result<()> {
        let before = self.rounds.load(Ordering::Relaxed);
        until(SOON, "honest hosts to be answered", || {
            ensure!(!self.thread.is_finished(), "an honest connection failed");
            Ok(self.rounds.load(Ordering::Relaxed) > before + 3)
        })
    }

    fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

const PORT: u16 = 8080;
/// The shield lets a source open 200 connections a second.
const PACE: std::time::Duration = std::time::Duration::from_millis(10);
