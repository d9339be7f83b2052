//! The command line. Commands that only look (`drops`, `sources`, `list`) read the pinned maps, so they work when no
//! weir runs; edits go through the running weir if there is one; `status`, `upstreams`, `drain`, `undrain`, `certs` and
//! `reload` need it. `check` and
//! `doctor` need neither.
//!
//! Results go to stdout: aligned text, or stable JSON with `--json`. Everything else goes to stderr: an error is one
//! sentence and a hint. Exit codes are in `exit`.

mod args;
mod certs;
mod check;
mod detach;
mod doctor;
mod drain;
mod drops;
mod edit;
mod exit;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod list;
mod output;
mod place;
mod reload;
mod run;
mod sources;
mod ssh;
mod status;
mod table;
mod units;
mod upstreams;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use edit::Edit;
use exit::CliError;
use output::Out;
use place::Place;

/// Parses the process's arguments, does what they say and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version go to stdout and are no errors; whether anyone reads them changes nothing.
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let mut out = Out::stdout();
    let done = dispatch(cli, &mut out).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What was found before the error still belongs on stdout, and before the error.
            let _ = out.flush();
            error.report(&mut std::io::stderr().lock())
        }
    }
}

fn dispatch(cli: Cli, out: &mut Out) -> Result<(), CliError> {
    let Cli { place, command } = cli;
    match command {
        Command::Run(args) => run::run(&place, &args),
        Command::Check(args) => check::check(place.config(), args.format(), out),
        Command::Reload => reload::reload(&place, out),
        Command::Status(args) => status::status(&Place::find(&place)?, args.format(), out),
        Command::Drops(args) => drops::drops(&Place::find(&place)?, &args, out),
        Command::Sources(args) => sources::sources(&Place::find(&place)?, &args, out),
        Command::Block(args) => {
            let edit = Edit::block(&args, ssh::caller())?;
            edit.carry_out(&Place::find(&place)?, out)
        }
        Command::Unblock(args) => Edit::unblock(&args)?.carry_out(&Place::find(&place)?, out),
        Command::Allow(args) => Edit::allow(&args)?.carry_out(&Place::find(&place)?, out),
        Command::Disallow(args) => Edit::disallow(&args)?.carry_out(&Place::find(&place)?, out),
        Command::List(args) => list::list(&Place::find(&place)?, &args, out),
        Command::Upstreams(args) => upstreams::upstreams(&Place::find(&place)?, args.format(), out),
        Command::Certs(args) => certs::certs(&Place::find(&place)?, args.format(), out),
        Command::Drain(args) => drain::drain(&Place::find(&place)?, &args, out),
        Command::Undrain(args) => drain::undrain(&Place::find(&place)?, &args, out),
        Command::Doctor(args) => doctor::doctor(&place, args.format(), out),
        Command::Detach => detach::detach(&Place::find(&place)?, out),
    }
}
