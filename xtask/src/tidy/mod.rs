//! `tidy`: the house rules that no compiler, clippy lint or formatter knows, as code. A rule looks at text, so it also
//! sees what is compiled for BPF only. Function length and bans of single calls are clippy's (`clippy.toml`).

mod abi;
mod arrows;
mod files;
mod source;

use std::fmt;
use std::process::Command;

use anyhow::{Context, bail};

use self::source::Source;
use crate::workspace::Workspace;
use crate::{exec, step};

/// Checks every file that git tracks or would track. With `bless`, first records the present kernel ABI.
pub(crate) fn run(workspace: &Workspace, bless: bool) -> anyhow::Result<()> {
    if bless {
        abi::bless(workspace, &sources(workspace)?)?;
    }
    let findings = step::quiet("tidy", || {
        let sources = sources(workspace)?;
        let mut findings = judge(&sources);
        findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Ok(findings)
    })?;
    for finding in &findings {
        step::say(&finding.to_string());
    }
    if !findings.is_empty() {
        bail!("tidy: {} house rule(s) broken", findings.len());
    }
    Ok(())
}

/// A place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    file: String,
    /// From 1.
    line: usize,
    /// The rule's name.
    rule: &'static str,
    /// What is wrong and what to do.
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            message,
        } = self;
        write!(f, "{file}:{line}: {rule}: {message}")
    }
}

fn judge(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(files::judge(source));
        findings.extend(arrows::judge(source));
    }
    findings.extend(files::judge_together(sources));
    findings.extend(abi::judge(sources));
    findings
}

fn sources(workspace: &Workspace) -> anyhow::Result<Vec<Source>> {
    let list = exec::output(Command::new("git").current_dir(workspace.root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .context("tidy asks `git ls-files` which files are ours, and that failed")?;
    let mut sources = Vec::new();
    for path in list.split_terminator('\0') {
        let bytes = match std::fs::read(workspace.root().join(path)) {
            Ok(bytes) => bytes,
            // Deleted, and the deletion not yet staged.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        };
        // What is not text has no house rules.
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source::new(path, text));
        }
    }
    Ok(sources)
}
