//! Kernels and busybox from Debian, unpacked below `target/kernels`. Nothing is installed: apt works with sources and
//! state of its own, and takes only the mirror (and its proxy, if any) from the host's configuration.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::series::Series;
use crate::{exec, host};

/// Where kernels are kept, `<series>/vmlinuz`. What is there is used as it is: remove a folder to get a newer one.
pub(super) struct Shelf {
    directory: PathBuf,
    apt: Option<Apt>,
}

impl Shelf {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            apt: None,
        }
    }

    /// The kernel image of the newest release in `series`.
    pub(super) fn kernel(&mut self, series: Series) -> anyhow::Result<PathBuf> {
        let folder = self.directory.join(series.to_string());
        self.keep(folder.join("vmlinuz"), |apt| {
            let kernel = newest(&apt.kernels()?, series).cloned().with_context(|| {
                format!(
                    "no kernel {series} in the suites {} of {}",
                    SUITES.join(", "),
                    apt.mirror
                )
            })?;
            apt.fetch(&kernel.package, &kernel.image_places())
        })
    }

    /// A static busybox.
    pub(super) fn busybox(&mut self) -> anyhow::Result<PathBuf> {
        // Debian 13 moved it.
        let places = ["usr/bin/busybox", "bin/busybox"].map(str::to_owned);
        self.keep(self.directory.join("busybox"), |apt| {
            apt.fetch("busybox-static", &places)
        })
    }

    /// `place`, filled by what `make` unpacked if it is empty.
    fn keep(
        &mut self,
        place: PathBuf,
        make: impl FnOnce(&Apt) -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<PathBuf> {
        if place.exists() {
            return Ok(place);
        }
        let apt = match &self.apt {
            Some(apt) => apt,
            None => self.apt.insert(Apt::open(&self.directory.join("apt"))?),
        };
        let made = make(apt)?;
        let folder = place.parent().unwrap_or(&self.directory);
        fs::create_dir_all(folder)
            .and_then(|()| fs::rename(&made, &place))
            .with_context(|| format!("cannot move {} to {}", made.display(), place.display()))?;
        Ok(place)
    }
}

/// A kernel that the mirror has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kernel {
    /// The package with the image.
    package: String,
    /// As in `uname -r`.
    release: String,
    /// The release's numbers, for comparing.
    numbers: Vec<u32>,
}

impl Kernel {
    /// `linux-image-6.1.0-50-cloud-amd64`; in Debian's newest the image is in `linux-binary-…`, and `linux-image-…` depends on it.
    /// The `cloud` flavour is a third of the size, has everything that the packet filter needs, and boots without modules.
    fn of_package(package: &str) -> Option<Self> {
        let release = PREFIXES
            .iter()
            .find_map(|prefix| package.strip_prefix(prefix))?;
        let numbers = release.strip_suffix(FLAVOUR)?;
        if !numbers.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            package: package.to_owned(),
            release: release.to_owned(),
            numbers: numbers
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|number| number.parse().ok())
                .collect(),
        })
    }

    /// Where the image is in the package.
    fn image_places(&self) -> [String; 2] {
        [
            format!("boot/vmlinuz-{}", self.release),
            format!("usr/lib/modules/{}/vmlinuz", self.release),
        ]
    }
}

/// The newest of `series`; of two packages of one release the one with the image.
fn newest(kernels: &[Kernel], series: Series) -> Option<&Kernel> {
    kernels
        .iter()
        .filter(|kernel| series.covers(&kernel.numbers))
        .max_by_key(|kernel| (&kernel.numbers, kernel.package.starts_with(PREFIXES[0])))
}

/// apt with sources and state of its own.
struct Apt {
    directory: PathBuf,
    mirror: String,
}

