//! Where a request is aimed: the host and the path that routing, the cache key and the origin all see alike.
//!
//! RFC 9112 §3.2 and §3.3, RFC 9110 §7.1 and §7.2, RFC 9113 §8.3.1.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::fault::{Fault, Malformed};
use crate::route::{self, EncodedSlashes};

/// A checked request target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `host[:port]` as sent: goes to the origin as `Host`.
    pub(super) authority: HeaderValue,
    /// Lower case, without port and without the root's trailing dot; IPv6 in brackets. Empty: an HTTP/1.0 request
    /// that names no host.
    pub(super) host: String,
    /// Port, if named.
    pub(super) port: Option<u16>,
    /// Normal form of path and query, if the request has another one.
    pub(super) normal: Option<PathAndQuery>,
}

impl Target {
    /// Checks the target of a request, in RFC 9112 §3.2's order:
    ///
    /// 1. exactly one `Host` in HTTP/1.1, at most one otherwise;
    /// 2. its value is a host with an optional port;
    /// 3. absolute-form and `:authority` name the host themselves; a `Host` beside them must be the same. RFC 9112
    ///    §3.2.2 has a proxy ignore `Host` then. Departs from it: two names for one request are how caches are
    ///    poisoned, and no honest client sends them.
    pub(super) fn of(
        method: &Method,
        uri: &Uri,
        version: Version,
        fields: &HeaderMap,
        slashes: EncodedSlashes,
    ) -> Result<Self, Fault> {
        let mut lines = fields.get_all(HOST).iter();
        let field = lines.next();
        let in_target = uri.authority();
        if lines.next().is_some() || (field.is_none() && version == Version::HTTP_11) {
            return Err(BAD_HOST);
        }
        let normal = check_path(method, uri, slashes)?;
        let target = match (in_target, field) {
            (Some(authority), field) => {
                let named = Self::parse(authority.as_str().as_bytes())?;
                if field.is_some_and(|field| field.as_bytes() != authority.as_str().as_bytes()) {
                    let field = Self::parse(field.map_or(&[], HeaderValue::as_bytes))?;
                    if !named.is_same(&field, default_port(uri)) {
                        return Err(Fault::BadRequest(Malformed::HostMismatch));
                    }
                }
                named
            }
            (None, Some(field)) => Self::parse_field(field)?,
            (None, None) if version == Version::HTTP_10 => Self::nameless(),
            (None, None) => return Err(BAD_HOST),
        };
        Ok(Self { normal, ..target })
    }

    /// The host as a cache key has it: with the port unless it is the scheme's own.
    pub(super) fn key_host(&self, scheme_port: u16) -> Cow<'_, str> {
        match self.port {
            Some(port) if port != scheme_port => format!("{}:{port}", self.host).into(),
            _ => self.host.as_str().into(),
        }
    }

    fn nameless() -> Self {
        Self {
            authority: HeaderValue::from_static(""),
            host: String::new(),
            port: None,
            normal: None,
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let value = HeaderValue::from_bytes(bytes).map_err(|_invalid| BAD_HOST)?;
        Self::parse_field(&value)
    }

    /// `uri-host [":" port]` (RFC 9110 §7.2). Stricter than RFC 3986: no userinfo, no sub-delims, no percent-encoding.
    fn parse_field(value: &HeaderValue) -> Result<Self, Fault> {
        let text = value.to_str().map_err(|_not_ascii| BAD_HOST)?;
        let (host, port) = split_port(text).ok_or(BAD_HOST)?;
        let valid = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
            None => is_reg_name(host),
        };
        if !valid {
            return Err(BAD_HOST);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        Ok(Self {
            authority: value.clone(),
            host: host.to_ascii_lowercase(),
            port,
            normal: None,
        })
    }

    fn is_same(&self, other: &Self, default_port: u16) -> bool {
        self.host == other.host
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// Splits `host:port`; `None` when the port is no number from 1 to 65535.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let after_literal = text.rfind(']').map_or(0, |end| end + 1);
    match text[after_literal..].find(':') {
        None => Some((text, None)),
        Some(colon) => {
            let (host, port) = text.split_at(after_literal + colon);
            let digits = &port[1..];
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let port: u16 = digits.parse().ok()?;
            (port != 0).then_some((host, Some(port)))
        }
    }
}

fn is_reg_name(host: &str) -> bool {
    let bytes = host.strip_suffix('.').unwrap_or(host).as_bytes();
    !bytes.is_empty()
        && bytes.len() <= HOST_BYTES_MAX
        && !bytes.starts_with(b".")
        && !bytes.ends_with(b".")
        && !bytes.windows(2).any(|pair| pair == b"..")
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte))
}

/// Origin-form or the path of absolute-form; `*` only with OPTIONS (RFC 9112 §3.2.4). What some parsers cut at or turn
/// around (controls, space, backslash, `#`, anything but ASCII) is refused, in the query, too. Returns the path in its normal
/// form if the request has another one: routes must see the path that the origin will see.
fn check_path(
    method: &Method,
    uri: &Uri,
    slashes: EncodedSlashes,
) -> Result<Option<PathAndQuery>, Fault> {
    let bad = Fault::BadRequest(Malformed::Target);
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return Err(bad);
    }
    let path_and_query = uri.path_and_query().ok_or(bad)?;
    let path = uri.path();
    if path == "*" {
        return if method == Method::OPTIONS {
            Ok(None)
        } else {
            Err(bad)
        };
    }
    let is_clean = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#');
    if !path_and_query.as_str().bytes().all(is_clean) {
        return Err(bad);
    }
    match route::normalise(path, slashes) {
        Ok(Cow::Borrowed(_)) => Ok(None),
        Ok(Cow::Owned(normal)) => with_query(normal, uri.query()).map(Some).ok_or(bad),
        Err(_) => Err(bad),
    }
}

