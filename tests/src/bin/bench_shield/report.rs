//! The table: a line for each case as soon as it is measured.

use std::fmt;
use std::io::{Stdout, Write as _};
use std::num::NonZero;

use anyhow::Result;

/// Standard output, line by line.
pub(crate) struct Report {
    out: Stdout,
}

/// A case: what weir took, what the reference took in the same run, and how they should compare.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) case: String,
    /// `None` = the eBPF object has no such thing.
    pub(crate) weir: Option<Figure>,
    /// What weir is compared with, and what that took.
    pub(crate) reference: Option<(&'static str, Figure)>,
    pub(crate) target: Target,
    /// What went otherwise than it should; empty = nothing.
    pub(crate) note: String,
}

/// A measured number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Figure {
    /// Nanoseconds a packet.
    Ns(f64),
    /// Packets a second.
    PerSecond(f64),
    /// Bytes.
    Bytes(u64),
    /// Of whatever the case says.
    Count(u64),
}

/// How weir and the reference should compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// weir at most this many times the reference.
    AtMost(f64),
    /// weir at least this many times the reference.
    AtLeast(f64),
    /// weir at most this, whatever anything else takes.
    Within(Figure),
    /// weir at least this, whatever anything else takes.
    Reaches(Figure),
    /// For information.
    None,
}

impl Report {
    /// Says what machine this is.
    pub(crate) fn begin(core: usize, cores: NonZero<usize>) -> Result<Self> {
        let report = Self {
            out: std::io::stdout(),
        };
        report.line(&format!(
            "{}, {cores} cores, Linux {}; all on core {core}",
            cpu_model(),
            nix::sys::utsname::uname()?.release().to_string_lossy(),
        ))?;
        Ok(report)
    }

    /// The head of a group.
    pub(crate) fn group(&self, title: &str) -> Result<()> {
        self.line(&format!("\n── {title} ──"))?;
        self.line(&columns([
            "case",
            "weir",
            "reference",
            "",
            "ratio",
            "target",
            "met",
        ]))
    }

    /// A case.
    pub(crate) fn row(&self, row: &Row) -> Result<()> {
        let dash = || "–".to_owned();
        let ratio = row.ratio();
        let (name, figure) = match row.reference {
            Some((name, figure)) => (name, figure.to_string()),
            None => ("", dash()),
        };
        let met = match (row.target, row.is_met()) {
            (Target::None, _) | (_, None) => dash(),
            (_, Some(true)) => "yes".to_owned(),
            (_, Some(false)) => "NO".to_owned(),
        };
        let line = columns([
            &row.case,
            &row.weir.map_or_else(dash, |figure| figure.to_string()),
            &figure,
            name,
            &ratio.map_or_else(dash, |ratio| format!("{ratio:.2}")),
            &row.target.to_string(),
            &met,
        ]);
        self.line(&line)?;
        let absent = row.weir.is_none() && row.target != Target::None;
        if absent {
            self.note("the eBPF object has no such thing yet")?;
        }
        if !row.note.is_empty() {
            self.note(&row.note)?;
        }
        Ok(())
    }

    /// A remark on the line before it.
    pub(crate) fn note(&self, text: &str) -> Result<()> {
        self.line(&format!("      {text}"))
    }

    fn line(&self, text: &str) -> Result<()> {
        let mut out = self.out.lock();
        writeln!(out, "{}", text.trim_end())?;
        Ok(out.flush()?)
    }
}

impl Row {
    /// weir over reference.
    fn ratio(&self) -> Option<f64> {
        let (_, reference) = self.reference?;
        Some(self.weir?.value() / reference.value())
    }

    fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(limit) => Some(self.ratio()? <= limit),
            Target::AtLeast(limit) => Some(self.ratio()? >= limit),
            Target::Within(limit) => Some(self.weir?.value() <= limit.value()),
            Target::Reaches(limit) => Some(self.weir?.value() >= limit.value()),
            Target::None => None,
        }
    }
}

impl Figure {
    #[allow(
        clippy::cast_precision_loss,
        reason = "counts and bytes of this machine's memory are exact in 52 bits"
    )]
    fn value(self) -> f64 {
        match self {
            Self::Ns(ns) => ns,
            Self::PerSecond(packets) => packets,
            Self::Bytes(number) | Self::Count(number) => number as f64,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ns(ns) => write!(f, "{ns:.1} ns"),
            Self::PerSecond(packets) => write!(f, "{:.2} M/s", packets / 1e6),
            Self::Count(count) => write!(f, "{count}"),
            Self::Bytes(_) => write!(f, "{:.1} MiB", self.value() / f64::from(1 << 20)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(ratio) => write!(f, "≤ {ratio:.2}"),
            Self::AtLeast(ratio) => write!(f, "≥ {ratio:.2}"),
            Self::Within(figure) => write!(f, "≤ {figure}"),
            Self::Reaches(figure) => write!(f, "≥ {figure}"),
            Self::None => Ok(()),
        }
    }
}

/// Says what went wrong.
pub(crate) fn complain(text: &str) {
    // When standard error is gone, so is everybody who could be told.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn columns([case, weir, reference, name, ratio, target, met]: [&str; 7]) -> String {
    format!("{case:<48}{weir:>11}{reference:>11}  {name:<20}{ratio:>6}{target:>13}{met:>5}")
}

fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("a processor without a name", |line| {
            line.trim_start_matches([' ', '\t', ':'])
        })
        .to_owned()
}
