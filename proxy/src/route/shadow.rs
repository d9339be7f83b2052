//! Routes that can never be taken, because others take every request that would be theirs.

use foldhash::{HashMap, HashMapExt};

use super::{HostPattern, PathPattern, Pattern, RouteSettings};

/// A route that can never be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow {
    /// Its index.
    pub index: usize,
    /// Index of the (last) route that takes its requests.
    pub by: usize,
}

/// All of `routes` that can never be taken, as far as that can be told without solving regular expressions: those whose
/// conditions are covered by routes of the same host and path that are asked before, and those that come after an expression
/// that matches every path.
pub fn shadowed(routes: &[RouteSettings]) -> Vec<Shadow> {
    let mut groups: HashMap<(&HostPattern, &PathPattern), Vec<usize>> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        let pattern = &route.pattern;
        groups
            .entry((&pattern.host, &pattern.path))
            .or_default()
            .push(index);
    }
    let mut shadows = Vec::new();
    for mut group in groups.into_values() {
        group.sort_by_key(|&index| routes[index].pattern.rank());
        // Conditions are compared each with each.
        group.truncate(GROUP_MAX);
        for (place, &index) in group.iter().enumerate() {
            let before = group[..place].iter().copied();
            if let Some(by) = cover(routes, before, &routes[index].pattern) {
                shadows.push(Shadow { index, by });
            }
        }
    }
    after_everything(routes, &mut shadows);
    shadows.sort_unstable_by_key(|shadow| shadow.index);
    shadows.dedup_by_key(|shadow| shadow.index);
    shadows
}

/// Whether the routes `before` take every request of `pattern`, and the last of them that it needs.
fn cover(
    routes: &[RouteSettings],
    before: impl Iterator<Item = usize>,
    pattern: &Pattern,
) -> Option<usize> {
    let mut left = pattern.methods.clone();
    let weaker = before.filter(|&index| {
        let fields = &routes[index].pattern.fields;
        fields.iter().all(|field| pattern.fields.contains(field))
    });
    for index in weaker {
        let methods = &routes[index].pattern.methods;
        if methods.is_empty() {
            return Some(index);
        }
        let had_some = !left.is_empty();
        left.retain(|method| !methods.contains(method));
        if had_some && left.is_empty() {
            return Some(index);
        }
    }
    None
}

/// Adds the expressions after, and the prefixes of the same host as, an expression without conditions that matches all.
fn after_everything(routes: &[RouteSettings], shadows: &mut Vec<Shadow>) {
    let mut everything: HashMap<&HostPattern, usize> = HashMap::new();
    for (index, pattern) in patterns(routes) {
        if let PathPattern::Regex(expression) = &pattern.path
            && !pattern.has_conditions()
            && EVERYTHING.contains(&expression.as_str())
        {
            everything.entry(&pattern.host).or_insert(index);
        }
    }
    for (index, Pattern { host, path, .. }) in patterns(routes) {
        let Some(&by) = everything.get(host) else {
            continue;
        };
        let shadowed = match path {
            PathPattern::Exact(_) => false,
            // The same expression with conditions is asked before the one without.
            PathPattern::Regex(expression) => index > by && !is_same(routes, by, expression),
            PathPattern::Prefix(_) => true,
        };
        if shadowed {
            shadows.push(Shadow { index, by });
        }
    }
}

fn is_same(routes: &[RouteSettings], by: usize, expression: &super::Expression) -> bool {
    matches!(&routes[by].pattern.path, PathPattern::Regex(other) if other == expression)
}

fn patterns(routes: &[RouteSettings]) -> impl Iterator<Item = (usize, &Pattern)> {
    routes.iter().map(|route| &route.pattern).enumerate()
}

/// Usual ways to write an expression that matches every path.
const EVERYTHING: [&str; 12] = [
    "", "^", "/", "^/", ".*", "^.*", "^.*$", ".*$", "^/.*", "^/.*$", "^/(.*)$", "(.*)",
];
/// Routes of one host and path that are compared.
const GROUP_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method};

    use super::*;
    use crate::route::Expression;

    fn route(
        path: &str,
        methods: &[Method],
        fields: &[(&'static str, &'static str)],
    ) -> RouteSettings {
        let path = match path.strip_prefix('~') {
            Some(regex) => PathPattern::Regex(Expression::new(regex).expect("valid")),
            None => PathPattern::Prefix(path.to_owned()),
        };
        let fields = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let pattern = Pattern {
            methods: methods.to_vec(),
            fields: fields.collect(),
            ..Pattern::new(HostPattern::Any, path)
        };
        RouteSettings::new(pattern, 0)
    }

    fn pairs(routes: &[RouteSettings]) -> Vec<(usize, usize)> {
        let shadows = shadowed(routes).into_iter();
        shadows.map(|shadow| (shadow.index, shadow.by)).collect()
    }

    #[test]
    fn a_route_whose_methods_others_take_before_is_never_taken() {
        let (get, head, put) = (Method::GET, Method::HEAD, Method::PUT);
        let routes = [
            route("/", &[get.clone(), head.clone()], &[]),
            route("/", std::slice::from_ref(&get), &[]),
            route("/", std::slice::from_ref(&put), &[]),
            route("/", &[head, put], &[]),
            route("/", &[], &[]),
            route("/x", &[get], &[]),
        ];
        assert_eq!(pairs(&routes), [(1, 0), (3, 2)]);
    }

    #[test]
    fn conditions_on_fields_are_covered_only_by_weaker_ones() {
        let routes = [
            route("/", &[], &[("a", "1")]),
            route("/", &[Method::GET], &[("a", "1")]),
            route("/", &[], &[("a", "2")]),
            route("/", &[], &[("a", "1"), ("b", "1")]),
            route("/", &[], &[("a", "2")]),
        ];
        assert_eq!(pairs(&routes), [(4, 2)]);
    }

    #[test]
    fn nothing_comes_after_an_expression_for_every_path_but_exact_paths() {
        let mut exact = route("/", &[], &[]);
        exact.pattern.path = PathPattern::Exact("/e".to_owned());
        let routes = [
            route("/p", &[], &[]),
            route("~^/a", &[], &[]),
            route("~^/", &[], &[]),
            route("~^/b", &[], &[]),
            route("~^/", &[Method::GET], &[]),
            exact,
        ];
        assert_eq!(pairs(&routes), [(0, 2), (3, 2)]);
    }
}
