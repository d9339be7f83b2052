//! What is wrong with a configuration file, and how it is told: as text for people, as JSON for machines.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// One thing wrong with a configuration file.
///
/// Displays as `listen[0].address = "x": not a socket address (hint: …)`; [`Invalid::report`] puts file and line
/// in front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Line, from 1; 0 = the file as a whole.
    pub line: usize,
    /// Key path such as `listen[0].address`; empty = the file as a whole.
    pub key: String,
    /// The offending value as written, shortened; empty if there is none.
    pub value: String,
    /// What is wrong, a sentence without its full stop.
    pub message: String,
    /// What to do about it; empty if there is nothing to add.
    pub hint: String,
    /// Which sort of problem it is.
    pub kind: ProblemKind,
}

/// Sorts of [`Problem`]. Serialized in kebab case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The file cannot be read.
    Unreadable,
    /// The text is not TOML.
    Syntax,
    /// No weir knows this key.
    UnknownKey,
    /// weir has this key or value, but not this version.
    NotSupported,
    /// A key or table that must be there is not.
    Missing,
    /// The value is of the wrong type, malformed or out of bounds.
    InvalidValue,
    /// Each value is fine by itself, but not together with another one.
    Conflict,
    /// It is valid, but nothing will ever come to it; a warning.
    Unreachable,
}

/// Why a configuration was refused: every problem found, in line order.
#[derive(Debug, Clone, thiserror::Error, Serialize)]
#[error("{} has {} problem(s)", file.display(), problems.len())]
pub struct Invalid {
    /// The file.
    #[serde(serialize_with = "lossy_path")]
    pub file: PathBuf,
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl Invalid {
    /// One line for each problem, without a line feed after the last:
    /// `weir.toml:12: listen[0].address = "x": not a socket address (hint: …)`.
    pub fn report(&self) -> String {
        let problems = self.problems.iter();
        let lines: Vec<String> = problems
            .map(|problem| problem.located(&self.file))
            .collect();
        lines.join("\n")
    }
}

impl Problem {
    /// With `file` and the line in front.
    pub fn located(&self, file: &Path) -> String {
        if self.line == 0 {
            format!("{}: {self}", file.display())
        } else {
            format!("{}:{}: {self}", file.display(), self.line)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            f.write_str(&self.key)?;
            if !self.value.is_empty() {
                write!(f, " = {}", self.value)?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " (hint: {})", self.hint)?;
        }
        Ok(())
    }
}

/// Paths need not be UTF-8, JSON must be: what is not is replaced, since the path is only shown.
fn lossy_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid() -> Invalid {
        Invalid {
            file: PathBuf::from("weir.toml"),
            problems: vec![
                Problem {
                    line: 0,
                    key: String::new(),
                    value: String::new(),
                    message: "no [[listen]]".into(),
                    hint: String::new(),
                    kind: ProblemKind::Missing,
                },
                Problem {
                    line: 12,
                    key: "listen[0].address".into(),
                    value: "\"x\"".into(),
                    message: "not a socket address".into(),
                    hint: "write \"[::]:443\"".into(),
                    kind: ProblemKind::InvalidValue,
                },
            ],
        }
    }

    #[test]
    fn a_report_has_one_line_for_each_problem() {
        assert_eq!(
            invalid().report(),
            "weir.toml: no [[listen]]\n\
             weir.toml:12: listen[0].address = \"x\": not a socket address (hint: write \"[::]:443\")"
        );
    }

    #[test]
    fn json_carries_file_kind_and_every_field() {
        let json = serde_json::to_value(invalid()).expect("plain data serializes");
        assert_eq!(json["file"], "weir.toml");
        assert_eq!(json["problems"][1]["line"], 12);
        assert_eq!(json["problems"][1]["key"], "listen[0].address");
        assert_eq!(json["problems"][1]["value"], "\"x\"");
        assert_eq!(json["problems"][1]["message"], "not a socket address");
        assert_eq!(json["problems"][1]["kind"], "invalid-value");
        assert_eq!(json["problems"][0]["kind"], "missing");
    }
}
