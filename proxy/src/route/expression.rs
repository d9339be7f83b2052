//! A regular expression over paths that has been found small enough. Matching is linear in the length of the path, whatever
//! expression and path are: there is no backtracking, and so no look-around and no back-reference.

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind, Literal, Look};

/// A checked expression. Equal to another one that is written the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expression(Box<str>);

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpression {
    /// Not an expression.
    #[error("not a regular expression: {0}")]
    Syntax(String),
    /// It would take more memory than a path is worth.
    #[error("a regular expression that takes more than {} KiB", COMPILED_BYTES_MAX >> 10)]
    TooLarge,
}

impl Expression {
    /// Checks `text`. Paths are ASCII, so classes such as `\w` are, too.
    pub fn new(text: &str) -> Result<Self, InvalidExpression> {
        match compile(text) {
            Ok(_) => Ok(Self(text.into())),
            Err(regex::Error::CompiledTooBig(_)) => Err(InvalidExpression::TooLarge),
            Err(error) => Err(InvalidExpression::Syntax(cause(&error.to_string()))),
        }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Ready to match.
    pub(super) fn compile(&self) -> Regex {
        compile(&self.0).expect("invariant: it was compiled before")
    }

    /// What every path that it matches begins with, as far as it is plain to see. Paths begin with a slash.
    pub(super) fn literal_start(&self) -> Vec<u8> {
        match parts(&self.0) {
            Some((start, _)) => start,
            None => b"/".to_vec(),
        }
    }

    /// The text such that every path that begins with it matches, if there is one that is plain to see.
    pub(super) fn takes_all_below(&self) -> Option<Vec<u8>> {
        if EVERYTHING.contains(&self.as_str()) {
            return Some(b"/".to_vec());
        }
        // Paths hold no line break, at which `.` would stop.
        let mut ends = ["(.*)$", ".*$"].into_iter();
        let without_end = ends.find_map(|end| self.0.strip_suffix(end));
        let (start, rest) = parts(without_end.unwrap_or(&self.0))?;
        let may_be_empty = |part: &Hir| {
            let properties = part.properties();
            properties.minimum_len() == Some(0) && properties.look_set().is_empty()
        };
        rest.iter().all(may_be_empty).then_some(start)
    }

    /// All of `expressions` at once: a look-up costs little more than with one of them.
    pub(super) fn set<'a>(expressions: impl Iterator<Item = &'a Self>) -> RegexSet {
        RegexSetBuilder::new(expressions.map(Self::as_str))
            .unicode(false)
            .size_limit(usize::MAX)
            .build()
            .expect("invariant: each was compiled before")
    }
}

fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
}

/// The literal that an expression with `^` begins with, and what follows it.
fn parts(text: &str) -> Option<(Vec<u8>, Vec<Hir>)> {
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
    let HirKind::Concat(parts) = parser.parse(text).ok()?.into_kind() else {
        return None;
    };
    let [first, second, rest @ ..] = parts.as_slice() else {
        return None;
    };
    match (first.kind(), second.kind()) {
        (HirKind::Look(Look::Start), HirKind::Literal(Literal(start))) => {
            Some((start.to_vec(), rest.to_vec()))
        }
        _ => None,
    }
}

/// The last line of the crate's report, which draws the expression in the lines before.
fn cause(report: &str) -> String {
    let last = report.lines().last().unwrap_or(report).trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Usual ways to write an expression that matches every path.
const EVERYTHING: [&str; 12] = [
    "", "^", "/", "^/", ".*", "^.*", "^.*$", ".*$", "^/.*", "^/.*$", "^/(.*)$", "(.*)",
];
/// Largest compiled expression, in bytes. The default of the crate is 10 MiB; there may be a thousand of them.
const COMPILED_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_compared_by_their_text() {
        let new = |text| Expression::new(text).expect(text);
        assert_eq!(new("^/a$"), new("^/a$"));
        assert_ne!(new("^/a$"), new("^/[a]$"));
    }

    #[test]
    fn classes_are_ascii() {
        let word = compile(r"^\w$").expect("valid");
        assert!(word.is_match(b"a"));
        assert!(!word.is_match("\u{e4}".as_bytes()));
    }

    #[test]
    fn what_cannot_be_compiled_is_refused_with_its_cause() {
        for (text, expected) in [
            ("(", "unclosed group"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?=a)", "look-around"),
        ] {
            let error = Expression::new(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_would_take_too_much_memory_is_refused() {
        for text in [".{1000}{1000}", "[a-z]{5000}"] {
            assert_eq!(
                Expression::new(text).err(),
                Some(InvalidExpression::TooLarge),
                "{text}"
            );
        }
    }
}
