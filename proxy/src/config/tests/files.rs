//! Problems of a file as a whole, and several at once.

use std::path::Path;

use super::invalid;
use crate::config::{ProblemKind, load};

#[test]
fn an_empty_file_misses_listener_and_route() {
    let invalid = invalid("");
    let told: Vec<(usize, &str)> = invalid
        .problems
        .iter()
        .map(|p| (p.line, p.message.as_str()))
        .collect();
    assert_eq!(
        told,
        [(0, "there is no [[listen]]"), (0, "there is no [[route]]")]
    );
    assert!(
        invalid
            .problems
            .iter()
            .all(|p| p.kind == ProblemKind::Missing)
    );
}

#[test]
fn an_unreadable_file_is_a_problem_of_the_file() {
    let invalid = load(Path::new("/nonexistent/weir.toml")).expect_err("no such file");
    assert_eq!(invalid.problems.len(), 1);
    assert_eq!(invalid.problems[0].kind, ProblemKind::Unreadable);
    assert!(
        invalid
            .report()
            .starts_with("/nonexistent/weir.toml: cannot be read: ")
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_at_the_line() {
    let file = std::env::temp_dir().join(format!("weir-config-{}.toml", std::process::id()));
    std::fs::write(&file, b"[log]\nlevel = \"\xff\"\n").expect("a writable temporary folder");
    let told = load(&file);
    std::fs::remove_file(&file).expect("it was just written");
    let problems = told.expect_err("not UTF-8").problems;
    assert_eq!(
        (problems[0].line, problems[0].message.as_str()),
        (2, "not UTF-8")
    );
}

#[test]
fn every_problem_of_a_file_is_found_in_one_pass_in_line_order() {
    let told = invalid(
        r#"[[route]]
upstream = "ap"
[log]
level = "loud"
[[upstream]]
name = "app"
servers = []
[[listen]]
address = "here"
timeout = "1s"
[shield]
block_for = "0s"
"#,
    );
    let lines: Vec<usize> = told.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4, 7, 9, 10, 12]);
}

#[test]
fn syntax_errors_come_with_the_problems_of_the_other_lines() {
    let told = invalid(
        "[log]\nlevel = debug\nformat = \"xml\"\n[cache]\nmemory =\n[[listen]]\nadress = \"x\"\n",
    );
    let told: Vec<(usize, ProblemKind)> = told.problems.iter().map(|p| (p.line, p.kind)).collect();
    assert_eq!(
        told,
        [
            (2, ProblemKind::Syntax),
            (3, ProblemKind::InvalidValue),
            (5, ProblemKind::Syntax),
            // Whether an address or a route is missing cannot be known: it may stand on a broken line.
            (7, ProblemKind::UnknownKey),
        ]
    );
}

#[test]
fn an_unclosed_bracket_is_named_where_it_was_opened_and_the_next_line_is_still_read() {
    let told = invalid("[shield]\nallow = [\"192.0.2.1\"\nmode = \"fast\"\n");
    let problems: Vec<(usize, &str)> = told
        .problems
        .iter()
        .map(|problem| (problem.line, problem.hint.as_str()))
        .collect();
    assert_eq!(
        problems,
        [
            (3, "is the bracket or quote opened on line 2 closed?"),
            (3, "supported: \"auto\", \"native\", \"generic\""),
        ]
    );
}

#[test]
fn text_that_is_no_configuration_is_refused_without_harm() {
    for text in [
        "\u{0}",
        "[[[[",
        "= = =",
        "\u{feff}a",
        "a.b.c",
        "[listen]\n[[listen]]\n",
        "x = '''",
    ] {
        let told = invalid(text);
        assert!(
            told.problems.iter().any(|p| p.kind == ProblemKind::Syntax),
            "{text:?}: {}",
            told.report()
        );
    }
    let deep = format!("x = {}", "[".repeat(100_000));
    assert!(!invalid(&deep).problems.is_empty());
}
