//! `weir doctor`

use std::fs::File;
use std::io;

use serde::Serialize;
use weir_common::maps;

use super::args::{Format, PlaceArgs};
use super::check::complain;
use super::exit::{CliError, Exit};
use super::output::{Out, Tone};
use super::place::Place;
use super::table::printable;
use crate::config::{self, Settings};
use crate::doctor::{self, Finding, Interfaces, Severity, Wanted};
use crate::xdp::{Mode, Tables, map_memory};

/// `weir doctor --json`
#[derive(Serialize)]
struct Report<'a> {
    /// Whether there is no problem.
    ok: bool,
    /// The configuration that says what is wanted; null: the defaults.
    config: Option<String>,
    problems: usize,
    warnings: usize,
    notes: usize,
    findings: &'a [Finding],
}

/// Says whether this host is fit to run the shield. Any problem makes the exit code 1.
pub(super) fn doctor(args: &PlaceArgs, format: Format, out: &mut Out) -> Result<(), CliError> {
    let (wanted, config) = wanted(args)?;
    let findings = doctor::examine(&doctor::look(wanted));
    match format {
        Format::Json => out.json(&report(&findings, config))?,
        Format::Text => write(&findings, out)?,
    }
    out.flush()?;
    if count(&findings, Severity::Problem) > 0 {
        return Err(CliError::Reported(Exit::Failed));
    }
    Ok(())
}

/// What is wanted of this host, and the configuration file that says so. A configuration that somebody named must be
/// valid; without a readable one at the default path, the defaults are looked at.
fn wanted(args: &PlaceArgs) -> Result<(Wanted, Option<String>), CliError> {
    let path = args.config();
    let (mut wanted, config) = match config::load(path) {
        Ok(settings) => (of_settings(&settings), Some(path.display().to_string())),
        Err(invalid) if args.config_is_explicit() => {
            complain(&invalid);
            return Err(CliError::Reported(Exit::Usage));
        }
        Err(invalid) => {
            let because = match File::open(path) {
                Ok(_) => invalid.to_string(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    format!("there is no {}", path.display())
                }
                Err(error) => format!("{} cannot be read ({error})", path.display()),
            };
            (of_defaults(because), None)
        }
    };
    if let Some(dir) = &args.pin_dir {
        wanted.pin_dir.clone_from(dir);
    }
    Ok((wanted, config))
}

fn of_settings(settings: &Settings) -> Wanted {
    let shield = &settings.shield;
    let connections = settings.listen.iter().map(|l| l.limits.connections as u64);
    Wanted {
        interfaces: Interfaces::Named(shield.interfaces.clone()),
        mode: shield.mode,
        pin_dir: shield.pin_dir.clone(),
        map_bytes: map_bytes(&shield.tables),
        connections: connections.fold(0, u64::saturating_add),
        ports: settings.listen.iter().map(|l| l.address.port()).collect(),
    }
}

/// The defaults of the configuration, and one listener.
fn of_defaults(because: String) -> Wanted {
    let tables = Tables {
        sources: maps::DEFAULT_SOURCES,
        blocks: maps::DEFAULT_BLOCKS,
        prefixes: maps::DEFAULT_PREFIXES,
    };
    Wanted {
        interfaces: Interfaces::Up { because },
        mode: Mode::Auto,
        pin_dir: Place::default().pin_dir,
        map_bytes: map_bytes(&tables),
        connections: CONNECTIONS,
        ports: Vec::new(),
    }
}

/// Kernel memory of all maps when they are full, bytes.
fn map_bytes(tables: &Tables) -> u64 {
    map_memory(tables).iter().map(|map| map.bytes_full).sum()
}

/// `[limits] connections`'s default.
const CONNECTIONS: u64 = 10_000;

fn report(findings: &[Finding], config: Option<String>) -> Report<'_> {
    Report {
        ok: count(findings, Severity::Problem) == 0,
        config,
        problems: count(findings, Severity::Problem),
        warnings: count(findings, Severity::Warning),
        notes: count(findings, Severity::Note),
        findings,
    }
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    let same = |finding: &&Finding| finding.severity == severity;
    findings.iter().filter(same).count()
}

/// A heading for the host and each interface; below it what was found, and why it matters and what to do where it is
/// not as it should be.
fn write(findings: &[Finding], out: &mut Out) -> io::Result<()> {
    let width = findings.iter().map(|f| f.check.len()).max().unwrap_or(0);
    for group in findings.chunk_by(|a, b| a.interface == b.interface) {
        let heading = group[0].interface.as_deref().unwrap_or("host");
        out.line(out.tone(Tone::Heading, &printable(heading)))?;
        for finding in group {
            write_finding(finding, width, out)?;
        }
        out.line("")?;
    }
    let counted = |severity, noun: &str| match count(findings, severity) {
        1 => format!("1 {noun}"),
        other => format!("{other} {noun}s"),
    };
    out.line(format!(
        "{}, {}, {}",
        counted(Severity::Problem, "problem"),
        counted(Severity::Warning, "warning"),
        counted(Severity::Note, "note"),
    ))?;
    let mentions_sysctl = |f: &Finding| f.fix.as_ref().is_some_and(|fix| fix.contains("sysctl -w"));
    if findings.iter().any(mentions_sysctl) {
        out.line("What `sysctl -w` sets lasts until the next boot; a line in /etc/sysctl.d/weir.conf keeps it.")?;
    }
    Ok(())
}

