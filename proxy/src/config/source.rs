//! A configuration file's text: where its lines are, what was written where, and what was found wrong with it so far.

use std::cell::RefCell;
use std::ops::Range;

use super::problem::{Problem, ProblemKind};
use super::value::Refusal;

/// Characters of a value that are shown.
const EXCERPT_CHARS: usize = 60;

/// The text and its problems.
pub(super) struct Source<'a> {
    text: &'a str,
    /// Offset of each line's first byte.
    starts: Vec<usize>,
    /// Shared by all views of the tree, which is why it is a cell.
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            text,
            starts,
            problems: RefCell::new(Vec::new()),
        }
    }

    /// Line of `offset`, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The line that `offset` is in, without its line feed.
    pub(super) fn line_range(&self, offset: usize) -> Range<usize> {
        let line = self.line(offset);
        let end = self
            .starts
            .get(line)
            .map_or(self.text.len(), |next| next - 1);
        self.starts[line - 1]..end
    }

    /// What is written at `span`, on one line and shortened.
    pub(super) fn excerpt(&self, span: Range<usize>) -> String {
        let written = self.text.get(span).unwrap_or_default();
        let mut excerpt = String::new();
        let words = written.split_whitespace().enumerate();
        for (at, word) in words.take(EXCERPT_CHARS) {
            if at > 0 {
                excerpt.push(' ');
            }
            excerpt.push_str(word);
        }
        if excerpt.chars().count() > EXCERPT_CHARS {
            excerpt = excerpt
                .chars()
                .take(EXCERPT_CHARS - 1)
                .chain(['…'])
                .collect();
        }
        excerpt
    }

    /// Notes a problem.
    pub(super) fn report(&self, line: usize, key: &str, value: String, refusal: Refusal) {
        self.problems.borrow_mut().push(Problem {
            line,
            key: key.to_owned(),
            value,
            message: refusal.message,
            hint: refusal.hint,
            kind: refusal.kind,
        });
    }

    /// All problems in line order. When part of the text was no TOML, those that may only be its consequence are left
    /// out: what seems to be missing may stand on the broken line.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        if problems
            .iter()
            .any(|problem| problem.kind == ProblemKind::Syntax)
        {
            problems.retain(|problem| {
                !matches!(problem.kind, ProblemKind::Missing | ProblemKind::Conflict)
            });
        }
        problems.sort_by_key(|problem| problem.line);
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_belong_to_lines_counted_from_one() {
        let source = Source::new("a\nbc\n\nd");
        let lines: Vec<usize> = (0..8).map(|offset| source.line(offset)).collect();
        assert_eq!(lines, [1, 1, 2, 2, 2, 3, 4, 4]);
        assert_eq!(source.line_range(3), 2..4);
        assert_eq!(source.line_range(7), 6..7);
    }

    #[test]
    fn excerpts_are_one_short_line() {
        let source = Source::new("[\n  1,\n  2\n]");
        assert_eq!(source.excerpt(0..12), "[ 1, 2 ]");
        let long = "ä".repeat(1000);
        let source = Source::new(&long);
        assert_eq!(source.excerpt(0..long.len()).chars().count(), EXCERPT_CHARS);
    }
}
