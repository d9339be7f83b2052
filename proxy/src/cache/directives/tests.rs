//! The grammar, and what departs from it.

use http::HeaderValue;

use super::*;

fn fields(name: &HeaderName, lines: &[&str]) -> HeaderMap {
    let value = |line: &&str| HeaderValue::from_str(line).expect("a field value");
    lines
        .iter()
        .map(|line| (name.clone(), value(line)))
        .collect()
}

fn response(lines: &[&str]) -> Directives {
    Directives::of_response(&fields(&CACHE_CONTROL, lines))
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn names_are_case_insensitive_and_lines_and_elements_add_up() {
    let expected = Directives {
        no_store: true,
        no_cache: true,
        private: true,
        public: true,
        must_revalidate: true,
        max_age: Some(seconds(60)),
        s_maxage: Some(seconds(70)),
        min_fresh: Some(seconds(5)),
    };
    for lines in [
        &["no-store,no-cache,private,public,must-revalidate,max-age=60,s-maxage=70,min-fresh=5"][..],
        &[
            "No-Store , NO-CACHE,,\tPrivate",
            ",PUBLIC",
            "Must-Revalidate , Max-Age=\"60\"",
            "S-MaxAge=70,Min-Fresh=5,",
        ],
    ] {
        assert_eq!(response(lines), expected, "{lines:?}");
    }
}

#[test]
fn seconds_are_exact_digits_or_restrict_most() {
    for (line, expected) in [
        ("max-age=0", 0),
        ("max-age=007", 7),
        ("max-age=\"7\"", 7),
        ("max-age=2147483648", 1 << 31),
        ("max-age=2147483649", 1 << 31),
        ("max-age=99999999999999999999999999", 1 << 31),
        ("max-age", 0),
        ("max-age=", 0),
        ("max-age=\"\"", 0),
        ("max-age=-1", 0),
        ("max-age=+1", 0),
        ("max-age=1.5", 0),
        ("max-age=60s", 0),
        ("max-age='60'", 0),
        ("max-age=\"6\\0\"", 0),
        ("max-age=60, max-age=30", 30),
        ("max-age=30, max-age=60", 30),
        ("max-age=30, max-age=x", 0),
    ] {
        let directives = response(&[line]);
        assert_eq!(
            (directives.max_age, directives.no_store),
            (Some(seconds(expected)), false),
            "{line}"
        );
    }
    assert_eq!(
        response(&["min-fresh=5, min-fresh=9"]).min_fresh,
        Some(seconds(9))
    );
    assert_eq!(
        response(&["min-fresh=x"]).min_fresh,
        Some(seconds(SECONDS_MAX))
    );
}

#[test]
fn what_is_not_of_the_grammar_forbids() {
    for line in [
        "max-age=60 public",
        "max-age =60",
        "max-age= 60",
        "public; max-age=60",
        "max-age=60, foo=\"bar",
        "max-age=60, foo=\"bar\\\"",
        "max-age=\"60\"0",
        "=60",
        "max-age=60, \"public\"",
        "max-age=60, {}",
    ] {
        let directives = response(&[line]);
        assert!(directives.no_store && directives.no_cache, "{line}");
    }
}

#[test]
fn a_directive_inside_quotes_is_none() {
    let directives = response(&["foo=\"no-store, max-age=1, \\\", private\", max-age=60"]);
    let expected = Directives {
        max_age: Some(seconds(60)),
        ..Directives::default()
    };
    assert_eq!(directives, expected);
}

#[test]
fn an_argument_where_none_is_defined_restricts_but_does_not_permit() {
    let directives = response(&[
        "no-store=x, no-cache=\"set-cookie\", private=\"x\", public=x, must-revalidate=x",
    ]);
    let expected = Directives {
        no_store: true,
        no_cache: true,
        private: true,
        ..Directives::default()
    };
    assert_eq!(directives, expected);
}

#[test]
fn unknown_directives_and_empty_fields_say_nothing() {
    for lines in [
        &[][..],
        &[""],
        &[" , ,"],
        &["immutable, stale-if-error=60, foo=\"x,y\""],
    ] {
        assert_eq!(response(lines), Directives::default(), "{lines:?}");
    }
}

#[test]
fn pragma_counts_in_requests_without_cache_control_only() {
    let pragma = fields(&PRAGMA, &["foo=1, No-Cache"]);
    assert!(Directives::of_request(&pragma).no_cache);
    assert!(!Directives::of_response(&pragma).no_cache);
    assert!(!Directives::of_request(&fields(&PRAGMA, &["foo"])).no_cache);
    let mut both = pragma;
    both.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
    assert!(!Directives::of_request(&both).no_cache);
}
