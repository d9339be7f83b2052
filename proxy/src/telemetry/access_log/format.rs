//! How a line looks.

use std::io::{self, Write};

use serde::Serialize as _;

use super::Line;

/// Combined log format (client, time, request, status, bytes, referer, agent), then host, origin, cache, error, attempts,
/// seconds and request id.
pub(super) fn text(line: &Line, out: &mut impl Write) -> io::Result<()> {
    let time = humantime::format_rfc3339_millis(line.time);
    write!(out, "{} - - [{time}] \"", line.client)?;
    quoted(&line.method, out)?;
    out.write_all(b" ")?;
    quoted(&line.target, out)?;
    write!(out, " HTTP/{}\" ", line.version)?;
    match line.status {
        Some(status) => write!(out, "{status}")?,
        None => out.write_all(b"-")?,
    }
    write!(
        out,
        " {}{}",
        line.bytes,
        if line.complete { "" } else { "!" }
    )?;
    for (key, value) in [
        ("", line.referer.as_deref()),
        ("", line.user_agent.as_deref()),
        ("host=", Some(&*line.host)),
        ("origin=", line.origin.as_deref()),
        ("cache=", line.cache.as_deref()),
        ("error=", line.error),
    ] {
        write!(out, " {key}")?;
        match value {
            None => out.write_all(b"-")?,
            Some(value) => {
                out.write_all(b"\"")?;
                quoted(value, out)?;
                out.write_all(b"\"")?;
            }
        }
    }
    let seconds = line.duration.as_secs_f64();
    let attempts = line.attempts;
    writeln!(
        out,
        " attempts={attempts} time={seconds:.6} id={}",
        line.request_id
    )
}

/// One log line must stay one line, and a quoted text must stay inside its quotes, whatever a client sends.
fn quoted(text: &str, out: &mut impl Write) -> io::Result<()> {
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(out, "\\{character}")?,
            character if is_deceptive(character) => write!(out, "{}", character.escape_default())?,
            character => write!(out, "{character}")?,
        }
    }
    Ok(())
}

/// What a terminal obeys or an editor takes for a line end or a change of direction.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
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
    let value = serde_json::json!({
        "time": humantime::format_rfc3339_millis(line.time).to_string(),
        "client": line.client,
        "method": line.method,
        "host": line.host,
        "target": line.target,
        "version": line.version,
        "status": line.status,
        "bytes": line.bytes,
        "complete": line.complete,
        "referer": line.referer,
        "user_agent": line.user_agent,
        "origin": line.origin,
        "attempts": line.attempts,
        "cache": line.cache,
        "error": line.error,
        "seconds": line.duration.as_secs_f64(),
        "request_id": line.request_id,
    });
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *out, Plain,
    ))?;
    out.write_all(b"\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    pub(in crate::telemetry::access_log) fn line() -> Line {
        Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            client: "198.18.0.1".parse().unwrap(),
            method: "GET".into(),
            host: "a.test".into(),
            target: "/x?y=1".into(),
            version: "1.1",
            status: Some(200),
            bytes: 5,
            complete: true,
            referer: None,
            user_agent: Some("curl/8".into()),
            origin: Some("app/10.0.0.1:80".into()),
            attempts: 1,
            cache: None,
            error: None,
            duration: Duration::from_micros(1500),
            request_id: "1f".into(),
        }
    }

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
        line.user_agent = Some("x\"\n198.18.0.9 \\ \u{1b}[2J\u{85}\u{202e}".into());
        let text = formatted(&line);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(
            text.contains(r#""x\"\n198.18.0.9 \\ \u{1b}[2J\u{85}\u{202e}""#),
            "{text}"
        );
    }

    #[test]
    fn json_lines_parse_back() {
        let mut line = line();
        let agent = "x\"\n\u{1b}\u{7f}\u{9b}2J\u{e9}\u{2028}\u{202e}\u{1f600}";
        line.user_agent = Some(agent.into());
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
