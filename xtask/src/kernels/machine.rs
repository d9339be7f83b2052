//! The emulated machine: one boot, bounded in time, its console in a file.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

/// What QEMU's package calls it.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// Boots `kernel` with `initramfs` and waits until the machine is off; what it wrote to `console` says how it went. A
/// machine that takes longer than [`TIME_MAX`] is switched off.
pub(super) fn boot(kernel: &Path, initramfs: &Path, console: &Path) -> anyhow::Result<String> {
    let output =
        File::create(console).with_context(|| format!("cannot write {}", console.display()))?;
    let errors = output.try_clone()?;
    let mut qemu = Command::new(QEMU);
    qemu.args(MACHINE)
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE])
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    let mut child = qemu
        .spawn()
        .with_context(|| format!("cannot start `{QEMU}`"))?;
    let waited = wait(&mut child, Instant::now() + TIME_MAX);
    if !matches!(waited, Ok(Some(_))) {
        child.kill().and_then(|()| child.wait())?;
    }
    let text = fs::read(console)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .with_context(|| format!("cannot read {}", console.display()))?;
    Ok(text)
}

/// `None`: it still runs at `deadline`.
fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    loop {
        let ended = child.try_wait()?;
        if ended.is_some() || Instant::now() >= deadline {
            return Ok(ended);
        }
        std::thread::sleep(POLL);
    }
}

/// Emulated, so that it is the same machine wherever this runs, in a virtual machine too. One thread for both processors:
/// with two, QEMU 7.2 now and then runs into code that a kernel of 7.x is just patching.
const MACHINE: [&str; 16] = [
    "-accel",
    "tcg,thread=single",
    "-cpu",
    "max",
    "-smp",
    "2",
    "-m",
    "2048",
    "-nodefaults",
    "-display",
    "none",
    "-monitor",
    "none",
    "-serial",
    "stdio",
    "-no-reboot",
];

/// A kernel that panics reboots, which ends the machine.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1";

/// A boot and the ring take 10 to 40 s on an idle host.
const TIME_MAX: Duration = Duration::from_mins(10);

const POLL: Duration = Duration::from_millis(50);
