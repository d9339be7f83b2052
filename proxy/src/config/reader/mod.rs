//! A typed view of the TOML tree: takes values out of tables by key, checks type and bounds, and notes every problem
//! with its line and key path. A refused value yields a fallback, so that reading goes on; since any problem makes the
//! whole file invalid, no fallback ever leaves `config`.

mod node;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeTable;

use super::problem::ProblemKind;
use super::source::Source;
use super::suggest::nearest;
use super::value::{self, Refusal};
pub(super) use node::Node;
use node::shown;

/// A table, or the place where an absent one would be. Ends with [`Table::finish`].
#[must_use = "`finish` reports the keys that nothing took"]
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    /// Key path, empty for the root.
    path: String,
    line: usize,
    entries: Option<&'a DeTable<'a>>,
    /// Keys that were asked for: the ones that exist.
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(source: &'a Source<'a>, tree: &'a DeTable<'a>) -> Self {
        Self {
            source,
            path: String::new(),
            line: 0,
            entries: Some(tree),
            known: Vec::new(),
        }
    }

    /// Whether `key` is written, without taking it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries
            .is_some_and(|entries| entries.contains_key(key))
    }

    /// Line of the table's header; 0 = the file.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Notes a problem with the table itself.
    pub(super) fn refuse(&self, refusal: Refusal) {
        self.source
            .report(self.line, &self.path, String::new(), refusal);
    }

    /// The value of `key`, if written.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node<'a>> {
        self.known.push(key);
        self.peek(key)
    }

    /// The value of `key`, which must be written; `example` shows how.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<Node<'a>> {
        let node = self.take(key);
        if node.is_none() {
            self.refuse_missing(key, example);
        }
        node
    }

    /// Notes that `key` is missing; `example` shows how it is written.
    pub(super) fn refuse_missing(&self, key: &str, example: &str) {
        let refusal = Refusal {
            kind: ProblemKind::Missing,
            message: "missing".to_owned(),
            hint: format!("add {key} = {example}"),
        };
        self.source
            .report(self.line, &joined(&self.path, key), String::new(), refusal);
    }

    /// The value of `key`, if written, without taking it.
    pub(super) fn peek(&self, key: &str) -> Option<Node<'a>> {
        let value = self.entries?.get(key)?;
        Some(Node::new(self.source, joined(&self.path, key), value))
    }

    /// `[key]`; if absent, a table without entries.
    pub(super) fn section(&mut self, key: &'static str) -> Table<'a> {
        let node = self.take(key);
        node.and_then(|node| node.table()).unwrap_or_else(|| Table {
            source: self.source,
            path: joined(&self.path, key),
            line: self.line,
            entries: None,
            known: Vec::new(),
        })
    }

    /// `[[key]]`; empty if absent.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Table<'a>> {
        self.take(key).map_or_else(Vec::new, |node| node.tables())
    }

    /// Elements of the array `key`; empty if absent.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Node<'a>> {
        self.take(key).map_or_else(Vec::new, |node| node.list())
    }

    /// A duration within `range`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.take(key)
            .and_then(|node| node.duration(range))
            .unwrap_or(default)
    }

    /// A size in bytes within `range`.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> u64 {
        self.take(key)
            .and_then(|node| node.size(range))
            .unwrap_or(default)
    }

    /// A whole number within `range`, which must fit `T`.
    pub(super) fn integer<T: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<u64>,
    ) -> T {
        self.take(key)
            .and_then(|node| node.integer(range))
            .unwrap_or(default)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key)
            .and_then(|node| node.boolean())
            .unwrap_or(default)
    }

    /// An absolute path.
    pub(super) fn path(&mut self, key: &'static str, default: &str) -> PathBuf {
        self.take(key)
            .and_then(|node| node.read(value::absolute_path))
            .unwrap_or_else(|| PathBuf::from(default))
    }

    /// One of `choices`; those of `later` are not supported yet.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
        later: &[&str],
    ) -> T {
        self.take(key)
            .and_then(|node| node.choice(choices, later))
            .unwrap_or(default)
    }

    /// Reports every key that nothing took: those of `later` are weir's but not of this version, the rest unknown.
    pub(super) fn finish(self, later: &[&'static str]) {
        for (key, value) in self.entries.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let path = joined(&self.path, name);
            let refusal = if later.contains(&name) {
                Refusal::not_supported(&format!("`{path}`"), "remove it")
            } else {
                self.unknown(name, later)
            };
            let written = shown(self.source, &value.span(), value.get_ref());
            self.source
                .report(self.source.line(key.span().start), &path, written, refusal);
        }
    }

    fn unknown(&self, name: &str, later: &[&'static str]) -> Refusal {
        let hint = match nearest(name, self.known.iter().chain(later).copied()) {
            Some(meant) if later.contains(&meant) => {
                format!("did you mean `{meant}`? This version of weir does not support it")
            }
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("keys here: {}", self.known.join(", ")),
        };
        Refusal {
            kind: ProblemKind::UnknownKey,
            message: "unknown key".to_owned(),
            hint,
        }
    }
}

/// `path.key`, the key in quotes where TOML would need them.
fn joined(path: &str, key: impl Display) -> String {
    let key = key.to_string();
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let key = if !key.is_empty() && key.chars().all(bare) {
        key
    } else {
        format!("{key:?}")
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}
