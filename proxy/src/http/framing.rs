//! Watches the bytes of an HTTP/1 connection for what hyper reads leniently and does not tell of.
//!
//! hyper frames the messages; this decides nothing about where they end, it only looks for heads that another parser
//! could read otherwise, so that they can be refused (RFC 9112 §11.2):
//!
//! - `Content-Length` together with `Transfer-Encoding` (§6.1): hyper drops the length before anybody sees it;
//! - `Content-Length` more than once (§6.3), which hyper takes if all say the same;
//! - lines that end in a bare LF (§2.2) and more than one empty line before a request line;
//! - a fragment in the request target (§3.2): hyper drops it.
//!
//! It follows the framing to find the next head. If it cannot, it fails closed: the next head is refused, and of chunks that
//! are not plain (§7.1) hyper sees nothing more, so that the origin never gets their end. hyper passes over whatever stands
//! in an extension, takes space after a size and any number of zeros before it, and a bare LF in trailers.

use super::fault::Malformed;

/// What was seen of the requests of one connection. At most [`LINE_BYTES_MAX`] bytes of memory.
#[derive(Debug, Default)]
pub(super) struct Heads {
    state: State,
    /// Beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Bytes of that line that did not fit.
    cut: bool,
    /// Of the head being read.
    head: Head,
    /// The line just taken is one of content that is not plain.
    broke_off: bool,
    /// Complete heads so far.
    complete: u64,
    /// The first head that must be refused, by number from 1. The connection is closed after it, so one is enough.
    refused: Option<(u64, Malformed)>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a request line, after this many empty lines.
    #[default]
    Start,
    StartAfterEmptyLine,
    Fields,
    ChunkSize,
    Trailers,
    /// This many bytes of content, then `Start`.
    Content(u64),
    /// This many bytes of a chunk, then `ChunkEnd`.
    Chunk(u64),
    /// The line end after a chunk, then `ChunkSize`.
    ChunkEnd,
    /// Where the next head begins is not known.
    Lost,
}

#[derive(Debug, Default)]
struct Head {
    length: Option<u64>,
    coded: bool,
    malformed: Option<Malformed>,
}

impl Heads {
    /// `bytes` came in. Returns how many of them hyper may see; if not all, content that is not plain follows.
    pub(super) fn observe(&mut self, bytes: &[u8]) -> usize {
        let mut left = bytes;
        while !left.is_empty() {
            let rest = match self.state {
                State::Lost => return bytes.len(),
                State::Content(length) => self.skip(left, length, State::Content, State::Start),
                State::Chunk(length) => self.skip(left, length, State::Chunk, State::ChunkEnd),
                _ => self.take_line(left),
            };
            if std::mem::take(&mut self.broke_off) {
                return bytes.len() - left.len();
            }
            left = rest;
        }
        bytes.len()
    }

    /// What is wrong with request number `number`, counted from 1.
    pub(super) fn malformed(&self, number: u64) -> Option<Malformed> {
        self.refused
            .filter(|(refused, _)| *refused <= number)
            .map(|(_, malformed)| malformed)
    }

    /// Heads that have come in full.
    #[cfg(feature = "fuzzing")]
    pub(super) fn complete(&self) -> u64 {
        self.complete
    }

