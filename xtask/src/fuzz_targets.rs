//! `fuzz`: libFuzzer on the targets of the crate `fuzz`, one after the other. Stable Rust: the flags that libFuzzer needs are
//! the compiler's own (`fuzz/instrument`), and sanitizers, which need a nightly, would find little in a proxy without `unsafe`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::workspace::Workspace;
use crate::{exec, setup, step};

/// What, and for how long.
#[derive(Args)]
pub(crate) struct FuzzTargets {
    /// Only these; without a word all
    targets: Vec<String>,
    /// For so long each
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u32,
}

/// Runs every target that is asked for, and fails if one of them crashed.
pub(crate) fn run(workspace: &Workspace, fuzz: &FuzzTargets) -> anyhow::Result<()> {
    let known = known(workspace)?;
    if let Some(unknown) = fuzz.targets.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{unknown}`: {}", known.join(", "));
    }
    let targets = if fuzz.targets.is_empty() {
        known
    } else {
        fuzz.targets.clone()
    };
    setup::run(setup::Extent::Fuzz)?;
    build(workspace, &targets)?;
    let mut crashed = Vec::new();
    for target in targets {
        let outcome = step::quiet(&format!("fuzz {target} for {} s", fuzz.seconds), || {
            search(workspace, &target, fuzz.seconds)
        })?;
        step::say(&format!(
            "  {} runs, {} new units",
            outcome.runs, outcome.new_units
        ));
        if let Some(crash) = outcome.crash {
            step::say(&format!(
                "  CRASH: {}\n  why:   {}\n  again: cargo run --package weir-fuzz --bin {target} -- {crash}",
                crash,
                outcome.log.display()
            ));
            crashed.push(target);
        }
    }
    if !crashed.is_empty() {
        bail!("crashes in {}", crashed.join(", "));
    }
    Ok(())
}

/// The targets' names, sorted: those of the files of their programs.
fn known(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let folder = workspace.root().join("fuzz/fuzz_targets");
    let files =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort_unstable();
    Ok(names)
}

/// Builds the programs. The whole workspace is selected and dependencies are left as they are, so that those of the unit
/// ring are used again.
fn build(workspace: &Workspace, targets: &[String]) -> anyhow::Result<()> {
    let mut cargo = exec::cargo(workspace);
    cargo
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            workspace.root().join("fuzz/instrument"),
        )
        .args(["build", "--workspace", "--features", "weir-fuzz/libfuzzer"])
        .args(["--config", "profile.dev.package.weir.opt-level=1"]);
    for target in targets {
        cargo.args(["--bin", target]);
    }
    step::loud("fuzz targets", || exec::check(&mut cargo))
}

/// What a search came to.
struct Outcome {
    runs: String,
    new_units: String,
    /// The input that crashed it.
    crash: Option<String>,
    /// All that libFuzzer said.
    log: PathBuf,
}

fn search(workspace: &Workspace, target: &str, seconds: u32) -> anyhow::Result<Outcome> {
    let found = workspace.target().join("fuzz").join(target);
    let corpus = found.join("corpus");
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let log = found.join("log");
    let mut command = libfuzzer(workspace, target, &found);
    command
        .arg(format!("-max_total_time={seconds}"))
        // New units go to the first; the seeds are ours and stay as they are.
        .args([corpus, workspace.root().join("fuzz/corpus").join(target)]);
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = command
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .with_context(|| format!("cannot start the program of {target}"))?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let after = |mark: &str| {
        let line = said.lines().rev().find_map(|line| line.split_once(mark))?;
        Some(line.1.trim().to_owned())
    };
    let crash = after("Test unit written to ");
    if !status.success() && crash.is_none() {
        bail!("{target} ended with {status}: see {}", log.display());
    }
    let count = |name: &str| after(&format!("stat::{name}:")).unwrap_or_else(|| "?".to_owned());
    Ok(Outcome {
        runs: count("number_of_executed_units"),
        new_units: count("new_units_added"),
        crash,
        log,
    })
}

/// The target's program with its bounds: no input may take long or much memory.
fn libfuzzer(workspace: &Workspace, target: &str, found: &Path) -> Command {
    let mut command = Command::new(workspace.target().join("debug").join(target));
    command
        .current_dir(workspace.root())
        .args(["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"])
        .args(["-print_final_stats=1", "-use_value_profile=1"])
        .arg(format!("-artifact_prefix={}/", found.display()));
    let dictionary = workspace.root().join("fuzz/dictionaries").join(target);
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    command
}
