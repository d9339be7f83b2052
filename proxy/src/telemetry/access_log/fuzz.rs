//! What holds of lines in the log, whatever a client sends.

use serde_json::Value;

use super::format::{json, text};
use super::{Line, Text};

/// A line is one line: as text nothing in it leaves its quotes, as JSON it says what it was given.
pub fn line(line: &Line) {
    let mut out = Vec::new();
    text(line, &mut out).expect("a Vec takes it all");
    let written = String::from_utf8(out).expect("a line is UTF-8");
    let body = written.strip_suffix('\n').expect("it ends");
    assert!(!body.contains(char::is_control), "{body:?}");
    assert_eq!(outside_quotes(body).matches(" id=").count(), 1, "{body:?}");
    let mut out = Vec::new();
    json(line, &mut out).expect("a Vec takes it all");
    let end = out.iter().position(|byte| *byte == b'\n');
    assert_eq!(end, Some(out.len() - 1));
    let said: Value = serde_json::from_slice(&out).expect("a line of JSON");
    for (key, text) in [
        ("target", Text::Target),
        ("host", Text::Host),
        ("user_agent", Text::UserAgent),
    ] {
        assert_eq!(said[key].as_str(), line.text(text), "{key}");
    }
}

/// What a reader that knows quotes and backslashes takes for weir's own words.
fn outside_quotes(text: &str) -> String {
    let (mut own, mut is_quoted, mut is_escaped) = (String::new(), false, false);
    for character in text.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            character if !is_quoted => own.push(character),
            _ => {}
        }
    }
    assert!(!is_quoted, "{text:?}");
    own
}
