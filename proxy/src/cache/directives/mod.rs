//! `Cache-Control` and `Pragma` (RFC 9111 §5.2, §5.4): `#( token [ "=" ( token / quoted-string ) ] )`.
//!
//! What is not of that grammar is not guessed at: it counts as `no-cache`, `no-store`. A directive that comes twice counts in
//! its more restrictive form; one that permits counts only as it is defined, without an argument.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};

/// The greatest delta-seconds; more counts as this (RFC 9111 §1.2.2).
pub(super) const SECONDS_MAX: u64 = 1 << 31;

/// The directives of a request or a response that mean something to this cache. Absent = false or `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    /// Also in its qualified form: what it qualifies is not singled out here.
    pub(super) no_cache: bool,
    /// Also in its qualified form.
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    /// Zero if its argument is not delta-seconds.
    pub(super) max_age: Option<Duration>,
    /// Zero if its argument is not delta-seconds.
    pub(super) s_maxage: Option<Duration>,
    /// The greatest if its argument is not delta-seconds.
    pub(super) min_fresh: Option<Duration>,
}

impl Directives {
    /// Those of a response.
    pub(super) fn of_response(fields: &HeaderMap) -> Self {
        let mut directives = Self::default();
        directives.read(fields, &CACHE_CONTROL);
        directives
    }

    /// Those of a request. `Pragma: no-cache` counts if there is no Cache-Control.
    pub(super) fn of_request(fields: &HeaderMap) -> Self {
        let mut directives = Self::default();
        if fields.contains_key(CACHE_CONTROL) {
            directives.read(fields, &CACHE_CONTROL);
        } else if fields.contains_key(PRAGMA) {
            let mut pragma = Self::default();
            pragma.read(fields, &PRAGMA);
            directives.no_cache = pragma.no_cache;
        }
        directives
    }

    fn read(&mut self, fields: &HeaderMap, name: &HeaderName) {
        for line in fields.get_all(name) {
            let mut rest = Elements(line.as_bytes());
            loop {
                match rest.next_directive() {
                    Ok(Some(directive)) => self.add(&directive),
                    Ok(None) => break,
                    Err(Malformed) => {
                        self.no_cache = true;
                        self.no_store = true;
                        break;
                    }
                }
            }
        }
    }

    fn add(&mut self, directive: &Directive<'_>) {
        let Directive { name, argument } = *directive;
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        let seconds = argument.and_then(delta_seconds);
        let shorter = |known: Option<Duration>| {
            let seconds = seconds.unwrap_or_default();
            Some(known.map_or(seconds, |known| known.min(seconds)))
        };
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("public") {
            self.public |= argument.is_none();
        } else if is("must-revalidate") {
            self.must_revalidate |= argument.is_none();
        } else if is("max-age") {
            self.max_age = shorter(self.max_age);
        } else if is("s-maxage") {
            self.s_maxage = shorter(self.s_maxage);
        } else if is("min-fresh") {
            let seconds = seconds.unwrap_or(Duration::from_secs(SECONDS_MAX));
            self.min_fresh = self.min_fresh.max(Some(seconds));
        }
    }
}

/// delta-seconds (RFC 9111 §1.2.2): digits only.
pub(super) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0_u64, |seconds, digit| {
        (seconds * 10 + u64::from(digit - b'0')).min(SECONDS_MAX)
    });
    Some(Duration::from_secs(seconds))
}

/// Whether `byte` may be in a token (RFC 9110 §5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Optional whitespace (RFC 9110 §5.6.3).
pub(super) fn is_whitespace(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A line that is not of the grammar.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// One element of the list.
struct Directive<'a> {
    name: &'a [u8],
    /// Quotes taken off.
    argument: Option<&'a [u8]>,
}

/// What is left of a field line.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next directive. Empty elements are skipped (RFC 9110 §5.6.1).
    fn next_directive(&mut self) -> Result<Option<Directive<'a>>, Malformed> {
        self.skip(|byte| is_whitespace(byte) || byte == b',');
        if self.0.is_empty() {
            return Ok(None);
        }
        let name = self.skip(is_token_byte);
        if name.is_empty() {
            return Err(Malformed);
        }
        let argument = match self.0 {
            [b'=', b'"', ..] => {
                self.0 = &self.0[2..];
                Some(self.quoted()?)
            }
            [b'=', ..] => {
                self.0 = &self.0[1..];
                Some(self.skip(is_token_byte))
            }
            _ => None,
        };
        self.skip(is_whitespace);
        match self.0 {
            [] | [b',', ..] => Ok(Some(Directive { name, argument })),
            _ => Err(Malformed),
        }
    }

    /// Takes the bytes up to the closing quote, which it takes too. Escapes stay: no argument that counts has one.
    fn quoted(&mut self) -> Result<&'a [u8], Malformed> {
        let (text, mut at) = (self.0, 0);
        while let Some(byte) = text.get(at) {
            match byte {
                b'"' => {
                    self.0 = &text[at + 1..];
                    return Ok(&text[..at]);
                }
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        Err(Malformed)
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !wanted(*byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }
}

#[cfg(test)]
mod tests;
