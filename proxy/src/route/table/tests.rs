//! Which route is found, by tables of patterns.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;

fn pattern(host: &str, path: &str) -> Pattern {
    let host = match host.strip_prefix("*.") {
        Some(end) => HostPattern::Below(end.to_owned()),
        None if host.is_empty() => HostPattern::Any,
        None => HostPattern::Exact(host.to_owned()),
    };
    let path = if let Some(exact) = path.strip_prefix('=') {
        PathPattern::Exact(exact.to_owned())
    } else if let Some(regex) = path.strip_prefix('~') {
        PathPattern::Regex(Expression::new(regex).expect("valid"))
    } else {
        PathPattern::Prefix(path.to_owned())
    };
    Pattern::new(host, path)
}

fn table(patterns: &[(&str, &str)]) -> Table {
    let routes = patterns.iter();
    Table::new(
        routes
            .map(|(host, path)| RouteSettings::new(pattern(host, path), 0))
            .collect(),
    )
}

fn find(table: &Table, host: &str, path: &str) -> Option<usize> {
    let asked = Asked {
        host,
        path,
        method: &Method::GET,
        fields: &HeaderMap::new(),
    };
    table.find(&asked).map(|matched| matched.index)
}

#[test]
fn the_most_specific_host_with_a_matching_path_wins_then_the_most_specific_path() {
    let table = table(&[
        ("", "/"),                          // 0
        ("", "/static/"),                   // 1
        ("*.example.com", "/"),             // 2
        ("*.a.example.com", "/x"),          // 3
        ("www.example.com", "/s/"),         // 4
        ("www.example.com", "/s/deep/"),    // 5
        ("www.example.com", "=/s/deep/it"), // 6
        ("*.com", "/only/"),                // 7
    ]);
    for (host, path, expected) in [
        ("www.example.com", "/s/deep/it", Some(6)),
        ("www.example.com", "/s/deep/it2", Some(5)),
        ("www.example.com", "/s/x", Some(4)),
        // The exact host has no such path: the next less specific one that has.
        ("www.example.com", "/other", Some(2)),
        ("b.a.example.com", "/x", Some(3)),
        ("b.a.example.com", "/y", Some(2)),
        ("c.b.a.example.com", "/x/", Some(3)),
        // A wildcard needs a label of its own.
        ("example.com", "/s/", Some(0)),
        (".example.com", "/s/", Some(0)),
        ("example.com", "/only/", Some(7)),
        ("notexample.com", "/", Some(0)),
        ("", "/static/x", Some(1)),
        ("other.org", "/static", Some(0)),
        // Byte by byte: the caller normalises.
        ("WWW.example.com", "/s/x", Some(2)),
        ("www.example.com.", "/s/x", Some(0)),
        ("other.org", "*", None),
    ] {
        assert_eq!(find(&table, host, path), expected, "{host}{path}");
    }
}

#[test]
fn an_exact_path_comes_before_expressions_in_file_order_and_those_before_prefixes() {
    let table = table(&[
        ("h", "/a/very/long/prefix/"), // 0
        ("h", r"~\.png$"),             // 1
        ("h", "~^/a/"),                // 2
        ("h", "=/a/x.png"),            // 3
        ("", "~^/"),                   // 4
        ("h", "/b"),                   // 5
    ]);
    for (path, expected) in [
        ("/a/x.png", 3),
        ("/a/y.png", 1),
        ("/a/very/long/prefix/x", 2),
        ("/b/x", 5),
        // The host has no route for it: the next less specific host's expression.
        ("/c", 4),
    ] {
        assert_eq!(find(&table, "h", path), Some(expected), "{path}");
    }
    assert_eq!(find(&table, "i", "/a/x.png"), Some(4));
    // No path: the target of OPTIONS for the whole server.
    assert_eq!(find(&self::table(&[("", "~.*")]), "h", "*"), None);
}

