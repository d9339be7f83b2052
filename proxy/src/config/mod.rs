//! `weir.toml` → the settings of each module. Pure: reads text, touches nothing of the host; whether an interface or a
//! certificate file exists is found out by those who use them. Every problem of a file is found in one pass.
//!
//! `syntax` makes a tree of the text, `reader` is a typed view of it, and each other file resolves the sections it is
//! named after.

mod cache;
mod detect;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod listen;
mod origin;
mod problem;
mod process;
mod reader;
mod reload;
mod requests;
mod route;
mod shield;
mod source;
mod suggest;
mod syntax;
mod transport;
mod unique;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use problem::{Invalid, Problem, ProblemKind};
use reader::Table;
use source::Source;
use value::Refusal;

/// Everything a configuration file says, resolved and checked: what is ready to use, not what was typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[process]`
    pub process: ProcessSettings,
    /// `[shield]`
    pub shield: crate::xdp::Settings,
    /// `[[listen]]`, with `[limits]` merged in.
    pub listen: Vec<crate::net::ListenSettings>,
    /// `[limits] drain`: longest graceful stop. Default 30 s.
    pub drain: Duration,
    /// `[limits] upgrades`: upgraded connections (WebSocket and the like) of the whole process. Default 1000; over it: 503.
    pub upgrades: usize,
    /// `[[certificate]]`
    pub certificates: Vec<crate::tls::CertificateSettings>,
    /// `[[upstream]]`
    pub upstreams: Vec<crate::balance::UpstreamSettings>,
    /// `tls` of each upstream that has `https://` servers, in the order of `upstreams`.
    pub origin_tls: Vec<Option<crate::tls::OriginTlsSettings>>,
    /// `[requests]`
    pub requests: crate::route::RequestSettings,
    /// `[error_pages]`: of all routes.
    pub error_pages: crate::route::ErrorPages,
    /// `[[route]]`, in file order.
    pub routes: Vec<crate::route::RouteSettings>,
    /// What is valid, but surely not meant; in file order.
    pub warnings: Vec<Problem>,
    /// `[cache]`
    pub cache: crate::cache::Settings,
    /// `[[detect]]`
    pub detect: Vec<crate::detect::RuleSettings>,
    /// `[admin]`
    pub admin: crate::admin::Settings,
    /// `[log]`
    pub log: crate::telemetry::Settings,
}

/// `[process]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Worker threads. Default ("auto"): one per core. 1 to 1024.
    pub workers: usize,
    /// Where weir keeps what must survive a restart. Default `/var/lib/weir`.
    pub state_dir: PathBuf,
    /// Where `admin.sock` is. Default `/run/weir`.
    pub run_dir: PathBuf,
}

/// Reads and resolves `path`.
pub fn load(path: &Path) -> Result<Settings, Invalid> {
    match read(path) {
        Ok(text) => parse(&text, path),
        Err(problem) => Err(Invalid {
            file: path.to_owned(),
            problems: vec![problem],
        }),
    }
}

/// Resolves the text of a configuration file; `path` names it in errors.
pub fn parse(text: &str, path: &Path) -> Result<Settings, Invalid> {
    let source = Source::new(text);
    let settings = match syntax::valid(text) {
        Some(tree) => settings(Table::root(&source, tree.get_ref())),
        None => settings_of_the_rest(text, &source),
    };
    let problems = source.into_problems();
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(Invalid {
            file: path.to_owned(),
            problems,
        })
    }
}

/// What `text`, which is not all TOML, says elsewhere, so that one pass finds every problem.
fn settings_of_the_rest(text: &str, source: &Source<'_>) -> Settings {
    let (repaired, errors) = syntax::repaired(text);
    for error in errors {
        let refusal = Refusal {
            kind: ProblemKind::Syntax,
            message: format!("not TOML: {}", error.message),
            hint: error.opened.map_or_else(String::new, |line| {
                format!("is the bracket or quote opened on line {line} closed?")
            }),
        };
        source.report(source.line(error.offset), "", String::new(), refusal);
    }
    let tree = syntax::tree(&repaired);
    settings(Table::root(source, tree.get_ref()))
}

/// The text of `path`, at most [`FILE_BYTES_MAX`] of it.
fn read(path: &Path) -> Result<String, Problem> {
    let problem = |message: String, hint: &str| Problem {
        line: 0,
        key: String::new(),
        value: String::new(),
        message,
        hint: hint.to_owned(),
        kind: ProblemKind::Unreadable,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::NotFound => "create it, or name another file with -c",
                ErrorKind::PermissionDenied => "run as a user who may read it",
                _ => "",
            };
            problem(format!("cannot be read: {error}"), hint)
        })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let most = value::size_text(FILE_BYTES_MAX);
        return Err(problem(
            format!("larger than {most}"),
            "is it a configuration file?",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        Problem {
            line: Source::new(&text).line(valid),
            ..problem("not UTF-8".to_owned(), "save the file as UTF-8")
        }
    })
}

/// What the whole file says. Sections are read in an order that has each before those that refer to it.
fn settings(mut root: Table<'_>) -> Settings {
    let process = process::process(&mut root);
    let shield = shield::shield(&mut root);
    let listen::Limits {
        client: limits,
        drain,
        upgrades,
    } = listen::limits(&mut root);
    let certificates = listen::certificates(&mut root);
    let (listen, addresses) = listen::listeners(&mut root, &limits, certificates.len());
    let (upstreams, origin_tls) = upstream::upstreams(&mut root);
    let requests = requests::requests(&mut root);
    let (routes, warnings) = route::routes(&mut root, &upstreams, requests.encoded_slashes);
    let error_pages = route::error_pages(&mut root);
    let cache = cache::cache(&mut root);
    let detect = detect::rules(&mut root, shield.block_for, requests.encoded_slashes);
    let admin = process::admin(&mut root, &addresses);
    let log = process::log(&mut root);
    for (key, any) in [
        ("listen", !listen.is_empty()),
        ("route", !routes.is_empty()),
    ] {
        if !any {
            root.refuse(Refusal {
                kind: ProblemKind::Missing,
                message: format!("there is no [[{key}]]"),
                hint: "a proxy needs at least one [[listen]], one [[upstream]] and one [[route]]"
                    .to_owned(),
            });
        }
    }
    root.finish(&["cluster"]);
    Settings {
        process,
        shield,
        listen,
        drain,
        upgrades,
        certificates,
        upstreams,
        origin_tls,
        requests,
        error_pages,
        routes,
        warnings,
        cache,
        detect,
        admin,
        log,
    }
}

/// Largest configuration file, in bytes: room for a million blocked addresses.
const FILE_BYTES_MAX: u64 = 64 << 20;
