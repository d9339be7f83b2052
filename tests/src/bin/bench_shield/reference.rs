//! The programs in C to compare with: compiled when the bench begins, loaded like weir's own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Map, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

/// What most groups compare with.
pub(crate) struct References {
    drop: Loaded,
    /// Goes in front of a program whose packets need sources of their own.
    pub(crate) step: Object,
    /// The responder to compare SYN cookies with.
    pub(crate) cookie: Object,
}

impl References {
    /// Compiles and loads them.
    pub(crate) fn compile() -> Result<Self> {
        Ok(Self {
            drop: Object::compile("drop", &[])?.load(&["empty", "parse_drop"])?,
            step: Object::compile("step", &[])?,
            cookie: Object::compile("cookie", &[])?,
        })
    }

    /// Does nothing but drop.
    pub(crate) fn empty(&self) -> Result<&Xdp> {
        self.drop.program("empty")
    }

    /// Reads the headers and drops.
    pub(crate) fn parse_drop(&self) -> Result<&Xdp> {
        self.drop.program("parse_drop")
    }
}

/// A compiled file of `tests/bench`.
pub(crate) struct Object {
    file: &'static str,
    bytes: Vec<u8>,
}

impl Object {
    /// Compiles `tests/bench/<file>.c` with `defines`.
    pub(crate) fn compile(file: &'static str, defines: &[(&str, u32)]) -> Result<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench");
        let output = Command::new("clang")
            .current_dir(directory)
            .args(["-O2", "-g", "-Wall", "-target", "bpf", "-mcpu=v3"])
            .args(
                defines
                    .iter()
                    .map(|(name, value)| format!("-D{name}={value}")),
            )
            .args(["-c", &format!("{file}.c"), "-o", "-"])
            .output()
            .context("starting clang; `cargo xtask bench shield` installs it")?;
        ensure!(
            output.status.success(),
            "clang does not compile tests/bench/{file}.c:\n{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(Self {
            file,
            bytes: output.stdout,
        })
    }

    /// Creates its maps and loads the programs named, all constants as they are written.
    pub(crate) fn load(&self, programs: &[&str]) -> Result<Loaded> {
        self.load_with(&mut EbpfLoader::new(), programs)
    }

    /// As [`Object::load`], by a loader that sets constants.
    pub(crate) fn load_with(
        &self,
        loader: &mut EbpfLoader<'_>,
        programs: &[&str],
    ) -> Result<Loaded> {
        let mut ebpf = loader
            .load(&self.bytes)
            .with_context(|| format!("creating the maps of tests/bench/{}.c", self.file))?;
        for name in programs {
            let program: &mut Xdp = ebpf
                .program_mut(name)
                .with_context(|| format!("tests/bench/{}.c has no program {name}", self.file))?
                .try_into()?;
            program
                .load()
                .with_context(|| format!("loading {name} of tests/bench/{}.c", self.file))?;
        }
        Ok(Loaded(ebpf))
    }
}

/// Loaded programs of one object and their maps.
pub(crate) struct Loaded(Ebpf);

impl Loaded {
    /// A program that was loaded.
    pub(crate) fn program(&self, name: &str) -> Result<&Xdp> {
        let program = self
            .0
            .program(name)
            .with_context(|| format!("no program {name}"))?;
        Ok(program.try_into()?)
    }

    /// A program that was loaded, to attach it.
    pub(crate) fn program_mut(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self
            .0
            .program_mut(name)
            .with_context(|| format!("no program {name}"))?;
        Ok(program.try_into()?)
    }

    /// A map.
    pub(crate) fn map_mut(&mut self, name: &str) -> Result<&mut Map> {
        self.0
            .map_mut(name)
            .with_context(|| format!("no map {name}"))
    }

    /// The counter in a per-CPU map of one, over all cores.
    pub(crate) fn count(&self, map: &str) -> Result<u64> {
        let map = self.0.map(map).with_context(|| format!("no map {map}"))?;
        let counter = PerCpuArray::<_, u64>::try_from(map)?;
        Ok(counter.get(&0, 0)?.iter().sum())
    }
}