#[test]
fn routes_with_more_conditions_are_asked_first_and_passed_over_when_they_differ() {
    let field = |name: &'static str, value: &'static str| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    let plain = pattern("h", "/");
    let with = |methods: &[Method], fields: &[_]| {
        let pattern = Pattern {
            methods: methods.to_vec(),
            fields: fields.to_vec(),
            ..plain.clone()
        };
        RouteSettings::new(pattern, 0)
    };
    let deeper = RouteSettings::new(
        Pattern {
            methods: vec![Method::PUT],
            ..pattern("h", "/deep/")
        },
        0,
    );
    let table = Table::new(vec![
        with(&[], &[]),                                                // 0
        with(&[Method::GET, Method::HEAD], &[]),                       // 1
        with(&[], &[field("x-tenant", "a")]),                          // 2
        with(&[Method::GET], &[field("x-tenant", "a")]),               // 3
        with(&[], &[field("x-tenant", "a"), field("x-version", "2")]), // 4
        deeper,                                                        // 5
    ]);
    for (method, path, fields, expected) in [
        (Method::POST, "/", &[][..], 0),
        (Method::GET, "/", &[], 1),
        (Method::POST, "/", &[("x-tenant", "a")], 2),
        (Method::GET, "/", &[("x-tenant", "a")], 3),
        (Method::GET, "/", &[("x-tenant", "A")], 1),
        (Method::GET, "/", &[("x-tenant", "b"), ("x-tenant", "a")], 3),
        (
            Method::GET,
            "/",
            &[("x-tenant", "a"), ("x-version", "2")],
            4,
        ),
        (Method::PUT, "/deep/x", &[], 5),
        // The longest prefix takes no GET: the next shorter one that does.
        (Method::GET, "/deep/x", &[], 1),
    ] {
        let mut sent = HeaderMap::new();
        for (name, value) in fields {
            sent.append(*name, HeaderValue::from_static(value));
        }
        let asked = Asked {
            host: "h",
            path,
            method: &method,
            fields: &sent,
        };
        let found = table.find(&asked).map(|matched| matched.index);
        assert_eq!(found, Some(expected), "{method} {path} {fields:?}");
    }
}

#[test]
fn of_two_equal_routes_the_first_in_the_file_counts() {
    let table = table(&[
        ("h", "/a"),
        ("h", "/a"),
        ("h", "=/b"),
        ("h", "=/b"),
        ("h", "~^/c"),
        ("h", "~^/c"),
    ]);
    assert_eq!(find(&table, "h", "/a"), Some(0));
    assert_eq!(find(&table, "h", "/b"), Some(2));
    assert_eq!(find(&table, "h", "/c"), Some(4));
}

#[test]
fn a_prefix_is_text_and_does_not_stop_at_a_segment() {
    let table = table(&[("", "/a")]);
    for (path, matches) in [
        ("/a", true),
        ("/a/b", true),
        ("/ab", true),
        ("/", false),
        ("/A", false),
    ] {
        assert_eq!(find(&table, "h", path).is_some(), matches, "{path}");
    }
}

#[test]
fn without_a_route_nothing_is_found() {
    assert_eq!(find(&table(&[]), "h", "/"), None);
    assert_eq!(find(&table(&[("h", "/")]), "i", "/"), None);
}

#[test]
fn a_host_of_dots_is_looked_up_no_more_often_than_the_longest_wildcard_is_long() {
    let table = table(&[("*.ab.cd", "/")]);
    let dots = ".".repeat(100_000);
    assert_eq!(find(&table, &dots, "/"), None);
    assert_eq!(find(&table, &format!("{dots}ab.cd"), "/"), Some(0));
}

#[test]
fn the_route_is_the_one_at_its_index() {
    let second = RouteSettings::new(pattern("", "/"), 7);
    let table = Table::new(vec![
        RouteSettings::new(pattern("h", "/x"), 0),
        second.clone(),
    ]);
    let asked = Asked {
        host: "h",
        path: "/y",
        method: &Method::GET,
        fields: &HeaderMap::new(),
    };
    let matched = table.find(&asked).expect("any host matches");
    assert_eq!((matched.index, matched.route), (1, &second));
}
