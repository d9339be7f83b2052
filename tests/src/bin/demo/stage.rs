//! Plays the phases: starts weir, clients and attackers, and looks once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use weir_lab::topology::BOTNET_V4;
use weir_lab::{Lab, Load, Weir};

use crate::phase::{Phase, Shield, Tally, abusers, honest};
use crate::screen::Screen;
use crate::summary::Evidence;

/// The lab with weir running in it.
pub(crate) struct Stage<'lab> {
    lab: &'lab Lab,
    screen: &'lab Screen,
    weir: Weir<'lab>,
    shield: Shield,
    /// Blocks that the audience was told of.
    told: BTreeSet<String>,
    /// Drops at the last look, by reason.
    dropped: BTreeMap<String, u64>,
}

impl<'lab> Stage<'lab> {
    /// Starts weir with the shipped configuration and blocks the botnet, as an operator would.
    pub(crate) fn open(lab: &'lab Lab, screen: &'lab Screen) -> Result<Self> {
        let weir = Weir::start_text(lab, &shipped_config(lab)?)?;
        weir.ok(&["block", BOTNET_V4, "--reason", "known botnet"])?;
        let mut stage = Self {
            lab,
            screen,
            weir,
            shield: Shield::On,
            told: BTreeSet::new(),
            dropped: BTreeMap::new(),
        };
        screen.note(&format!(
            "weir runs with config/demo.toml, shield on {}",
            stage.modes()?
        ))?;
        stage.tell_blocks()?;
        Ok(stage)
    }

    /// Plays one phase to its end.
    pub(crate) fn play(&mut self, phase: &Phase) -> Result<Tally> {
        self.screen.begin(phase)?;
        let clients = Load::start(&self.lab.clients, honest(self.lab)?)?;
        let attack = phase
            .attacked
            .then(|| {
                let abuse = Load::start(&self.lab.attackers, abusers(self.lab)?)?;
                anyhow::Ok((abuse, phase.packets()?.start(&self.lab.attackers)?))
            })
            .transpose()?;

        let mut total = Tally::default();
        let (start, mut sent_before) = (Instant::now(), 0);
        let mut last = start;
        for second in 1..=phase.seconds {
            let tick = start + Duration::from_secs(second.into());
            std::thread::sleep(tick.saturating_duration_since(Instant::now()));
            let mut row = Tally {
                clients: clients.take(),
                took: last.elapsed(),
                ..Tally::default()
            };
            last = Instant::now();
            if let Some((abuse, flood)) = &attack {
                let sent = flood.sent();
                row.offered = sent - sent_before;
                sent_before = sent;
                row.abuse = abuse.take().succeeded;
            }
            row.dropped = self.newly_dropped()?;
            self.screen.row(second, &row)?;
            self.tell_blocks()?;
            total.add(&row);
        }
        // What was still under way counts, with the shield or without.
        let rest = clients.finish()?;
        drop(attack);
        total.add(&Tally {
            clients: rest,
            dropped: self.newly_dropped()?,
            ..Tally::default()
        });
        Ok(total)
    }

    /// What the operator can ask weir itself after the flood.
    pub(crate) fn evidence(&self) -> Result<Evidence> {
        Ok(Evidence {
            drops: self.weir.ok(&["drops"])?,
            blocks: self.weir.ok(&["list", "block"])?,
            sources: self
                .weir
                .ok(&["sources", "--sort", "dropped", "--top", "5"])?,
        })
    }

    /// Takes the shield off and starts weir again without it; everything else stays as it was.
    pub(crate) fn lower_shield(&mut self) -> Result<()> {
        self.weir.terminate()?;
        self.weir.ok(&["detach"])?;
        let text = replace(
            &shipped_config(self.lab)?,
            "interfaces = [\"pub0\", \"pub1\"]",
            "interfaces = []",
        )?;
        self.weir.rewrite(&text)?;
        self.weir.resume()?;
        self.shield = Shield::Off;
        self.screen
            .note("weir detach; weir runs again with [shield] interfaces = []")
    }

    /// Drops since the last look, by reason.
    fn newly_dropped(&mut self) -> Result<BTreeMap<String, u64>> {
        if self.shield == Shield::Off {
            return Ok(BTreeMap::new());
        }
        let drops = self.weir.json(&["drops"])?;
        let mut fresh = BTreeMap::new();
        for outcome in rows(&drops, "outcomes")? {
            let reason = outcome["reason"].as_str().context("no reason")?.to_owned();
            let packets = outcome["packets"].as_u64().context("no packets")?;
            if outcome["verdict"] != "drop" {
                continue;
            }
            let before = self.dropped.insert(reason.clone(), packets).unwrap_or(0);
            if packets > before {
                fresh.insert(reason, packets - before);
            }
        }
        Ok(fresh)
    }

    /// Says who was blocked and why, once each.
    fn tell_blocks(&mut self) -> Result<()> {
        if self.shield == Shield::Off {
            return Ok(());
        }
        let list = self.weir.json(&["list", "block"])?;
        for entry in rows(&list, "entries")? {
            let text = |key: &str| entry[key].as_str().unwrap_or_default();
            let network = text("network");
            if self.told.insert(network.to_owned()) {
                self.screen.blocked(
                    network,
                    text("origin"),
                    text("reason"),
                    entry["expires_in_seconds"].as_f64(),
                )?;
            }
        }
        Ok(())
    }

    /// `pub0 (native) and pub1 (native)`.
    fn modes(&self) -> Result<String> {
        let status = self.weir.json(&["status"])?;
        let interfaces = rows(&status["shield"], "interfaces")?;
        let modes: Vec<_> = interfaces
            .iter()
            .map(|interface| {
                let text = |key: &str| interface[key].as_str().unwrap_or("?");
                format!("{} ({})", text("name"), text("mode"))
            })
            .collect();
        Ok(modes.join(" and "))
    }
}

fn rows<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    value[key]
        .as_array()
        .map(Vec::as_slice)
        .with_context(|| format!("no {key} in {value}"))
}

/// `config/demo.toml` with the lab's paths in place of its own.
fn shipped_config(lab: &Lab) -> Result<String> {
    let directory = lab.directory().display();
    let paths = [
        ("/var/lib/weir-demo", format!("{directory}/state")),
        ("/run/weir-demo", format!("{directory}/run")),
        ("/sys/fs/bpf/weir-demo", format!("{directory}/bpf/weir")),
        ("/etc/weir/demo.pem", lab.pki.chain.display().to_string()),
        ("/etc/weir/demo.key", lab.pki.key.display().to_string()),
    ];
    let mut text = include_str!("../../../../config/demo.toml").to_owned();
    for (shipped, own) in &paths {
        text = replace(&text, shipped, own)?;
    }
    Ok(text)
}

fn replace(text: &str, from: &str, to: &str) -> Result<String> {
    anyhow::ensure!(text.contains(from), "config/demo.toml does not say {from}");
    Ok(text.replace(from, to))
}
