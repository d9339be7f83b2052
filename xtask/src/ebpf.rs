//! `build-ebpf`: the packet filter for BPF, into `target/ebpf/weir.bpf.o`, which the proxy's build script embeds.
//!
//! No path of this machine gets into the object, so two checkouts make the same bytes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::toolchain::{self, Route};
use crate::workspace::Workspace;
use crate::{exec, host, step};

const TARGET: &str = "bpfel-unknown-none";

/// Builds, and replaces the object only if its bytes changed, so that the proxy is not built anew for nothing.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let Some(route) = Route::find() else {
        bail!("this host has no compiler that makes BPF; run `cargo xtask setup`");
    };
    if toolchain::bpf_linker().is_none() {
        bail!("bpf-linker is missing or does not start; run `cargo xtask setup`");
    }
    step::loud("packet filter", || {
        compile(workspace, route).context(
            "if the source is fine and the linker failed, its LLVM may be older than the compiler's: `cargo uninstall bpf-linker`, then `cargo xtask setup`",
        )?;
        let built = workspace.ebpf_target().join(TARGET).join("bpf/weir-ebpf");
        replace_if_different(&built, &workspace.ebpf_object())
    })
}

fn compile(workspace: &Workspace, route: Route) -> anyhow::Result<()> {
    let mut cargo = route.cargo()?;
    cargo
        .current_dir(workspace.root())
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, route)?)
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_TARGET_DIR")
        .args(["build", "--package", "weir-ebpf", "--bin", "weir-ebpf"])
        .args(["--profile", "bpf", "--target", TARGET])
        .args(["-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(workspace.ebpf_target());
    exec::check(&mut cargo)
}

/// Flags of rustc, as cargo's separator-joined list: paths may hold spaces.
fn flags(workspace: &Workspace, route: Route) -> anyhow::Result<OsString> {
    let mut flags: Vec<OsString> = vec![
        // What aya's bindings choose the register layout by.
        format!("--cfg=bpf_target_arch=\"{}\"", host::bpf_target_arch()?).into(),
        // 32-bit arithmetic and jumps, and atomic operations that return something: Linux 5.12.
        "-Ctarget-cpu=v3".into(),
        "-Cpanic=abort".into(),
        // BTF is made from debug information.
        "-Cdebuginfo=2".into(),
        "-Clinker=bpf-linker".into(),
        "-Clink-arg=--btf".into(),
    ];
    // The last match wins, so the most specific comes last: a checkout may lie inside cargo's home.
    let prefixes = [
        (route.sysroot(), "/rust"),
        (cargo_home(), "/cargo"),
        (Some(workspace.root().to_path_buf()), "/weir"),
    ];
    for (prefix, name) in prefixes {
        if let Some(prefix) = prefix {
            let mut flag = OsString::from("--remap-path-prefix=");
            flag.push(prefix);
            flag.push("=");
            flag.push(name);
            flags.push(flag);
        }
    }
    Ok(flags.join("\u{1f}".as_ref()))
}

fn cargo_home() -> Option<PathBuf> {
    host::cargo_bin().and_then(|bin| bin.parent().map(Path::to_path_buf))
}

fn replace_if_different(new: &Path, current: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(new).with_context(|| format!("cannot read {}", new.display()))?;
    if std::fs::read(current).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    // Renamed into place: a build of the proxy that runs meanwhile sees the old object or the new one.
    let partial = current.with_extension("o.partial");
    std::fs::write(&partial, &bytes)
        .and_then(|()| std::fs::rename(&partial, current))
        .with_context(|| format!("cannot write {}", current.display()))
}
