//! Text → TOML tree, going on after a syntax error so that one pass finds them all.
//!
//! The parser recovers, but one unclosed bracket makes it complain about every line below. So the first complaint is
//! kept, the lines it is about are blanked (which moves nothing), and the rest is parsed again.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::source::Source;

/// Syntax errors told at most: someone who feeds us a picture need not read it as text.
const ERRORS_MAX: usize = 32;
/// Above this many bytes only the first syntax error is told, since each costs a few more passes.
const RECOVERY_BYTES_MAX: usize = 256 << 10;

/// A syntax error's place and what the parser says of it.
pub(super) struct SyntaxError {
    pub(super) offset: usize,
    pub(super) message: String,
    /// Line of the bracket or quote that the place is inside of, if that is above.
    pub(super) opened: Option<usize>,
}

/// The errors of `text`, and `text` with the lines they are about blanked: valid TOML unless there are too many errors.
pub(super) fn repaired(text: &str) -> (String, Vec<SyntaxError>) {
    let mut errors = Vec::new();
    let mut rest = text.to_owned();
    while let Some(error) = first_error(&rest) {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().to_owned();
        let done = errors.len() + 1 == ERRORS_MAX || rest.len() > RECOVERY_BYTES_MAX;
        let opened = opening_line(&rest, offset);
        let next = without(&rest, offset, opened.clone());
        errors.push(SyntaxError {
            offset,
            message,
            opened: opened.map(|line| Source::new(text).line(line.start)),
        });
        if done || next == rest {
            // What is left cannot be trusted.
            return (String::new(), errors);
        }
        rest = next;
    }
    errors.sort_by_key(|error| error.offset);
    (rest, errors)
}

/// The tree of `text` if nothing is wrong with it, as is usual: parsed once.
pub(super) fn valid(text: &str) -> Option<Spanned<DeTable<'_>>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    errors.is_empty().then_some(tree)
}

/// Parses what [`repaired`] returned.
pub(super) fn tree(repaired: &str) -> Spanned<DeTable<'_>> {
    DeTable::parse_recoverable(repaired).0
}

fn first_error(text: &str) -> Option<Error> {
    let (_, errors) = DeTable::parse_recoverable(text);
    errors
        .into_iter()
        .min_by_key(|error| error.span().map_or(0, |span| span.start))
}

/// The line on which the array, table or string was opened that `offset` is in, if that is above.
fn opening_line(text: &str, offset: usize) -> Option<Range<usize>> {
    let source = Source::new(text);
    let value = enclosing_value(&tree(text), offset)?;
    let opening = source.line_range(value.start);
    (opening.start < source.line_range(offset).start).then_some(opening)
}

/// `text` with the lines that the error at `offset` is about blanked: of the likely ones, those that leave the fewest
/// complaints.
fn without(text: &str, offset: usize, opened: Option<Range<usize>>) -> String {
    let source = Source::new(text);
    let line = source.line_range(offset);
    let end = if text[line.clone()].trim_start().starts_with('[') {
        // Without its header, a table's keys would land in the table above.
        next_header(text, line.end)
    } else {
        line.end
    };
    let opened = opened.map(|line| line.start);
    let candidates = [
        Some(line.start..end),
        opened.map(|opened| opened..line.start),
        opened.map(|opened| opened..line.end),
    ];
    candidates
        .into_iter()
        .flatten()
        .map(|range| blanked(text, range))
        .min_by_key(|text| DeTable::parse_recoverable(text).1.len())
        .unwrap_or_default()
}

/// The outermost array, inline table or string that `offset` lies in.
fn enclosing_value(table: &Spanned<DeTable<'_>>, offset: usize) -> Option<Range<usize>> {
    fn search(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<Range<usize>> {
        let span = value.span();
        if span.start < offset && offset <= span.end {
            return Some(span);
        }
        match value.get_ref() {
            DeValue::Table(table) => table.values().find_map(|value| search(value, offset)),
            DeValue::Array(array) => array.iter().find_map(|value| search(value, offset)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        }
    }
    table
        .get_ref()
        .values()
        .find_map(|value| search(value, offset))
}

/// Where the first line at or after `from` that opens a table starts; else the end.
fn next_header(text: &str, from: usize) -> usize {
    let mut at = from;
    for line in text[from..].split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            return at;
        }
        at += line.len();
    }
    text.len()
}

/// Every byte of `range` but line ends becomes a space, so that offsets and lines stay what they are.
fn blanked(text: &str, range: Range<usize>) -> String {
    let mut blanked = String::with_capacity(text.len());
    blanked.push_str(&text[..range.start]);
    for byte in text[range.clone()].bytes() {
        blanked.push(if byte == b'\n' { '\n' } else { ' ' });
    }
    blanked.push_str(&text[range.end..]);
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let source = Source::new(text);
        let (rest, errors) = repaired(text);
        if !rest.is_empty() {
            assert!(first_error(&rest).is_none(), "still broken: {rest}");
        }
        errors
            .iter()
            .map(|error| source.line(error.offset))
            .collect()
    }

    #[test]
    fn every_syntax_error_is_told_once_at_its_line() {
        for (text, expected) in [
            ("a = 1\n", &[][..]),
            ("", &[]),
            ("a = 10s\nb = 1\nc = \nd = x y\n", &[1, 3, 4]),
            (
                "a = 1\na = 2\n[t]\nb = 1\n[t]\nb = 2\nc = 1\n[u]\nd = \n",
                &[2, 5, 9],
            ),
            // An unclosed array is noticed on the next line; the lines below are not blamed.
            ("a = [1, 2\nb = 3\n[t]\nc = 4\nd = \n", &[2, 5]),
            ("a = [\n  1\n  2,\n]\nb = \n", &[3, 5]),
            ("a = { b = 1\nc = 2\n[t]\nd = \n", &[2, 4]),
            ("foo bar = 1\nx = 10s\ny = 1\n", &[1, 2]),
            ("[t\na = 1\n[u]\nb = \n", &[1, 4]),
            ("a = \"x\nb = 'y\nc = 1\n", &[1, 2]),
        ] {
            assert_eq!(lines(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_text_at_all_ends_after_a_bounded_number_of_errors() {
        let noise = "=]{\"\u{1f600}[[,\u{0}\n".repeat(1000);
        let (_, errors) = repaired(&noise);
        assert!(!errors.is_empty() && errors.len() <= ERRORS_MAX);
    }

    #[test]
    fn blanking_moves_neither_offsets_nor_lines() {
        let text = "a = \u{1f600}\nb = 1\n";
        let (rest, errors) = repaired(text);
        assert_eq!(errors.len(), 1);
        assert_eq!(rest.len(), text.len());
        assert_eq!(rest.find("b = 1"), text.find("b = 1"));
    }
}
