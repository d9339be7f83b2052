//! `setup`: finds out what this host lacks and installs it, or says exactly what to install.
//!
//! What is present is not touched and needs no network; a host that lacks nothing costs a few looks at files.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::toolchain::{self, BPF_LINKER_VERSION, DEBIAN_COMPILER, LLVM_MAJOR, Route};
use crate::{exec, host, kernels, step};

/// The cargo-deny that `lint` is written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Programs that build, tests and demo call, and Debian's package for each.
const PROGRAMS: [(&str, &str); 3] = [
    ("cc", "gcc libc6-dev"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
];

/// The same for what only the net ring calls; see [`peers`](crate::peers) for its daemons.
const NET_PROGRAMS: [(&str, &str); 5] = [
    ("curl", "curl"),
    ("nghttp", "nghttp2-client"),
    ("h2load", "nghttp2-client"),
    ("openssl", "openssl"),
    ("slowhttptest", "slowhttptest"),
];

/// The same for what only benches call.
const BENCH_PROGRAMS: [(&str, &str); 3] = [
    ("clang", "clang"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
];
/// What only fuzzing needs: libFuzzer is C++.
const FUZZER: [(&str, &str); 1] = [("c++", "g++")];
/// Programs that only the ring of kernels calls.
const EMULATOR: [(&str, &str); 1] = [(kernels::QEMU, "qemu-system-x86")];

/// What the host is to be fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Building, testing, the demo.
    Work,
    /// Also the net ring.
    Net,
    /// Also `bench`.
    Bench,
    /// Also `lint`.
    Ci,
    /// Also `fuzz`.
    Fuzz,
    /// Also the ring of kernels.
    Kernels,
}

/// Installs what `extent` needs and this host lacks.
pub(crate) fn run(extent: Extent) -> anyhow::Result<()> {
    let missing = step::quiet("look at what this host has", || Ok(Missing::find(extent)))?;
    if !missing.is_empty() {
        install_packages(&missing)?;
    }
    let route =
        Route::find().context("the eBPF compiler is not where its package should have put it")?;
    step::say(&format!("eBPF compiler: {}", route.name()));
    if toolchain::bpf_linker().is_none() {
        install_bpf_linker(route)?;
    }
    if extent == Extent::Ci {
        for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
            if host::find_program(program).is_none() {
                add_component(component)?;
            }
        }
        if host::find_program("cargo-deny").is_none() {
            install_cargo_deny()?;
        }
    }
    Ok(())
}

/// What only the distribution's package manager can bring.
struct Missing {
    programs: Vec<(&'static str, &'static str)>,
    compiler: bool,
    llvm: Option<u32>,
}

impl Missing {
    fn find(extent: Extent) -> Self {
        let route = Route::find();
        // The linker is built against LLVM's development files, and reads the bitcode that the compiler wrote: its LLVM
        // must not be older than the compiler's.
        let llvm = toolchain::bpf_linker()
            .is_none()
            .then(|| route.and_then(Route::llvm_major).unwrap_or(LLVM_MAJOR))
            .filter(|&major| !toolchain::has_llvm(major));
        let more: &[_] = match extent {
            Extent::Work | Extent::Ci => &[],
            Extent::Net => &NET_PROGRAMS,
            Extent::Bench => &BENCH_PROGRAMS,
            Extent::Fuzz => &FUZZER,
            Extent::Kernels => &EMULATOR,
        };
        Self {
            programs: PROGRAMS
                .iter()
                .chain(more)
                .copied()
                .filter(|(program, _)| host::find_program(program).is_none())
                .collect(),
            compiler: route.is_none(),
            llvm,
        }
    }

    fn is_empty(&self) -> bool {
        self.programs.is_empty() && !self.compiler && self.llvm.is_none()
    }

    /// What is missing, for people.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .programs
            .iter()
            .map(|(program, _)| format!("`{program}`"))
            .collect();
        if self.compiler {
            names.push(
                "a compiler that makes BPF (a nightly without rust-src does not count)".into(),
            );
        }
        if let Some(major) = self.llvm {
            names.push(format!(
                "LLVM {major}'s development files, to build bpf-linker"
            ));
        }
        names
    }

    /// Debian's packages for all of it.
    fn packages(&self) -> Vec<String> {
        let mut packages: Vec<String> = self
            .programs
            .iter()
            .flat_map(|(_, packages)| packages.split(' '))
            .map(str::to_owned)
            .collect();
        if self.compiler {
            packages.extend(DEBIAN_COMPILER.map(str::to_owned));
        }
        if let Some(major) = self.llvm {
            packages.extend([format!("llvm-{major}-dev"), format!("libpolly-{major}-dev")]);
        }
        // Two programs may be in one.
        packages.dedup();
        packages
    }
}

fn install_packages(missing: &Missing) -> anyhow::Result<()> {
    let apt = host::find_program("apt-get").filter(|_| host::is_root());
    let Some(apt) = apt else {
        bail!(
            "this host lacks {}, and only root with apt could install it here\n{}",
            missing.names().join(", "),
            advice(missing)
        );
    };
    let result = step::loud("install Debian packages", || {
        exec::check(apt_get(&apt).arg("update"))?;
        exec::check(
            apt_get(&apt)
                // Never at the price of something that is installed, such as Debian's other rustc.
                .args(["install", "--yes", "--no-remove", "--no-install-recommends"])
                .args(missing.packages()),
        )
    });
    result.with_context(|| {
        format!(
            "this host lacks {}, and apt could not install it\n{}",
            missing.names().join(", "),
            advice(missing)
        )
    })
}

/// `apt-get` that asks nothing.
pub(crate) fn apt_get(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .arg("--quiet");
    command
}

/// What to type, for every route.
fn advice(missing: &Missing) -> String {
    let mut lines = vec![format!(
        "on Debian, as root:\n  apt-get update\n  apt-get install --no-install-recommends {}",
        missing.packages().join(" ")
    )];
    if missing.compiler {
        lines.push(
            "or, for the compiler, on any distribution:\n  rustup toolchain install nightly --profile minimal --component rust-src"
                .to_owned(),
        );
    }
    lines.push("then run `cargo xtask setup` again".to_owned());
    lines.join("\n")
}

fn install_bpf_linker(route: Route) -> anyhow::Result<()> {
    let llvm = route.llvm_major().unwrap_or(LLVM_MAJOR);
    let name = format!("bpf-linker {BPF_LINKER_VERSION} with LLVM {llvm}");
    step::loud(&name, || {
        exec::check(
            Command::new("cargo")
                .env("PATH", host::path_with(&[toolchain::llvm_bin(llvm)])?)
                .args(["install", "bpf-linker", "--locked", "--force"])
                .args(["--version", BPF_LINKER_VERSION])
                .args(["--no-default-features", "--features"])
                .arg(format!("llvm-{llvm}")),
        )
    })
}

fn install_cargo_deny() -> anyhow::Result<()> {
    step::loud(&format!("cargo-deny {CARGO_DENY_VERSION}"), || {
        exec::check(
            Command::new("cargo")
                // Optimised it saves a second a run, and takes minutes more to build.
                .args(["install", "cargo-deny", "--locked", "--debug"])
                .args(["--version", CARGO_DENY_VERSION]),
        )
    })
}

fn add_component(component: &str) -> anyhow::Result<()> {
    step::loud(component, || {
        exec::check(Command::new("rustup").args(["component", "add", component]))
    })
}
