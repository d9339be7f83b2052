//! One value: its type, its bounds, what is wrong with it.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{Table, joined};
use crate::config::source::Source;
use crate::config::suggest::nearest;
use crate::config::value::{self, Refusal};

/// A value and where it stands.
#[derive(Clone)]
pub(in crate::config) struct Node<'a> {
    source: &'a Source<'a>,
    key: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        key: String,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Self {
        Self {
            source,
            key,
            span: value.span(),
            value: value.get_ref(),
        }
    }

    /// Key path.
    pub(in crate::config) fn key(&self) -> &str {
        &self.key
    }

    /// Line the value starts on.
    pub(in crate::config) fn line(&self) -> usize {
        self.source.line(self.span.start)
    }

    /// Notes a problem with this value.
    pub(in crate::config) fn refuse(&self, refusal: Refusal) {
        let written = shown(self.source, &self.span, self.value);
        self.source.report(self.line(), &self.key, written, refusal);
    }

    /// A string that `parse` accepts.
    pub(in crate::config) fn read<T>(
        &self,
        parse: impl FnOnce(&'a str) -> Result<T, Refusal>,
    ) -> Option<T> {
        self.string().and_then(|text| self.accept(parse(text)))
    }

    /// The value, or a note of what is wrong with it.
    pub(in crate::config) fn accept<T>(&self, result: Result<T, Refusal>) -> Option<T> {
        result.map_err(|refusal| self.refuse(refusal)).ok()
    }

    /// The string, if this is one; says nothing otherwise.
    pub(in crate::config) fn text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    pub(in crate::config) fn string(&self) -> Option<&'a str> {
        let text = self.text();
        if text.is_none() {
            self.wrong_type("a string", "put it in quotes");
        }
        text
    }

    pub(in crate::config) fn boolean(&self) -> Option<bool> {
        let boolean = self.value.as_bool();
        if boolean.is_none() {
            self.wrong_type("true or false", "");
        }
        boolean
    }

    pub(in crate::config) fn integer<T: TryFrom<u64>>(
        &self,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
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

    pub(in crate::config) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
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
    pub(in crate::config) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
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

    pub(in crate::config) fn choice<T: Copy>(
        &self,
        choices: &[(&str, T)],
        later: &[&str],
    ) -> Option<T> {
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
    pub(in crate::config) fn list(&self) -> Vec<Node<'a>> {
        if let DeValue::Array(array) = self.value {
            self.elements(array).collect()
        } else {
            self.wrong_type("a list", "put it in [ ]");
            Vec::new()
        }
    }

    /// Elements, if this is a list; says nothing otherwise.
    pub(in crate::config) fn elements_if_list(&self) -> Option<impl Iterator<Item = Node<'a>>> {
        let DeValue::Array(array) = self.value else {
            return None;
        };
        Some(self.elements(array))
    }

    /// The table, if this is one; says nothing otherwise.
    pub(in crate::config) fn inline_table(&self) -> Option<Table<'a>> {
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

    pub(in crate::config) fn table(&self) -> Option<Table<'a>> {
        let table = self.inline_table();
        if table.is_none() {
            let hint = if self.key.ends_with(']') {
                "write { … }".to_owned()
            } else if self.value.is_array() {
                format!("write [{}] in single brackets", without_indices(&self.key))
            } else {
                let name = self.key.rsplit('.').next().unwrap_or_default();
                format!("write {name} = {{ … }}")
            };
            self.wrong_type("a table", &hint);
        }
        table
    }

    /// Keys and values of a table whose keys are of the operator's choosing, with paths such as `route[0].headers.x-a`;
    /// `None` if it is no table.
    pub(in crate::config) fn entries(&self) -> Option<Vec<(&'a str, Node<'a>)>> {
        let entries = self.table()?.entries?.iter();
        let nodes = entries.map(|(key, value)| {
            let name: &str = key.get_ref();
            (name, Node::new(self.source, joined(&self.key, name), value))
        });
        Some(nodes.collect())
    }

    /// `[[key]]`
    pub(in crate::config) fn tables(&self) -> Vec<Table<'a>> {
        if let DeValue::Array(array) = self.value {
            self.elements(array)
                .filter_map(|element| element.table())
                .collect()
        } else {
            self.wrong_type("tables", &format!("write [[{}]]", self.key));
            Vec::new()
        }
    }

    /// Notes that the value is of another type; `expected` has its article.
    pub(in crate::config) fn wrong_type(&self, expected: &str, hint: &str) {
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

/// `listen.limits` of `listen[0].limits`: as a header names it.
fn without_indices(key: &str) -> String {
    key.split('[')
        .map(|part| part.split_once(']').map_or(part, |(_, rest)| rest))
        .collect()
}

fn between<T>(range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> String {
    format!("from {} to {}", show(range.start()), show(range.end()))
}

/// A value as written; nothing for tables, which are named by their key well enough.
pub(super) fn shown(source: &Source<'_>, span: &Range<usize>, value: &DeValue<'_>) -> String {
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
