//! Where a request is aimed: the host and the path that routing, the cache key and the origin all see alike.
//!
//! RFC 9112 §3.2 and §3.3, RFC 9110 §7.1 and §7.2, RFC 9113 §8.3.1.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::fault::{Fault, Malformed};

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
    ) -> Result<Self, Fault> {
        let mut lines = fields.get_all(HOST).iter();
        let field = lines.next();
        let in_target = uri.authority();
        if lines.next().is_some() || (field.is_none() && version == Version::HTTP_11) {
            return Err(BAD_HOST);
        }
        check_path(method, uri)?;
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
        Ok(target)
    }

    /// The host as a cache key has it: with the port unless it is the scheme's own.
    pub(super) fn key_host(&self, scheme_port: u16) -> std::borrow::Cow<'_, str> {
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
        && !bytes.windows(2).any(|pair| pair == b"..")
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte))
}

/// Origin-form or the path of absolute-form; `*` only with OPTIONS (RFC 9112 §3.2.4). Bytes that some parsers cut at or
/// turn around (controls, space, backslash, `#`, anything but ASCII) and parent segments, however encoded, are refused,
/// because a route must see the path that the origin will see.
fn check_path(method: &Method, uri: &Uri) -> Result<(), Fault> {
    let bad = Err(Fault::BadRequest(Malformed::Target));
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return bad;
    }
    let Some(path_and_query) = uri.path_and_query() else {
        return bad;
    };
    let path = uri.path();
    if path == "*" {
        return if method == Method::OPTIONS {
            Ok(())
        } else {
            bad
        };
    }
    let clean = path_and_query
        .as_str()
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'));
    if !clean || !path.starts_with('/') || has_parent_segment(path) {
        return bad;
    }
    Ok(())
}

/// Whether a segment is `..`, with its dots or the slashes around it percent-encoded or not.
fn has_parent_segment(path: &str) -> bool {
    if !path.contains("..") && !path.contains('%') {
        return false;
    }
    let lower = path.to_ascii_lowercase();
    let decoded = lower
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/");
    decoded
        .split('/')
        .any(|segment| segment.split(';').next() == Some(".."))
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
        Target::of(&Method::GET, &uri, version, &fields)
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
            "/a/../b",
            "/a/%2e%2E/b",
            "/a%2f..%2fb",
            "/..;x/b",
            "/a\\b",
            "/caf\u{e9}",
            "ftp://a.test/",
        ] {
            let outcome = target(Version::HTTP_11, path, &["a.test"]);
            assert_eq!(outcome, Err(Fault::BadRequest(Malformed::Target)), "{path}");
        }
    }

    #[test]
    fn ordinary_paths_pass() {
        for path in [
            "/",
            "/a/b?c=../d",
            "/a..b/...",
            "/%41?x=%2e%2e",
            "/a%20b",
            "/.well-known/x",
        ] {
            assert!(
                target(Version::HTTP_11, path, &["a.test"]).is_ok(),
                "{path}"
            );
        }
    }

    #[test]
    fn the_key_has_the_port_only_when_it_is_not_the_schemes_own() {
        let target = target(Version::HTTP_11, "/", &["a.test:8443"]).expect("valid");
        assert_eq!(target.key_host(443), "a.test:8443");
        assert_eq!(target.key_host(8443), "a.test");
    }
}
