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
    let special = |character: char| matches!(character, '"' | '\\') || character.is_control();
    let mut plain = 0;
    for (at, found) in text.match_indices(special) {
        out.write_all(&text.as_bytes()[plain..at])?;
        write!(out, "{}", found.escape_default())?;
        plain = at + found.len();
    }
    out.write_all(&text.as_bytes()[plain..])
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
    serde_json::to_writer(&mut *out, &object)?;
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
        line.set(Text::UserAgent, &["x\"\n198.18.0.9 \\ é\u{1b}[2J\u{85}"]);
        let text = formatted(&line);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(
            text.contains(r#""x\"\n198.18.0.9 \\ é\u{1b}[2J\u{85}""#),
            "{text}"
        );
    }

    #[test]
    fn json_lines_parse_back() {
        let mut line = line();
        line.set(Text::UserAgent, &["x\"\n"]);
        let mut out = Vec::new();
        json(&line, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(out.split(|byte| *byte == b'\n').count(), 2);
        assert_eq!(value["user_agent"], "x\"\n");
        assert_eq!(value["status"], 200);
    }
}
