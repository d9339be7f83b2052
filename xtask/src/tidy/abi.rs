//! The kernel ABI: what lies in pinned maps is read by the next weir, so a layout must not change under an old
//! `ABI_VERSION`. `proxy-common/ABI` records the version and a fingerprint of each file that defines layouts; comments,
//! formatting and tests do not count.

use std::fmt::Write;

use anyhow::Context;

use super::Finding;
use super::source::{Literals, Source, blank, tests_at};
use crate::workspace::Workspace;

const RECORD: &str = "proxy-common/ABI";
const FOLDER: &str = "proxy-common/src/";
const VERSION_FILE: &str = "proxy-common/src/lib.rs";
/// Define no layout.
const OTHERS: [&str; 2] = ["lib.rs", "pod.rs"];
const RULE: &str = "kernel-abi";

/// Writes the record for the sources as they are.
pub(super) fn bless(workspace: &Workspace, sources: &[Source]) -> anyhow::Result<()> {
    let record =
        record(sources).context("proxy-common/src/lib.rs has no `ABI_VERSION: u32 = …;`")?;
    std::fs::write(workspace.root().join(RECORD), record)
        .with_context(|| format!("cannot write {RECORD}"))
}

/// Compares the sources with the record.
pub(super) fn judge(sources: &[Source]) -> Vec<Finding> {
    let finding = |file: &str, message: &str| Finding {
        file: file.to_owned(),
        line: 1,
        rule: RULE,
        message: message.to_owned(),
    };
    let Some(present) = record(sources) else {
        return vec![finding(
            VERSION_FILE,
            "say `pub const ABI_VERSION: u32 = …;` here, on one line",
        )];
    };
    let recorded = sources
        .iter()
        .find(|source| source.path == RECORD)
        .map_or("", |source| source.text.as_str());
    if present == recorded {
        return Vec::new();
    }
    let version = |record: &str| {
        record
            .lines()
            .find(|line| line.starts_with("version "))
            .map(str::to_owned)
    };
    if version(&present) != version(recorded) {
        return vec![finding(
            RECORD,
            "is of another ABI_VERSION: run `cargo xtask tidy --bless` and commit it with the change",
        )];
    }
    let changed = present
        .lines()
        .filter(|line| !recorded.lines().any(|old| old == *line))
        .filter_map(|line| line.split(' ').next());
    let mut findings: Vec<Finding> = changed
        .map(|name| {
            finding(
                &format!("{FOLDER}{name}"),
                "changed since proxy-common/ABI was recorded: if any byte in a map now means something else, raise ABI_VERSION; then run `cargo xtask tidy --bless`",
            )
        })
        .collect();
    if findings.is_empty() {
        findings.push(finding(RECORD, "names a file that is gone: raise ABI_VERSION if its layouts are gone too, then run `cargo xtask tidy --bless`"));
    }
    findings
}

fn record(sources: &[Source]) -> Option<String> {
    let version = version(sources)?;
    let mut record = format!(
        "# Fingerprints of the kernel ABI's layouts, written by `cargo xtask tidy --bless`.\nversion {version}\n"
    );
    let mut layouts: Vec<(&str, &Source)> = sources
        .iter()
        .filter(|source| source.is_rust())
        .filter_map(|source| Some((source.path.strip_prefix(FOLDER)?, source)))
        .filter(|(name, _)| !OTHERS.contains(name))
        .collect();
    layouts.sort_by_key(|(name, _)| *name);
    for (name, source) in layouts {
        writeln!(record, "{name} {:016x}", fingerprint(&source.text)).ok()?;
    }
    Some(record)
}

fn version(sources: &[Source]) -> Option<u32> {
    let source = sources.iter().find(|source| source.path == VERSION_FILE)?;
    let (_, rest) = source.code.split_once("ABI_VERSION: u32 = ")?;
    rest.split_once(';')?.0.trim().parse().ok()
}

/// FNV-1a over the tokens before the tests: it has to notice a change, not to resist an attacker.
fn fingerprint(text: &str) -> u64 {
    let code = blank(text, Literals::Keep);
    let layouts = &code[..tests_at(&code).unwrap_or(code.len())];
    layouts
        .split_whitespace()
        .flat_map(|word| word.bytes().chain([b' ']))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: &str =
        "//! x\npub struct Entry { pub expires_ns: u64 }\npub const NAME: &str = \"ENTRIES\";\n";

    fn sources(version: u32, layout: &str, record: &str) -> Vec<Source> {
        vec![
            Source::new(RECORD, record.to_owned()),
            Source::new("proxy-common/src/entry.rs", layout.to_owned()),
            Source::new(
                VERSION_FILE,
                format!("//! x\npub const ABI_VERSION: u32 = {version};\n"),
            ),
        ]
    }

    fn recorded() -> String {
        record(&sources(1, LAYOUT, "")).expect("there is a version")
    }

    fn files(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .map(|finding| finding.file.as_str())
            .collect()
    }

    #[test]
    fn a_changed_layout_or_map_name_under_the_same_version_is_found() {
        for changed in [
            LAYOUT.replace("u64", "u32"),
            LAYOUT.replace("ENTRIES", "OTHERS"),
        ] {
            let findings = judge(&sources(1, &changed, &recorded()));
            assert_eq!(files(&findings), ["proxy-common/src/entry.rs"]);
        }
    }

    #[test]
    fn a_raised_version_wants_a_new_record() {
        assert_eq!(files(&judge(&sources(2, LAYOUT, &recorded()))), [RECORD]);
    }

    #[test]
    fn a_removed_file_is_found() {
        let mut sources = sources(1, LAYOUT, &recorded());
        sources.remove(1);
        assert_eq!(files(&judge(&sources)), [RECORD]);
    }

    #[test]
    fn comments_formatting_and_tests_do_not_count() {
        let same = LAYOUT
            .replace("//! x", "//! Something else.")
            .replace(" { ", " {\n    ")
            + "#[cfg(test)]\nmod tests {}\n";
        assert_eq!(judge(&sources(1, &same, &recorded())), []);
    }
}