fn write_finding(finding: &Finding, width: usize, out: &mut Out) -> io::Result<()> {
    let severity = format!("{:<SEVERITY$}", finding.severity.as_str());
    let severity = match finding.severity {
        Severity::Problem => out.tone(Tone::Alarm, &severity),
        Severity::Ok | Severity::Note | Severity::Warning => severity,
    };
    let indent = 2 + SEVERITY + 2 + width + 2;
    let lines = wrapped(&printable(&finding.found), COLUMNS.saturating_sub(indent));
    let mut lines = lines.iter();
    let first = lines.next().map_or("", String::as_str);
    out.line(format!("  {severity}  {:<width$}  {first}", finding.check))?;
    for line in lines {
        out.line(format!("{:indent$}{line}", ""))?;
    }
    if finding.severity == Severity::Ok {
        return Ok(());
    }
    let fix = finding.fix.as_deref().unwrap_or_default();
    for (name, text) in [("why", finding.why.as_str()), ("fix", fix)] {
        let indent = indent + name.len() + 2;
        // What is to be typed stays on one line.
        let columns = if name == "fix" { usize::MAX } else { COLUMNS };
        let lines = wrapped(&printable(text), columns.saturating_sub(indent));
        for (at, line) in lines.iter().enumerate() {
            let name = if at == 0 {
                format!("{name}: ")
            } else {
                String::new()
            };
            out.line(format!("{name:>indent$}{line}"))?;
        }
    }
    Ok(())
}

/// Width of the longest severity.
const SEVERITY: usize = 7;
/// Width that text is wrapped to.
const COLUMNS: usize = 110;

/// `text` in lines of at most `columns` characters, broken at spaces; a longer word stays whole.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ if word.is_empty() => {}
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::Cli;
    use super::*;

    fn finding(severity: Severity, interface: Option<&str>, fix: Option<&str>) -> Finding {
        Finding {
            check: "syn-cookies",
            interface: interface.map(ToOwned::to_owned),
            severity,
            found: "tcp_syncookies is 1".into(),
            why: "the kernel takes cookies from 2 on".into(),
            fix: fix.map(ToOwned::to_owned),
        }
    }

    fn text(findings: &[Finding]) -> String {
        let (mut out, captured) = Out::capture();
        write(findings, &mut out).expect("writes");
        captured.text()
    }

    #[test]
    fn what_is_as_it_should_be_takes_a_line_and_the_rest_says_why_and_what_to_do() {
        let findings = [
            finding(Severity::Ok, None, None),
            finding(Severity::Warning, None, Some("sysctl -w a=2")),
            finding(Severity::Problem, Some("eth0\u{1b}"), None),
        ];
        assert_eq!(
            text(&findings),
            "host\n  \
               ok       syn-cookies  tcp_syncookies is 1\n  \
               warning  syn-cookies  tcp_syncookies is 1\n                        \
                                     why: the kernel takes cookies from 2 on\n                        \
                                     fix: sysctl -w a=2\n\
             \n\
             eth0?\n  \
               problem  syn-cookies  tcp_syncookies is 1\n                        \
                                     why: the kernel takes cookies from 2 on\n\
             \n\
             1 problem, 1 warning, 0 notes\n\
             What `sysctl -w` sets lasts until the next boot; a line in /etc/sysctl.d/weir.conf keeps it.\n"
        );
    }

    #[test]
    fn the_json_has_every_field_of_every_finding() {
        let findings = [finding(Severity::Note, Some("eth0"), None)];
        let json = serde_json::to_value(report(&findings, Some("/etc/weir.toml".into())));
        assert_eq!(
            json.expect("serializes"),
            serde_json::json!({
                "ok": true, "config": "/etc/weir.toml", "problems": 0, "warnings": 0, "notes": 1,
                "findings": [{
                    "check": "syn-cookies", "interface": "eth0", "severity": "note",
                    "found": "tcp_syncookies is 1", "why": "the kernel takes cookies from 2 on", "fix": null,
                }],
            })
        );
    }

    #[test]
    fn a_problem_and_only_a_problem_is_not_ok() {
        for (severity, ok) in [
            (Severity::Ok, true),
            (Severity::Note, true),
            (Severity::Warning, true),
            (Severity::Problem, false),
        ] {
            assert_eq!(report(&[finding(severity, None, None)], None).ok, ok);
        }
    }

    #[test]
    fn text_is_wrapped_at_spaces_and_no_word_is_lost() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable a", 3), ["unbreakable", "a"]);
        assert!(wrapped("", 10).is_empty());
    }

    #[test]
    fn a_configuration_that_was_named_must_be_there_and_the_default_one_need_not() {
        let of = |line: &str| {
            let cli = Cli::try_parse_from(line.split_whitespace()).expect(line);
            wanted(&cli.place)
        };
        let error = of("weir doctor -c /nonexistent/weir.toml").expect_err("no file");
        assert!(
            matches!(error, CliError::Reported(Exit::Usage)),
            "{error:?}"
        );
        let (wanted, _) = of("weir doctor --pin-dir /a").expect("the defaults will do");
        assert_eq!(wanted.pin_dir, std::path::PathBuf::from("/a"));
    }
}
