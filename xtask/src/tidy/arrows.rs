//! Arrows between the proxy's modules go one way. The table is the architecture: a new arrow is a change to this file and
//! to ARCHITECTURE.md.

use super::Finding;
use super::source::Source;

/// Every module of `proxy/src`, and which others it may name.
const ARROWS: [(&str, &[&str]); 18] = [
    ("main", &["cli"]),
    ("lib", &[]),
    (
        "app",
        &[
            "admin",
            "balance",
            "cache",
            "clock",
            "config",
            "detect",
            "http",
            "net",
            "route",
            "telemetry",
            "tls",
            "xdp",
        ],
    ),
    ("cli", &["admin", "app", "clock", "config", "doctor", "xdp"]),
    // Only the settings types of each.
    (
        "config",
        &[
            "admin",
            "balance",
            "cache",
            "detect",
            "net",
            "route",
            "telemetry",
            "tls",
            "xdp",
        ],
    ),
    (
        "http",
        &[
            "balance",
            "cache",
            "clock",
            "detect",
            "net",
            "route",
            "telemetry",
            "tls",
        ],
    ),
    ("doctor", &["netlink", "xdp"]),
    ("admin", &["clock", "telemetry"]),
    // `tls`: only the settings of a listener.
    ("net", &["clock", "telemetry", "tls"]),
    ("tls", &["clock", "telemetry"]),
    ("xdp", &["clock", "netlink", "telemetry"]),
    // Decisions take `now` and settings, and know nobody.
    ("balance", &[]),
    ("cache", &[]),
    ("detect", &[]),
    ("route", &[]),
    // Leaves.
    ("clock", &[]),
    ("netlink", &[]),
    ("telemetry", &[]),
];

/// Modules that decide.
const DECISIONS: [&str; 4] = ["balance", "cache", "detect", "route"];

/// What brings I/O or a runtime along.
const EFFECTS: [&str; 11] = [
    "aya",
    "hyper",
    "hyper_util",
    "netlink_sys",
    "nix",
    "rustls",
    "socket2",
    "std::fs",
    "std::process",
    "std::thread",
    "tokio",
];

/// Crates that one module stands for.
const HOMES: [(&str, &str); 2] = [("aya", "xdp"), ("toml", "config")];

/// Judges a file of the proxy; others have no arrows.
pub(super) fn judge(source: &Source) -> Vec<Finding> {
    let Some(place) = Place::of(&source.path) else {
        return Vec::new();
    };
    let module = place.module;
    let finding = |at, rule, message| Finding {
        file: source.path.clone(),
        line: source.line_of(at),
        rule,
        message,
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        return vec![finding(
            0,
            "arrows",
            format!(
                "module `{module}` has no arrows yet: give it a line in xtask/src/tidy/arrows.rs"
            ),
        )];
    };

    let mut findings = Vec::new();
    for (at, target) in place.named_modules(&source.code) {
        let is_module = ARROWS.iter().any(|(name, _)| *name == target);
        if is_module && target != module && !allowed.contains(&target) {
            findings.push(finding(
                at,
                "arrows",
                format!("`{module}` must not know `{target}`: take the value as an argument, or let `app` join the two"),
            ));
        }
    }
    // Tests of a decision may well use threads or files.
    let is_decision = DECISIONS.contains(&module) && !source.is_test();
    if is_decision {
        for effect in EFFECTS {
            let before_tests = path_uses(&source.code, effect).filter(|at| *at < source.tests_at());
            findings.extend(before_tests.map(|at| {
                finding(
                    at,
                    "decisions-are-pure",
                    format!("`{module}` decides and does no I/O: what needs `{effect}` belongs to `net`, `http` or `app`"),
                )
            }));
        }
    }
    for (dependency, home) in HOMES.into_iter().filter(|(_, home)| *home != module) {
        findings.extend(path_uses(&source.code, dependency).map(|at| {
            finding(
                at,
                "one-home",
                format!(
                    "`{dependency}` is for `{home}` alone: give `{home}` a function that does this"
                ),
            )
        }));
    }
    findings
}

/// Where in the proxy a file is.
struct Place<'a> {
    module: &'a str,
    /// How many `super::` lead from it to the crate's root.
    depth: usize,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let inside = path.strip_prefix("proxy/src/")?.strip_suffix(".rs")?;
        let mut parts: Vec<&str> = inside.split('/').collect();
        if parts.last() == Some(&"mod") {
            parts.pop();
        }
        Some(Self {
            module: parts.first()?,
            depth: parts.len(),
        })
    }

    /// First names of all paths from the crate's root, and where they stand.
    fn named_modules<'c>(&self, code: &'c str) -> Vec<(usize, &'c str)> {
        let climb = "super::".repeat(self.depth);
        let root = match self.module {
            "main" => "weir::",
            _ => "crate::",
        };
        let mut names = Vec::new();
        for prefix in [root, climb.as_str()] {
            for at in prefix_uses(code, prefix) {
                names.extend(heads(code, at + prefix.len()));
            }
        }
        names
    }
}

