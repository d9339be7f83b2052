//! Rules on single files, and on how files lie beside each other.

use super::Finding;
use super::source::Source;

/// Longest file, in lines before its tests.
const LINES_MAX: usize = 500;

/// Where `unsafe` may be: files, and folders that end in a slash.
const UNSAFE_HOMES: [&str; 7] = [
    "proxy-common/src/batch.rs",
    "proxy-common/src/pod.rs",
    "proxy-ebpf/src/kernel/",
    "proxy-ebpf/src/maps.rs",
    "proxy-ebpf/src/opaque.rs",
    "proxy-ebpf/src/packet/",
    "proxy-ebpf/src/shared.rs",
];

/// Test binaries that `cargo xtask test` runs.
const RINGS: [&str; 4] = [
    "proxy/tests/allocations.rs",
    "proxy/tests/it/",
    "tests/tests/kernel/",
    "tests/tests/net/",
];

/// Words that promise work instead of doing it; split, so that this file does not find itself.
const PROMISES: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Beginnings of paths that exist on somebody's machine only; split for the same reason.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
];

/// Judges one file.
pub(super) fn judge(source: &Source) -> Vec<Finding> {
    let mut findings = machine_paths(source);
    if source.is_rust() {
        findings.extend(header(source));
        findings.extend(length(source));
        findings.extend(unsafe_code(source));
        findings.extend(test_names(source));
        findings.extend(test_place(source));
    }
    if is_code(source) {
        findings.extend(promises(source));
    }
    findings
}

/// Judges what no file shows alone.
pub(super) fn judge_together(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let folder = source
            .path
            .strip_suffix(".rs")
            .map(|stem| format!("{stem}/"));
        if folder.is_some_and(|folder| sources.iter().any(|other| other.path.starts_with(&folder)))
        {
            findings.push(finding(
                source,
                0,
                "module-root",
                "lies beside a folder of its name: make it the folder's mod.rs".to_owned(),
            ));
        }
        let example = source
            .path
            .strip_prefix("config/")
            .filter(|name| has_extension(name, "toml"));
        if example.is_some_and(|name| !is_mentioned(name, sources)) {
            findings.push(finding(
                source,
                0,
                "example-is-mentioned",
                "no document and no program names this example: say in README.md what it is for, or remove it"
                    .to_owned(),
            ));
        }
    }
    findings
}

fn is_mentioned(name: &str, sources: &[Source]) -> bool {
    sources
        .iter()
        .filter(|source| source.is_rust() || has_extension(&source.path, "md"))
        .any(|source| source.text.contains(name))
}

fn header(source: &Source) -> Option<Finding> {
    let first = source.text.lines().find(|line| !line.trim().is_empty())?;
    (!first.starts_with("//!")).then(|| {
        finding(
            source,
            0,
            "module-says-what",
            "begin with `//!`: what this is, what it is not, which RFC".to_owned(),
        )
    })
}

fn length(source: &Source) -> Option<Finding> {
    let lines = source.text[..source.tests_at()].lines().count();
    (!source.is_test() && lines > LINES_MAX).then(|| {
        finding(
            source,
            0,
            "file-length",
            format!(
                "{lines} lines before the tests, at most {LINES_MAX}: split it by the jobs it does"
            ),
        )
    })
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    let is_home = UNSAFE_HOMES
        .iter()
        .any(|home| source.path == *home || (home.ends_with('/') && source.path.starts_with(home)));
    if is_home {
        return Vec::new();
    }
    words(&source.code, "unsafe")
        .map(|at| {
            finding(
                source,
                at,
                "unsafe-has-a-home",
                "`unsafe` lives in proxy-ebpf::{kernel, maps, opaque, packet, shared} and proxy-common::{batch, pod}: give one of them a safe function"
                    .to_owned(),
            )
        })
        .collect()
}

fn test_names(source: &Source) -> Vec<Finding> {
    source
        .code
        .match_indices("fn test_")
        .filter(|(at, _)| source.code[..*at].trim_end().ends_with([']', 'c']))
        .map(|(at, _)| {
            finding(
                source,
                at,
                "test-is-a-sentence",
                "name the test for the behaviour it asserts, without `test_`".to_owned(),
            )
        })
        .collect()
}

/// `cargo xtask test` names the binaries it runs: one that it does not know would never run.
fn test_place(source: &Source) -> Option<Finding> {
    let (_, inside) = source.path.split_once('/')?;
    let stray =
        inside.starts_with("tests/") && !RINGS.iter().any(|ring| source.path.starts_with(ring));
    stray.then(|| {
        finding(
            source,
            0,
            "test-has-a-ring",
            "no ring runs this: unit tests lie in src/ or proxy/tests/it, end-to-end tests in tests/tests/kernel or tests/tests/net".to_owned(),
        )
    })
}

