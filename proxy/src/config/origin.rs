//! Host names (RFC 1123 §2.1) and the URLs of origin servers (RFC 9110 §4.2.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::value::Refusal;
use crate::balance::{Scheme, ServiceSettings};

/// `"http://10.0.0.11:8080"` → scheme, host and port; 80 or 443 if there is none.
pub(super) fn origin_url(text: &str) -> Result<(Scheme, String, u16), Refusal> {
    let shape = || {
        Refusal::invalid(
            "not the URL of an origin server",
            "write http:// or https://, a host name or address and a port, such as \"http://10.0.0.11:8080\"",
        )
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
    let (scheme, default_port) = match scheme {
        http if http.eq_ignore_ascii_case("http") => (Scheme::Http, 80),
        https if https.eq_ignore_ascii_case("https") => (Scheme::Https, 443),
        _ => return Err(shape()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(Refusal::invalid(
            "an origin server has no path or query",
            "end the URL after the port",
        ));
    }
    if authority.contains('@') {
        return Err(Refusal::invalid(
            "an origin server has no user",
            "leave out what is before the @",
        ));
    }
    let (host, port) = host_and_port(authority).ok_or_else(shape)?;
    match port {
        Some(0) => Err(Refusal::invalid(
            "port 0 is no port",
            "name a port from 1 to 65535",
        )),
        port => Ok((scheme, host, port.unwrap_or(default_port))),
    }
}

/// What the URL of a service begins with, before its servers' scheme.
pub(super) const SERVICE: &str = "srv+";

/// `"srv+http://_http._tcp.example.com"` → scheme of the servers, and the name whose SRV records they are (RFC 2782).
pub(super) fn service(text: &str) -> Result<ServiceSettings, Refusal> {
    let url = text.strip_prefix(SERVICE).unwrap_or_default();
    let (scheme, name) = match url.split_once("://") {
        Some(("http", name)) => (Scheme::Http, name),
        Some(("https", name)) => (Scheme::Https, name),
        Some(_) | None => (Scheme::Http, ""),
    };
    let name = name.strip_suffix('/').unwrap_or(name);
    if is_host_name(name) {
        let name = name.to_ascii_lowercase();
        Ok(ServiceSettings { scheme, name })
    } else {
        Err(Refusal::invalid(
            "not the name of a service",
            "write srv+http:// or srv+https:// and a name without port, such as \"srv+http://_http._tcp.example.com\"",
        ))
    }
}

/// Whether `text` is a name of letters, digits, `-`, `_` in labels of 1 to 63 characters, 253 in all, whose last label
/// is not a number (RFC 1123 §2.1, and `_`, which container networks use).
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label) && !last_is_number
}

/// RFC 3986 §3.2 without userinfo. The host comes back in lower case and without brackets.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        (host.parse::<Ipv6Addr>().ok()?.to_string(), port)
    } else {
        let host = authority.split(':').next()?;
        if host.parse::<Ipv4Addr>().is_err() && !is_host_name(host) {
            return None;
        }
        (host.to_ascii_lowercase(), &authority[host.len()..])
    };
    let port = match port.strip_prefix(':') {
        // `parse` alone would take "+80".
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        None if port.is_empty() => None,
        Some(_) | None => return None,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_urls_have_scheme_host_and_port_only() {
        for (text, expected) in [
            (
                "http://10.0.0.11:8080",
                Some((Scheme::Http, "10.0.0.11", 8080)),
            ),
            (
                "http://app.internal",
                Some((Scheme::Http, "app.internal", 80)),
            ),
            (
                "HTTP://App.Internal:81/",
                Some((Scheme::Http, "app.internal", 81)),
            ),
            ("http://my_app:81", Some((Scheme::Http, "my_app", 81))),
            (
                "http://[2001:DB8::1]:81",
                Some((Scheme::Http, "2001:db8::1", 81)),
            ),
            ("http://[::1]", Some((Scheme::Http, "::1", 80))),
            ("https://app", Some((Scheme::Https, "app", 443))),
            ("HTTPS://app:8443", Some((Scheme::Https, "app", 8443))),
            ("ftp://app", None),
            ("app:80", None),
            ("http://", None),
            ("http://app:80/path", None),
            ("http://app?x", None),
            ("http://user@app", None),
            ("http://app:0", None),
            ("http://app:65536", None),
            ("http://app:+80", None),
            ("http://app:", None),
            ("http://a b", None),
            ("http://-a", None),
            ("http://a..b", None),
            ("http://10.0.0.256", None),
            ("http://2001:db8::1", None),
            ("http://[::1]80", None),
        ] {
            let got = origin_url(text).ok();
            assert_eq!(
                got.as_ref().map(|(s, h, p)| (*s, h.as_str(), *p)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn services_are_names_without_port() {
        for (text, expected) in [
            (
                "srv+http://_http._tcp.Example.com",
                Some((Scheme::Http, "_http._tcp.example.com")),
            ),
            ("srv+http://app/", Some((Scheme::Http, "app"))),
            ("srv+https://app", Some((Scheme::Https, "app"))),
            ("srv+ftp://app", None),
            ("srv+app", None),
            ("srv+http://app:80", None),
            ("srv+http://", None),
            ("srv+http://10.0.0.1", None),
        ] {
            let got = service(text).ok();
            assert_eq!(
                got.as_ref().map(|one| (one.scheme, one.name.as_str())),
                expected,
                "{text}"
            );
        }
    }
}
