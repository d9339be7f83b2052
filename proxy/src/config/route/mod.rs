//! `[[route]]`

mod pattern;

pub(super) use pattern::{Part, reachable};

use super::problem::{Problem, ProblemKind};
use super::reader::{Node, Table};
use super::suggest::nearest;
use super::unique::Unique;
use super::value::Refusal;
use crate::balance::UpstreamSettings;
use crate::route::{self, EncodedSlashes, RouteSettings};

/// What a route may have that comes with a later version. The first two stand in for `upstream`.
const LATER: [&str; 9] = [
    "redirect",
    "respond",
    "strip_prefix",
    "rewrite",
    "request_headers",
    "response_headers",
    "limit",
    "max_body",
    "compress",
];

/// `[[route]]`, in file order, and what is to be said of them though they are valid.
pub(super) fn routes(
    root: &mut Table<'_>,
    upstreams: &[UpstreamSettings],
    slashes: EncodedSlashes,
) -> (Vec<RouteSettings>, Vec<Problem>) {
    let mut patterns = Unique::new();
    let mut routes = Vec::new();
    let mut lines = Vec::new();
    for (index, mut table) in root.sections("route").into_iter().enumerate() {
        let (pattern, understood) = pattern::pattern(&mut table, slashes);
        if understood {
            let key = format!("route[{index}]");
            if let Err(refusal) = patterns.insert(pattern.clone(), &key, table.line()) {
                table.refuse(refusal);
            }
        }
        routes.push(RouteSettings {
            pattern,
            upstream: upstream(&mut table, upstreams),
            raw_path: table.boolean("raw_path", false),
            // A shared cache in front of an application that never met one is the operator's decision.
            cache: table.boolean("cache", false),
            reveal_origin: table.boolean("reveal_origin", false),
        });
        lines.push(table.line());
        table.finish(&LATER);
    }
    let warnings = shadows(&routes, &lines);
    (routes, warnings)
}

/// A warning for each route that can never be taken.
fn shadows(routes: &[RouteSettings], lines: &[usize]) -> Vec<Problem> {
    let shadows = route::shadowed(routes).into_iter();
    shadows
        .map(|shadow| Problem {
            line: lines[shadow.index],
            key: format!("route[{}]", shadow.index),
            value: String::new(),
            message: format!(
                "never taken: route[{}] on line {} takes every request that it would",
                shadow.by, lines[shadow.by]
            ),
            hint: "remove it, or change one of them".to_owned(),
            kind: ProblemKind::Unreachable,
        })
        .collect()
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