fn promises(source: &Source) -> Vec<Finding> {
    PROMISES
        .iter()
        .flat_map(|promise| words(&source.text, promise))
        .map(|at| {
            finding(
                source,
                at,
                "no-promises",
                "do it, or leave it out and say in the tracker what is missing".to_owned(),
            )
        })
        .collect()
}

fn machine_paths(source: &Source) -> Vec<Finding> {
    MACHINE_PATHS
        .iter()
        .flat_map(|path| source.text.match_indices(path))
        // Part of a longer path or of a URL is no machine's.
        .filter(|(at, _)| {
            !source.text[..*at].ends_with(|c: char| c.is_alphanumeric() || "_-.}".contains(c))
        })
        .map(|(at, path)| {
            finding(
                source,
                at,
                "no-machine-paths",
                format!("`{path}` exists on one machine: use a path relative to the workspace, or a temporary directory"),
            )
        })
        .collect()
}

fn is_code(source: &Source) -> bool {
    source.is_rust()
        || source.path.starts_with(".ci/")
        || ["toml", "sh", "yml"]
            .iter()
            .any(|extension| has_extension(&source.path, extension))
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, end)| end == extension)
}

/// Where `word` stands by itself.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c == '_' || c.is_alphanumeric();
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            !text[..at].ends_with(is_word)
                && (word.ends_with('(') || !text[at + word.len()..].starts_with(is_word))
        })
}

fn finding(source: &Source, at: usize, rule: &'static str, message: String) -> Finding {
    Finding {
        file: source.path.clone(),
        line: source.line_of(at),
        rule,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        judge(&Source::new(path, text.to_owned()))
            .into_iter()
            .map(|finding| (finding.line, finding.rule))
            .collect()
    }

    #[test]
    fn each_rule_finds_its_line() {
        let cases = [
            (
                "a/src/x.rs",
                "fn f() {}\n".to_owned(),
                1,
                "module-says-what",
            ),
            (
                "a/src/x.rs",
                format!("//! x\n{}", "\n".repeat(LINES_MAX)),
                1,
                "file-length",
            ),
            (
                "a/src/x.rs",
                "//! x\n\nunsafe fn f() {}\n".to_owned(),
                3,
                "unsafe-has-a-home",
            ),
            (
                "a/src/x.rs",
                "//! x\n#[test]\nfn test_f() {}\n".to_owned(),
                3,
                "test-is-a-sentence",
            ),
            (
                "a/src/x.rs",
                "//! x\n#[test]\nasync fn test_f() {}\n".to_owned(),
                3,
                "test-is-a-sentence",
            ),
            (
                "a/src/x.rs",
                format!("//! x\n// {}: later\n", PROMISES[0]),
                2,
                "no-promises",
            ),
            (
                "a/src/x.rs",
                format!("//! x\nfn f() {{ {}) }}\n", PROMISES[3]),
                2,
                "no-promises",
            ),
            (
                "README.md",
                format!("x\nsee {}me\n", MACHINE_PATHS[0]),
                2,
                "no-machine-paths",
            ),
        ];
        for (path, text, line, rule) in cases {
            assert_eq!(rules(path, &text), [(line, rule)], "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_broken_rule_passes() {
        let cases = [
            (
                "a/src/x.rs",
                "//! Nothing here is unsafe.\nfn f() { g(\"unsafe\") }\n".to_owned(),
            ),
            (
                "proxy-ebpf/src/maps.rs",
                "//! x\nunsafe fn f() {}\n".to_owned(),
            ),
            ("a/src/x.rs", "//! x\nfn unsafe_code() {}\n".to_owned()),
            ("README.md", format!("the word {} in prose\n", PROMISES[0])),
            (
                "README.md",
                format!("https://example.org{}x\n", MACHINE_PATHS[1]),
            ),
            (
                "tests/tests/net/x.rs",
                format!("//! x\n{}", "\n".repeat(LINES_MAX)),
            ),
            (
                "a/src/x/tests.rs",
                format!("//! x\n{}", "\n".repeat(LINES_MAX)),
            ),
            (
                "a/src/x.rs",
                format!(
                    "//! x\n#[cfg(test)]\nmod tests {{\n{}}}\n",
                    "\n".repeat(LINES_MAX)
                ),
            ),
        ];
        for (path, text) in cases {
            assert_eq!(rules(path, &text), [], "{path}: {text}");
        }
    }

    #[test]
    fn a_module_file_beside_its_folder_is_found() {
        let sources =
            ["a/src/x.rs", "a/src/x/y.rs"].map(|path| Source::new(path, "//! x\n".to_owned()));
        let found = judge_together(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].file.as_str(), found[0].rule),
            ("a/src/x.rs", "module-root")
        );
    }

    #[test]
    fn an_example_that_nothing_names_is_found() {
        let sources = [
            Source::new("config/a.toml", String::new()),
            Source::new("config/b.toml", String::new()),
            Source::new("README.md", "start with `config/a.toml`\n".to_owned()),
        ];
        let found = judge_together(&sources);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].file, "config/b.toml");
    }
}
