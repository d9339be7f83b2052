//! What a route look-up costs in tables of 10 and 10,000 routes: `cargo xtask bench routes`. Nanoseconds, the median of
//! rounds; each round looks up hosts and paths spread over the whole table, so that large tables pay for their cache
//! misses.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench reads the clock and prints"
)]

use std::hint::black_box;
use std::time::Instant;

use http::{HeaderMap, Method};
use weir::route::{Asked, Expression, HostPattern, PathPattern, Pattern, RouteSettings, Table};

/// Sizes that are compared.
const SIZES: [usize; 2] = [10, 10_000];
/// Rounds of which the median counts.
const ROUNDS: usize = 31;
/// Look-ups a round.
const LOOK_UPS: usize = 200_000;

/// A table of `size` routes, and requests (host, path) for each.
type Shape = fn(usize) -> (Vec<Pattern>, Vec<(String, String)>);

fn main() {
    let shapes: [(&str, Shape); 5] = [
        ("a host each", hosts),
        ("a wildcard each", wildcards),
        ("a prefix each, one host", prefixes),
        ("an exact path each, one host", exact_paths),
        ("prefixes, one of ten an expression", expressions),
    ];
    println!("{:36} {:>8} {:>8} {:>7}", "ROUTES", "10", "10,000", "RATIO");
    for (name, shape) in shapes {
        let [small, large] = SIZES.map(|size| measure(shape, size));
        println!(
            "{name:36} {small:>5.0} ns {large:>5.0} ns {:>7.2}",
            large / small
        );
    }
}

/// Nanoseconds a look-up.
fn measure(shape: Shape, size: usize) -> f64 {
    let (patterns, requests) = shape(size);
    let routes = patterns.into_iter();
    let table = Table::new(
        routes
            .map(|pattern| RouteSettings::new(pattern, 0))
            .collect(),
    );
    let fields = HeaderMap::new();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for number in 0..LOOK_UPS {
                // A step that shares no factor with the number of requests visits all of them, out of order.
                let (host, path) = &requests[number * 7919 % requests.len()];
                let asked = Asked {
                    host,
                    path,
                    method: &Method::GET,
                    fields: &fields,
                };
                assert!(
                    black_box(table.find(black_box(&asked))).is_some(),
                    "every request has a route"
                );
            }
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let look_ups = LOOK_UPS as f64;
            start.elapsed().as_secs_f64() * 1e9 / look_ups
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn hosts(size: usize) -> (Vec<Pattern>, Vec<(String, String)>) {
    let host = |number| format!("site-{number}.example.com");
    let pattern = |number| Pattern::new(HostPattern::Exact(host(number)), prefix("/"));
    let request = |number| (host(number), "/index.html".to_owned());
    (
        (0..size).map(pattern).collect(),
        (0..size).map(request).collect(),
    )
}

fn wildcards(size: usize) -> (Vec<Pattern>, Vec<(String, String)>) {
    let host = |number| format!("site-{number}.example.com");
    let pattern = |number| Pattern::new(HostPattern::Below(host(number)), prefix("/"));
    let request = |number| (format!("www.{}", host(number)), "/index.html".to_owned());
    (
        (0..size).map(pattern).collect(),
        (0..size).map(request).collect(),
    )
}

fn prefixes(size: usize) -> (Vec<Pattern>, Vec<(String, String)>) {
    let pattern = |number| one_host(prefix(&service(number)));
    let request = |number| one_host_request(format!("{}items/12345", service(number)));
    (
        (0..size).map(pattern).collect(),
        (0..size).map(request).collect(),
    )
}

fn exact_paths(size: usize) -> (Vec<Pattern>, Vec<(String, String)>) {
    let pattern = |number| one_host(PathPattern::Exact(service(number)));
    let request = |number| one_host_request(service(number));
    (
        (0..size).map(pattern).collect(),
        (0..size).map(request).collect(),
    )
}

/// Ten routes a host, one of them an expression.
fn expressions(size: usize) -> (Vec<Pattern>, Vec<(String, String)>) {
    let host = |number: usize| format!("site-{}.example.com", number / 10);
    let pattern = |number: usize| {
        let path = if number.is_multiple_of(10) {
            let text = format!("^/v[0-9]+/{number}/");
            PathPattern::Regex(Expression::new(&text).expect("a valid expression"))
        } else {
            prefix(&service(number))
        };
        Pattern::new(HostPattern::Exact(host(number)), path)
    };
    let request = |number: usize| {
        let path = if number.is_multiple_of(10) {
            format!("/v2/{number}/items")
        } else {
            format!("{}items/12345", service(number))
        };
        (host(number), path)
    };
    (
        (0..size).map(pattern).collect(),
        (0..size).map(request).collect(),
    )
}

fn service(number: usize) -> String {
    // Lengths differ as they do in real tables.
    let kind = ["api", "service", "team/tools", "v1/accounts/archive"][number % 4];
    format!("/{kind}/{number}/")
}

fn prefix(text: &str) -> PathPattern {
    PathPattern::Prefix(text.to_owned())
}

fn one_host(path: PathPattern) -> Pattern {
    Pattern::new(HostPattern::Exact("example.com".to_owned()), path)
}

fn one_host_request(path: String) -> (String, String) {
    ("example.com".to_owned(), path)
}
