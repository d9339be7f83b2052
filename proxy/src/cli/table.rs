//! Aligned columns.

use std::io;

use super::output::{Out, Tone};

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under headings. Numbers stand right, words left; columns are two spaces apart.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    headings: [String; N],
    aligns: [Align; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// No rows yet.
    pub(super) fn new(columns: [(&str, Align); N]) -> Self {
        Self {
            headings: columns.map(|(heading, _)| heading.to_owned()),
            aligns: columns.map(|(_, align)| align),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Control characters become `?`: texts in the maps may be anyone's, and a terminal would obey them.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)));
    }

    /// Writes headings and rows.
    pub(super) fn write(&self, out: &mut Out) -> io::Result<()> {
        let widths = self.widths();
        let headings = self.render(&self.headings, &widths);
        out.line(out.tone(Tone::Heading, &headings))?;
        for row in &self.rows {
            out.line(self.render(row, &widths))?;
        }
        Ok(())
    }

    fn widths(&self) -> [usize; N] {
        std::array::from_fn(|column| {
            let rows = self.rows.iter().chain([&self.headings]);
            rows.map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
    }

    fn render(&self, cells: &[String; N], widths: &[usize; N]) -> String {
        let columns = cells.iter().zip(&self.aligns).zip(widths);
        let padded: Vec<String> = columns
            .map(|((cell, align), width)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        padded.join("  ").trim_end().to_owned()
    }
}

/// `text` without anything a terminal would take as a command.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let mut table = Table::new([
            ("NAME", Align::Left),
            ("COUNT", Align::Right),
            ("WHY", Align::Left),
        ]);
        table.row(["a".into(), "1".into(), "scan".into()]);
        table.row(["longer".into(), "1,234,567".into(), String::new()]);
        let (mut out, captured) = Out::capture();
        table.write(&mut out).expect("writes");
        assert_eq!(
            captured.text(),
            "NAME        COUNT  WHY\n\
             a               1  scan\n\
             longer  1,234,567\n"
        );
    }

    #[test]
    fn a_cell_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a?[2Jb?c");
    }
}
