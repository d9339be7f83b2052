//! Whole files in, settings or problems out.

#![allow(clippy::too_many_lines, reason = "tables of cases")]

mod balancing;
mod conflicts;
mod examples;
mod files;
mod later;
mod routes;
mod transport;
mod values;

use std::path::Path;

use super::{Invalid, Settings, parse};

/// Three valid tables on lines 1 to 7; tests append theirs from line 8 on.
const BASE: &str = r#"[[listen]]
address = "[::]:80"
[[upstream]]
name = "app"
servers = ["http://10.0.0.1:8080"]
[[route]]
upstream = "app"
"#;

fn valid(text: &str) -> Settings {
    parse(text, Path::new("weir.toml")).unwrap_or_else(|invalid| panic!("{}", invalid.report()))
}

fn invalid(text: &str) -> Invalid {
    match parse(text, Path::new("weir.toml")) {
        Ok(_) => panic!("accepted: {text}"),
        Err(invalid) => invalid,
    }
}

/// What [`BASE`] followed by `text` is told, without the file's name.
fn report(text: &str) -> String {
    invalid(&format!("{BASE}{text}"))
        .report()
        .replace("weir.toml:", "")
}
