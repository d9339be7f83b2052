//! A typed view of the TOML tree: takes values out of tables by key, checks type and bounds, and notes every problem
//! with its line and key path. A refused value yields a fallback, so that reading goes on; since any problem makes the
//! whole file invalid, no fallback ever leaves `config`.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::ProblemKind;
use super::source::Source;
use super::suggest::nearest;
use super::value::{self, Refusal};

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Node<'a> {
    source: &'a Source<'a>,
    key: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

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
        let value = self.entries?.get(key)?;
        Some(Node::new(self.source, joined(&self.path, key), value))
    }

    /// The value of `key`, which must be written; `example` shows how.
    pub(super) fn required(&mut self, key: &'static str, example: &str) -> Option<Node<'a>> {
        let node = self.take(key);
        if node.is_none() {
            let refusal = Refusal {
                kind: ProblemKind::Missing,
                message: "missing".to_owned(),
                hint: format!("add {key} = {example}"),
            };
            self.source
                .report(self.line, &joined(&self.path, key), String::new(), refusal);
        }
        node
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
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Array(array) = node.value else {
            node.refuse(Refusal::invalid(
                format!("expected tables, found {}", with_article(node.value)),
                format!("write [[{key}]]"),
            ));
            return Vec::new();
        };
        node.elements(array)
            .filter_map(|element| element.table())
            .collect()
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

impl<'a> Node<'a> {
    fn new(source: &'a Source<'a>, key: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self {
            source,
            key,
            span: value.span(),
            value: value.get_ref(),
        }
    }

    /// Key path.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Line the value starts on.
    pub(super) fn line(&self) -> usize {
        self.source.line(self.span.start)
    }

    /// Notes a problem with this value.
    pub(super) fn refuse(&self, refusal: Refusal) {
        let written = shown(self.source, &self.span, self.value);
        self.source.report(self.line(), &self.key, written, refusal);
    }

    /// A string that `parse` accepts.
    pub(super) fn read<T>(&self, parse: impl FnOnce(&'a str) -> Result<T, Refusal>) -> Option<T> {
        self.string().and_then(|text| self.accept(parse(text)))
    }

    /// The value, or a note of what is wrong with it.
    pub(super) fn accept<T>(&self, result: Result<T, Refusal>) -> Option<T> {
        result.map_err(|refusal| self.refuse(refusal)).ok()
    }

    /// The string, if this is one; says nothing otherwise.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn string(&self) -> Option<&'a str> {
        let text = self.text();
        if text.is_none() {
            self.wrong_type("a string", "put it in quotes");
        }
        text
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let boolean = self.value.as_bool();
        if boolean.is_none() {
            self.wrong_type("true or false", "");
        }
        boolean
    }

    pub(super) fn integer<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Option<T> {
        let DeValue::Integer(integer) = self.value else {
            self.wrong_type(
                "a whole number",
                &format!("write a number {}", between(&range, u64::to_string)),
            );
            return None;
        };
        // What does not even fit 64 bits, or is negative, is out of any range.
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = self.in_range(number, &range, u64::to_string)?;
        T::try_from(number).ok()
    }

    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let Some(text) = self.text() else {
            self.wrong_type(
                "a duration",
                "write a number and a unit in quotes, such as \"10s\"",
            );
            return None;
        };
        let duration = self.accept(value::duration(text))?;
        self.in_range(Some(duration), &range, |duration| {
            humantime::format_duration(*duration).to_string()
        })
    }

    /// `"512MiB"`, or a whole number of bytes.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let bytes = match self.value {
            DeValue::String(text) => Some(self.accept(value::size(text))?),
            DeValue::Integer(integer) => {
                u64::from_str_radix(integer.as_str(), integer.radix()).ok()
            }
            _ => {
                self.wrong_type(
                    "a size",
                    "write a number and a unit in quotes, such as \"512MiB\"",
                );
                return None;
            }
        };
        self.in_range(bytes, &range, |bytes| value::size_text(*bytes))
    }

    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)], later: &[&str]) -> Option<T> {
        let text = self.string()?;
        let chosen = choices.iter().find(|(name, _)| *name == text);
        if chosen.is_none() {
            let names: Vec<String> = choices
                .iter()
                .map(|(name, _)| format!("\"{name}\""))
                .collect();
            let supported = names.join(", ");
            self.refuse(if later.contains(&text) {
                Refusal::not_supported("this value", format!("supported: {supported}"))
            } else {
                let all = choices.iter().map(|(name, _)| *name);
                let hint = match nearest(text, all) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("supported: {supported}"),
                };
                Refusal::invalid("not one of the possible values", hint)
            });
        }
        chosen.map(|(_, value)| *value)
    }

    /// Elements, with paths such as `shield.allow[0]`.
    pub(super) fn list(&self) -> Vec<Node<'a>> {
        if let DeValue::Array(array) = self.value {
            self.elements(array).collect()
        } else {
            self.wrong_type("a list", "put it in [ ]");
            Vec::new()
        }
    }

    /// The table, if this is one; says nothing otherwise.
    pub(super) fn inline_table(&self) -> Option<Table<'a>> {
        let DeValue::Table(entries) = self.value else {
            return None;
        };
        Some(Table {
            source: self.source,
            path: self.key.clone(),
            line: self.line(),
            entries: Some(entries),
            known: Vec::new(),
        })
    }

    pub(super) fn table(&self) -> Option<Table<'a>> {
        let table = self.inline_table();
        if table.is_none() {
            let bare = self.key.split('[').next().unwrap_or_default();
            let hint = match self.value {
                DeValue::Array(_) => format!("write [{bare}] in single brackets"),
                _ => format!("write {bare} = {{ … }}"),
            };
            self.wrong_type("a table", &hint);
        }
        table
    }

    /// Notes that the value is of another type; `expected` has its article.
    pub(super) fn wrong_type(&self, expected: &str, hint: &str) {
        self.refuse(Refusal::invalid(
            format!("expected {expected}, found {}", with_article(self.value)),
            hint,
        ));
    }

    fn elements(&self, array: &'a [Spanned<DeValue<'a>>]) -> impl Iterator<Item = Node<'a>> {
        let (source, key) = (self.source, self.key.clone());
        array
            .iter()
            .enumerate()
            .map(move |(index, value)| Node::new(source, format!("{key}[{index}]"), value))
    }

    /// `None` = beyond what the type holds.
    fn in_range<T: PartialOrd>(
        &self,
        value: Option<T>,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let inside = value.filter(|value| range.contains(value));
        if inside.is_none() {
            self.refuse(Refusal::invalid(
                "out of bounds",
                format!("write a value {}", between(range, show)),
            ));
        }
        inside
    }
}

fn between<T>(range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> String {
    format!("from {} to {}", show(range.start()), show(range.end()))
}

/// A value as written; nothing for tables, which are named by their key well enough.
fn shown(source: &Source<'_>, span: &Range<usize>, value: &DeValue<'_>) -> String {
    let tables = match value {
        DeValue::Table(_) => true,
        DeValue::Array(array) => {
            !array.is_empty() && array.iter().all(|value| value.get_ref().is_table())
        }
        _ => false,
    };
    if tables {
        String::new()
    } else {
        source.excerpt(span.clone())
    }
}

fn with_article(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {name}")
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
