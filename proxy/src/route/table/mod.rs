//! The compiled routes and the look-up in them. A look-up does not allocate unless there are regular expressions, and what
//! it costs is bounded by the table, not by what the client sends.

use foldhash::{HashMap, HashMapExt};
use regex::bytes::RegexSet;
use smallvec::SmallVec;

use super::prefixes::Prefixes;
use super::{Asked, Expression, HostPattern, PathPattern, Pattern, RouteSettings};

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
    /// Compiles `routes`. Of two with the same pattern the first counts.
    pub fn new(routes: Vec<RouteSettings>) -> Self {
        let mut exact: HashMap<&str, Draft> = HashMap::new();
        let mut below: HashMap<&str, Draft> = HashMap::new();
        let mut any = Draft::default();
        for (index, route) in routes.iter().enumerate() {
            let draft = match &route.pattern.host {
                HostPattern::Any => &mut any,
                HostPattern::Exact(host) => exact.entry(host).or_default(),
                HostPattern::Below(host) => below.entry(host).or_default(),
            };
            draft.add(&route.pattern, index);
        }
        let compiled = |drafts: HashMap<&str, Draft>| -> HashMap<String, Paths> {
            let paths = drafts.into_iter();
            paths
                .map(|(host, draft)| (host.to_owned(), draft.compile(&routes)))
                .collect()
        };
        Self {
            exact: compiled(exact),
            below_longest: below.keys().map(|host| host.len()).max().unwrap_or(0),
            below: compiled(below),
            any: any.compile(&routes),
            routes,
        }
    }

    /// The route of a request: the most specific host (exact, then the longest wildcard, then any) that has a route for it;
    /// there an exact path, then regular expressions in file order, then the longest prefix; there the route with the most
    /// `headers`, then one with `methods`, then file order. A route whose method or fields differ is passed over.
    ///
    /// Hosts and paths are compared byte by byte: bringing the host to lower case and normalising the path to what the
    /// origin server will see is the caller's duty.
    pub fn find(&self, asked: &Asked<'_>) -> Option<Matched<'_>> {
        let index = self
            .exact
            .get(asked.host)
            .and_then(|paths| self.find_path(paths, asked))
            .or_else(|| self.find_below(asked))
            .or_else(|| self.find_path(&self.any, asked))?;
        Some(Matched {
            index,
            route: &self.routes[index],
        })
    }

    /// The route that was found at `index`.
    pub fn route(&self, index: usize) -> &RouteSettings {
        &self.routes[index]
    }

    fn find_below(&self, asked: &Asked<'_>) -> Option<usize> {
        if self.below.is_empty() {
            return None;
        }
        // The label that `*` stands for is not empty.
        let dots = asked.host.bytes().enumerate().skip(1);
        dots.filter(|(_, byte)| *byte == b'.')
            .map(|(dot, _)| &asked.host[dot + 1..])
            .filter(|end| end.len() <= self.below_longest)
            .find_map(|end| self.find_path(self.below.get(end)?, asked))
    }

    fn find_path(&self, paths: &Paths, asked: &Asked<'_>) -> Option<usize> {
        let first = |candidates: &Candidates| {
            let mut candidates = candidates.iter();
            let found = candidates.find(|candidate| {
                let pattern = &self.routes[candidate.index].pattern;
                !candidate.has_conditions || pattern.takes(asked.method, asked.fields)
            });
            found.map(|candidate| candidate.index)
        };
        let exact = paths.exact.get(asked.path);
        exact
            .and_then(first)
            .or_else(|| paths.expressions.as_ref()?.of(asked.path, first))
            .or_else(|| paths.prefixes.of(asked.path).find_map(first))
    }
}

/// Routes of one host and one path, in the order in which they are asked.
type Candidates = SmallVec<[Candidate; 1]>;

#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Of the route.
    index: usize,
    /// Whether the route looks at method or fields; said here to save a cache miss on those that do not.
    has_conditions: bool,
}

/// The paths of one host pattern.
#[derive(Debug)]
struct Paths {
    exact: HashMap<String, Candidates>,
    /// `None` = there are none.
    expressions: Option<Expressions>,
    prefixes: Prefixes<Candidates>,
}

/// Regular expressions in file order, matched all at once.
#[derive(Debug)]
struct Expressions {
    /// Its scratch memory comes from a pool in it, which threads share by `try_lock` and so never wait for.
    set: RegexSet,
    routes: Vec<Candidates>,
}

impl Expressions {
    fn of<T>(&self, path: &str, first: impl Fn(&Candidates) -> Option<T>) -> Option<T> {
        if !path.starts_with('/') {
            // `*` of OPTIONS is no path, whatever an expression says.
            return None;
        }
        let matches = self.set.matches(path.as_bytes());
        matches.iter().find_map(|index| first(&self.routes[index]))
    }
}

/// The paths of one host pattern while routes are added.
#[derive(Debug, Default)]
struct Draft<'a> {
    exact: HashMap<&'a str, Candidates>,
    /// In file order.
    expressions: Vec<(&'a Expression, Candidates)>,
    prefixes: HashMap<&'a str, Candidates>,
}

impl<'a> Draft<'a> {
    fn add(&mut self, pattern: &'a Pattern, index: usize) {
        let candidates = match &pattern.path {
            PathPattern::Exact(path) => self.exact.entry(path).or_default(),
            PathPattern::Prefix(path) => self.prefixes.entry(path).or_default(),
            PathPattern::Regex(expression) => {
                let known = self.expressions.iter();
                let place = known.take_while(|(known, _)| *known != expression).count();
                if place == self.expressions.len() {
                    self.expressions.push((expression, Candidates::new()));
                }
                &mut self.expressions[place].1
            }
        };
        candidates.push(Candidate {
            index,
            has_conditions: pattern.has_conditions(),
        });
    }

    fn compile(self, routes: &[RouteSettings]) -> Paths {
        let ranked = |mut group: Candidates| {
            // Stable: what ranks alike stays in file order.
            group.sort_by_key(|candidate| routes[candidate.index].pattern.rank());
            group
        };
        let expressions = (!self.expressions.is_empty()).then(|| {
            let set = Expression::set(self.expressions.iter().map(|(expression, _)| *expression));
            let routes = self.expressions.into_iter();
            Expressions {
                set,
                routes: routes.map(|(_, group)| ranked(group)).collect(),
            }
        });
        let exact = self.exact.into_iter();
        let prefixes = self.prefixes.into_iter();
        Paths {
            exact: exact
                .map(|(path, group)| (path.to_owned(), ranked(group)))
                .collect(),
            expressions,
            prefixes: Prefixes::new(
                prefixes
                    .map(|(path, group)| (path.to_owned(), ranked(group)))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
