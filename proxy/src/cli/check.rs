//! `weir check`

use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use super::args::Format;
use super::exit::{CliError, Exit};
use super::output::{Out, note};
use super::table::{Align, Table};
use super::units;
use crate::app::{self, Finding};
use crate::config::{self, Invalid, Settings};
use crate::xdp::{Tables, map_memory};

/// `weir check --json`
#[derive(Serialize)]
struct Checked<'a> {
    file: String,
    ok: bool,
    problems: &'a [config::Problem],
    /// What is valid, but surely not meant.
    warnings: &'a [config::Problem],
    /// What is wrong with the files of certificates.
    certificates: Vec<String>,
    /// Kernel memory of the shield's maps; left out if the configuration is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Memory>,
}

/// What the shield's maps take of kernel memory.
#[derive(Serialize)]
struct Memory {
    maps: Vec<MapBytes>,
    /// Bytes of all, empty.
    bytes: u64,
    /// Bytes of all, full.
    bytes_full: u64,
}

/// One map's kernel memory.
#[derive(Serialize)]
struct MapBytes {
    name: &'static str,
    /// Entries it has room for.
    entries: u32,
    /// Bytes that it takes empty.
    bytes: u64,
    /// Bytes that it takes full.
    bytes_full: u64,
}

/// Reads `path` as `run` would and says everything that is wrong with it.
pub(super) fn check(path: &Path, format: Format, out: &mut Out) -> Result<(), CliError> {
    let loaded = config::load(path);
    let certificates = loaded
        .as_ref()
        .map_or_else(|_| Vec::new(), app::check_certificates);
    if format == Format::Json {
        out.json(&Checked {
            file: path.display().to_string(),
            ok: loaded.is_ok() && !certificates.iter().any(is_broken),
            problems: loaded
                .as_ref()
                .err()
                .map_or(&[], |invalid| &invalid.problems),
            warnings: loaded.as_ref().map_or(&[], |settings| &settings.warnings),
            certificates: certificates.iter().map(ToString::to_string).collect(),
            tables: loaded
                .as_ref()
                .ok()
                .map(|settings| Memory::of(&settings.shield.tables)),
        })?;
    }
    match loaded {
        Ok(settings) => {
            if format == Format::Text {
                out.line(summary(path, &settings))?;
                if !settings.shield.interfaces.is_empty() {
                    out.line("")?;
                    Memory::of(&settings.shield.tables).write(out)?;
                }
            }
            out.flush()?;
            if format == Format::Text {
                warn(path, &settings);
            }
            // The configuration is valid wherever its files are, so this is no error: it may run on another host.
            if let Err(error) = app::check_files(&settings) {
                note(format!("weir would not start here: {error}"));
            }
            say(&certificates)
        }
        Err(invalid) => {
            if format == Format::Text {
                complain(&invalid);
            }
            Err(CliError::Reported(Exit::Usage))
        }
    }
}

/// What is in a file cannot be served anywhere, so that is an error. Where a file is not there, the configuration may
/// still be right for another host.
fn say(certificates: &[Finding]) -> Result<(), CliError> {
    for finding in certificates.iter().filter(|finding| !is_broken(finding)) {
        note(finding.to_string());
    }
    let mut broken = certificates
        .iter()
        .filter(|finding| is_broken(finding))
        .peekable();
    if broken.peek().is_none() {
        return Ok(());
    }
    let mut stderr = io::stderr().lock();
    for finding in broken {
        // A closed stderr leaves the exit code to tell.
        let _ = writeln!(stderr, "error: {finding}");
        if let Finding::Broken(error) = finding {
            let _ = writeln!(stderr, "hint: {}", error.hint);
        }
    }
    Err(CliError::Reported(Exit::Usage))
}

fn is_broken(finding: &Finding) -> bool {
    matches!(finding, Finding::Broken(_))
}

impl Memory {
    fn of(tables: &Tables) -> Self {
        let maps = map_memory(tables).into_iter().map(|map| MapBytes {
            name: map.name,
            entries: map.entries,
            bytes: map.bytes,
            bytes_full: map.bytes_full,
        });
        let maps: Vec<_> = maps.collect();
        Self {
            bytes: maps.iter().map(|map| map.bytes).sum(),
            bytes_full: maps.iter().map(|map| map.bytes_full).sum(),
            maps,
        }
    }

    fn write(&self, out: &mut Out) -> io::Result<()> {
        let mut table = Table::new([
            ("KERNEL TABLE", Align::Left),
            ("ENTRIES", Align::Right),
            ("MEMORY", Align::Right),
            ("WHEN FULL", Align::Right),
        ]);
        for map in &self.maps {
            table.row([
                map.name.to_owned(),
                units::count(map.entries.into()),
                units::bytes(map.bytes),
                units::bytes(map.bytes_full),
            ]);
        }
        table.row([
            "all".to_owned(),
            String::new(),
            units::bytes(self.bytes),
            units::bytes(self.bytes_full),
        ]);
        table.write(out)
    }
}

/// Every warning on stderr.
fn warn(path: &Path, settings: &Settings) {
    let mut stderr = io::stderr().lock();
    for warning in &settings.warnings {
        let _ = writeln!(stderr, "warning: {}", warning.located(path));
    }
}

/// Every problem on stderr, and how many there are.
pub(super) fn complain(invalid: &Invalid) {
    // A closed stderr leaves the exit code to tell.
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{}", invalid.report());
    let _ = writeln!(stderr, "error: {invalid}");
}

fn summary(path: &Path, settings: &Settings) -> String {
    let counted = |number: usize, noun: &str| match number {
        1 => format!("1 {noun}"),
        other => format!("{other} {noun}s"),
    };
    format!(
        "{}: ok ({}, {}, {}, {}, {})",
        path.display(),
        counted(settings.routes.len(), "route"),
        counted(settings.upstreams.len(), "upstream"),
        counted(settings.listen.len(), "listener"),
        counted(settings.shield.interfaces.len(), "guarded interface"),
        counted(settings.detect.len(), "detection rule"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_line_and_the_last_one_adds_them_up() {
        let (mut out, captured) = Out::capture();
        let memory = Memory::of(&Tables {
            sources: 1 << 20,
            blocks: 1 << 20,
            prefixes: 1 << 16,
        });
        memory.write(&mut out).expect("writes");
        let text = captured.text();
        assert!(text.contains("\nBLOCK4 "), "{text}");
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with("all "), "{text}");
        assert_eq!(memory.maps.len(), weir_common::maps::ALL.len());
        let sum: u64 = memory.maps.iter().map(|map| map.bytes).sum();
        assert_eq!(memory.bytes, sum);
    }
}
