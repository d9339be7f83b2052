//! What holds of this module's parsers whatever a peer sends, for the fuzz targets: each function panics where it does not.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Uri, Version, request};

use super::choice;
use super::fields::Scheme;
use super::frames::Frames;
use super::framing::Heads;
use super::target::Target;
use crate::balance::Upstream;
use crate::route::{EncodedSlashes, normalise};

pub use super::connect::fuzz::announced;
pub use super::fields::fuzz::{forwarded, to_client, to_origin};
pub use super::filters::fuzz::{compress, credentials, limit, passwords};
pub use super::upgrade::fuzz::upgrade;

/// What the check of HTTP/1 framing made of a connection's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framing {
    /// Where each head ended that was read, in bytes from the beginning.
    pub heads: Vec<usize>,
    /// The first request, from 1, that is refused, with all that follow it.
    pub refused: Option<u64>,
}

/// What is seen of `bytes` does not depend on where they are cut.
pub fn framing(bytes: &[u8]) -> Framing {
    let mut single = Heads::default();
    let mut heads = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        single.observe(std::slice::from_ref(byte));
        if single.complete() > heads.len() as u64 {
            heads.push(at + 1);
        }
    }
    let requests = 1..=heads.len() as u64 + 2;
    let refused = |seen: &Heads| {
        let mut numbers = requests.clone();
        numbers.find(|number| seen.malformed(*number).is_some())
    };
    for portion in [bytes.len().max(1), 2, 7, 255, 256, 257] {
        let mut seen = Heads::default();
        for part in bytes.chunks(portion) {
            seen.observe(part);
        }
        assert_eq!(
            (refused(&seen), seen.complete(), seen.is_between_requests()),
            (
                refused(&single),
                single.complete(),
                single.is_between_requests()
            ),
            "in portions of {portion}"
        );
    }
    Framing {
        refused: refused(&single),
        heads,
    }
}

/// A flood of HTTP/2 frames is one in whatever portions it comes.
pub fn frames(bytes: &[u8], streams: u32, sent: u16, now: Instant) {
    let flood = |portion: usize| {
        let mut frames = Frames::new(streams, now);
        frames.sent(usize::from(sent));
        for part in bytes.chunks(portion) {
            frames.observe(part, || now + Duration::from_millis(15));
        }
        frames.flood()
    };
    let whole = flood(bytes.len().max(1));
    for portion in [1, 9, 24, 100] {
        assert_eq!(flood(portion), whole, "in portions of {portion}");
    }
}

/// A target that is taken names one host, in one way, and a path that is its own normal form.
pub fn target(method: &Method, uri: &Uri, version: Version, fields: &HeaderMap) {
    for slashes in [EncodedSlashes::Refuse, EncodedSlashes::Keep] {
        let Ok(target) = Target::of(method, uri, version, fields, slashes) else {
            continue;
        };
        let host = &target.host;
        assert!(!host.starts_with('.') && !host.ends_with('.'), "{host}");
        assert_eq!(*host, host.to_ascii_lowercase());
        assert!(host.starts_with('[') || !host.contains(':'), "{host}");
        if host.is_empty() {
            assert_eq!(version, Version::HTTP_10);
        } else {
            let parse = |text: &[u8]| Target::parse(text).expect("it was taken before");
            let again = parse(target.authority.as_bytes());
            assert_eq!((&again.host, again.port), (host, target.port));
            assert_eq!(parse(target.key_host(443).as_bytes()).host, *host);
        }
        let normal = target.normal.as_ref();
        let path = normal.map_or(uri.path(), |normal| normal.path());
        if path != "*" {
            assert_eq!(normalise(path, slashes).as_deref(), Ok(path));
        }
        let query = normal.map_or(uri.query(), |normal| normal.query());
        assert_eq!(query, uri.query());
    }
}

/// A sticky cookie leads to the server that it was made for, and to no other.
pub fn sticky(upstream: &Upstream, parts: &request::Parts) {
    let client = [198, 18, 0, 1].into();
    let wish = choice::wish(client, upstream, parts);
    for server in 0..upstream.servers.len() {
        let token = upstream.token(server).expect("sticky");
        assert_eq!(upstream.of_token(&token), Some(server));
        let cookie = choice::set_cookie(upstream, wish, server, Scheme::Https);
        assert_eq!(cookie.is_none(), wish.server == Some(server));
        let sent = parts.headers.get_all(http::header::COOKIE).iter();
        let sends = |value: &http::HeaderValue| {
            let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            text.contains(&token)
        };
        let is_sent = sent.into_iter().any(sends);
        assert!(is_sent || wish.server != Some(server));
    }
}
