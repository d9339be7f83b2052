//! What the audience sees: one line a second, so that it reads the same on a terminal and in a log.

use std::io::{Stdout, Write as _};

use anyhow::Result;
use weir_lab::Lab;
use weir_lab::topology::{BOTNET_V4, SPOOFED_V4, SPOOFED_V6};

use crate::phase::{ABUSERS, PACKETS_PER_SECOND, Phase, Tally};
use crate::summary::{REQUIRED, Summary, grouped, latency};

/// Standard output, line by line.
pub(crate) struct Screen {
    out: Stdout,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            out: std::io::stdout(),
        }
    }

    pub(crate) fn introduce(&self, lab: &Lab) -> Result<()> {
        let name = lab.gateway.name();
        self.line(&format!(
            "The lab: clients and attackers, each on a link of their own, then the gateway ({name}) with weir, then
origin-1 and origin-2. All of it is on this machine, in namespaces without a way out, and shares its cores: the
generators, the clients and the origins take part of the time that a real gateway would have to itself. What passes
the shield goes through one receive queue, as in a small machine with a simple network card.

The flood: {} raw packets a second (as far as the cores allow) of SYN, UDP and ICMP,
  a third from {BOTNET_V4}, blocked by hand with `weir block`,
  a third from random addresses of {SPOOFED_V4} and a third of {SPOOFED_V6}, spoofed, blocked in the configuration,
and {ABUSERS} sources that send real HTTPS requests as fast as they are answered, for detection to find.
",
            grouped(PACKETS_PER_SECOND)
        ))
    }

    pub(crate) fn begin(&self, phase: &Phase) -> Result<()> {
        self.line(&format!("\n── {} ({} s) ──", phase.title, phase.seconds))?;
        self.line(
            "   s  success      p50       p99   req/s   hits  origin-1/-2    offered/s  abuse/s  dropped/s by reason",
        )
    }

    pub(crate) fn row(&self, second: u32, row: &Tally) -> Result<()> {
        let clients = &row.clients;
        let origin = |name: &str| clients.origins.get(name).copied().unwrap_or(0);
        let shares = format!("{}/{}", origin("origin-1"), origin("origin-2"));
        let reasons: Vec<_> = row
            .dropped
            .iter()
            .map(|(reason, packets)| format!("{reason} {}", grouped(row.per_second(*packets))))
            .collect();
        let dropped = if reasons.is_empty() {
            "–".to_owned()
        } else {
            reasons.join(", ")
        };
        self.line(&format!(
            "{second:>4}  {:>5.1} % {:>9} {:>9}  {:>6}  {:>5}  {shares:>11}  {:>11}  {:>7}  {dropped}",
            clients.success_percent(),
            latency(clients.percentile(50)),
            latency(clients.percentile(99)),
            row.per_second(clients.succeeded),
            clients.hits,
            grouped(row.per_second(row.offered)),
            row.per_second(row.abuse),
        ))
    }

    pub(crate) fn blocked(
        &self,
        network: &str,
        origin: &str,
        reason: &str,
        expires: Option<f64>,
    ) -> Result<()> {
        let until = expires.map_or_else(
            || "for good".to_owned(),
            |seconds| format!("for {seconds:.0} s"),
        );
        let why = if reason.is_empty() {
            origin.to_owned()
        } else {
            format!("{origin}: {reason}")
        };
        self.line(&format!("      ▸ blocked {network} {until} by {why}"))
    }

    pub(crate) fn note(&self, text: &str) -> Result<()> {
        self.line(&format!("• {text}"))
    }

    pub(crate) fn summarise(&self, summary: &Summary) -> Result<()> {
        self.line("\n══ what weir itself said when the shielded flood was over ══")?;
        for (command, output) in [
            ("weir drops", &summary.evidence.drops),
            ("weir list block", &summary.evidence.blocks),
            (
                "weir sources --sort dropped --top 5",
                &summary.evidence.sources,
            ),
        ] {
            self.line(&format!("$ {command}\n{}", output.trim_end()))?;
            self.line("")?;
        }
        self.line("══ side by side ══")?;
        let heading = ["", "calm", "flood, shield", "flood, no shield"].map(str::to_owned);
        for [name, calm, shielded, bare] in std::iter::once(heading).chain(summary.lines()) {
            self.line(&format!("{name:<28}{calm:>14}{shielded:>18}{bare:>20}"))?;
        }
        for (phase, tally) in [
            ("calm", &summary.calm),
            ("flood, shield", &summary.shielded),
            ("flood, no shield", &summary.bare),
        ] {
            for (why, count) in &tally.clients.failures {
                self.line(&format!("  failed in {phase}: {count} × {why}"))?;
            }
        }
        self.line(&format!(
            "
The generator was told to send {} packets a second in both floods. Without the shield it gets fewer out, because the
gateway's work on them takes the cores they share; a real attacker would not slow down.",
            grouped(PACKETS_PER_SECOND)
        ))?;
        self.line(&if summary.is_success() {
            format!("\nThe shield held: at least {REQUIRED} % of the clients' requests succeeded.")
        } else {
            format!(
                "\nThe shield did NOT hold: it takes {REQUIRED} % of the clients' requests, and drops."
            )
        })
    }

    fn line(&self, text: &str) -> Result<()> {
        let mut out = self.out.lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }
}

/// Says what went wrong.
pub(crate) fn complain(text: &str) {
    // When standard error is gone, so is everybody who could be told.
    let _ = writeln!(std::io::stderr(), "{text}");
}
