//! Paths and the routes that they are matched with.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use weir::route::{
    Asked, EncodedSlashes, Expression, HostPattern, PathPattern, Pattern, Rewrite, RouteSettings,
    Table, Template, Values, normalise,
};

use crate::input;

/// A path. Its normal form is its own, and says to an origin that decodes and resolves it once what the path itself says; so
/// a prefix is matched exactly when that origin would find the request below it.
pub(crate) fn path(data: &[u8]) {
    let text = input::text(data);
    let path = text.as_str();
    let (refuse, keep) = (EncodedSlashes::Refuse, EncodedSlashes::Keep);
    for slashes in [refuse, keep] {
        let Ok(normal) = normalise(path, slashes) else {
            continue;
        };
        assert_eq!(normalise(&normal, slashes).as_deref(), Ok(&*normal));
        assert!(normal.is_ascii() && !normal.contains("//"), "{normal}");
        let is_dots = |segment: &str| matches!(segment, "." | "..");
        assert!(!normal.split('/').any(is_dots), "{normal}");
    }
    let Ok(normal) = normalise(path, refuse) else {
        return;
    };
    assert_eq!(normalise(path, keep).as_deref(), Ok(&*normal));
    let resolved = resolved(path);
    assert_eq!(resolved, self::resolved(&normal), "{path} {normal}");
    let is_below = resolved.len() > 1 && resolved[0] == b"admin";
    assert_eq!(normal.starts_with("/admin/"), is_below, "{path} {normal}");
}

/// The segments of `path` to an origin that decodes everything, then resolves; a last empty one says that it ends in a slash.
fn resolved(path: &str) -> Vec<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).expect("invariant: two digits"));
                rest = &after[2..];
            }
            _ => decoded.push(byte),
        }
    }
    let mut segments: Vec<Vec<u8>> = Vec::new();
    let mut ends_in_slash = false;
    for segment in decoded.split(|byte| *byte == b'/').skip(1) {
        ends_in_slash = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment.to_vec()),
        }
    }
    if ends_in_slash {
        segments.push(Vec::new());
    }
    segments
}

/// Lines: an expression, what its matches become, a prefix, a path. What the origin gets is in its normal form.
pub(crate) fn rewrite(data: &[u8]) {
    let text = input::text(data);
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let (from, to, prefix, path) = (line(), line(), line(), line());
    if from.len() > EXPRESSION_BYTES_MAX {
        return;
    }
    let pattern = Pattern::new(HostPattern::Any, PathPattern::Prefix(prefix.to_owned()));
    let mut route = RouteSettings::new(pattern, 0);
    route.strip_prefix = true;
    route.rewrite = Expression::new(from)
        .ok()
        .and_then(|from| Rewrite::new(from, to).ok());
    for slashes in [EncodedSlashes::Refuse, EncodedSlashes::Keep] {
        let Ok(path) = normalise(path, slashes) else {
            continue;
        };
        if let Ok(Some(other)) = route.rewritten(&path, slashes) {
            assert_eq!(normalise(&other, slashes).as_deref(), Ok(&*other));
        }
    }
}

/// Lines: a host and a path, then as many routes `kind host path`. Who is found is who a look at each of them finds.
pub(crate) fn routing(data: &[u8]) {
    let text = input::text(data);
    let mut lines = text.lines();
    let asked_for = lines.next().unwrap_or_default();
    let (host, path) = asked_for.split_once(' ').unwrap_or((asked_for, "/"));
    let patterns: Vec<_> = lines.take(16).filter_map(pattern).collect();
    let routes = patterns.iter().cloned();
    let table = Table::new(
        routes
            .map(|pattern| RouteSettings::new(pattern, 0))
            .collect(),
    );
    let fields = HeaderMap::new();
    let asked = Asked {
        host,
        path,
        method: &Method::GET,
        fields: &fields,
    };
    let found = table.find(&asked).map(|matched| matched.index);
    assert_eq!(found, best(&patterns, host, path), "{text:?}");
}

fn pattern(line: &str) -> Option<Pattern> {
    let mut words = line.splitn(3, ' ');
    let (kind, host, path) = (words.next()?, words.next()?, words.next()?);
    let host = match host.strip_prefix("*.") {
        Some(below) => HostPattern::Below(below.to_owned()),
        None if host == "-" => HostPattern::Any,
        None => HostPattern::Exact(host.to_owned()),
    };
    let path = match kind {
        "=" => PathPattern::Exact(path.to_owned()),
        "~" if path.len() <= EXPRESSION_BYTES_MAX => {
            PathPattern::Regex(Expression::new(path).ok()?)
        }
        _ => PathPattern::Prefix(path.to_owned()),
    };
    Some(Pattern::new(host, path))
}

/// By the order that the table's documentation gives: the most specific host that has a route, there the most specific path.
fn best(patterns: &[Pattern], host: &str, path: &str) -> Option<usize> {
    let candidates = patterns.iter().enumerate().filter_map(|(index, pattern)| {
        let host = match &pattern.host {
            HostPattern::Any => (0, 0),
            HostPattern::Exact(name) => (name == host).then_some((2, 0))?,
            HostPattern::Below(end) => {
                let label = host.strip_suffix(end.as_str())?.strip_suffix('.')?;
                (!label.is_empty()).then_some((1, end.len()))?
            }
        };
        let path = match &pattern.path {
            PathPattern::Exact(exact) => (exact == path).then_some((2, 0))?,
            PathPattern::Prefix(prefix) => path.starts_with(prefix).then_some((0, prefix.len()))?,
            PathPattern::Regex(expression) => {
                let single = Pattern::new(HostPattern::Any, PathPattern::Regex(expression.clone()));
                let single = Table::new(vec![RouteSettings::new(single, 0)]);
                let fields = HeaderMap::new();
                let asked = Asked {
                    host: "",
                    path,
                    method: &Method::GET,
                    fields: &fields,
                };
                single.find(&asked).map(|_| (1, 0))?
            }
        };
        Some((host, path, std::cmp::Reverse(index)))
    });
    candidates.max().map(|(.., index)| index.0)
}

/// A text with variables, then a line with a path. What is expanded holds the text around the variables.
pub(crate) fn template(data: &[u8]) {
    let text = input::text(data);
    let (template, path) = text.split_once('\n').unwrap_or((&text, "/"));
    let Ok(parsed) = Template::new(template) else {
        assert!(template.contains('$'));
        return;
    };
    let values = Values {
        client: IpAddr::from([198, 18, 0, 1]),
        scheme: "https",
        host: "a.test",
        path,
        query: Some("q=$host"),
    };
    let expanded = parsed.expand(&values);
    let before = template.split('$').next().unwrap_or_default();
    assert!(expanded.starts_with(before), "{expanded}");
    if !template.contains('$') {
        assert_eq!(expanded, template);
    }
    // Values are not templates.
    let is_escaped = template.contains("$$");
    assert!(is_escaped || !template.contains("$query") || expanded.contains("?q=$host"));
}

/// Longer ones are slow to compile and no other.
const EXPRESSION_BYTES_MAX: usize = 64;