    /// Whether all that was announced has come.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Start | State::StartAfterEmptyLine)
    }

    fn skip<'a>(
        &mut self,
        bytes: &'a [u8],
        left: u64,
        more: impl Fn(u64) -> State,
        then: State,
    ) -> &'a [u8] {
        let length = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - length as u64;
        self.state = if left == 0 { then } else { more(left) };
        &bytes[length..]
    }

    /// Takes a line, or the part of one that there is.
    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.keep(bytes);
            return &[];
        };
        let (line, rest) = bytes.split_at(end);
        if self.partial.is_empty() && !self.cut {
            self.line(line);
        } else {
            self.keep(line);
            let partial = std::mem::take(&mut self.partial);
            self.line(&partial);
            self.partial = partial;
            self.partial.clear();
            self.cut = false;
        }
        &rest[1..]
    }

    /// Keeps the beginning and the last byte of a line in parts; what lies between is looked at and dropped.
    fn keep(&mut self, part: &[u8]) {
        let room = LINE_BYTES_MAX - self.partial.len();
        if part.len() <= room {
            self.partial.extend_from_slice(part);
            return;
        }
        // The last byte that was kept is about to give way to another.
        let given_up = if self.cut { &[][..] } else { &self.partial };
        if self.is_start() && (part.contains(&b'#') || given_up.contains(&b'#')) {
            self.head.malformed = Some(Malformed::Target);
        }
        self.partial.extend_from_slice(&part[..room]);
        if let (Some(kept), Some(last)) = (self.partial.last_mut(), part.last()) {
            *kept = *last;
        }
        self.cut = true;
    }

    fn is_start(&self) -> bool {
        matches!(self.state, State::Start | State::StartAfterEmptyLine)
    }

    /// A line without its LF.
    fn line(&mut self, line: &[u8]) {
        let (line, bare) = match line.strip_suffix(b"\r") {
            Some(line) => (line, false),
            None => (line, true),
        };
        if bare {
            self.head.malformed.get_or_insert(Malformed::Line);
        }
        self.state = match self.state {
            State::Start if line.is_empty() => State::StartAfterEmptyLine,
            State::Start | State::StartAfterEmptyLine => self.request_line(line),
            State::Fields if line.is_empty() => self.end_of_head(),
            State::Fields => self.field_line(line),
            State::ChunkSize | State::ChunkEnd | State::Trailers if bare => self.break_off(),
            State::ChunkSize => self.chunk_size(line),
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => self.break_off(),
            State::Trailers if line.is_empty() => State::Start,
            State::Trailers => State::Trailers,
            other @ (State::Content(_) | State::Chunk(_) | State::Lost) => other,
        };
    }

    fn request_line(&mut self, line: &[u8]) -> State {
        if line.is_empty() {
            self.head.malformed.get_or_insert(Malformed::Line);
            return State::StartAfterEmptyLine;
        }
        if line.contains(&b'#') {
            self.head.malformed.get_or_insert(Malformed::Target);
        }
        State::Fields
    }

    fn field_line(&mut self, line: &[u8]) -> State {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.head.coded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            // A value that is no number, or two that differ, are refused by hyper, and the connection ends.
            let digits = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            match number(digits, 10).filter(|_| !self.is_long(line)) {
                // Twice the same is one length to some and a list to others.
                Some(length) if self.head.length.replace(length).is_some() => {
                    self.head.malformed.get_or_insert(Malformed::Framing);
                }
                Some(_) => {}
                None => return self.lose(),
            }
        }
        State::Fields
    }

    fn end_of_head(&mut self) -> State {
        let head = std::mem::take(&mut self.head);
        self.complete += 1;
        let ambiguous = head.coded && head.length.is_some();
        if let Some(malformed) = head.malformed.or(ambiguous.then_some(Malformed::Framing)) {
            self.refused.get_or_insert((self.complete, malformed));
        }
        match head.length {
            _ if head.coded => State::ChunkSize,
            Some(length) if length > 0 => State::Content(length),
            _ => State::Start,
        }
    }

    /// Whether a line, without its line end, is longer than what is kept of one that comes in parts.
    fn is_long(&self, line: &[u8]) -> bool {
        self.cut || line.len() + b"\r".len() > LINE_BYTES_MAX
    }

    /// RFC 9112 §7.1. A line of more than [`LINE_BYTES_MAX`] bytes is none that an honest client sends.
    fn chunk_size(&mut self, line: &[u8]) -> State {
        let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
        let digits = line.iter().take_while(|byte| is_digit(byte)).count();
        let (size, extensions) = line.split_at(digits);
        let is_plain = !self.is_long(line)
            && digits <= CHUNK_SIZE_DIGITS_MAX
            && (extensions.is_empty() || are_extensions(extensions));
        match number(size, 16).filter(|_| is_plain) {
            Some(0) => State::Trailers,
            Some(size) => State::Chunk(size),
            None => self.break_off(),
        }
    }

    fn break_off(&mut self) -> State {
        self.broke_off = true;
        self.lose()
    }

    fn lose(&mut self) -> State {
        self.refused
            .get_or_insert((self.complete + 1, Malformed::Framing));
        State::Lost
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` takes a sign, a message does not.
    let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain
        .then(|| u64::from_str_radix(text, radix).ok())
        .flatten()
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 §7.1.1), so that nobody finds the end of the
/// line elsewhere.
fn are_extensions(text: &[u8]) -> bool {
    let mut rest = text.trim_ascii_start();
    if rest.is_empty() {
        return false;
    }
    while let Some(extension) = rest.strip_prefix(b";") {
        let Some(after_name) = after_token(extension.trim_ascii_start()) else {
            return false;
        };
        rest = match after_name.trim_ascii_start().strip_prefix(b"=") {
            None => after_name,
            Some(value) => {
                let value = value.trim_ascii_start();
                let after_value = match value.strip_prefix(b"\"") {
                    Some(quoted) => after_quoted(quoted),
                    None => after_token(value),
                };
                match after_value {
                    Some(after_value) => after_value,
                    None => return false,
                }
            }
        };
        let next = rest.trim_ascii_start();
        if next.starts_with(b";") {
            rest = next;
        }
    }
    rest.is_empty()
}

/// RFC 9110 §5.6.2: what follows a token; `None` if there is none.
fn after_token(text: &[u8]) -> Option<&[u8]> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = text.iter().take_while(|byte| is_token(byte)).count();
    (length > 0).then(|| &text[length..])
}

/// RFC 9110 §5.6.4: what follows a quoted string whose opening quote has been taken; `None` if it does not end.
fn after_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(&text[at + 1..]),
            b'\\' => {
                bytes.next().filter(|(_, byte)| is_text(**byte))?;
            }
            byte if !is_text(*byte) => return None,
            _ => {}
        }
    }
    None
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// More than any `Content-Length` line or chunk size needs.
const LINE_BYTES_MAX: usize = 256;
/// Those of 64 bits; more are zeros in front.
const CHUNK_SIZE_DIGITS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` whole and byte by byte, which must not differ.
    fn verdicts(text: &str, requests: u64) -> Vec<Option<Malformed>> {
        let mut whole = Heads::default();
        whole.observe(text.as_bytes());
        let mut split = Heads::default();
        for byte in text.as_bytes() {
            split.observe(&[*byte]);
        }
        let of = |heads: &Heads| {
            (1..=requests)
                .map(|n| heads.malformed(n))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&whole), of(&split), "{text:?}");
        of(&whole)
    }

    #[test]
    fn ordinary_requests_pass() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
                    POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n\r\n\r\n\
                    \r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\n\n#\r\n\r\n0\r\nX: 1\r\n\r\n\
                    GET / HTTP/1.1\r\n\r\n";
        assert_eq!(verdicts(text, 4), [None; 4]);
    }

    #[test]
    fn length_with_transfer_coding_is_seen_in_any_order_and_place() {
        for fields in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 0\r\nX: 1\r\ncontent-length: 0\r\n",
            "TRANSFER-ENCODING: chunked\r\nX: 1\r\ncontent-length:3\r\n",
        ] {
            for before in [
                "",
                "GET / HTTP/1.1\r\n\r\n",
                "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
            ] {
                let text = format!("{before}PUT / HTTP/1.1\r\n{fields}\r\n0\r\n\r\n");
                let requests = 1 + u64::from(!before.is_empty());
                let seen = verdicts(&text, requests);
                assert_eq!(seen.last(), Some(&Some(Malformed::Framing)), "{text:?}");
                assert!(seen.len() == 1 || seen[0].is_none());
            }
        }
    }

    #[test]
    fn bare_line_feeds_empty_lines_and_fragments_are_seen() {
        for (text, malformed) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Malformed::Line),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Malformed::Line),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Malformed::Line),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Malformed::Line),
            ("GET /#x HTTP/1.1\r\n\r\n", Malformed::Target),
        ] {
            assert_eq!(verdicts(text, 1), [Some(malformed)], "{text:?}");
        }
    }

    #[test]
    fn a_line_too_long_to_be_framing_is_refused_however_it_comes() {
        for length in 200..300 {
            let refused = (length >= LINE_BYTES_MAX).then_some(Malformed::Framing);
            let next = "GET / HTTP/1.1\r\n\r\n";
            let extension = format!("1;{}", "x".repeat(length - 2));
            let chunked = format!(
                "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{extension}\r\na\r\n0\r\n\r\n{next}"
            );
            assert_eq!(verdicts(&chunked, 2), [None, refused], "{length}");
            let spaces = " ".repeat(length - "Content-Length:0".len());
            let sized = format!("PUT / HTTP/1.1\r\nContent-Length:{spaces}0\r\n\r\n{next}");
            assert_eq!(verdicts(&sized, 2), [refused; 2], "{length}");
        }
    }

    #[test]
    fn long_lines_are_watched_to_their_end() {
        let long = "x".repeat(1000);
        let text = format!("GET /{long}#{long} HTTP/1.1\r\nX: {long}#\r\n\r\n");
        assert_eq!(verdicts(&text, 1), [Some(Malformed::Target)]);
        let text = format!("GET /{long} HTTP/1.1\r\nX: {long}\n\r\n");
        assert_eq!(verdicts(&text, 1), [Some(Malformed::Line)]);
        let text = format!("GET /{long} HTTP/1.1\r\nX: {long}\r\n\r\n");
        assert_eq!(verdicts(&text, 1), [None]);
    }

    #[test]
    fn a_fragment_is_seen_wherever_in_a_long_line_it_begins() {
        for before in LINE_BYTES_MAX - 10..LINE_BYTES_MAX + 10 {
            let path = "x".repeat(before - "GET /".len());
            let text = format!("GET /{path}#y HTTP/1.1\r\n\r\n");
            assert_eq!(verdicts(&text, 1), [Some(Malformed::Target)], "{before}");
        }
    }

    #[test]
    fn after_framing_that_it_cannot_follow_everything_is_refused() {
        let long = format!("{}5\r\n", "0".repeat(300));
        for chunk in ["zz\r\n", "10000000000000000\r\n", &long] {
            let text = format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
            assert_eq!(verdicts(&text, 2), [None, Some(Malformed::Framing)]);
        }
        let signed = "PUT / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc";
        assert_eq!(verdicts(signed, 1), [Some(Malformed::Framing)]);
    }

    /// The first bytes of `content` that hyper sees, when it comes at once.
    fn seen(content: &str) -> String {
        const HEAD: &str = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut heads = Heads::default();
        let text = format!("{HEAD}{content}");
        let kept = heads.observe(text.as_bytes());
        assert_eq!(
            heads.malformed(2).is_some(),
            kept < text.len(),
            "{content:?}"
        );
        // In parts of one byte, the first that is missing is the LF of the same line.
        let mut split = Heads::default();
        let bytes = text.as_bytes();
        let cut = bytes.iter().position(|byte| split.observe(&[*byte]) == 0);
        let end = kept
            + bytes[kept..]
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(0);
        assert_eq!(cut, (kept < text.len()).then_some(end), "{content:?}");
        text[HEAD.len()..kept].to_owned()
    }

    #[test]
    fn chunks_with_well_formed_extensions_pass() {
        for line in [
            "2",
            "02",
            "0000000000000002",
            "2;a",
            "2;a=b",
            "2 ; a = b",
            "2\t;a\t=\tb",
            "2;a;b=c;d=\"e\"",
            "2;a=\"b;c\\\"d\\\\\";e",
            "2;a=\"\"",
            "2;a=\"\u{e9}\"",
        ] {
            let content = format!("{line}\r\nok\r\n0\r\nX: 1\r\n\r\n");
            assert_eq!(seen(&content), content);
        }
    }

    #[test]
    fn nothing_is_seen_of_a_chunk_that_is_not_plain() {
        let (zeros, long) = ("0".repeat(15), "x".repeat(256));
        let (zeros, long) = (format!("{zeros}02"), format!("2;{long}"));
        for line in [
            "",
            " 2",
            "2 ",
            "2\t",
            "+2",
            "0x2",
            "2_0",
            "2 2",
            "2;",
            "2;;a",
            "2;a ",
            "2;a b",
            "2;a=",
            "2;=b",
            "2;a=b c",
            "2;a=\"b",
            "2;a=\"b\\",
            "2;a=\"b\\\"",
            "2;a=\"b\"c",
            "2;a=b\"c\"",
            "2;a=\"\0\"",
            "2;a\rb",
            "2;a(",
            "2,a",
            "g",
            &zeros,
            &long,
        ] {
            let before = "2\r\nok\r\n";
            let content = format!("{before}{line}\r\nok\r\n0\r\n\r\n");
            assert_eq!(seen(&content), before, "{line:?}");
        }
        for (before, after) in [
            ("2\r\nok\r\n", "2\nok\r\n0\r\n\r\n"),
            ("2\r\nok\r\n", "2;a\nok\r\n0\r\n\r\n"),
            ("2\r\nok", "\n0\r\n\r\n"),
            ("2\r\nok", "!\r\n0\r\n\r\n"),
            ("2\r\nok\r\n0\r\n", "\n"),
            ("2\r\nok\r\n0\r\n", "X: 1\n\r\n"),
            ("2\r\nok\r\n0\r\nX: 1\r\n", "\n"),
        ] {
            assert_eq!(seen(&format!("{before}{after}")), before, "{after:?}");
        }
    }
}
