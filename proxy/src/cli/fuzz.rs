//! What holds of the command line, whatever is typed.

use clap::Parser as _;

use super::args::{Cli, Command};
use super::edit::Edit;
use super::exit::{CliError, Exit};
use super::units;

/// Words are refused, or make a command whose edits are within bounds.
pub fn command(words: &[&str]) {
    let Ok(cli) = Cli::try_parse_from(words) else {
        return;
    };
    match cli.command {
        Command::Block(args) => {
            if let Err(refused) = Edit::block(&args, None) {
                assert!(matches!(
                    refused,
                    CliError::Said {
                        exit: Exit::Usage,
                        ..
                    }
                ));
            }
        }
        Command::Unblock(args) => drop(Edit::unblock(&args)),
        Command::Allow(args) => drop(Edit::allow(&args)),
        Command::Disallow(args) => drop(Edit::disallow(&args)),
        _ => {}
    }
}

/// Numbers are shown, however large.
pub fn numbers(number: u64, other: u64, seconds: f64) {
    let digits: String = units::count(number)
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    assert_eq!(digits.parse(), Ok(number));
    for text in [
        units::bytes(number),
        units::share(number, other),
        units::duration(seconds),
        units::ago(seconds),
    ] {
        assert!(!text.is_empty());
    }
}
