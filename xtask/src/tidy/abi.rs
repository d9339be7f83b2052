//! The kernel ABI: what lies in pinned maps is read by the next weir, so a layout must not change under an old
//! `ABI_VERSION`. `proxy-common/ABI` records the version and a fingerprint of each file's `#[repr]` types, constants and
//! macro tables; functions, comments and formatting do not count.

use std::fmt::Write;

use anyhow::Context;

use super::Finding;
use super::source::{Literals, Source, blank};
use crate::workspace::Workspace;

const RECORD: &str = "proxy-common/ABI";
const FOLDER: &str = "proxy-common/src/";
const VERSION_FILE: &str = "proxy-common/src/lib.rs";
/// Define no layout.
const OTHERS: [&str; 3] = ["batch.rs", "lib.rs", "pod.rs"];
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
    let mut files: Vec<(&str, String)> = sources
        .iter()
        .filter(|source| source.is_rust())
        .filter_map(|source| Some((source.path.strip_prefix(FOLDER)?, layouts(source))))
        .filter(|(name, layouts)| !OTHERS.contains(name) && !layouts.is_empty())
        .collect();
    files.sort();
    for (name, layouts) in files {
        writeln!(record, "{name} {:016x}", fingerprint(&layouts)).ok()?;
    }
    Some(record)
}

fn version(sources: &[Source]) -> Option<u32> {
    let source = sources.iter().find(|source| source.path == VERSION_FILE)?;
    let (_, rest) = source.code.split_once("ABI_VERSION: u32 = ")?;
    rest.split_once(';')?.0.trim().parse().ok()
}

/// The items of a file that say what bytes mean, before its tests, white space made alike.
fn layouts(source: &Source) -> String {
    let text = blank(&source.text, Literals::Keep);
    let end_of_code = source.tests_at();
    let mut layouts = String::new();
    let mut at = 0;
    while at < end_of_code {
        let line = source.code[at..].split('\n').next().unwrap_or_default();
        let end = if defines_layout(line) {
            item_end(&source.code, at)
        } else {
            at + line.len()
        };
        if defines_layout(line) {
            for word in text[at..end].split_whitespace() {
                layouts.push_str(word);
                layouts.push(' ');
            }
        }
        at = end + 1;
    }
    layouts
}

/// Whether an item that starts on this line is part of the ABI.
fn defines_layout(line: &str) -> bool {
    let item = line.trim_start();
    let item = item.strip_prefix("pub ").unwrap_or(item);
    let is_const = item
        .strip_prefix("const ")
        .is_some_and(|rest| rest.starts_with(|c: char| c == '_' || c.is_uppercase()));
    let is_table = line
        .split_once("! {")
        .is_some_and(|(name, _)| name.chars().all(|c| c == '_' || c.is_lowercase()));
    item.starts_with("#[repr(") || is_const || is_table
}

/// Just after the `;` or the closing brace of the item that starts at `at`.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[at..].bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + offset + 1;
                }
            }
            b';' if depth == 0 => return at + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// FNV-1a: it has to notice a change, not to resist an attacker.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: &str = r#"//! x
#[repr(C)]
#[derive(Clone)]
pub struct Entry {
    /// When.
    pub expires_ns: u64,
}
#[repr(transparent)]
pub struct Text<const N: usize>([u8; N]);
impl Entry {
    pub const SLOTS: usize = 32;
    fn f() { 1 }
}
pub const NAME: &str = "ENTRIES";
outcomes! {
    Allowed = 0, "allowed";
}
"#;

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
    fn a_change_of_what_bytes_mean_under_the_same_version_is_found() {
        let changes = [
            ("u64", "u32"),
            ("[u8; N]", "[u16; N]"),
            ("32", "64"),
            ("ENTRIES", "OTHERS"),
            ("= 0", "= 1"),
        ];
        for (old, new) in changes {
            let findings = judge(&sources(1, &LAYOUT.replace(old, new), &recorded()));
            assert_eq!(
                files(&findings),
                ["proxy-common/src/entry.rs"],
                "{old} -> {new}"
            );
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
    fn functions_comments_formatting_and_tests_do_not_count() {
        let same = LAYOUT
            .replace("//! x", "//! Something else.")
            .replace("/// When.", "/// When it ends.")
            .replace("    pub expires_ns", "  pub  expires_ns")
            .replace("fn f() { 1 }", "fn f<const N: usize>() { [2; N] }")
            + "#[cfg(test)]\nmod tests {\n    const A: u8 = 1;\n}\n";
        assert_eq!(judge(&sources(1, &same, &recorded())), []);
    }
}
