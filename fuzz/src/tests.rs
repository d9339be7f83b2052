//! Every property on its corpus, in the unit ring.

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use crate::{TARGETS, Target};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("readable").path());
    let stem = |path: PathBuf| {
        path.file_stem()
            .expect("named")
            .to_string_lossy()
            .into_owned()
    };
    paths.map(stem).collect()
}

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder("corpus").join(target.name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths
        .map(|path| {
            let data = fs::read(&path).expect("readable");
            (path, data)
        })
        .collect()
}

#[test]
fn every_property_holds_on_its_corpus_and_on_parts_of_it() {
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(corpus.len() > 1, "{} has no corpus", target.name);
        for (path, data) in corpus {
            let holds = |data: &[u8]| {
                let outcome = panic::catch_unwind(|| (target.property)(data));
                assert!(outcome.is_ok(), "{}: {data:?}", path.display());
            };
            holds(&data);
            for end in (0..data.len()).step_by(data.len() / 16 + 1) {
                holds(&data[..end]);
                let mut changed = data.clone();
                changed[end] ^= 1 << (end % 8);
                holds(&changed);
            }
        }
    }
}

#[test]
fn targets_binaries_and_corpora_are_the_same_list() {
    let targets: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    assert_eq!(targets.len(), TARGETS.len(), "a name twice");
    assert_eq!(names(&folder("fuzz_targets")), targets);
    assert_eq!(names(&folder("corpus")), targets);
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("readable");
    for name in &targets {
        let entry = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&entry), "{name} is no binary");
    }
}
