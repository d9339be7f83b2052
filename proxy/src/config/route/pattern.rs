//! Which requests a route takes: `host`, `path`, `methods`, `headers`.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderName, HeaderValue, Method};

use crate::config::origin;
use crate::config::reader::{Node, Table};
use crate::config::value::Refusal;
use crate::route::{
    self, CERTIFICATE_FIELDS, EncodedSlashes, Expression, HostPattern, InvalidPath, PathPattern,
    Pattern,
};

/// The pattern, and whether all of it was understood.
pub(super) fn pattern(route: &mut Table<'_>, slashes: EncodedSlashes) -> (Pattern, bool) {
    let host = match route.take("host") {
        Some(node) => node.read(host),
        None => Some(HostPattern::Any),
    };
    let path = match route.take("path") {
        Some(node) => node.read(|text| path(text, slashes)),
        None => Some(everything()),
    };
    let methods = match route.take("methods") {
        Some(node) => methods(&node),
        None => Some(Vec::new()),
    };
    let fields = match route.take("headers") {
        Some(node) => fields(&node),
        None => Some(Vec::new()),
    };
    let understood = host.is_some() && path.is_some() && methods.is_some() && fields.is_some();
    let pattern = Pattern {
        host: host.unwrap_or(HostPattern::Any),
        path: path.unwrap_or_else(everything),
        methods: methods.unwrap_or_default(),
        fields: fields.unwrap_or_default(),
    };
    (pattern, understood)
}

fn everything() -> PathPattern {
    PathPattern::Prefix("/".to_owned())
}

fn methods(list: &Node<'_>) -> Option<Vec<Method>> {
    let nodes = list.list();
    if nodes.is_empty() {
        list.refuse(Refusal::invalid(
            "no request has one of no methods",
            "write methods such as [\"GET\", \"HEAD\"], or remove it",
        ));
        return None;
    }
    let methods = nodes.iter().map(|node| node.read(method));
    let mut methods: Vec<Method> = methods.collect::<Option<_>>()?;
    methods.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    methods.dedup();
    Some(methods)
}

fn method(text: &str) -> Result<Method, Refusal> {
    let upper = text.to_ascii_uppercase();
    if upper == "CONNECT" || upper == "TRACE" {
        return Err(Refusal::invalid(
            "weir answers this method itself, with an error",
            "remove it",
        ));
    }
    if ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"].contains(&upper.as_str())
        && upper != text
    {
        return Err(Refusal::invalid(
            "methods are case-sensitive",
            format!("write \"{upper}\""),
        ));
    }
    Method::from_bytes(text.as_bytes())
        .map_err(|_invalid| Refusal::invalid("not a method", "write such as \"GET\""))
}

fn fields(node: &Node<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let entries = node.entries()?;
    if entries.len() > FIELDS_MAX {
        node.refuse(Refusal::invalid(
            "too many fields",
            format!("name at most {FIELDS_MAX}"),
        ));
        return None;
    }
    let fields = entries.iter().map(|(name, value)| {
        let name = value.accept(condition(name));
        let value = value.read(field_value);
        Some((name?, value?))
    });
    let mut fields: Vec<_> = fields.collect::<Option<_>>()?;
    fields.sort_unstable_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        node.refuse(Refusal::conflict(
            "the same field twice: names of fields are case-insensitive",
            "remove one of them",
        ));
        return None;
    }
    Some(fields)
}

/// The name of a field that says the same to weir and to the origin.
fn condition(text: &str) -> Result<HeaderName, Refusal> {
    let name = field_name(text)?;
    if CERTIFICATE_FIELDS.contains(&name) {
        return Err(Refusal::invalid(
            "any client can send this field, and origins never see that",
            "remove it; `client_auth` of a listener asks for certificates",
        ));
    }
    Ok(name)
}

/// The name of a field.
pub(super) fn field_name(text: &str) -> Result<HeaderName, Refusal> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_invalid| {
        Refusal::invalid(
            "not the name of a field",
            "write it as in requests, such as x-tenant",
        )
    })
}

/// The value of a field.
pub(super) fn field_value(text: &str) -> Result<HeaderValue, Refusal> {
    let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| visible && text.trim() == text)
        .ok_or_else(|| {
            Refusal::invalid(
                "not the value of a field",
                "write ASCII characters on one line, without space around them",
            )
        })
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

