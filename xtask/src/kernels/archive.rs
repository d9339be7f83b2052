//! An initramfs: a cpio archive in the `newc` format (the kernel's Documentation/driver-api/early-userspace/
//! buffer-format.rst), not compressed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;

/// What a file may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Program,
}

/// An archive that grows entry by entry. Parents come before what is in them, whoever asks.
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entries: 0,
            directories: BTreeSet::new(),
        }
    }

    /// A directory, with its parents. `path` is absolute in the guest.
    pub(super) fn directory(&mut self, path: &str) -> anyhow::Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || self.directories.contains(path) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent)?;
        }
        self.directories.insert(path.to_owned());
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// A file, with the directories above it. `path` is absolute in the guest.
    pub(super) fn file(&mut self, path: &str, kind: Kind, content: &[u8]) -> anyhow::Result<()> {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent)?;
        }
        let permissions = match kind {
            Kind::Plain => 0o644,
            Kind::Program => 0o755,
        };
        self.entry(path, REGULAR | permissions, content)
    }

    /// The host's file `from`, as `path` in the guest.
    pub(super) fn copy(&mut self, from: &Path, path: &str, kind: Kind) -> anyhow::Result<()> {
        let content =
            std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, kind, &content)
    }

    /// The finished archive.
    pub(super) fn finish(mut self) -> anyhow::Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> anyhow::Result<()> {
        let size = u32::try_from(content.len())
            .with_context(|| format!("{name} is too large for an initramfs: 4 GiB or more"))?;
        let name_size = u32::try_from(name.len() + 1).context("a name is too long")?;
        self.entries += 1;
        let inode = self.entries;
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        let len = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(len, 0);
    }
}

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_cpio_makes_of_the_same_file() {
        let mut archive = Archive::new();
        archive
            .file("/a/b", Kind::Program, b"hello")
            .expect("it is small");
        let bytes = archive.finish().expect("it is small");
        let expected = [
            "070701",
            "00000001000041ed0000000000000000000000010000000000000000",
            "00000000000000000000000000000000",
            "0000000200000000",
            "a\0",
            "070701",
            "00000002000081ed0000000000000000000000010000000000000005",
            "00000000000000000000000000000000",
            "0000000400000000",
            "a/b\0\0\0",
            "hello\0\0\0",
            "070701",
            "00000003000000000000000000000000000000010000000000000000",
            "00000000000000000000000000000000",
            "0000000b00000000",
            "TRAILER!!!\0\0\0\0",
        ];
        assert_eq!(String::from_utf8(bytes).expect("text"), expected.concat());
    }

    #[test]
    fn a_directory_is_made_once() {
        let mut archive = Archive::new();
        for path in ["/lib/one", "/lib/two"] {
            archive.file(path, Kind::Plain, b"").expect("it is small");
        }
        archive.directory("/lib").expect("it is there");
        assert_eq!(archive.entries, 3);
    }
}
