//! `[[route]]`

use std::net::{Ipv4Addr, Ipv6Addr};

use super::origin;
use super::reader::{Node, Table};
use super::suggest::nearest;
use super::unique::Unique;
use super::value::Refusal;
use crate::balance::UpstreamSettings;
use crate::route::{HostPattern, PathPattern, RouteSettings};

/// What a route may have that comes with a later version. The first two stand in for `upstream`.
const LATER: [&str; 11] = [
    "redirect",
    "respond",
    "methods",
    "headers",
    "strip_prefix",
    "rewrite",
    "request_headers",
    "response_headers",
    "limit",
    "max_body",
    "compress",
];

/// `[[route]]`, in file order.
pub(super) fn routes(root: &mut Table<'_>, upstreams: &[UpstreamSettings]) -> Vec<RouteSettings> {
    let mut patterns = Unique::new();
    let mut routes = Vec::new();
    for (index, mut table) in root.sections("route").into_iter().enumerate() {
        let host = match table.take("host") {
            Some(node) => node.read(host),
            None => Some(HostPattern::Any),
        };
        let path = match table.take("path") {
            Some(node) => node.read(path),
            None => Some(everything()),
        };
        if let (Some(host), Some(path)) = (&host, &path) {
            let key = format!("route[{index}]");
            if let Err(refusal) = patterns.insert((host.clone(), path.clone()), &key, table.line())
            {
                table.refuse(refusal);
            }
        }
        let route = RouteSettings {
            host: host.unwrap_or(HostPattern::Any),
            path: path.unwrap_or_else(everything),
            upstream: upstream(&mut table, upstreams),
            // A shared cache in front of an application that never met one is the operator's decision.
            cache: table.boolean("cache", false),
            reveal_origin: table.boolean("reveal_origin", false),
        };
        table.finish(&LATER);
        routes.push(route);
    }
    routes
}

fn everything() -> PathPattern {
    PathPattern::Prefix("/".to_owned())
}

/// Index of the upstream that `upstream` names.
fn upstream(route: &mut Table<'_>, upstreams: &[UpstreamSettings]) -> usize {
    // The one problem of a route that answers by itself is that this version cannot.
    let answers_itself = LATER[..2].iter().any(|key| route.has(key));
    let node = if answers_itself {
        route.take("upstream")
    } else {
        route.required("upstream", "the name of an [[upstream]], in quotes")
    };
    node.and_then(|node| find(&node, upstreams)).unwrap_or(0)
}

fn find(node: &Node<'_>, upstreams: &[UpstreamSettings]) -> Option<usize> {
    let name = node.string()?;
    let found = upstreams.iter().position(|upstream| upstream.name == name);
    if found.is_none() {
        // An upstream whose own name was refused has none here.
        let names: Vec<&str> = upstreams
            .iter()
            .map(|upstream| upstream.name.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None if names.is_empty() => "add an [[upstream]] with this name".to_owned(),
            None => format!("upstreams: {}", names.join(", ")),
        };
        node.refuse(Refusal::conflict("no upstream has this name", hint));
    }
    found
}

fn host(text: &str) -> Result<HostPattern, Refusal> {
    if let Some(parent) = text.strip_prefix("*.") {
        return match host_name(parent) {
            Some(name) => Ok(HostPattern::Below(name)),
            None => Err(not_a_host(text)),
        };
    }
    let literal = || {
        let v6 = text.strip_prefix('[')?.strip_suffix(']')?;
        Some(format!("[{}]", v6.parse::<Ipv6Addr>().ok()?))
    };
    let v4 = || Some(text.parse::<Ipv4Addr>().ok()?.to_string());
    host_name(text)
        .or_else(v4)
        .or_else(literal)
        .map(HostPattern::Exact)
        .ok_or_else(|| not_a_host(text))
}

fn host_name(text: &str) -> Option<String> {
    origin::is_host_name(text).then(|| text.to_ascii_lowercase())
}