fn path(text: &str, slashes: EncodedSlashes) -> Result<PathPattern, Refusal> {
    if let Some(expression) = text.strip_prefix('~') {
        return regex(expression);
    }
    let exact = text.strip_prefix('=');
    let path = exact.unwrap_or(text);
    if !path.starts_with('/') {
        return Err(Refusal::invalid(
            "not a path",
            "write a prefix such as \"/static/\", \"=/exact\", or \"~^/regex$\"",
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
    let part = if exact.is_some() {
        Part::Whole
    } else {
        Part::Beginning
    };
    reachable(path, part, slashes)?;
    Ok(match exact {
        Some(path) => PathPattern::Exact(path.to_owned()),
        None => PathPattern::Prefix(path.to_owned()),
    })
}

/// How much of a path a pattern gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Part {
    /// All of it.
    Whole,
    /// The beginning; it may end within a segment or an encoding.
    Beginning,
}

/// Refuses a path that no request has once it is in the normal form.
pub(in crate::config) fn reachable(
    path: &str,
    part: Part,
    slashes: EncodedSlashes,
) -> Result<(), Refusal> {
    let normal = route::normalise(path, slashes);
    if normal.as_deref() == Ok(path) || (part == Part::Beginning && is_beginning(path, slashes)) {
        return Ok(());
    }
    let hint = match normal {
        Ok(normal) => format!("write \"{normal}\""),
        Err(InvalidPath::EncodedSlash) => {
            "set encoded_slashes = \"keep\" in [requests], or change it".to_owned()
        }
        Err(_) => "write the path that requests have".to_owned(),
    };
    Err(Refusal::invalid(
        "matches no path: paths are matched in their normal form (dot segments and repeated slashes removed, letters, \
         digits and -._~ not encoded, other encodings in upper case)",
        hint,
    ))
}

/// Whether some path goes on after `prefix`, which is none itself: within a segment of dots or within an encoding.
fn is_beginning(prefix: &str, slashes: EncodedSlashes) -> bool {
    ["x", "0", "0x"].iter().any(|rest| {
        let whole = format!("{prefix}{rest}");
        route::normalise(&whole, slashes).is_ok_and(|normal| normal == whole)
    })
}

fn regex(text: &str) -> Result<PathPattern, Refusal> {
    if let Some(rest) = text.strip_prefix('*') {
        return Err(Refusal::invalid(
            "an expression cannot begin with *",
            format!("write \"~(?i){}\" to ignore case", rest.trim_start()),
        ));
    }
    let anchored = text.strip_prefix('^').unwrap_or("/");
    if anchored.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(Refusal::invalid(
            "matches no path: every path begins with /",
            format!("write \"~^/{anchored}\""),
        ));
    }
    expression(text).map(PathPattern::Regex)
}

/// A regular expression over paths.
pub(super) fn expression(text: &str) -> Result<Expression, Refusal> {
    Expression::new(text).map_err(|error| {
        Refusal::invalid(
            error.to_string(),
            "see https://docs.rs/regex for the syntax",
        )
    })
}

/// Most fields a route looks at.
const FIELDS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(path(text, EncodedSlashes::Refuse).ok(), expected, "{text}");
        }
    }

    #[test]
    fn expressions_are_compiled_and_refused_with_their_cause() {
        let regex = |text| Expression::new(text).ok().map(PathPattern::Regex);
        for text in ["^/a$", r"\.(png|jpg)$", "(?i)^/a", "^(/a|/b)", ""] {
            assert_eq!(
                path(&format!("~{text}"), EncodedSlashes::Refuse).ok(),
                regex(text),
                "{text}"
            );
        }
        for (text, message, hint) in [
            (
                "~^a",
                "matches no path: every path begins with /",
                "write \"~^/a\"",
            ),
            (
                r"~* \.png$",
                "an expression cannot begin with *",
                r#"write "~(?i)\.png$" to ignore case"#,
            ),
            (
                "~(",
                "not a regular expression: unclosed group",
                "see https://docs.rs/regex for the syntax",
            ),
        ] {
            let refusal = path(text, EncodedSlashes::Refuse).expect_err(text);
            assert_eq!(
                (refusal.message.as_str(), refusal.hint.as_str()),
                (message, hint)
            );
        }
    }

    #[test]
    fn methods_are_those_of_requests_that_weir_forwards() {
        for (text, valid) in [
            ("GET", true),
            ("PROPFIND", true),
            ("get", false),
            ("CONNECT", false),
            ("trace", false),
            ("G T", false),
            ("", false),
        ] {
            assert_eq!(method(text).is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn values_of_fields_are_visible_ascii_on_one_line() {
        for (text, valid) in [
            ("a b", true),
            ("", true),
            (" a", false),
            ("a\r\nb: c", false),
            ("\u{e4}", false),
            ("a\u{7f}", false),
        ] {
            assert_eq!(field_value(text).is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn paths_that_no_request_has_after_normalising_are_refused_with_the_form_that_it_has() {
        for (text, hint) in [
            ("/a//b", Some("write \"/a/b\"")),
            ("/a/../b", Some("write \"/b\"")),
            ("/a/./", Some("write \"/a/\"")),
            ("/%41", Some("write \"/A\"")),
            (
                "/a%2fb",
                Some("set encoded_slashes = \"keep\" in [requests], or change it"),
            ),
            ("/..;x", Some("write the path that requests have")),
            ("/a/.", None),
            ("/.well-known/", None),
            ("/a%2", None),
            ("=/a%2", Some("write the path that requests have")),
            ("=/a/.", Some("write \"/a/\"")),
            ("/a%20b", None),
        ] {
            let refusal = path(text, EncodedSlashes::Refuse).err();
            assert_eq!(
                refusal.as_ref().map(|refusal| refusal.hint.as_str()),
                hint,
                "{text}"
            );
        }
        assert!(path("/a%2Fb", EncodedSlashes::Keep).is_ok());
    }
}
