//! Content coding on the way to the client (RFC 9110 §8.4, §12.5.3): whether, and in which.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderName, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};

/// A content coding that weir makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// The first is taken when the client likes several alike.
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What a client likes best, if it takes any (RFC 9110 §12.5.3). `*` is taken for gzip alone, which everyone knows.
    pub(in crate::http) fn accepted(fields: &HeaderMap) -> Option<Self> {
        let lines = fields.get_all(ACCEPT_ENCODING).iter();
        let members = lines.filter_map(|line| line.to_str().ok());
        let mut weights = [None; 3];
        let mut any = None;
        for member in members.flat_map(|line| line.split(',')) {
            let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
            let (name, weight) = (name.trim(), weight(parameters));
            if name == "*" {
                any = Some(weight);
            }
            for (coding, known) in Self::ALL.iter().zip(&mut weights) {
                let is_alias = *coding == Self::Gzip && name.eq_ignore_ascii_case("x-gzip");
                if is_alias || name.eq_ignore_ascii_case(coding.as_str()) {
                    *known = Some(weight);
                }
            }
        }
        if weights[2].is_none() {
            weights[2] = any;
        }
        let mut best = None;
        for (coding, weight) in Self::ALL.into_iter().zip(weights) {
            let weight = weight.unwrap_or(0);
            if weight > best.map_or(0, |(_, best)| best) {
                best = Some((coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }
}

/// `q` in thousandths; none is 1, and what is no weight is 0.
fn weight(parameters: &str) -> u16 {
    let mut parts = parameters.split(';').map(str::trim);
    let Some(text) = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    }) else {
        return 1000;
    };
    match text.parse::<f32>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is from 0 to 1000"
        )]
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u16,
        _ => 0,
    }
}

/// What `start` makes for `coding`, if the client takes one and gets the content in it; makes the fields fit. Those of a
/// response that could have come in one say so either way, so that caches between do not mix them up.
pub(in crate::http) fn prepare<T>(
    fields: &mut HeaderMap,
    status: StatusCode,
    coding: Option<Coding>,
    start: impl FnOnce(Coding) -> Option<T>,
) -> Option<T> {
    if status == StatusCode::NOT_MODIFIED {
        // It has to name what the response with content would have named (RFC 9110 §15.4.5).
        if fields.contains_key(ETAG) && !forbids(fields) {
            vary(fields);
            if coding.is_some() {
                weaken(fields);
            }
        }
        return None;
    }
    if !is_eligible(fields, status) {
        return None;
    }
    vary(fields);
    let coding = coding?;
    let started = start(coding)?;
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    // They speak of the content as it was.
    for name in [CONTENT_LENGTH, ACCEPT_RANGES].iter().chain(&DIGESTS) {
        fields.remove(name);
    }
    weaken(fields);
    Some(started)
}

fn is_eligible(fields: &HeaderMap, status: StatusCode) -> bool {
    let has_content = !status.is_informational()
        && ![204, 205, 206, 304].contains(&status.as_u16())
        && !fields.contains_key(CONTENT_RANGE);
    let is_coded = fields
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|line| !line.as_bytes().eq_ignore_ascii_case(b"identity"));
    let is_small = fields
        .get(CONTENT_LENGTH)
        .and_then(|line| line.to_str().ok()?.parse::<u64>().ok())
        .is_some_and(|length| length < BYTES_MIN);
    has_content && !is_coded && !is_small && !forbids(fields) && is_text(fields)
}

/// RFC 9111 §5.2.2.6.
fn forbids(fields: &HeaderMap) -> bool {
    members(fields, &CACHE_CONTROL).any(|member| member.eq_ignore_ascii_case("no-transform"))
}

/// Whether the type is one that gets smaller and is safe to change.
fn is_text(fields: &HeaderMap) -> bool {
    let Some(line) = fields.get(CONTENT_TYPE).and_then(|line| line.to_str().ok()) else {
        return false;
    };
    let media_type = line.split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    media_type.starts_with("text/")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || TYPES.contains(&media_type.as_str())
}

