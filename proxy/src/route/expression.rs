//! A regular expression over paths that has been found small enough. Matching is linear in the length of the path, whatever
//! expression and path are: there is no backtracking, and so no look-around and no back-reference.

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

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

/// The last line of the crate's report, which draws the expression in the lines before.
fn cause(report: &str) -> String {
    let last = report.lines().last().unwrap_or(report).trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

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
