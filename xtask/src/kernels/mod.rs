//! The ring `kernels`: the kernel ring's test binary on kernels other than the host's, each in an emulated machine.
//!
//! It needs nothing of the workspace but that binary and the eBPF object, and nothing of the host but QEMU and a mirror of
//! Debian's archive. Not among the rings that run by default: it fetches kernels and takes minutes.

mod archive;
mod debian;
mod guest;
mod initramfs;
mod machine;
mod report;
mod series;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, bail};

pub(crate) use self::machine::QEMU;
pub(crate) use self::series::Series;

use self::debian::Shelf;
use self::guest::{Guest, Outcome};
use self::initramfs::Parts;
use crate::workspace::Workspace;
use crate::{exec, step};

/// Runs the ring on the kernels `asked` for, or on the usual ones. A kernel that fails does not keep the others from being
/// tried. `args` go to the test binary.
pub(crate) fn run(
    workspace: &Workspace,
    asked: &[Series],
    args: &[OsString],
) -> anyhow::Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "the emulated machines run this host's test binary and are x86_64: use an x86_64 host"
        );
    }
    let ring = step::loud("the kernel ring's test binary", || build(workspace))?;
    let directory = workspace.target().join("kernels");
    let mut shelf = Shelf::new(&directory);
    let busybox = step::loud("busybox", || shelf.busybox())?;
    let guest = Guest {
        directory: &directory,
        parts: Parts {
            busybox: &busybox,
            ring: &ring,
            object: &workspace.ebpf_object(),
        },
        args,
    };
    let series = if asked.is_empty() {
        &Series::DEFAULT
    } else {
        asked
    };
    let outcomes: Vec<Outcome> = series
        .iter()
        .map(|&series| {
            let found = step::loud(&format!("kernel {series}"), || shelf.kernel(series));
            match found {
                Ok(kernel) => guest.run(series, &kernel),
                Err(error) => Outcome::not_run(series, &error),
            }
        })
        .collect();
    summarise(&outcomes)
}

/// One line a kernel.
fn summarise(outcomes: &[Outcome]) -> anyhow::Result<()> {
    let width = outcomes.iter().map(|outcome| outcome.kernel.len()).max();
    let width = width.unwrap_or_default();
    for Outcome { kernel, verdict } in outcomes {
        let line = match verdict {
            Ok(line) => line.clone(),
            Err(line) => format!("FAILED: {line}"),
        };
        step::say(&format!("kernel {kernel:<width$}  {line}"));
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.verdict.is_err())
        .count();
    if failed > 0 {
        bail!("{failed} of {} kernels failed", outcomes.len());
    }
    Ok(())
}

/// Builds the kernel ring and says where it is.
fn build(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let output = exec::cargo(workspace)
        .args(["test", "--workspace", "--test", "kernel", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the kernel ring does not build");
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .context("cargo did not say where it put the kernel ring's test binary")
}

/// The path in cargo's message about the test binary. One field of one line: not worth a parser that xtask would have to
/// wait for.
fn executable(messages: &str) -> Option<PathBuf> {
    let message = messages
        .lines()
        .find(|line| line.contains(r#""kind":["test"]"#) && line.contains(r#""name":"kernel""#))?;
    let (_, path) = message.split_once(r#""executable":""#)?;
    let (path, _) = path.split_once('"')?;
    // An escaped character.
    (!path.contains('\\')).then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_binary_is_found_in_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"kernel"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"net"},"executable":"/t/net-1"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"kernel"},"executable":"/t/kernel-2","fresh":true}"#,
            "\n",
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/kernel-2")));
        assert_eq!(executable(""), None);
    }
}
