//! Where results go: stdout, buffered, with colour when a person looks at it.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

/// The result stream of a command.
pub(super) struct Out {
    sink: Box<dyn Write>,
    style: Style,
}

/// Whether text may carry colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Coloured,
}

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// A heading.
    Heading,
    /// Something an operator should look into.
    Alarm,
}

impl Out {
    /// Standard output. Colour only on a terminal and without `NO_COLOR` (<https://no-color.org>: set and not empty).
    ///
    /// Not locked: under `weir run` this lives as long as the process, and the access log's thread writes there.
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let style = if stdout.is_terminal() && !no_color && !dumb {
            Style::Coloured
        } else {
            Style::Plain
        };
        Self {
            sink: Box::new(BufWriter::new(stdout)),
            style,
        }
    }

    /// One line.
    pub(super) fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.sink, "{}", text.as_ref())
    }

    /// One JSON value, on one line.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.sink, value)?;
        self.line("")
    }

    /// Writes out what is buffered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// `text` in the colour of `tone`, if colours are on.
    pub(super) fn tone(&self, tone: Tone, text: &str) -> String {
        self.style.tone(tone, text)
    }
}

impl Style {
    fn tone(self, tone: Tone, text: &str) -> String {
        match (self, tone) {
            (Self::Plain, _) => text.to_owned(),
            (Self::Coloured, Tone::Heading) => format!("\u{1b}[1m{text}\u{1b}[0m"),
            (Self::Coloured, Tone::Alarm) => format!("\u{1b}[31m{text}\u{1b}[0m"),
        }
    }
}

/// Tells the operator something that is neither a result nor an error.
pub(super) fn note(text: impl AsRef<str>) {
    // A closed stderr must not stop the work.
    let _ = writeln!(io::stderr().lock(), "note: {}", text.as_ref());
}

#[cfg(test)]
impl Out {
    /// Into memory, without colour.
    pub(super) fn capture() -> (Self, Captured) {
        let captured = Captured::default();
        let out = Self {
            sink: Box::new(captured.clone()),
            style: Style::Plain,
        };
        (out, captured)
    }
}

/// What a command wrote.
#[cfg(test)]
#[derive(Clone, Default)]
pub(super) struct Captured(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

#[cfg(test)]
impl Captured {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("UTF-8")
    }
}

#[cfg(test)]
impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_appears_only_in_the_coloured_style() {
        assert_eq!(Style::Plain.tone(Tone::Alarm, "x"), "x");
        assert_eq!(
            Style::Coloured.tone(Tone::Alarm, "x"),
            "\u{1b}[31mx\u{1b}[0m"
        );
    }
}
