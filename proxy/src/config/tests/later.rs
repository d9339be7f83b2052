//! Keys and values of later versions.

use super::{BASE, invalid, report};
use crate::config::ProblemKind;

/// Every key of the product that this version leaves out, each in a file that is valid without it.
#[test]
fn keys_of_later_versions_are_refused_as_such() {
    for (header, keys) in [
        ("", &["cluster = { node = \"a\" }"][..]),
        ("[process]", &["user = \"weir\""]),
        (
            "[cache]",
            &[
                "disk = {}",
                "stale_while_revalidate = \"0s\"",
                "stale_if_error = \"0s\"",
            ],
        ),
    ] {
        for key in keys {
            let text = if header.is_empty() {
                format!("{key}\n{BASE}")
            } else {
                format!("{BASE}{header}\n{key}\n")
            };
            let told = invalid(&text);
            assert_eq!(told.problems.len(), 1, "{key}: {}", told.report());
            let problem = &told.problems[0];
            assert_eq!(problem.kind, ProblemKind::NotSupported, "{key}");
            assert_eq!(
                problem.message,
                format!("`{}` is not supported by this version of weir", problem.key)
            );
            assert_eq!(problem.hint, "remove it");
        }
    }
}

#[test]
fn a_later_table_is_refused_at_its_header() {
    assert_eq!(
        report("[cache.disk]\ndir = \"/var/cache/weir\""),
        "8: cache.disk: `cache.disk` is not supported by this version of weir (hint: remove it)"
    );
}

#[test]
fn values_of_later_versions_are_refused_as_such() {
    let rule = |line: &str| format!("[[detect]]\nname = \"r\"\nlimit = 1\nwindow = \"1s\"\n{line}");
    for (text, line, hint) in [
        (
            "[[listen]]\naddress = \"[::]:81\"\nhttp = [\"1.1\", \"3\"]".to_owned(),
            10,
            "supported: \"1.1\", \"2\"",
        ),
        (
            rule("count = \"bytes\""),
            12,
            "supported: \"requests\", \"responses\", \"tls-failures\", \"protocol-errors\", \"slow-requests\", \
             \"connections\"",
        ),
        (
            rule("count = \"requests\"\nscope = \"prefix\""),
            13,
            "supported: \"source\"",
        ),
    ] {
        let told = invalid(&format!("{BASE}{text}"));
        assert_eq!(told.problems.len(), 1, "{}", told.report());
        let problem = &told.problems[0];
        assert_eq!(
            (problem.kind, problem.line),
            (ProblemKind::NotSupported, line),
            "{text}"
        );
        assert_eq!(problem.hint, hint);
    }
}