/// `a` of `a::b`, or `a` and `b` of `{a::c, b::{d, e}}`.
fn heads(code: &str, at: usize) -> Vec<(usize, &str)> {
    if !code[at..].starts_with('{') {
        return vec![(at, identifier(&code[at..]))];
    }
    let mut heads = Vec::new();
    let mut depth = 0_usize;
    let mut expects_head = false;
    for (offset, byte) in code[at..].bytes().enumerate() {
        let here = at + offset;
        match byte {
            b'{' => {
                depth += 1;
                expects_head = depth == 1;
            }
            b'}' if depth == 1 => break,
            b'}' => depth -= 1,
            b',' => expects_head = depth == 1,
            _ if expects_head && !byte.is_ascii_whitespace() => {
                heads.push((here, identifier(&code[here..])));
                expects_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> &str {
    let end = text
        .find(|c: char| c != '_' && !c.is_alphanumeric())
        .unwrap_or(text.len());
    &text[..end]
}

/// Where `path::` or `use path;` begins.
fn path_uses<'a>(code: &'a str, path: &'a str) -> impl Iterator<Item = usize> + 'a {
    prefix_uses(code, path).filter(move |at| {
        let rest = &code[at + path.len()..];
        rest.starts_with("::") || (rest.starts_with(';') && code[..*at].ends_with("use "))
    })
}

/// Where `prefix` begins a path: not in the middle of a word or of a longer path.
fn prefix_uses<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(prefix)
        .map(|(at, _)| at)
        .filter(|&at| !code[..at].ends_with(|c: char| c == '_' || c == ':' || c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        judge(&Source::new(path, text.to_owned()))
            .into_iter()
            .map(|finding| (finding.line, finding.rule))
            .collect()
    }

    #[test]
    fn arrows_against_the_table_are_found_in_every_form() {
        let cases = [
            ("proxy/src/route/mod.rs", "use crate::cache::Key;"),
            (
                "proxy/src/route/table.rs",
                "fn f() { crate::config::load(); }",
            ),
            (
                "proxy/src/cache/mod.rs",
                "use crate::{\n    route::Table,\n};",
            ),
            ("proxy/src/xdp/mod.rs", "use super::app;"),
            ("proxy/src/xdp/load.rs", "use super::super::app;"),
            ("proxy/src/telemetry/mod.rs", "use crate::clock;"),
            ("proxy/src/main.rs", "fn main() { weir::app::run(); }"),
        ];
        for (path, text) in cases {
            let rules: Vec<_> = findings(path, text)
                .into_iter()
                .map(|(_, rule)| rule)
                .collect();
            assert_eq!(rules, ["arrows"], "{path}: {text}");
        }
    }

    #[test]
    fn arrows_along_the_table_pass() {
        let cases = [
            (
                "proxy/src/http/server.rs",
                "use crate::cache::{Key, Store};",
            ),
            ("proxy/src/http/server.rs", "use super::route;"),
            (
                "proxy/src/app.rs",
                "use crate::{config, xdp::{self, Shield}};",
            ),
            ("proxy/src/route/mod.rs", "use crate::route::table;"),
            ("proxy/src/main.rs", "fn main() { weir::cli::main() }"),
            ("proxy/src/route/mod.rs", "//! See [`crate::config`].\n"),
            (
                "proxy/src/route/mod.rs",
                "fn f() { log(\"crate::config\"); }",
            ),
            ("tests/src/lib.rs", "use crate::app;"),
        ];
        for (path, text) in cases {
            assert_eq!(findings(path, text), [], "{path}: {text}");
        }
    }

    #[test]
    fn a_module_without_a_line_in_the_table_is_found() {
        assert_eq!(
            findings("proxy/src/cluster/mod.rs", "//! x\n"),
            [(1, "arrows")]
        );
    }

    #[test]
    fn a_decision_that_does_io_is_found_where_it_does() {
        assert_eq!(
            findings(
                "proxy/src/cache/store.rs",
                "\nuse tokio::sync::Mutex;\nlet x = my_tokio::f();"
            ),
            [(2, "decisions-are-pure")]
        );
        assert_eq!(
            findings("proxy/src/cache/store/tests.rs", "use std::thread::scope;"),
            []
        );
    }

    #[test]
    fn a_crate_away_from_its_home_is_found() {
        assert_eq!(
            findings("proxy/src/app.rs", "use aya::maps::MapData;"),
            [(1, "one-home")]
        );
        assert_eq!(
            findings("proxy/src/xdp/maps.rs", "use aya::maps::MapData;"),
            []
        );
    }

    #[test]
    fn every_arrow_points_at_a_module_of_the_table() {
        for target in ARROWS.iter().flat_map(|(_, targets)| *targets) {
            assert!(ARROWS.iter().any(|(name, _)| name == target), "{target}");
        }
    }
}
