//! What a route look-up costs in tables of 10 and 10,000 routes: `cargo xtask bench routes`. Nanoseconds, the median of
//! rounds, with requests in two orders: each route as likely as any other, so that large tables pay for all their cache
//! misses, and some routes asked for much more often than others, as on real hosts. Requests are copied into one buffer
//! before a batch is timed, as a worker has just read what it looks up: their own cache misses do not count.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench reads the clock and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use weir::route::{Asked, Expression, HostPattern, PathPattern, Pattern, RouteSettings, Table};

/// Sizes that are compared.
const SIZES: [usize; 2] = [10, 10_000];
/// Rounds of which the median counts.
const ROUNDS: usize = 31;
/// Look-ups a round.
const LOOK_UPS: usize = BATCH * 3_125;
/// Look-ups that are timed at once: as many as leave their requests in the level-1 cache.
const BATCH: usize = 64;

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
    println!(
        "{:36} {:8} {:>8} {:>8} {:>7}",
        "ROUTES", "ORDER", "10", "10,000", "RATIO"
    );
    for (name, shape) in shapes {
        for order in [Order::Random, Order::Skewed] {
            let [small, large] = SIZES.map(|size| measure(shape, size, order));
            println!(
                "{name:36} {:8} {small:>5.0} ns {large:>5.0} ns {:>7.2}",
                order.as_str(),
                large / small
            );
        }
    }
}

/// How often each route is asked for.
#[derive(Clone, Copy)]
enum Order {
    /// Each as often as any other.
    Random,
    /// By Zipf's law: the second most popular half as often as the first, the third a third as often.
    Skewed,
}

impl Order {
    fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Skewed => "skewed",
        }
    }

    /// Which of `size` requests is made at each look-up of a round, the same on each run.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn picks(self, size: usize) -> Vec<usize> {
        let weight = |rank: usize| match self {
            Self::Random => 1.0,
            Self::Skewed => 1.0 / (rank + 1) as f64,
        };
        let mut sum = 0.0;
        let sums: Vec<f64> = (0..size)
            .map(|rank| {
                sum += weight(rank);
                sum
            })
            .collect();
        let mut state = 1_u64;
        (0..LOOK_UPS)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let drawn = (state >> 32) as f64 / f64::from(u32::MAX) * sum;
                let rank = sums.partition_point(|sum| *sum < drawn).min(size - 1);
                // Popular routes lie anywhere in the file: the step shares no factor with the size.
                rank * 7919 % size
            })
            .collect()
    }
}

/// Nanoseconds a look-up.
fn measure(shape: Shape, size: usize, order: Order) -> f64 {
    let (patterns, requests) = shape(size);
    let routes = patterns.into_iter();
    let table = Table::new(
        routes
            .map(|pattern| RouteSettings::new(pattern, 0))
            .collect(),
    );
    let picks = order.picks(size);
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| round(&table, &requests, &picks))
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Nanoseconds a look-up of one round over `picks`.
fn round(table: &Table, requests: &[(String, String)], picks: &[usize]) -> f64 {
    let fields = HeaderMap::new();
    let mut text = String::with_capacity(BATCH * 256);
    let mut ends = Vec::with_capacity(BATCH);
    let mut taken = Duration::ZERO;
    for batch in picks.chunks(BATCH) {
        text.clear();
        ends.clear();
        for &pick in batch {
            let (host, path) = &requests[pick];
            let from = text.len();
            text.push_str(host);
            let middle = text.len();
            text.push_str(path);
            ends.push((from, middle, text.len()));
        }
        let start = Instant::now();
        for &(from, middle, end) in &ends {
            let asked = Asked {
                host: &text[from..middle],
                path: &text[middle..end],
                method: &Method::GET,
                fields: &fields,
            };
            assert!(
                black_box(table.find(black_box(&asked))).is_some(),
                "every request has a route"
            );
        }
        taken += start.elapsed();
    }
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let look_ups = picks.len() as f64;
    taken.as_secs_f64() * 1e9 / look_ups
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
