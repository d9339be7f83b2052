//! How a line looks.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::line::{Line, Text};

/// Combined log format (client, time, request, status, bytes, referer, agent), then host, origin, cache, error, attempts,
/// seconds and request id.
pub(super) fn text(line: &Line, out: &mut impl Write) -> io::Result<()> {
    let time = humantime::format_rfc3339_millis(line.time);
    write!(out, "{} - - [{time}] \"", line.client)?;
    quoted(line.text(Text::Method).unwrap_or_default(), out)?;
    out.write_all(b" ")?;
    quoted(line.text(Text::Target).unwrap_or_default(), out)?;
    write!(out, " HTTP/{}\" ", line.version)?;
    match line.status {
        Some(status) => write!(out, "{status}")?,
        None => out.write_all(b"-")?,
    }
    let broken = if line.complete { "" } else { "!" };
    write!(out, " {}{broken}", line.bytes)?;
    for (key, value) in [
        (" ", line.text(Text::Referer)),
        (" ", line.text(Text::UserAgent)),
        (" host=", line.text(Text::Host)),
        (" origin=", line.text(Text::Origin)),
        (" cache=", line.text(Text::Cache)),
        (" error=", line.error),
    ] {
        out.write_all(key.as_bytes())?;
        match value {
            None => out.write_all(b"-")?,
            Some(value) => {
                out.write_all(b"\"")?;
                quoted(value, out)?;
                out.write_all(b"\"")?;
            }
        }
    }
    writeln!(
        out,
        " attempts={} time={}.{:06} id={}",
        line.attempts,
        line.duration.as_secs(),
        line.duration.subsec_micros(),
        line.text(Text::RequestId).unwrap_or_default(),
    )
}

/// One log line must stay one line, and a quoted text must stay inside its quotes, whatever a client sends.
fn quoted(text: &str, out: &mut impl Write) -> io::Result<()> {
    let special = |character: char| matches!(character, '"' | '\\') || is_deceptive(character);
    let mut plain = 0;
    for (at, found) in text.match_indices(special) {
        out.write_all(&text.as_bytes()[plain..at])?;
        write!(out, "{}", found.escape_default())?;
        plain = at + found.len();
    }
    out.write_all(&text.as_bytes()[plain..])
}

/// What a terminal obeys or an editor takes for a line end or a change of direction.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// JSON whose strings have everything deceptive escaped, too, and not only what JSON itself must have.
struct Plain;

impl serde_json::ser::Formatter for Plain {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_deceptive) {
            let (plain, deceptive) = rest.split_at(at);
            let character = deceptive.chars().next().expect("invariant: just found");
            // All of them are in the basic plane: one unit of UTF-16.
            write!(out, "{plain}\\u{:04x}", u32::from(character))?;
            rest = &deceptive[character.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

/// One JSON object.
pub(super) fn json(line: &Line, out: &mut impl Write) -> io::Result<()> {
    let time = humantime::format_rfc3339_millis(line.time);
    let object = Object {
        time: format_args!("{time}"),
        client: line.client,
        method: line.text(Text::Method).unwrap_or_default(),
        host: line.text(Text::Host).unwrap_or_default(),
        target: line.text(Text::Target).unwrap_or_default(),
        version: line.version,
        status: line.status,
        bytes: line.bytes,
        complete: line.complete,
        referer: line.text(Text::Referer),
        user_agent: line.text(Text::UserAgent),
        origin: line.text(Text::Origin),
        attempts: line.attempts,
        cache: line.text(Text::Cache),
        error: line.error,
        seconds: line.duration.as_secs_f64(),
        request_id: line.text(Text::RequestId).unwrap_or_default(),
    };
    object.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *out, Plain,
    ))?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Object<'a> {
    time: fmt::Arguments<'a>,
    client: IpAddr,
    method: &'a str,
    host: &'a str,
    target: &'a str,
    version: &'a str,
    status: Option<u16>,
    bytes: u64,
    complete: bool,
    referer: Option<&'a str>,
    user_agent: Option<&'a str>,
    origin: Option<&'a str>,
    attempts: u32,
    cache: Option<&'a str>,
    error: Option<&'a str>,
    seconds: f64,
    request_id: &'a str,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::telemetry::access_log::line::tests::line;

    fn formatted(line: &Line) -> String {
        let mut out = Vec::new();
        text(line, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_lines_begin_like_the_combined_format() {
        assert_eq!(
            formatted(&line()),
            "198.18.0.1 - - [2023-11-14T22:13:20.000Z] \"GET /x?y=1 HTTP/1.1\" 200 5 - \"curl/8\" \
             host=\"a.test\" origin=\"app/10.0.0.1:80\" cache=- error=- attempts=1 time=0.001500 id=1f\n"
        );
    }

    #[test]
    fn a_client_can_neither_end_a_line_nor_leave_its_quotes() {
        let mut line = line();
        line.set(
            Text::UserAgent,
            &["x\"\n198.18.0.9 \\ é\u{1b}[2J\u{85}\u{202e}"],
        );
        let text = formatted(&line);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(
            text.contains(r#""x\"\n198.18.0.9 \\ é\u{1b}[2J\u{85}\u{202e}""#),
            "{text}"
        );
    }

    #[test]
    fn json_lines_parse_back() {
        let mut line = line();
        let agent = "x\"\n\u{1b}\u{7f}\u{9b}2J\u{e9}\u{2028}\u{202e}\u{1f600}";
        line.set(Text::UserAgent, &[agent]);
        let mut out = Vec::new();
        json(&line, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(out.split(|byte| *byte == b'\n').count(), 2);
        assert_eq!(value["user_agent"], agent);
        let text = String::from_utf8(out).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(is_deceptive), "{line:?}");
        assert_eq!(value["status"], 200);
    }
}