/// `path` and `query` in one; `None` when they are none.
pub(super) fn with_query(mut path: String, query: Option<&str>) -> Option<PathAndQuery> {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(path)).ok()
}

fn default_port(uri: &Uri) -> u16 {
    if uri.scheme_str() == Some("http") {
        80
    } else {
        443
    }
}

const BAD_HOST: Fault = Fault::BadRequest(Malformed::Host);
/// RFC 1035 §2.3.4.
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn target(version: Version, uri: &str, hosts: &[&'static str]) -> Result<Target, Fault> {
        let mut fields = HeaderMap::new();
        for host in hosts {
            fields.append(HOST, HeaderValue::from_static(host));
        }
        let uri: Uri = uri.parse().expect("uri");
        Target::of(&Method::GET, &uri, version, &fields, EncodedSlashes::Refuse)
    }

    #[test]
    fn one_valid_host_is_taken_in_lower_case_without_port() {
        for (sent, host, port) in [
            ("example.com", "example.com", None),
            ("EXAMPLE.com:8443", "example.com", Some(8443)),
            ("example.com.", "example.com", None),
            ("[2001:DB8::1]:80", "[2001:db8::1]", Some(80)),
            ("192.0.2.1", "192.0.2.1", None),
            ("a_b.test", "a_b.test", None),
        ] {
            let target = target(Version::HTTP_11, "/", &[sent]).expect(sent);
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(target.authority, sent);
        }
    }

    #[test]
    fn missing_repeated_and_malformed_hosts_are_refused() {
        for hosts in [
            &[][..],
            &["a.test", "a.test"],
            &[""],
            &["user@a.test"],
            &["a.test/path"],
            &["a.test,b.test"],
            &["a b.test"],
            &["a.test:"],
            &["a.test:0"],
            &["a.test:80a"],
            &["a.test:+80"],
            &["a.test:65536"],
            &[":80"],
            &["[::1"],
            &["[::1]x"],
            &["[zz]"],
            &[".a.test"],
            &["a..test"],
            &["a.test.."],
        ] {
            let outcome = target(Version::HTTP_11, "/", hosts);
            assert_eq!(outcome, Err(BAD_HOST), "{hosts:?}");
        }
    }

    #[test]
    fn http_1_0_may_name_no_host() {
        let target = target(Version::HTTP_10, "/", &[]).expect("allowed");
        assert_eq!(target.host, "");
    }

    #[test]
    fn absolute_form_and_host_must_agree() {
        let mismatch = Err(Fault::BadRequest(Malformed::HostMismatch));
        for (uri, host, agree) in [
            ("http://a.test/", "a.test", true),
            ("http://a.test/", "A.test", true),
            ("http://a.test:80/", "a.test", true),
            ("http://a.test/", "b.test", false),
            ("http://a.test:81/", "a.test", false),
        ] {
            let outcome = target(Version::HTTP_11, uri, &[host]);
            if agree {
                assert_eq!(outcome.expect(uri).host, "a.test");
            } else {
                assert_eq!(outcome, mismatch, "{uri} {host}");
            }
        }
    }

    #[test]
    fn authority_alone_is_enough_in_http_2() {
        let target = target(Version::HTTP_2, "https://a.test/", &[]).expect("allowed");
        assert_eq!(target.host, "a.test");
        assert_eq!(target.authority, "a.test");
    }

    #[test]
    fn odd_paths_are_refused() {
        for path in [
            "*",
            "/../b",
            "/a/%2e%2E/../b",
            "/a%2f..%2fb",
            "/a%2Fb",
            "/a/..;x/b",
            "/a%",
            "/a%0",
            "/a%00",
            "/a\\b",
            "/caf\u{e9}",
            "/?caf\u{e9}",
            "ftp://a.test/",
        ] {
            let outcome = target(Version::HTTP_11, path, &["a.test"]);
            assert_eq!(outcome, Err(Fault::BadRequest(Malformed::Target)), "{path}");
        }
    }

    #[test]
    fn other_paths_are_brought_to_their_normal_form_and_the_query_is_left_alone() {
        for (sent, normal) in [
            ("/", None),
            ("/a/b?c=../d", None),
            ("/a..b/...", None),
            ("/a%20b", None),
            ("/.well-known/x", None),
            ("/%41?x=%2e%2e//", Some("/A?x=%2e%2e//")),
            ("/a/../b", Some("/b")),
            ("//a//b?", Some("/a/b?")),
            ("http://a.test/./a", Some("/a")),
        ] {
            let target = target(Version::HTTP_11, sent, &["a.test"]).expect(sent);
            let found = target.normal.as_ref().map(PathAndQuery::as_str);
            assert_eq!(found, normal, "{sent}");
        }
    }

    #[test]
    fn the_key_has_the_port_only_when_it_is_not_the_schemes_own() {
        let target = target(Version::HTTP_11, "/", &["a.test:8443"]).expect("valid");
        assert_eq!(target.key_host(443), "a.test:8443");
        assert_eq!(target.key_host(8443), "a.test");
    }
}
