//! `weir drops`: what was dropped, read from the pinned maps.

mod follow;
mod sources;
mod totals;

use ipnet::IpNet;

use super::args::{DropsArgs, DropsBy, Format};
use super::exit::CliError;
use super::output::Out;
use super::place::Place;
use crate::admin::api;
use crate::admin::view::{self, SourceCounts};
use crate::xdp::{Maps, ShieldError};

/// Shows the counters, or with `--follow` what each second adds to them.
pub(super) fn drops(place: &Place, args: &DropsArgs, out: &mut Out) -> Result<(), CliError> {
    let maps = place.maps()?;
    let first = Reading::take(&maps, args.by)?;
    if args.follow {
        return follow::follow(&maps, args, first, out);
    }
    first.write(args, None, out)
}

/// The counters at one time, or how they grew between two.
#[derive(Debug, Clone, PartialEq)]
enum Reading {
    /// Totals by outcome and interface.
    Totals(api::Drops),
    /// Counters by source and by blocked prefix, in address order.
    Sources {
        enforcing: bool,
        rows: Vec<(IpNet, SourceCounts)>,
    },
}

impl Reading {
    fn take(maps: &Maps, by: DropsBy) -> Result<Self, ShieldError> {
        let enforcing = maps.enforcing()?;
        Ok(match by {
            DropsBy::Reason | DropsBy::Interface => {
                Self::Totals(view::drops(enforcing, &maps.totals()?))
            }
            DropsBy::Source | DropsBy::Prefix => {
                let rows = maps.sources()?.into_iter().chain(maps.blocked_prefixes()?);
                let mut rows: Vec<_> = rows.map(super::sources::counts).collect();
                rows.sort_unstable_by_key(|(network, _)| *network);
                Self::Sources { enforcing, rows }
            }
        })
    }

    /// How much was added since `before`, a reading of the same kind.
    fn since(&self, before: &Self) -> Self {
        match (self, before) {
            (Self::Totals(now), Self::Totals(before)) => Self::Totals(totals::since(now, before)),
            (Self::Sources { enforcing, rows }, Self::Sources { rows: before, .. }) => {
                Self::Sources {
                    enforcing: *enforcing,
                    rows: sources::since(rows, before),
                }
            }
            (Self::Totals(_), Self::Sources { .. }) | (Self::Sources { .. }, Self::Totals(_)) => {
                self.clone()
            }
        }
    }

    /// Writes it; `seconds` is since when when it says what was added.
    fn write(&self, args: &DropsArgs, seconds: Option<u64>, out: &mut Out) -> Result<(), CliError> {
        let format = args.format.format();
        if let (Format::Text, Some(seconds)) = (format, seconds) {
            out.line(format!("after {seconds} s"))?;
        }
        match self {
            Self::Totals(drops) => match (format, args.by) {
                (Format::Json, _) => out.json(&Timed {
                    seconds,
                    counters: drops,
                })?,
                (Format::Text, DropsBy::Interface) => totals::by_interface(drops, args.top, out)?,
                (Format::Text, _) => totals::by_reason(drops, args.top, out)?,
            },
            Self::Sources { enforcing, rows } => {
                let found = sources::Droppers::new(*enforcing, args.by, rows, args.top);
                match format {
                    Format::Json => out.json(&Timed {
                        seconds,
                        counters: &found,
                    })?,
                    Format::Text => found.write(out)?,
                }
            }
        }
        Ok(())
    }
}

/// Counters, and with `--follow` how many seconds after the start the second that they cover ended.
#[derive(serde::Serialize)]
struct Timed<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    #[serde(flatten)]
    counters: &'a T,
}

/// Said above every table when nothing is really dropped.
fn explain_mode(enforcing: bool, out: &mut Out) -> std::io::Result<()> {
    if enforcing {
        return Ok(());
    }
    out.line(out.tone(
        super::output::Tone::Alarm,
        "not enforcing: this would be dropped, but passes",
    ))
}

/// Heading of the drop counter.
fn dropped_heading(enforcing: bool) -> &'static str {
    if enforcing { "DROPPED" } else { "WOULD DROP" }
}
