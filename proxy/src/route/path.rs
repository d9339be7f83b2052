//! The one form of a path that routes, detection, the cache and the origin see (RFC 3986 §5.2.4 and §6.2.2), so that
//! writing a path in another way leads past none of them.

use std::borrow::Cow;

/// `[requests]`: what is done with requests that others may read in another way than weir. In force for the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestSettings {
    /// `encoded_slashes`. Default: refuse.
    pub encoded_slashes: EncodedSlashes,
    /// `underscores`. Default: drop.
    pub underscores: Underscores,
}

/// What is done with a path that holds an encoded slash or backslash (`%2F`, `%5C`): some origins take it for a separator,
/// others for a part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlashes {
    /// 400.
    #[default]
    Refuse,
    /// It stays as it is and separates nothing.
    Keep,
}

/// What is done with fields whose name holds an underscore: CGI-like origins take `X_Real_Ip` for `X-Real-Ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Underscores {
    /// The origin does not see them.
    #[default]
    Drop,
    /// 400.
    Refuse,
}

/// Why a path has no form that everyone reads alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not begin with `/`.
    #[error("does not begin with /")]
    Relative,
    /// Characters that no path has, or that some take for a separator: controls, space, `\`, `?`, `#`, beyond ASCII.
    #[error("holds characters that no path has")]
    Character,
    /// A `%` without two hexadecimal digits, or `%00`.
    #[error("holds an invalid percent-encoding")]
    Encoding,
    /// `%2F` or `%5C`.
    #[error("holds an encoded slash or backslash")]
    EncodedSlash,
    /// A parent segment leads above the root.
    #[error("leads above the root")]
    AboveRoot,
    /// A dot segment with parameters (`..;x`), or between encoded slashes.
    #[error("holds a dot segment in disguise")]
    DisguisedDots,
}

/// The normal form of `path`, in these steps:
///
/// 1. what is no path is refused;
/// 2. percent-encoded unreserved characters are decoded, other encodings get upper-case digits (RFC 3986 §6.2.2.1, .2);
/// 3. repeated slashes become one. RFC 3986 has empty segments differ; most origins have them not;
/// 4. dot segments are removed (§5.2.4); above the root they are refused instead.
///
/// Encoded characters that are not unreserved stay encoded: decoding them would make another path. The normal form of a
/// normal form is itself.
pub fn normalise(path: &str, slashes: EncodedSlashes) -> Result<Cow<'_, str>, InvalidPath> {
    if !path.starts_with('/') {
        return Err(InvalidPath::Relative);
    }
    let is_valid = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#');
    if !path.bytes().all(is_valid) {
        return Err(InvalidPath::Character);
    }
    let pairs = path.as_bytes().windows(2);
    let may_differ =
        |pair: &[u8]| pair[0] == b'%' || (pair[0] == b'/' && b"./%".contains(&pair[1]));
    if !path.ends_with('%') && !pairs.into_iter().any(may_differ) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode(path, slashes)?;
    let plain = without_dots(&decoded)?;
    Ok(if plain == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(plain)
    })
}

fn decode(path: &str, slashes: EncodedSlashes) -> Result<String, InvalidPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(percent) = rest.find('%') {
        let (before, encoded) = rest.split_at(percent);
        decoded.push_str(before);
        let digits = encoded.get(1..3).ok_or(InvalidPath::Encoding)?;
        let byte = hexadecimal(digits).ok_or(InvalidPath::Encoding)?;
        match byte {
            0 => return Err(InvalidPath::Encoding),
            b'/' | b'\\' if slashes == EncodedSlashes::Refuse => {
                return Err(InvalidPath::EncodedSlash);
            }
            _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(char::from(byte));
            }
            _ => {
                decoded.push('%');
                decoded.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = &encoded[3..];
    }
    decoded.push_str(rest);
    Ok(decoded)
}

/// `u8::from_str_radix` takes a sign.
fn hexadecimal(digits: &str) -> Option<u8> {
    let both = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    both.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

fn without_dots(path: &str) -> Result<String, InvalidPath> {
    let mut plain = String::with_capacity(path.len());
    let mut ends_in_directory = false;
    for segment in path.split('/').skip(1) {
        ends_in_directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                let parent = plain.rfind('/').ok_or(InvalidPath::AboveRoot)?;
                plain.truncate(parent);
            }
            _ if has_disguised_dots(segment) => return Err(InvalidPath::DisguisedDots),
            _ => {
                plain.push('/');
                plain.push_str(segment);
            }
        }
    }
    if ends_in_directory {
        plain.push('/');
    }
    Ok(plain)
}

