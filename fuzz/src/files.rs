//! What files say: configuration, certificates, passwords, feeds.

use std::path::Path;

use weir::route::Table;
use weir::xdp::feed;
use weir::{config, http as weir_http, tls};

use crate::input;

/// A configuration file: each problem of it has a reason and a place, and a line of its own in the report. What has none
/// makes a table of routes.
pub(crate) fn config(data: &[u8]) {
    let text = input::text(data);
    match config::parse(&text, Path::new("weir.toml")) {
        Ok(settings) => drop(Table::new(settings.routes)),
        Err(invalid) => {
            assert!(!invalid.problems.is_empty());
            let report = invalid.report();
            assert_eq!(
                report.split('\n').count(),
                invalid.problems.len(),
                "{report}"
            );
            assert!(
                !report.replace('\n', "").contains(char::is_control),
                "{report:?}"
            );
            let lines = text.split('\n').count();
            for problem in &invalid.problems {
                assert!(!problem.message.is_empty());
                assert!(problem.line <= lines, "{problem:?}");
                let is_whole = problem.line == 0 && problem.key.is_empty();
                assert!(
                    !is_whole || problem.kind == config::ProblemKind::Missing,
                    "{problem:?}"
                );
            }
        }
    }
}

/// A value of a configuration.
pub(crate) fn config_value(data: &[u8]) {
    config::fuzz::value(&input::text(data));
}

/// A PEM file, and as a certificate by itself.
pub(crate) fn certificate(data: &[u8]) {
    tls::fuzz::certificate(data);
    tls::fuzz::pem(data);
}

/// A file of passwords.
pub(crate) fn basic_auth(data: &[u8]) {
    weir_http::fuzz::passwords(&input::text(data));
}

/// A feed: what it blocks are networks without bits after their prefix, in order; what is said of its lines is fit for a
/// terminal.
pub(crate) fn feed(data: &[u8]) {
    let contents = feed::parse(data).expect("memory can be read");
    let networks = &contents.networks;
    assert!(networks.is_sorted_by(|a, b| a < b));
    for network in networks {
        assert_eq!(*network, network.trunc());
        assert!(network.prefix_len() > 0);
    }
    for remarks in [&contents.refused, &contents.masked] {
        assert!(remarks.shown.len() <= remarks.count && remarks.shown.len() <= feed::REMARKS_SHOWN);
        for remark in &remarks.shown {
            assert!(!remark.to_string().contains(char::is_control), "{remark}");
        }
    }
    // Lines are lines whatever stands before them.
    let again = feed::parse([b"# comment\n", data].concat().as_slice()).expect("memory");
    assert_eq!(again.networks, *networks);
}
