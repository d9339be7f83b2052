//! `lint`: everything that judges the source and changes nothing, cheapest first.

use std::process::Command;

use crate::workspace::Workspace;
use crate::{ebpf, exec, setup, step, tidy};

/// Stops at the first judge that finds something.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    setup::run(setup::Extent::Ci)?;
    step::loud("format", || {
        exec::check(exec::cargo(workspace).args(["fmt", "--all", "--check"]))
    })?;
    tidy::run(workspace, false)?;
    deny(workspace)?;
    // The proxy embeds it, so it has to be there even for a look at the proxy's source.
    ebpf::run(workspace)?;
    step::loud("clippy", || {
        exec::check(
            exec::cargo(workspace)
                .args(["clippy", "--workspace", "--all-targets", "--keep-going"])
                .args(["--", "--deny", "warnings"]),
        )
    })?;
    step::loud("documentation", || {
        exec::check(
            exec::cargo(workspace)
                .env("RUSTDOCFLAGS", "--deny warnings")
                .args(["doc", "--workspace", "--no-deps", "--keep-going"]),
        )
    })
}

/// Licences, bans and sources always; advisories where their database can be fetched.
fn deny(workspace: &Workspace) -> anyhow::Result<()> {
    step::loud("cargo-deny: bans, licenses, sources", || {
        exec::check(deny_check(workspace).args(["bans", "licenses", "sources"]))
    })?;
    let fetched = step::quiet("cargo-deny: fetch the advisory database", || {
        let mut fetch = exec::cargo(workspace);
        Ok(exec::output(fetch.args(["deny", "fetch", "db"])).is_some())
    })?;
    if !fetched {
        step::say(
            "notice: the advisory database cannot be fetched from here: advisories were NOT checked",
        );
        return Ok(());
    }
    step::loud("cargo-deny: advisories", || {
        exec::check(deny_check(workspace).args(["--disable-fetch", "advisories"]))
    })
}

fn deny_check(workspace: &Workspace) -> Command {
    let mut command = exec::cargo(workspace);
    command.args(["deny", "--all-features", "--locked", "check"]);
    command
}