fn vary(fields: &mut HeaderMap) {
    let known = members(fields, &VARY)
        .any(|member| member == "*" || member.eq_ignore_ascii_case("accept-encoding"));
    if !known {
        fields.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// RFC 9110 §8.8.1: other bytes may not have the same strong validator.
fn weaken(fields: &mut HeaderMap) {
    let weak = fields.get(ETAG).and_then(|tag| {
        let tag = tag.as_bytes();
        let weak = tag.starts_with(b"\"").then(|| [b"W/", tag].concat())?;
        HeaderValue::from_bytes(&weak).ok()
    });
    if let Some(weak) = weak {
        fields.insert(ETAG, weak);
    }
}

fn members<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = fields.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// Smallest declared content that is coded, in bytes.
const BYTES_MIN: u64 = 1024;
const TYPES: [&str; 8] = [
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "font/ttf",
    "image/svg+xml",
];
/// RFC 9530, and the ones before it.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn the_client_gets_the_coding_that_it_likes_best() {
        for (accepted, expected) in [
            (None, None),
            (Some(""), None),
            (Some("identity"), None),
            (Some("gzip, deflate, br, zstd"), Some(Coding::Zstd)),
            (Some("gzip, br"), Some(Coding::Brotli)),
            (Some("GZIP"), Some(Coding::Gzip)),
            (Some("x-gzip"), Some(Coding::Gzip)),
            (Some("br;q=0.5, gzip;q=0.8"), Some(Coding::Gzip)),
            (Some("br;q=1.0, gzip ; Q=0.8"), Some(Coding::Brotli)),
            (
                Some("zstd;q=0, br;q=0.000, gzip;q=0.001"),
                Some(Coding::Gzip),
            ),
            (Some("gzip;q=0, *"), None),
            (Some("*"), Some(Coding::Gzip)),
            (Some("*;q=0"), None),
            (Some("gzip;q=2"), None),
            (Some("gzip;q=NaN"), None),
            (Some("gzip;q="), None),
            (Some("deflate"), None),
        ] {
            let fields =
                accepted.map_or_else(HeaderMap::new, |line| map(&[("accept-encoding", line)]));
            assert_eq!(Coding::accepted(&fields), expected, "{accepted:?}");
        }
    }

    #[test]
    fn what_is_coded_small_binary_partial_or_not_to_be_transformed_stays_as_it_is() {
        for (status, lines) in [
            (
                200,
                &[("content-type", "text/html"), ("content-encoding", "gzip")][..],
            ),
            (
                200,
                &[("content-type", "text/html"), ("content-length", "1023")],
            ),
            (200, &[("content-type", "image/png")]),
            (200, &[]),
            (
                200,
                &[
                    ("content-type", "text/html"),
                    ("cache-control", "public, No-Transform"),
                ],
            ),
            (
                206,
                &[
                    ("content-type", "text/html"),
                    ("content-range", "bytes 0-1/2"),
                ],
            ),
            (204, &[("content-type", "text/html")]),
        ] {
            let mut fields = map(lines);
            let status = StatusCode::from_u16(status).expect("valid");
            assert_eq!(
                prepare(&mut fields, status, Some(Coding::Gzip), Some),
                None,
                "{lines:?}"
            );
            assert_eq!(fields, map(lines));
        }
    }

    #[test]
    fn fields_say_what_became_of_the_content() {
        let whole = [
            ("content-type", "Application/Problem+JSON; charset=utf-8"),
            ("content-length", "1024"),
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:AA==:"),
            ("etag", "\"a\""),
            ("vary", "Origin"),
        ];
        let mut fields = map(&whole);
        let coding = prepare(&mut fields, StatusCode::OK, Some(Coding::Brotli), Some);
        assert_eq!(coding, Some(Coding::Brotli));
        let expected = map(&[
            ("content-type", "Application/Problem+JSON; charset=utf-8"),
            ("content-encoding", "br"),
            ("etag", "W/\"a\""),
            ("vary", "Origin"),
            ("vary", "accept-encoding"),
        ]);
        assert_eq!(fields, expected);
        let mut fields = map(&whole);
        assert_eq!(prepare(&mut fields, StatusCode::OK, None, Some), None);
        assert_eq!(fields.get_all("vary").iter().count(), 2);
        assert_eq!(fields[ETAG], "\"a\"");
        let mut fields = map(&[
            ("content-type", "text/plain"),
            ("vary", "Accept-Encoding"),
            ("etag", "W/\"b\""),
        ]);
        prepare(&mut fields, StatusCode::OK, Some(Coding::Gzip), Some);
        assert_eq!(fields.get_all("vary").iter().count(), 1);
        assert_eq!(fields[ETAG], "W/\"b\"");
    }

    #[test]
    fn without_a_coder_the_content_stays_as_it_is() {
        let mut fields = map(&[("content-type", "text/plain"), ("etag", "\"a\"")]);
        let none = prepare(
            &mut fields,
            StatusCode::OK,
            Some(Coding::Gzip),
            |_| None::<()>,
        );
        assert_eq!(none, None);
        assert_eq!(fields.get(CONTENT_ENCODING), None);
        assert_eq!(fields[ETAG], "\"a\"");
    }

    #[test]
    fn what_is_not_modified_has_the_validator_of_what_was_coded() {
        let mut fields = map(&[("etag", "\"a\"")]);
        prepare(
            &mut fields,
            StatusCode::NOT_MODIFIED,
            Some(Coding::Gzip),
            Some,
        );
        assert_eq!(
            fields,
            map(&[("etag", "W/\"a\""), ("vary", "accept-encoding")])
        );
    }
}
