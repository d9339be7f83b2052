//! The key of what clients see and feed of the balancer: sticky cookies stay good over a restart, and weirs side by side
//! that are given the same file choose alike.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::balance::Secret;

/// Reads the key in `state_dir`; makes one at the first start.
pub(super) fn load(state_dir: &Path) -> anyhow::Result<Secret> {
    let path = state_dir.join(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => match <[u8; BYTES]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(Secret::new(bytes)),
            Err(_) => bail!(
                "{} is not a key of {BYTES} bytes: remove it, and weir makes a new one",
                path.display()
            ),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let bytes = random().context("cannot read /dev/urandom")?;
            store(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(Secret::new(bytes))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn random() -> std::io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Whole or not at all: a start that dies half-way must not leave half a key.
fn store(path: &Path, bytes: [u8; BYTES]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

const FILE: &str = "balance.key";
const BYTES: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_then_found() {
        let dir = std::env::temp_dir().join(format!("weir-secret-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let made = load(&dir).unwrap();
        assert!(load(&dir).unwrap() == made);
        std::fs::write(dir.join(FILE), "short").unwrap();
        let refused = load(&dir).unwrap_err().to_string();
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(refused.contains(FILE), "{refused}");
    }
}
