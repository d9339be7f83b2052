//! A file as the rules see it: its text, and for Rust the same text with comments and literals blanked out, so that a
//! rule about code does not trip over prose. Not a parser: it knows comments, strings and characters, nothing else.

/// One text file.
pub(super) struct Source {
    /// Relative to the workspace's root, with `/`.
    pub(super) path: String,
    /// As it is.
    pub(super) text: String,
    /// Rust only, else empty: comments and the inside of literals are spaces. Same length and lines as `text`.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: String) -> Self {
        let is_rust = path.rsplit_once('.').is_some_and(|(_, end)| end == "rs");
        let code = if is_rust {
            blank(&text, Literals::Blank)
        } else {
            String::new()
        };
        Self {
            path: path.to_owned(),
            text,
            code,
        }
    }

    pub(super) fn is_rust(&self) -> bool {
        // A Rust file with nothing in it has nothing to judge either.
        !self.code.is_empty()
    }

    /// Whether the whole file is tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    /// The line that byte `at` is on, from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// Byte offset where the file's own tests begin, or its end.
    pub(super) fn tests_at(&self) -> usize {
        tests_at(&self.code).unwrap_or(self.text.len())
    }
}

/// What [`blank`] does with string and character literals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Literals {
    Blank,
    Keep,
}

/// `text` with comments, and perhaps literals, replaced by as many spaces; line ends stay.
pub(super) fn blank(text: &str, literals: Literals) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (end, hide) = match token(text.as_bytes(), at) {
            Token::Comment(end) => (end, true),
            Token::Literal(end) => (end, literals == Literals::Blank),
            Token::Other(end) => (end, false),
        };
        if hide {
            for byte in &mut bytes[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8(bytes)
        .expect("invariant: tokens end on character borders and blanks are ASCII")
}

/// `#[cfg(test)]` before a module, if there is one.
fn tests_at(code: &str) -> Option<usize> {
    code.match_indices("#[cfg(test)]")
        .map(|(at, _)| at)
        .find(|&at| {
            // Further attributes, each with its brackets, may come in between.
            let mut rest = code[at..].trim_start();
            while rest.starts_with("#[") {
                rest = rest
                    .split_once("]\n")
                    .map_or("", |(_, rest)| rest)
                    .trim_start();
            }
            rest.starts_with("mod ")
        })
}

/// A piece of Rust; each variant holds where it ends.
enum Token {
    Comment(usize),
    Literal(usize),
    Other(usize),
}

fn token(bytes: &[u8], at: usize) -> Token {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => Token::Comment(at + line_length(rest)),
        [b'/', b'*', ..] => Token::Comment(at + block_comment_length(rest)),
        [b'"', ..] => Token::Literal(at + string_length(rest)),
        [b'\'', ..] => {
            char_length(rest).map_or(Token::Other(at + 1), |len| Token::Literal(at + len))
        }
        [first, ..] if is_word(*first) => word(bytes, at),
        _ => Token::Other(at + 1),
    }
}

/// An identifier or number, or the raw string that it is the prefix of.
fn word(bytes: &[u8], at: usize) -> Token {
    let length = bytes[at..]
        .iter()
        .take_while(|&&byte| is_word(byte))
        .count();
    let (word, rest) = bytes[at..].split_at(length);
    let hashes = rest.iter().take_while(|&&byte| byte == b'#').count();
    if matches!(word, b"r" | b"br" | b"cr") && rest.get(hashes) == Some(&b'"') {
        let close: Vec<u8> = std::iter::once(b'"')
            .chain(std::iter::repeat_n(b'#', hashes))
            .collect();
        let inside = &rest[hashes + 1..];
        let end = inside
            .windows(close.len())
            .position(|window| window == close)
            .map_or(inside.len(), |found| found + close.len());
        return Token::Literal(at + length + hashes + 1 + end);
    }
    Token::Other(at + length)
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

fn line_length(rest: &[u8]) -> usize {
    rest.iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(rest.len())
}

/// Block comments nest.
fn block_comment_length(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `None` for a lifetime.
fn char_length(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        // What is escaped may itself be a quote.
        let close = rest.iter().skip(3).position(|&byte| byte == b'\'')?;
        return Some(close + 4);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)])
        .or_else(|error| std::str::from_utf8(&rest[1..=error.valid_up_to()]))
        .ok()?;
    let first = text.chars().next()?;
    let close = 1 + first.len_utf8();
    (rest.get(close) == Some(&b'\'')).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x // y", z)"#, r"f(        , z)"),
            (r##"f(r#"x " y"#, z)"##, r"f(          , z)"),
            (r"f('\'', '/', 'a')", "f(    ,    ,    )"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            (r#"f("x\"y", z)"#, r"f(      , z)"),
            ("f('é', x)", "f(    , x)"),
            ("variable\"x\"", "variable   "),
        ];
        for (text, expected) in cases {
            assert_eq!(blank(text, Literals::Blank), expected, "{text}");
        }
    }

    #[test]
    fn literals_can_be_kept() {
        assert_eq!(
            blank("a(\"// b\") // c", Literals::Keep),
            "a(\"// b\")     "
        );
    }

    #[test]
    fn unterminated_literals_end_with_the_file() {
        for text in ["\"abc", "r#\"abc\"", "/* abc", "'\\", "'"] {
            assert_eq!(blank(text, Literals::Blank).len(), text.len(), "{text}");
        }
    }

    #[test]
    fn tests_begin_at_the_attribute_of_their_module() {
        let source = Source::new(
            "a.rs",
            "#[cfg(test)]\nuse a::b;\nfn f() {}\n#[cfg(test)]\n#[allow(x, reason = \"y\")]\nmod tests {}\n".into(),
        );
        assert_eq!(source.line_of(source.tests_at()), 4);
    }

    #[test]
    fn a_file_without_tests_has_them_at_its_end() {
        let source = Source::new("a.rs", "fn f() {}\n".into());
        assert_eq!(source.tests_at(), source.text.len());
    }
}
