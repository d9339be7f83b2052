//! What this host is and has.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::bail;

/// Whether we are root: the owner of our own process.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Fails with what to type unless we are root. `why` completes "… needs root:".
pub(crate) fn require_root(command: &str, why: &str) -> anyhow::Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!(
        "`cargo xtask {command}` needs root: {why}; run `sudo --preserve-env=PATH env HOME=\"$HOME\" cargo xtask {command}`"
    );
}

/// The program `name` on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // `ip` and `nsenter` are in sbin on some hosts, which an ordinary user's PATH leaves out.
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

/// PATH with `first` before everything else.
pub(crate) fn path_with(first: &[PathBuf]) -> anyhow::Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = first.iter().cloned().chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(directories)?)
}

/// Where `cargo install` puts programs.
pub(crate) fn cargo_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))?;
    Some(home.join("bin"))
}

/// The host's architecture under the name that aya's bindings are keyed on.
pub(crate) fn bpf_target_arch() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        arch @ ("x86_64" | "aarch64") => Ok(arch),
        other => {
            bail!("the packet filter is built for x86_64 and aarch64 hosts; this one is {other}")
        }
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
