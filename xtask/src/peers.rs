//! nginx and HAProxy for the net ring, from Debian's packages, unpacked below `target/peers`. Installing these packages would
//! start two daemons, at once and at every boot; only the libraries that they are linked against are installed. What is
//! unpacked is used as it is: remove the folder to get newer ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::workspace::Workspace;
use crate::{exec, host, setup, step};

/// Unpacks them where apt can get them; elsewhere takes those that are on PATH.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let shelf = workspace.root().join("target/peers");
    if shelf.join(STAMP).exists() {
        return Ok(());
    }
    let names = PACKAGES.join(" ");
    let tools = host::find_program("apt-get").zip(host::find_program("dpkg-deb"));
    if let Some((apt, dpkg)) = tools.filter(|_| host::is_root()) {
        return step::loud("unpack nginx and HAProxy", || unpack(&apt, &dpkg, &shelf))
            .with_context(|| {
                format!(
                    "Debian's packages {names} could not be unpacked into {}",
                    shelf.display()
                )
            });
    }
    if PROGRAMS
        .iter()
        .all(|name| host::find_program(name).is_some())
    {
        return Ok(());
    }
    bail!(
        "this host lacks nginx or HAProxy, which the net ring runs weir against, and only root with apt could get them \
         here\ninstall both (Debian's packages {names}), then run `cargo xtask setup` again"
    );
}

fn unpack(apt: &Path, dpkg: &Path, shelf: &Path) -> anyhow::Result<()> {
    // What an interrupted run left.
    match fs::remove_dir_all(shelf) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", shelf.display()));
        }
        _ => {}
    }
    let archives = shelf.join("archives");
    fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
    exec::check(setup::apt_get(apt).arg("update"))?;
    exec::check(
        setup::apt_get(apt)
            // Its sandbox's user may not write here.
            .args(["--option", "APT::Sandbox::User=root", "download"])
            .args(PACKAGES)
            .current_dir(&archives),
    )?;
    let mut libraries = Vec::new();
    for archive in files_in(&archives)? {
        let depends = exec::output(
            Command::new(dpkg)
                .arg("--field")
                .args([archive.as_os_str(), "Depends".as_ref()]),
        )
        .with_context(|| format!("{} says nothing of itself", archive.display()))?;
        libraries.extend(libraries_among(&depends));
        exec::check(Command::new(dpkg).arg("--extract").args([&archive, shelf]))?;
    }
    exec::check(
        setup::apt_get(apt)
            .args(["satisfy", "--yes", "--no-remove", "--no-install-recommends"])
            .arg(libraries.join(", ")),
    )?;
    fs::remove_dir_all(&archives)
        .and_then(|()| fs::write(shelf.join(STAMP), ""))
        .with_context(|| format!("cannot finish {}", shelf.display()))
}

fn files_in(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("cannot list {}", directory.display()))
}

/// Of a package's `Depends` the libraries, with their versions; not what adds users and services.
fn libraries_among(depends: &str) -> impl Iterator<Item = String> {
    depends
        .split(',')
        .map(str::trim)
        .filter(|dependency| dependency.starts_with("lib"))
        .map(str::to_owned)
}

/// Debian's packages with the programs; nginx's stream module has one of its own.
const PACKAGES: [&str; 3] = ["nginx", "libnginx-mod-stream", "haproxy"];
const PROGRAMS: [&str; 2] = ["nginx", "haproxy"];
/// Says that all of it is there.
const STAMP: &str = "complete";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_libraries_of_a_daemon_are_installed() {
        let depends =
            "libc6 (>= 2.34), libssl3 (>= 3.0.0), iproute2, nginx-common (>= 1.22), adduser\n";
        let libraries: Vec<_> = libraries_among(depends).collect();
        assert_eq!(libraries, ["libc6 (>= 2.34)", "libssl3 (>= 3.0.0)"]);
    }
}
