//! Where things are. Paths in build commands are relative to the root, so that none of this machine's ends up in an
//! object or a message.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// The checkout that xtask was built from.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace around xtask's own manifest.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .context("run this as `cargo xtask`, which says where the workspace is")?;
        let root = Path::new(&manifest)
            .parent()
            .context("xtask's manifest has no workspace above it")?
            .to_path_buf();
        Ok(Self { root })
    }

    /// The directory of the root manifest.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `target/`, or what `CARGO_TARGET_DIR` says.
    pub(crate) fn target(&self) -> PathBuf {
        // A relative CARGO_TARGET_DIR counts from where cargo runs, and every cargo we start runs in the root.
        self.root
            .join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
    }

    /// Where cargo puts release binaries.
    pub(crate) fn release(&self, binary: &str) -> PathBuf {
        self.target().join("release").join(binary)
    }

    /// The packet filter as the proxy embeds it.
    pub(crate) fn ebpf_object(&self) -> PathBuf {
        self.ebpf_target().join("weir.bpf.o")
    }

    /// Target directory of the BPF build: its own, so that the two compilers do not invalidate each other.
    pub(crate) fn ebpf_target(&self) -> PathBuf {
        self.root.join("target/ebpf")
    }
}
