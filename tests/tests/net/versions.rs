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
    let bystanders = Bystanders::start(&lab)?;
    bystanders.go_on()?;

    // Up after an orderly stop, back after a crash, and up again, each under a flood of its own.
    let first = attached(&lab)?;
    let (mut before, mut sent) = (first.clone(), 0);
    for (binary, stop) in [
        (&new, Stop::Orderly),
        (&old, Stop::Crash),
        (&new, Stop::Crash),
    ] {
        let flooding = botnet()?.start(&lab.attackers)?;
        stop.stop(&mut weir)?;
        bystanders.go_on_without_weir()?;
        weir.install(binary);
        weir.resume()?;
        let now = attached(&lab)?;
        now.differs_from(&before)?;
        ensure!((now.tags == first.tags) == (*binary == old), "{now:?}");
        before = now;
        bystanders.go_on()?;
        sent += flooding.stop()?.sent;
    }
    bystanders.finish()?;
    ensure!(sent > 10_000, "a flood of {sent}");
    until(SOON, "the floods to be counted as blocked", || {
        Ok(weir.counted("blocked")? >= sent)
    })?;
    let leaked = leaked(&lab)?;
    ensure!(leaked == 0, "{leaked} of {sent} got by");
    Ok(())
}

#[derive(Clone, Copy)]
enum Stop {
    Orderly,
    Crash,
}

impl Stop {
    fn stop(self, weir: &mut Weir<'_>) -> Result<()> {
        match self {
            Self::Orderly => {
                let status = weir.terminate()?;
                ensure!(status.success(), "{status}");
                Ok(())
            }
            Self::Crash => weir.kill(),
        }
    }
}

/// Programs on the gateway's interfaces, as `ip link` shows them.
#[derive(Debug, Clone)]
struct Attached {
    /// One an interface.
    ids: BTreeSet<u32>,
    /// Digests of their instructions.
    tags: BTreeSet<String>,
}

impl Attached {
    /// Neither an instance nor a program of these is among `others`.
    fn differs_from(&self, others: &Self) -> Result<()> {
        let differs = self.ids.is_disjoint(&others.ids) && self.tags.is_disjoint(&others.tags);
        ensure!(differs, "{self:?} after {others:?}");
        Ok(())
    }
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

/// Clients of both families, of weir and of servers beside it.
struct Bystanders {
    patient: Vec<Patient>,
    honest: Vec<Honest>,
    _servers: Vec<Echo>,
}

impl Bystanders {
    fn start(lab: &Lab) -> Result<Self> {
        let (mut patient, mut honest, mut servers) = (Vec::new(), Vec::new(), Vec::new());
        for source in [client_v4(0), client_v6(0)] {
            let server = Echo::start(&lab.gateway, at_gateway(source, PORT))?;
            honest.push(Honest::start(lab, source, &server)?);
            patient.push(Patient::start(lab, source)?);
            servers.push(server);
        }
        Ok(Self {
            patient,
            honest,
            _servers: servers,
        })
    }

    fn go_on(&self) -> Result<()> {
        self.patient.iter().try_for_each(Patient::goes_on)?;
        self.go_on_without_weir()
    }

    fn go_on_without_weir(&self) -> Result<()> {
        self.honest.iter().try_for_each(Honest::goes_on)
    }

    fn finish(self) -> Result<()> {
        self.patient.into_iter().try_for_each(Patient::finish)?;
        self.honest.into_iter().try_for_each(Honest::finish)
    }
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