fn not_a_host(text: &str) -> Refusal {
    let hint = match text {
        "" | "*" => "leave `host` out to match every host".to_owned(),
        _ if !text.is_ascii() => "write its ASCII form, which starts with xn--".to_owned(),
        _ if text.contains("://") => "write the host alone, such as \"example.com\"".to_owned(),
        _ if text.ends_with('.') => "leave out the dot at the end".to_owned(),
        _ if text
            .rsplit_once(':')
            .is_some_and(|(host, _)| host_name(host).is_some()) =>
        {
            "leave out the port: a route matches every port".to_owned()
        }
        _ => "write \"example.com\" or \"*.example.com\"".to_owned(),
    };
    Refusal::invalid("not a host", hint)
}

fn path(text: &str) -> Result<PathPattern, Refusal> {
    if text.starts_with('~') {
        return Err(Refusal::not_supported(
            "a regular expression as path",
            "write a prefix such as \"/static/\", or \"=/exact\"",
        ));
    }
    let exact = text.strip_prefix('=');
    let path = exact.unwrap_or(text);
    if !path.starts_with('/') {
        return Err(Refusal::invalid(
            "not a path",
            "write a prefix such as \"/static/\", or \"=/exact\"",
        ));
    }
    if path.contains(['?', '#']) {
        return Err(Refusal::invalid(
            "a route matches the path alone, without query",
            "end it before the ? or #",
        ));
    }
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        // RFC 3986 §2: it could match no request, whose path is ASCII.
        return Err(Refusal::invalid(
            "holds characters that no URL has",
            "write them percent-encoded, such as %20",
        ));
    }
    Ok(match exact {
        Some(path) => PathPattern::Exact(path.to_owned()),
        None => PathPattern::Prefix(path.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::ProblemKind;

    #[test]
    fn hosts_are_exact_or_everything_below_a_name() {
        let exact = |host: &str| Some(HostPattern::Exact(host.to_owned()));
        let below = |host: &str| Some(HostPattern::Below(host.to_owned()));
        for (text, expected) in [
            ("example.com", exact("example.com")),
            ("Example.COM", exact("example.com")),
            ("localhost", exact("localhost")),
            ("192.0.2.1", exact("192.0.2.1")),
            ("[2001:DB8::1]", exact("[2001:db8::1]")),
            ("*.example.com", below("example.com")),
            ("*.Example.com", below("example.com")),
            ("*", None),
            ("", None),
            ("*.", None),
            ("*example.com", None),
            ("www.*.com", None),
            ("*.*.com", None),
            ("example.com:443", None),
            ("example.com.", None),
            ("https://example.com", None),
            ("b\u{fc}cher.example", None),
            ("2001:db8::1", None),
            ("*.192.0.2.1", None),
        ] {
            assert_eq!(host(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn refused_hosts_come_with_a_fitting_hint() {
        for (text, hint) in [
            ("*", "leave `host` out to match every host"),
            (
                "example.com:443",
                "leave out the port: a route matches every port",
            ),
            ("example.com.", "leave out the dot at the end"),
            (
                "b\u{fc}cher.example",
                "write its ASCII form, which starts with xn--",
            ),
        ] {
            assert_eq!(host(text).expect_err(text).hint, hint);
        }
    }

    #[test]
    fn paths_are_prefixes_or_exact() {
        let prefix = |path: &str| Some(PathPattern::Prefix(path.to_owned()));
        let exact = |path: &str| Some(PathPattern::Exact(path.to_owned()));
        for (text, expected) in [
            ("/", prefix("/")),
            ("/static/", prefix("/static/")),
            ("=/exact", exact("/exact")),
            ("=/", exact("/")),
            ("", None),
            ("static", None),
            ("=exact", None),
            ("=", None),
            ("/a?b", None),
            ("/a b", None),
            ("/\u{e4}", None),
        ] {
            assert_eq!(path(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn regular_expressions_are_not_supported_rather_than_malformed() {
        let refusal = path("~^/a$").expect_err("regex");
        assert_eq!(refusal.kind, ProblemKind::NotSupported);
    }
}
