//! The event log: one `tracing` event per fact, on standard error, so that standard output stays the access log's.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;

use super::{Format, Level, Settings};

/// Starts logging. A second call in one process (tests) changes nothing.
pub fn start(settings: &Settings) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
        .with_max_level(filter(settings.level));
    // An error means that a subscriber is already there.
    let _already = match settings.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
