//! `cargo xtask bench shield`: what the shield costs, beside programs in C that do the same work and beside nftables.
//!
//! Reports and judges nothing by its exit code: a ratio depends on the machine, so a missed target is a line of the table.
//! Whatever breaks (a program that is not accepted, a tool that is missing) ends it with an error.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

mod cookies;
mod eviction;
mod frames;
mod lists;
mod live;
mod measure;
mod memory;
mod reference;
mod report;
mod sanity;
mod shield;
mod step;

use std::process::ExitCode;

use anyhow::{Result, bail};
use weir_lab::{cleanup, interrupt, namespace};

use reference::References;
use report::Report;

/// What is measured together, in this order.
const GROUPS: [(&str, Group); 6] = [
    ("lists", lists::run),
    ("sanity", sanity::run),
    ("cookies", cookies::run),
    ("eviction", eviction::run),
    ("live", live::run),
    ("memory", memory::run),
];

type Group = fn(&References, &Report) -> Result<()>;

fn main() -> ExitCode {
    let outcome = interrupt::clean_up_on_signals().and_then(|()| bench());
    interrupt::wait_if_interrupted();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&format!("the bench failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    let groups = chosen(std::env::args().skip(1))?;
    namespace::require_root()?;
    cleanup::sweep_dead_labs();
    let cores = std::thread::available_parallelism()?;
    let core = measure::pin_to_last_core()?;
    let report = Report::begin(core, cores)?;
    let references = References::compile()?;
    for group in groups {
        group(&references, &report)?;
    }
    Ok(())
}

/// The groups that the arguments name; without arguments all.
fn chosen(arguments: impl Iterator<Item = String>) -> Result<Vec<Group>> {
    let mut chosen = Vec::new();
    for argument in arguments {
        let Some((_, group)) = GROUPS.iter().find(|(name, _)| *name == argument) else {
            let names = GROUPS.map(|(name, _)| name).join(", ");
            bail!("there is no group {argument}; name any of {names}, or none for all");
        };
        chosen.push(*group);
    }
    if chosen.is_empty() {
        chosen.extend(GROUPS.map(|(_, group)| group));
    }
    Ok(chosen)
}
