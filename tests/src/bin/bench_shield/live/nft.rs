//! The same blocklist in nftables.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use weir_lab::Namespace;
use weir_lab::pipe::feed;

/// Where nftables looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Of the device, before IP.
    Ingress,
    /// Of the host, for packets to itself.
    Input,
}

/// A table with one set and one rule. It goes with its namespace, or with [`Table::remove`].
pub(crate) struct Table<'a> {
    server: &'a Namespace,
    family: &'static str,
}

impl<'a> Table<'a> {
    /// Drops and counts what comes from `sources`.
    pub(crate) fn add(
        server: &'a Namespace,
        hook: Hook,
        sources: impl Iterator<Item = Ipv4Addr>,
    ) -> Result<Self> {
        let (family, place) = match hook {
            Hook::Ingress => ("netdev", "hook ingress device \"in0\" priority 0"),
            Hook::Input => ("inet", "hook input priority 0"),
        };
        let mut script = format!(
            "table {family} bench {{
  set blocked {{ type ipv4_addr; }}
  chain drops {{ type filter {place}; policy accept; ip saddr @blocked counter drop; }}
}}
add element {family} bench blocked {{ "
        );
        for source in sources {
            write!(script, "{source}, ")?;
        }
        script += "}\n";
        server.run(|| nft(&["-f", "-"], &script))??;
        Ok(Self { server, family })
    }

    /// Packets dropped.
    pub(crate) fn dropped(&self) -> Result<u64> {
        let arguments = ["-j", "list", "chain", self.family, "bench", "drops"];
        let output = self.server.run(|| nft(&arguments, ""))??;
        let ruleset: Value = serde_json::from_str(&output).context("nft prints JSON")?;
        ruleset["nftables"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|object| object["rule"]["expr"].as_array())
            .flatten()
            .find_map(|expression| expression["counter"]["packets"].as_u64())
            .context("the rule has a counter")
    }

    /// Takes the table away.
    pub(crate) fn remove(self) -> Result<()> {
        self.server
            .run(|| nft(&["delete", "table", self.family, "bench"], ""))??;
        Ok(())
    }
}

fn nft(arguments: &[&str], input: &str) -> Result<String> {
    feed(Command::new("nft").args(arguments), input)
}
