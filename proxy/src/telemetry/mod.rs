//! Log and access log. A leaf: depends on nothing else in weir.

mod access_log;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod log;

pub use access_log::{AccessLog, Line, Text};
pub use log::start;

use std::path::PathBuf;

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Default text.
    pub format: Format,
    /// Default stdout.
    pub access: AccessTarget,
    /// Default info.
    pub level: Level,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// Appended to a file.
    File(PathBuf),
}

/// Least important events that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Only errors.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}
