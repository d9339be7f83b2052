//! `[[route]]`

mod action;
mod edits;
mod pattern;
mod rules;

pub(super) use pattern::{Part, reachable};
pub(super) use rules::error_pages;

use super::problem::{Problem, ProblemKind};
use super::reader::Table;
use super::unique::Unique;
use super::value::Refusal;
use crate::balance::UpstreamSettings;
use crate::route::{self, EncodedSlashes, PathPattern, RouteSettings};
use edits::{Message, edits};

/// `[[route]]`, in file order, and what is to be said of them though they are valid.
pub(super) fn routes(
    root: &mut Table<'_>,
    upstreams: &[UpstreamSettings],
    slashes: EncodedSlashes,
) -> (Vec<RouteSettings>, Vec<Problem>) {
    let mut patterns = Unique::new();
    let mut routes = Vec::new();
    let mut lines = Vec::new();
    let mut expressions = 0;
    for (index, mut table) in root.sections("route").into_iter().enumerate() {
        let (pattern, understood) = pattern::pattern(&mut table, slashes);
        if understood {
            let key = format!("route[{index}]");
            if let Err(refusal) = patterns.insert(pattern.clone(), &key, table.line()) {
                table.refuse(refusal);
            }
        }
        if matches!(pattern.path, PathPattern::Regex(_)) {
            expressions += 1;
            if expressions == EXPRESSIONS_MAX + 1 {
                table.refuse(Refusal::invalid(
                    format!("there can be at most {EXPRESSIONS_MAX} paths that are expressions"),
                    "use prefixes",
                ));
            }
        }
        lines.push(table.line());
        routes.push(route(table, pattern, upstreams));
    }
    let warnings = shadows(&routes, &lines);
    (routes, warnings)
}

fn route(
    mut table: Table<'_>,
    pattern: route::Pattern,
    upstreams: &[UpstreamSettings],
) -> RouteSettings {
    let settings = RouteSettings {
        action: action::action(&mut table, upstreams),
        access: rules::access(&mut table),
        basic_auth: rules::basic_auth(&mut table),
        limit: rules::limit(&mut table),
        strip_prefix: rules::strip_prefix(&mut table, &pattern),
        rewrite: rules::rewrite(&mut table),
        raw_path: table.boolean("raw_path", false),
        request_edits: edits(&mut table, "request_headers", Message::Request),
        response_edits: edits(&mut table, "response_headers", Message::Response),
        timeouts: rules::timeouts(&mut table),
        content_bytes_max: rules::content_bytes_max(&mut table),
        error_pages: error_pages(&mut table),
        // A shared cache in front of an application that never met one is the operator's decision.
        cache: table.boolean("cache", false),
        compress: table.boolean("compress", false),
        reveal_origin: table.boolean("reveal_origin", false),
        pattern,
    };
    if settings.raw_path && (settings.strip_prefix || settings.rewrite.is_some()) {
        table.refuse(Refusal::conflict(
            "the path cannot go on as it came and be changed",
            "remove raw_path, or strip_prefix and rewrite",
        ));
    }
    table.finish(&[]);
    settings
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

/// Paths that are expressions, at most: each takes up to 64 KiB compiled.
const EXPRESSIONS_MAX: usize = 1_000;
