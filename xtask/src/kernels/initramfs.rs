//! What the guest's kernel starts with: busybox, the kernel ring's binary and its libraries, the eBPF object, and an init
//! that runs the ring.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::archive::{Archive, Kind};
use crate::exec;

/// The host's files that go in.
pub(super) struct Parts<'a> {
    pub(super) busybox: &'a Path,
    /// The test binary of the kernel ring.
    pub(super) ring: &'a Path,
    /// The eBPF object.
    pub(super) object: &'a Path,
}

impl Parts<'_> {
    /// The archive. `args` go to the test binary.
    pub(super) fn pack(&self, args: &[OsString]) -> anyhow::Result<Vec<u8>> {
        let mut archive = Archive::new();
        for directory in ["/proc", "/sys", "/dev", "/tmp"] {
            archive.directory(directory)?;
        }
        archive.file("/init", Kind::Program, INIT.as_bytes())?;
        archive.file("/tests.sh", Kind::Plain, &ring_line(args))?;
        archive.copy(self.busybox, "/bin/busybox", Kind::Program)?;
        archive.copy(self.ring, RING, Kind::Program)?;
        archive.copy(self.object, OBJECT, Kind::Plain)?;
        for library in libraries(self.ring)? {
            archive.copy(Path::new(&library), &library, Kind::Program)?;
        }
        archive.finish()
    }
}

/// The shell's line that runs the ring. One test at a time: the guest is slow, and its console has one line at a time.
fn ring_line(args: &[OsString]) -> Vec<u8> {
    let mut line =
        format!("WEIR_EBPF_OBJECT={OBJECT} {RING} --test-threads=1 --show-output").into_bytes();
    for arg in args {
        line.extend(b" '");
        for &byte in arg.as_bytes() {
            match byte {
                b'\'' => line.extend(br"'\''"),
                _ => line.push(byte),
            }
        }
        line.push(b'\'');
    }
    line.push(b'\n');
    line
}

/// The shared libraries of `program` and its loader, as `ldd` finds them.
fn libraries(program: &Path) -> anyhow::Result<Vec<String>> {
    let output = exec::output(Command::new("ldd").arg(program))
        .with_context(|| format!("`ldd {}` failed", program.display()))?;
    paths(&output)
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`; `linux-vdso.so.1` is the
/// kernel's own.
fn paths(ldd: &str) -> anyhow::Result<Vec<String>> {
    if let Some(line) = ldd.lines().find(|line| line.contains("not found")) {
        bail!("the test binary lacks a library: {}", line.trim());
    }
    Ok(ldd
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect())
}

const INIT: &str = include_str!("init.sh");
const RING: &str = "/kernel";
const OBJECT: &str = "/weir.bpf.o";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_ring_as_they_are() {
        let line = ring_line(&["it's".into(), "$HOME *".into()]);
        let line = String::from_utf8(line).expect("text");
        assert!(line.ends_with(" 'it'\\''s' '$HOME *'\n"), "{line}");
    }

    #[test]
    fn ldd_names_libraries_and_the_loader() {
        let ldd = "\tlinux-vdso.so.1 (0x00007f35c0899000)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f35c021e000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f35c089b000)\n";
        assert_eq!(
            paths(ldd).expect("all are found"),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert!(paths("\tlibelf.so.1 => not found\n").is_err());
    }
}