/// Whether an origin that cuts parameters off, or decodes slashes, would find a dot segment.
fn has_disguised_dots(segment: &str) -> bool {
    if !segment.contains('.') {
        return false;
    }
    let separated = segment.replace("%2F", "/").replace("%5C", "/");
    separated
        .split('/')
        .any(|part| matches!(part.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_written_differently_have_one_form() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../../c", "/c"),
            ("/a//../b", "/b"),
            ("/%61%2d%7E%5f", "/a-~_"),
            ("/a/%2e%2E/%2e/b", "/b"),
            ("/%e2%82%ac%20", "/%E2%82%AC%20"),
            // Decoded once, not twice.
            ("/%252e%252e/a", "/%252e%252e/a"),
            ("/%25%32%65", "/%252e"),
            ("/.well-known/..x/...", "/.well-known/..x/..."),
            ("/a;b=c/d", "/a;b=c/d"),
            ("/a..;b", "/a..;b"),
        ] {
            let normal = normalise(path, EncodedSlashes::Refuse);
            assert_eq!(normal.as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_has_no_form_that_everyone_reads_alike_is_refused() {
        for (path, expected) in [
            ("", InvalidPath::Relative),
            ("a", InvalidPath::Relative),
            ("*", InvalidPath::Relative),
            ("/a b", InvalidPath::Character),
            ("/a\\b", InvalidPath::Character),
            ("/a?b", InvalidPath::Character),
            ("/a#b", InvalidPath::Character),
            ("/caf\u{e9}", InvalidPath::Character),
            ("/%", InvalidPath::Encoding),
            ("/%4", InvalidPath::Encoding),
            ("/%zz", InvalidPath::Encoding),
            ("/%+1", InvalidPath::Encoding),
            ("/a%00", InvalidPath::Encoding),
            ("/a%2fb", InvalidPath::EncodedSlash),
            ("/a%2Fb", InvalidPath::EncodedSlash),
            ("/a%5cb", InvalidPath::EncodedSlash),
            ("/..", InvalidPath::AboveRoot),
            ("/a/../..", InvalidPath::AboveRoot),
            ("/%2e%2e/a", InvalidPath::AboveRoot),
            ("/a/..;x/b", InvalidPath::DisguisedDots),
            ("/a/.;x", InvalidPath::DisguisedDots),
            ("/a/%2e%2e;/b", InvalidPath::DisguisedDots),
        ] {
            let normal = normalise(path, EncodedSlashes::Refuse);
            assert_eq!(normal, Err(expected), "{path}");
        }
    }

    #[test]
    fn kept_encoded_slashes_separate_nothing_and_hide_no_dots() {
        for (path, expected) in [
            ("/a%2fb", Ok("/a%2Fb")),
            ("/a%5cb/../c", Ok("/c")),
            ("/a%2f..%2fb", Err(InvalidPath::DisguisedDots)),
            ("/a%5c..", Err(InvalidPath::DisguisedDots)),
            ("/..%2fa", Err(InvalidPath::DisguisedDots)),
            ("/%2f", Ok("/%2F")),
        ] {
            let normal = normalise(path, EncodedSlashes::Keep);
            assert_eq!(normal.as_deref(), expected.as_ref().copied(), "{path}");
        }
    }

    /// Paths of pieces that matter, by a generator with a fixed seed: whatever comes out is in the normal form, and is what
    /// an origin that normalises once more sees.
    #[test]
    fn the_normal_form_of_a_normal_form_is_itself() {
        let pieces = [
            "/", "/", "/", ".", "..", "a", "b;c", "%2e", "%2E", "%2f", "%5C", "%25", "2e", "%41",
            "%c3", "~", "%7e", ";", "%", "0",
        ];
        let mut state = 7_u64;
        let mut random = move |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or(0) % below
        };
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut path = String::from("/");
            for _ in 0..random(12) {
                path.push_str(pieces[random(pieces.len())]);
            }
            for slashes in [EncodedSlashes::Refuse, EncodedSlashes::Keep] {
                let Ok(normal) = normalise(&path, slashes) else {
                    continue;
                };
                accepted += 1;
                assert_eq!(
                    normalise(&normal, slashes).as_deref(),
                    Ok(&*normal),
                    "{path}"
                );
                assert!(!normal.contains("//"), "{path}: {normal}");
                let dots = |segment: &str| segment == "." || segment == "..";
                assert!(!normal.split('/').any(dots), "{path}: {normal}");
            }
        }
        assert!(
            accepted > 50_000,
            "the generator makes valid paths: {accepted}"
        );
    }
}
