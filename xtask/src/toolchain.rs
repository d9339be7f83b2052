//! The compiler that makes BPF: a nightly from rustup, or the compiler that Debian builds its browsers with. Either must
//! have the source of `core`, which is compiled for BPF; neither replaces the stable toolchain that builds the proxy.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{exec, host};

/// LLVM of Debian's compiler, and so of the `bpf-linker` that reads what it wrote.
pub(crate) const LLVM_MAJOR: u32 = 22;
/// The `bpf-linker` that `setup` installs.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";
/// Debian's compiler, its cargo and the source of `core`.
pub(crate) const DEBIAN_COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A compiler that can make BPF on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// rustup's nightly with rust-src.
    Nightly,
    /// Debian's rustc-web with rust-web-src.
    Debian,
}

impl Route {
    /// The first route that is complete on this host. Looks at files only, so that asking costs nothing.
    pub(crate) fn find() -> Option<Self> {
        if nightly_sysroot().is_some_and(|sysroot| has_core_source(&sysroot)) {
            return Some(Self::Nightly);
        }
        let debian = Path::new(DEBIAN_RUSTC).exists()
            && Path::new(DEBIAN_CARGO).exists()
            && has_core_source(Path::new("/usr"));
        debian.then_some(Self::Debian)
    }

    /// What it is, for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nightly => "rustup nightly with rust-src",
            Self::Debian => "Debian's rustc-web with rust-web-src",
        }
    }

    /// `cargo` that compiles with this route's compiler.
    pub(crate) fn cargo(self) -> anyhow::Result<Command> {
        let mut command = match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo"]);
                command
            }
            Self::Debian => {
                let mut command = Command::new(DEBIAN_CARGO);
                // `-Z build-std` is unstable; the distribution's compiler is a release.
                command
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        // The cargo around us speaks of another toolchain.
        for name in [
            "CARGO",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTUP_TOOLCHAIN",
        ] {
            command.env_remove(name);
        }
        command.env("PATH", host::path_with(&linker_directories())?);
        Ok(command)
    }

    /// The LLVM that this route's compiler writes bitcode with.
    pub(crate) fn llvm_major(self) -> Option<u32> {
        let mut rustc = match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "rustc"]);
                command
            }
            Self::Debian => Command::new(DEBIAN_RUSTC),
        };
        let version = exec::output(rustc.arg("-vV"))?;
        let llvm = version
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))?;
        llvm.split('.').next()?.parse().ok()
    }

    /// The directory whose path the compiler writes into debug information for `core`.
    pub(crate) fn sysroot(self) -> Option<PathBuf> {
        match self {
            Self::Nightly => nightly_sysroot(),
            Self::Debian => Some(PathBuf::from("/usr")),
        }
    }
}

/// `bpf-linker`, if it is there and starts (it does not when its LLVM is gone).
pub(crate) fn bpf_linker() -> Option<PathBuf> {
    let program = linker_directories()
        .into_iter()
        .map(|directory| directory.join("bpf-linker"))
        .find(|candidate| candidate.exists())
        .or_else(|| host::find_program("bpf-linker"))?;
    exec::output(Command::new(&program).arg("--version")).map(|_| program)
}

/// Where Debian has the tools of an LLVM.
pub(crate) fn llvm_bin(major: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{major}/bin"))
}

/// Whether bpf-linker can be built against that LLVM: its `llvm-config` is on PATH or where Debian puts it.
pub(crate) fn has_llvm(major: u32) -> bool {
    let on_path = || {
        let version = exec::output(Command::new("llvm-config").arg("--version"))?;
        Some(version.split('.').next()? == major.to_string())
    };
    llvm_bin(major).join("llvm-config").exists() || on_path() == Some(true)
}

fn linker_directories() -> Vec<PathBuf> {
    host::cargo_bin().into_iter().collect()
}

/// rustup's nightly for this host, without starting rustup.
fn nightly_sysroot() -> Option<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")))?;
    let toolchain = format!("nightly-{}-unknown-linux-gnu", std::env::consts::ARCH);
    let sysroot = home.join("toolchains").join(toolchain);
    sysroot.join("bin/cargo").exists().then_some(sysroot)
}

fn has_core_source(sysroot: &Path) -> bool {
    sysroot
        .join("lib/rustlib/src/rust/library/core/Cargo.toml")
        .exists()
}
