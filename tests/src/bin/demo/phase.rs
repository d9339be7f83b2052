//! What happens in each part of the demo, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use weir_lab::topology::{BOTNET_V4, SPOOFED_V4, SPOOFED_V6, attacker_v4, client_v4, client_v6};
use weir_lab::{Flood, Kind, Lab, LoadPlan, Protocol, Sources, Stats};

/// Whether the packet filter is on the interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shield {
    On,
    Off,
}

/// A part of the demo.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    pub(crate) title: &'static str,
    pub(crate) seconds: u32,
    pub(crate) attacked: bool,
}

impl Phase {
    pub(crate) fn calm() -> Self {
        Self {
            title: "calm: honest clients only",
            seconds: 5,
            attacked: false,
        }
    }

    pub(crate) fn flood(shield: Shield) -> Self {
        Self {
            title: match shield {
                Shield::On => "the flood, shield on",
                Shield::Off => "the same flood, no shield",
            },
            seconds: 12,
            attacked: true,
        }
    }

    /// Raw packets from a botnet that was blocked by hand and from spoofed sources: SYNs to the HTTPS port, mostly.
    pub(crate) fn packets(&self) -> Result<Flood> {
        let syn = Kind::Syn { port: 443 };
        let udp = Kind::Udp {
            port: 443,
            payload: 64,
        };
        Ok(Flood {
            // 5 and 3 have no common divisor: every kind comes from every source.
            kinds: vec![syn, syn, udp, syn, Kind::Echo],
            sources: vec![
                Sources::Within(BOTNET_V4.parse()?),
                Sources::Within(SPOOFED_V4.parse()?),
                Sources::Within(SPOOFED_V6.parse()?),
            ],
            packets: PACKETS_PER_SECOND * u64::from(self.seconds),
            rate: Some(PACKETS_PER_SECOND),
            // Not the one that serves the gateway's receive queue.
            core: Some(0),
            deadline: Duration::from_secs(self.seconds.into()),
        })
    }
}

/// Six honest clients over both protocols and families, 40 requests a second each, a new connection every ten.
pub(crate) fn honest(lab: &Lab) -> Result<LoadPlan> {
    let sources = [0, 1, 2, 3].map(client_v4).into_iter();
    let clients = sources
        .chain([0, 1].map(client_v6))
        .zip(Protocol::ALL.into_iter().cycle())
        .map(|(source, protocol)| Ok(lab.client(source, protocol)?.patience(HONEST_PATIENCE)))
        .collect::<Result<_>>()?;
    Ok(LoadPlan {
        clients,
        paths: ["/", "/static/app.js", "/account", "/static/logo.svg"]
            .map(String::from)
            .into(),
        pace: Duration::from_millis(25),
        requests_per_connection: 10,
        most_requests: 10_000,
    })
}

/// Eight sources of real HTTPS requests on four connections each, as fast as they are answered, many handshakes.
pub(crate) fn abusers(lab: &Lab) -> Result<LoadPlan> {
    let clients = (0..ABUSERS)
        .flat_map(|index| [index; 4])
        .zip(Protocol::ALL.into_iter().cycle())
        .map(|(index, protocol)| {
            Ok(lab
                .client(attacker_v4(index), protocol)?
                .patience(ABUSERS_PATIENCE))
        })
        .collect::<Result<_>>()?;
    Ok(LoadPlan {
        clients,
        paths: vec!["/search".into()],
        pace: Duration::ZERO,
        requests_per_connection: 10,
        most_requests: 100_000,
    })
}

/// What one second, or one phase, brought.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Of the honest clients.
    pub(crate) clients: Stats,
    /// Requests of the abusers that were answered.
    pub(crate) abuse: u64,
    /// Raw packets sent.
    pub(crate) offered: u64,
    /// Packets dropped, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.clients.add(&other.clients);
        self.abuse += other.abuse;
        self.offered += other.offered;
        for (reason, packets) in &other.dropped {
            *self.dropped.entry(reason.clone()).or_default() += packets;
        }
        self.took += other.took;
    }

    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// `count` per second of this tally's time.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates for people, far below 2^52 and never negative"
    )]
    pub(crate) fn per_second(&self, count: u64) -> u64 {
        (count as f64 / self.took.as_secs_f64().max(0.001)).round() as u64
    }
}

/// What the generator is told to send; what it managed is in the table.
pub(crate) const PACKETS_PER_SECOND: u64 = 400_000;
/// Sources of abusive requests.
pub(crate) const ABUSERS: u8 = 8;
const HONEST_PATIENCE: Duration = Duration::from_secs(2);
const ABUSERS_PATIENCE: Duration = Duration::from_secs(1);
