//! Routes that can never be taken, because others take every request that would be theirs.

use foldhash::{HashMap, HashMapExt};

use super::{Expression, HostPattern, PathPattern, Pattern, RouteSettings};

/// A route that can never be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow {
    /// Its index.
    pub index: usize,
    /// Index of the (last) route that takes its requests.
    pub by: usize,
}

/// All of `routes` that can never be taken, as far as that can be told without solving regular expressions: those whose
/// conditions are covered by routes of the same host and path that are asked before, and those whose paths all begin with
/// what an expression that is asked before takes whole, such as `^/api/`.
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
    after_expressions(routes, &mut shadows);
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

/// Adds the expressions after, and the prefixes of the same host as, an expression without conditions that takes all of
/// their paths. Equal expressions are asked at the place of the first of them, whatever the places of the others.
fn after_expressions(routes: &[RouteSettings], shadows: &mut Vec<Shadow>) {
    let mut places: HashMap<(&HostPattern, &Expression), usize> = HashMap::new();
    let mut takers: HashMap<&HostPattern, Vec<Taker>> = HashMap::new();
    for (index, pattern) in patterns(routes) {
        let PathPattern::Regex(expression) = &pattern.path else {
            continue;
        };
        let place = *places.entry((&pattern.host, expression)).or_insert(index);
        if !pattern.has_conditions()
            && let Some(prefix) = expression.takes_all_below()
        {
            let takers = takers.entry(&pattern.host).or_default();
            takers.push(Taker {
                index,
                place,
                prefix,
            });
        }
    }
    for takers in takers.values_mut() {
        takers.sort_by_key(|taker| (taker.place, taker.index));
        // Each is compared with each route of the host.
        takers.truncate(GROUP_MAX);
    }
    for (index, Pattern { host, path, .. }) in patterns(routes) {
        let Some(takers) = takers.get(host) else {
            continue;
        };
        let mut takers = takers.iter();
        let taker = match path {
            PathPattern::Exact(_) => None,
            PathPattern::Prefix(text) => {
                takers.find(|taker| text.as_bytes().starts_with(&taker.prefix))
            }
            PathPattern::Regex(expression) => {
                let start = expression.literal_start();
                let place = places[&(host, expression)];
                takers
                    .take_while(|taker| taker.place < place)
                    .find(|taker| start.starts_with(&taker.prefix))
            }
        };
        shadows.extend(taker.map(|taker| Shadow {
            index,
            by: taker.index,
        }));
    }
}

/// A route without conditions whose expression matches every path that begins with `prefix`.
struct Taker {
    index: usize,
    /// Index of the first route of the host with an equal expression.
    place: usize,
    prefix: Vec<u8>,
}

fn patterns(routes: &[RouteSettings]) -> impl Iterator<Item = (usize, &Pattern)> {
    routes.iter().map(|route| &route.pattern).enumerate()
}

/// Routes of one host and path, and expressions of one host, that are compared.
const GROUP_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method};

    use super::*;

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

    #[test]
    fn equal_expressions_are_asked_at_the_place_of_the_first() {
        let get = [Method::GET];
        let taken = [
            route("~^/b", &get, &[]),
            route("~^/", &[], &[]),
            route("~^/b", &[], &[]),
        ];
        assert_eq!(pairs(&taken), []);
        let never = [
            route("~^/", &get, &[]),
            route("~^/b", &[], &[]),
            route("~^/", &[], &[]),
        ];
        assert_eq!(pairs(&never), [(1, 2)]);
    }

    #[test]
    fn nothing_below_a_literal_that_an_expression_takes_whole_is_taken() {
        let mut elsewhere = route("/api/x", &[], &[]);
        elsewhere.pattern.host = HostPattern::Exact("h".to_owned());
        let routes = [
            route("~^/api/v0", &[], &[]), // asked before
            route("~^/api/", &[], &[]),   // 1
            route("/api/", &[], &[]),     // its prefix
            route("/api/v1/x", &[Method::GET], &[]),
            route("/api", &[], &[]),          // wider
            route("~^/api/v[12]$", &[], &[]), // later and below
            route("~/api/v1", &[], &[]),      // not anchored
            route("~^/(api/|b)", &[], &[]),   // not all of it below
            route("~^/api/*v1", &[], &[]),    // the slash may be missing
            route("~(?i)^/api/v1", &[], &[]), // other case, too
            elsewhere,
        ];
        assert_eq!(pairs(&routes), [(2, 1), (3, 1), (5, 1)]);
        let conditioned = [
            route("~^/api/", &[Method::GET], &[]),
            route("/api/", &[], &[]),
        ];
        assert_eq!(pairs(&conditioned), []);
    }

    /// What is said to be never taken is held against the table, for every order of three expressions out of several.
    #[test]
    fn what_is_called_never_taken_is_never_found() {
        let texts = ["~^/", "~^/b", "~^/b/.*$", "~^/b/c?", "~^/b/|c", "/", "/b/"];
        let paths = ["/", "/b", "/b/", "/b/c", "/b/cd", "/c", "/bc", "/cb"];
        let fields = http::HeaderMap::new();
        for number in 0..texts.len().pow(3) * 4 {
            let routes: Vec<_> = (0..3)
                .map(|place| {
                    let text = texts[number / 4 / texts.len().pow(place) % texts.len()];
                    // The first and the last with and without a condition, the middle one without.
                    let is_get = place != 1 && number >> (place / 2) & 1 == 1;
                    route(text, if is_get { &[Method::GET] } else { &[] }, &[])
                })
                .collect();
            let never = shadowed(&routes);
            let table = crate::route::Table::new(routes.clone());
            for (path, method) in paths
                .iter()
                .flat_map(|path| [(path, Method::GET), (path, Method::PUT)])
            {
                let asked = crate::route::Asked {
                    host: "h",
                    path,
                    method: &method,
                    fields: &fields,
                };
                let found = table.find(&asked).map(|matched| matched.index);
                assert!(
                    never.iter().all(|shadow| Some(shadow.index) != found),
                    "{never:?} {path} {method} {routes:?}"
                );
            }
        }
    }
}