impl Apt {
    /// Reads the indexes of all suites. A suite that is gone from the mirror is complained about by apt, and shows as
    /// kernels that are missing.
    fn open(directory: &Path) -> anyhow::Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            if host::find_program(program).is_none() {
                bail!(
                    "`{program}` is missing: kernels come from Debian's archive, so this runs on Debian and its kin"
                );
            }
        }
        let mirror = mirror()?;
        fs::create_dir_all(directory.join("lists/partial"))
            .and_then(|()| fs::create_dir_all(directory.join("archives/partial")))
            .and_then(|()| fs::write(directory.join(SOURCES), sources(&mirror)))
            .with_context(|| format!("cannot write below {}", directory.display()))?;
        let apt = Self {
            directory: directory.to_path_buf(),
            mirror,
        };
        let updated = exec::check(apt.command("apt-get").arg("update"));
        if updated.is_err() && apt.kernels().is_err() {
            updated.context("apt cannot read the indexes of Debian's suites")?;
        }
        Ok(apt)
    }

    /// All kernels of all suites.
    fn kernels(&self) -> anyhow::Result<Vec<Kernel>> {
        let names = exec::output(self.command("apt-cache").args(["pkgnames", "linux-"]))
            .context("`apt-cache pkgnames` failed")?;
        let kernels: Vec<Kernel> = names.lines().filter_map(Kernel::of_package).collect();
        if kernels.is_empty() {
            bail!("no suite of {} has a kernel", self.mirror);
        }
        Ok(kernels)
    }

    /// Unpacks `package`; the first of `places` in it that is a file.
    fn fetch(&self, package: &str, places: &[String]) -> anyhow::Result<PathBuf> {
        let folder = self.unpack(package)?;
        places
            .iter()
            .map(|place| folder.join(place))
            .find(|place| place.is_file())
            .with_context(|| format!("{package} has none of {}", places.join(", ")))
    }

    /// The folder with `package`'s files.
    fn unpack(&self, package: &str) -> anyhow::Result<PathBuf> {
        let folder = self.directory.join(package);
        // What an interrupted run left.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        exec::check(
            self.command("apt-get")
                .args(["download", package])
                .current_dir(&folder),
        )?;
        let archive = fs::read_dir(&folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension() == Some(OsStr::new("deb")))
            .with_context(|| format!("apt did not leave {package} where it was told to"))?;
        exec::check(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(&archive)
                .arg(&folder),
        )?;
        Ok(folder)
    }

    /// `program` of apt, on our sources and state.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--quiet=2");
        for (option, place) in [
            ("Dir::Etc::SourceList=", SOURCES),
            ("Dir::State::Lists=", "lists"),
            ("Dir::Cache=", ""),
        ] {
            let mut value = OsString::from(option);
            value.push(self.directory.join(place));
            command.arg("--option").arg(value);
        }
        for option in [
            "Dir::Etc::SourceParts=/dev/null",
            "Dir::State::Status=/dev/null",
            "Acquire::Languages=none",
            "Acquire::GzipIndexes=true",
            // A suite that cannot be read is an error, not a warning.
            "APT::Update::Error-Mode=any",
            // apt's own user may not write below a home directory.
            "APT::Sandbox::User=root",
        ] {
            command.args(["--option", option]);
        }
        command
    }
}

impl Drop for Apt {
    /// Indexes and unpacked packages are large, and not read again.
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The mirror of Debian's main archive that the host is configured for.
fn mirror() -> anyhow::Result<String> {
    let targets = exec::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]))
    .context("`apt-get indextargets` failed")?;
    main_archive(&targets).map(str::to_owned).context(
        "apt's sources name no mirror of Debian (a URI that ends in /debian), and kernels come from one; add it to apt's sources",
    )
}

/// Mirrors name the main archive's folder `debian`, next to `debian-security` and others.
fn main_archive(uris: &str) -> Option<&str> {
    uris.lines()
        .find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
}

fn sources(mirror: &str) -> String {
    format!(
        "Types: deb\nURIs: {mirror}\nSuites: {}\nComponents: main\nArchitectures: amd64\nSigned-By: {KEYRING}\n",
        SUITES.join(" ")
    )
}

/// Where kernels are looked for: each release of Debian brings a long-term kernel, backports bring what came since.
const SUITES: [&str; 4] = ["bullseye", "bookworm", "trixie", "trixie-backports"];

/// Of Debian's package debian-archive-keyring, which apt depends on.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The extension tells apt the format.
const SOURCES: &str = "debian.sources";

/// The second holds the image where the first does not exist.
const PREFIXES: [&str; 2] = ["linux-binary-", "linux-image-"];
const FLAVOUR: &str = "-cloud-amd64";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_series_the_highest_release_is_taken() {
        let kernels = kernels([
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.12.9+deb13-cloud-amd64",
            "linux-image-6.12.90+deb13-cloud-amd64",
            "linux-image-6.12.90+deb13.1-cloud-amd64",
        ]);
        let package = |series| newest(&kernels, series).map(|kernel| kernel.package.as_str());
        assert_eq!(
            package(Series::Numbered(6, 1)),
            Some("linux-image-6.1.0-50-cloud-amd64")
        );
        assert_eq!(
            package(Series::Newest),
            Some("linux-image-6.12.90+deb13.1-cloud-amd64")
        );
        assert_eq!(package(Series::Numbered(6, 6)), None);
    }

    #[test]
    fn the_package_with_the_image_comes_before_the_one_that_depends_on_it() {
        let kernels = kernels([
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
        ]);
        let kernel = newest(&kernels, Series::Newest).expect("there are two");
        assert_eq!(kernel.package, "linux-binary-7.3.4+deb13-cloud-amd64");
        assert_eq!(kernel.release, "7.3.4+deb13-cloud-amd64");
    }

    #[test]
    fn other_flavours_and_meta_packages_are_no_kernels() {
        for package in [
            "linux-image-cloud-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.1.0-50-rt-amd64",
            "linux-image-6.1.0-50-cloud-amd64-dbg",
            "linux-image-6.1.0-50-cloud-amd64-unsigned",
            "linux-binary-unsigned-7.3.4+deb13-cloud-amd64",
            "linux-headers-6.1.0-50-cloud-amd64",
        ] {
            assert_eq!(Kernel::of_package(package), None, "{package}");
        }
    }

    #[test]
    fn the_security_archive_is_not_the_main_archive() {
        let uris = "http://mirror.example/debian-security/\nhttp://mirror.example/debian/\n";
        assert_eq!(main_archive(uris), Some("http://mirror.example/debian/"));
        assert_eq!(main_archive("http://mirror.example/ubuntu/\n"), None);
    }

    fn kernels<const N: usize>(packages: [&str; N]) -> Vec<Kernel> {
        packages
            .into_iter()
            .filter_map(Kernel::of_package)
            .collect()
    }
}
