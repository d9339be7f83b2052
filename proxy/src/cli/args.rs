//! What can be typed.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::admin::api::{List, SourceOrder};

/// Where the configuration is unless `--config` says otherwise.
pub(super) const DEFAULT_CONFIG: &str = "/etc/weir/weir.toml";

/// An eBPF-accelerated reverse proxy: drops floods in the kernel, serves the rest.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Where things are.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// Configuration file [default: /etc/weir/weir.toml]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Directory of the pinned maps, instead of the configuration's
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) pin_dir: Option<PathBuf>,
    /// Directory of the admin socket, instead of the configuration's
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) run_dir: Option<PathBuf>,
}

impl PlaceArgs {
    /// The configuration file.
    pub(super) fn config(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }

    /// Whether somebody named the configuration file.
    pub(super) fn config_is_explicit(&self) -> bool {
        self.config.is_some()
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run in the foreground
    Run(RunArgs),
    /// Validate a configuration without touching the host
    Check(FormatArgs),
    /// Make the running weir re-read its configuration
    Reload,
    /// Show what the running weir is doing
    Status(FormatArgs),
    /// Show what was dropped, why, and how much
    Drops(DropsArgs),
    /// Show per-source counters from the kernel
    Sources(SourcesArgs),
    /// Block addresses or prefixes
    Block(BlockArgs),
    /// Take addresses or prefixes off the blocklist
    Unblock(NetworksArgs),
    /// Allow addresses or prefixes; allow beats block
    Allow(NetworksArgs),
    /// Take addresses or prefixes off the allowlist
    Disallow(NetworksArgs),
    /// List entries with expiry, origin and reason
    List(ListArgs),
    /// Show upstreams and their servers
    Upstreams(FormatArgs),
    /// Show certificates, their names, when they expire and where they come from
    Certs(FormatArgs),
    /// Give an origin server no new requests; it finishes those it has. Holds over reloads
    Drain(ServerArgs),
    /// Give it requests again
    Undrain(ServerArgs),
    /// Say whether this host is fit to run the shield, and what to do where it is not
    Doctor(FormatArgs),
    /// Take the shield off the interfaces and remove its pins
    Detach,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Take XDP programs of others off the interfaces to guard
    #[arg(long)]
    pub(super) replace: bool,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub(super) struct FormatArgs {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl FormatArgs {
    pub(super) fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Text
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct DropsArgs {
    /// What to add drops up by
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub(super) by: DropsBy,
    /// Most rows
    #[arg(long, value_name = "N", default_value = "20", value_parser = parse_top)]
    pub(super) top: usize,
    /// Show every second what was added, until Ctrl-C
    #[arg(long)]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum DropsBy {
    /// The drop reason
    #[default]
    Reason,
    /// IPv4 address or IPv6 /64
    Source,
    /// IPv4 /24 or IPv6 /48
    Prefix,
    /// The interface
    Interface,
}

#[derive(Debug, Args)]
pub(super) struct SourcesArgs {
    /// Only this address, or sources inside this prefix
    #[arg(value_name = "ADDR|CIDR")]
    pub(super) network: Option<String>,
    /// Most rows
    #[arg(long, value_name = "N", default_value = "20", value_parser = parse_top)]
    pub(super) top: usize,
    /// Descending order
    #[arg(long, value_enum, default_value_t, value_name = "BY")]
    pub(super) sort: SourceOrder,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

#[derive(Debug, Args)]
pub(super) struct BlockArgs {
    /// Addresses or prefixes
    #[arg(value_name = "CIDR", required = true)]
    pub(super) networks: Vec<String>,
    /// How long, 1s to 365d [default: `shield.block_for`]
    #[arg(long = "for", value_name = "DURATION")]
    pub(super) duration: Option<String>,
    /// Why, for whoever reads the list later
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) reason: String,
    /// Block the address you are connected from over ssh, too
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct NetworksArgs {
    /// Addresses or prefixes
    #[arg(value_name = "CIDR", required = true)]
    pub(super) networks: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Upstream and server, as `weir upstreams` shows them
    #[arg(value_name = "NAME/SERVER")]
    pub(super) server: String,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only this list
    #[arg(value_enum)]
    pub(super) list: Option<List>,
    #[command(flatten)]
    pub(super) format: FormatArgs,
}

fn parse_top(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|top| *top >= 1)
        .ok_or_else(|| "not a whole number from 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_contract_parses() {
        for line in [
            "weir run",
            "weir run -c weir.toml",
            "weir run --replace",
            "weir -c weir.toml run",
            "weir check -c weir.toml --json",
            "weir reload",
            "weir status --json",
            "weir drops",
            "weir drops --by reason --follow",
            "weir drops --by source --top 5 --json",
            "weir drops --by prefix",
            "weir drops --by interface --pin-dir /sys/fs/bpf/x",
            "weir sources",
            "weir sources 192.0.2.0/24 --sort dropped --top 3 --json",
            "weir block 192.0.2.7 2001:db8::/32 --for 10m --reason scan",
            "weir block 192.0.2.0/24 --force",
            "weir unblock 192.0.2.7",
            "weir allow 10.0.0.0/8 --run-dir /run/x",
            "weir disallow 10.0.0.0/8",
            "weir list",
            "weir list block --json",
            "weir list allow",
            "weir upstreams --json",
            "weir certs",
            "weir certs --json",
            "weir drain app/10.0.0.11:8080",
            "weir undrain app/[2001:db8::1]:80 --run-dir /run/x",
            "weir doctor",
            "weir doctor -c weir.toml --json",
            "weir detach",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn usage_errors_exit_with_2_and_help_with_0() {
        for line in [
            "weir",
            "weir fly",
            "weir block",
            "weir drops --by moon",
            "weir drops --top 0",
            "weir sources --top -1",
            "weir sources 192.0.2.1 192.0.2.2",
            "weir list deny",
            "weir drain",
            "weir allow 192.0.2.1 --force",
        ] {
            assert_eq!(
                parse(line).map_err(|e| e.exit_code()).err(),
                Some(2),
                "{line}"
            );
        }
        for line in ["weir --help", "weir drops --help", "weir --version"] {
            assert_eq!(
                parse(line).map_err(|e| e.exit_code()).err(),
                Some(0),
                "{line}"
            );
        }
    }
}
