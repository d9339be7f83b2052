//! The compiled routes and the look-up in them. A look-up does not allocate, and what it costs is bounded by the table,
//! not by what the client sends.

use foldhash::{HashMap, HashMapExt};

use super::{HostPattern, PathPattern, RouteSettings};

/// All routes, compiled. Immutable; part of the snapshot that workers read.
#[derive(Debug)]
pub struct Table {
    /// In file order.
    routes: Vec<RouteSettings>,
    exact: HashMap<String, Paths>,
    /// By the text after `*.`.
    below: HashMap<String, Paths>,
    /// Bytes of the longest key of `below`: longer ends of a host are not looked up, so that a host of nothing but dots
    /// costs no more than any other.
    below_longest: usize,
    any: Paths,
}

/// A request's route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'a> {
    /// Index into the settings' routes.
    pub index: usize,
    /// The route.
    pub route: &'a RouteSettings,
}

impl Table {
    /// Compiles `routes`. Of two with the same host and path the first counts.
    pub fn new(routes: Vec<RouteSettings>) -> Self {
        let mut table = Self {
            routes: Vec::new(),
            exact: HashMap::new(),
            below: HashMap::new(),
            below_longest: 0,
            any: Paths::default(),
        };
        for (index, route) in routes.iter().enumerate() {
            let paths = match &route.host {
                HostPattern::Any => &mut table.any,
                HostPattern::Exact(host) => table.exact.entry(host.clone()).or_default(),
                HostPattern::Below(host) => {
                    table.below_longest = table.below_longest.max(host.len());
                    table.below.entry(host.clone()).or_default()
                }
            };
            paths.add(&route.path, index);
        }
        table.routes = routes;
        table
    }

    /// The route for a request to `host` and `path`: the most specific host that has a matching path (exact, then the
    /// longest wildcard, then any), there an exact path, then the longest prefix, then file order.
    ///
    /// `host` is compared byte by byte: bringing it to lower case and taking port and trailing dot off is the caller's
    /// duty, as is normalising `path` (without query) to what the origin server will see.
    pub fn find(&self, host: &str, path: &str) -> Option<Matched<'_>> {
        let exact = self.exact.get(host).and_then(|paths| paths.find(path));
        let index = exact
            .or_else(|| self.find_below(host, path))
            .or_else(|| self.any.find(path))?;
        Some(Matched {
            index,
            route: &self.routes[index],
        })
    }

    fn find_below(&self, host: &str, path: &str) -> Option<usize> {
        // The label that `*` stands for is not empty.
        let dots = host.bytes().enumerate().skip(1).filter(|(_, b)| *b == b'.');
        dots.map(|(dot, _)| &host[dot + 1..])
            .filter(|end| end.len() <= self.below_longest)
            .find_map(|end| self.below.get(end)?.find(path))
    }
}

/// The paths of one host pattern, each with the index of its route.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<String, usize>,
    /// Longest first, each text once.
    prefixes: Vec<(String, usize)>,
}

impl Paths {
    fn add(&mut self, path: &PathPattern, index: usize) {
        match path {
            PathPattern::Exact(path) => {
                self.exact.entry(path.clone()).or_insert(index);
            }
            PathPattern::Prefix(path) => {
                if self.prefixes.iter().all(|(known, _)| known != path) {
                    let at = self
                        .prefixes
                        .partition_point(|(known, _)| known.len() >= path.len());
                    self.prefixes.insert(at, (path.clone(), index));
                }
            }
        }
    }

    fn find(&self, path: &str) -> Option<usize> {
        self.exact.get(path).copied().or_else(|| {
            let mut prefixes = self.prefixes.iter();
            let (_, index) = prefixes.find(|(prefix, _)| path.starts_with(prefix.as_str()))?;
            Some(*index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: &str, path: &str) -> RouteSettings {
        RouteSettings {
            host: match host.strip_prefix("*.") {
                Some(end) => HostPattern::Below(end.to_owned()),
                None if host.is_empty() => HostPattern::Any,
                None => HostPattern::Exact(host.to_owned()),
            },
            path: match path.strip_prefix('=') {
                Some(exact) => PathPattern::Exact(exact.to_owned()),
                None => PathPattern::Prefix(path.to_owned()),
            },
            upstream: 0,
            cache: false,
            reveal_origin: false,
        }
    }

    fn table(routes: &[(&str, &str)]) -> Table {
        Table::new(
            routes
                .iter()
                .map(|(host, path)| route(host, path))
                .collect(),
        )
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
            let found = table.find(host, path).map(|matched| matched.index);
            assert_eq!(found, expected, "{host}{path}");
        }
    }

    #[test]
    fn of_two_equal_routes_the_first_in_the_file_counts() {
        let table = table(&[("h", "/a"), ("h", "/a"), ("h", "=/b"), ("h", "=/b")]);
        assert_eq!(table.find("h", "/a").map(|matched| matched.index), Some(0));
        assert_eq!(table.find("h", "/b").map(|matched| matched.index), Some(2));
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
            assert_eq!(table.find("h", path).is_some(), matches, "{path}");
        }
    }

    #[test]
    fn without_a_route_nothing_is_found() {
        assert_eq!(table(&[]).find("h", "/"), None);
        assert_eq!(table(&[("h", "/")]).find("i", "/"), None);
    }

    #[test]
    fn a_host_of_dots_is_looked_up_no_more_often_than_the_longest_wildcard_is_long() {
        let table = table(&[("*.ab.cd", "/")]);
        let dots = ".".repeat(100_000);
        assert_eq!(table.find(&dots, "/"), None);
        assert!(table.find(&format!("{dots}ab.cd"), "/").is_some());
    }

    #[test]
    fn the_route_is_the_one_at_its_index() {
        let mut second = route("", "/");
        second.upstream = 7;
        let table = Table::new(vec![route("h", "/x"), second.clone()]);
        let matched = table.find("h", "/y").expect("any host matches");
        assert_eq!((matched.index, matched.route), (1, &second));
    }
}
