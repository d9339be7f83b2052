//! `docs/attacks.md` names tests: they exist.

use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../../docs/attacks.md");

/// Where the test `name` may be: `file::test` of this folder, `module::test` of the crate.
fn places(name: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let module = name.replace("::", "/");
    [
        root.join(format!("tests/it/{module}.rs")),
        root.join(format!("src/{module}.rs")),
        root.join(format!("src/{module}/mod.rs")),
        root.join(format!("src/{module}/tests.rs")),
    ]
    .into()
}

fn exists(path: &str) -> bool {
    let (module, test) = path.rsplit_once("::").unwrap();
    let head = format!("fn {test}() {{");
    places(module).iter().any(|place| {
        let text = std::fs::read_to_string(place).unwrap_or_default();
        // Between the end of what stands before it and its name.
        text.split_once(&head)
            .and_then(|(before, _)| before.rsplit('}').next())
            .is_some_and(|attributes| attributes.contains("#[test]"))
    })
}

#[test]
fn every_line_about_an_attack_names_a_test_that_exists() {
    let lines = DOCUMENT
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| class |"));
    let mut count = 0;
    for line in lines {
        let cell = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {line}");
        for name in names {
            assert!(exists(name), "{name} does not exist: {line}");
        }
        count += 1;
    }
    assert!(count > 40, "{count} lines");
}
