//! What routes do to a request before an origin is asked, and to a response before the client has it.

mod act;
mod basic;
mod compress;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzz;
mod limit;
mod pages;
mod passwords;
mod verifier;

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use foldhash::{HashMap, HashMapExt};
use http::HeaderMap;

pub(super) use act::{redirect, respond};
pub(super) use basic::{authenticate, challenge};
pub(super) use compress::{Coding, prepare as prepare_coding};
pub(super) use limit::announce;
pub(super) use pages::Page;
use pages::Pages;
use passwords::Passwords;
use verifier::Verifier;

use crate::clock;
use crate::route::{Buckets, ErrorPages, RouteSettings, Standing};

/// What the routes of a site need beside their settings. Part of the site.
#[derive(Debug, Default)]
pub struct Filters {
    pages: Pages,
    /// `None` when no route has a limit.
    limits: Option<Limits>,
    /// `None` when no route asks for a password.
    guard: Option<Guard>,
}

/// Who may use routes that ask for a password.
#[derive(Debug)]
struct Guard {
    /// The same from one site to the next.
    verifier: Arc<Verifier>,
    /// By index of the route.
    passwords: Vec<Option<Arc<Passwords>>>,
}

/// The limits of routes.
#[derive(Debug)]
struct Limits {
    /// The same from one site to the next: a reload makes no bucket full.
    buckets: Arc<Buckets>,
    /// By index of the route.
    keys: Vec<u64>,
}

/// A file that a route needs cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// What is wrong with it, without a full stop.
    pub message: String,
    /// What to do about it; empty if there is nothing to add.
    pub hint: String,
}

impl Filters {
    /// Reads the files that `routes` and `error_pages` name; takes over what `previous`, if there is one, has counted.
    pub fn load(
        routes: &[RouteSettings],
        error_pages: &ErrorPages,
        previous: Option<&Self>,
    ) -> Result<Self, FileError> {
        Ok(Self {
            pages: Pages::load(routes, error_pages)?,
            limits: Limits::new(routes, previous),
            guard: Guard::load(routes, previous)?,
        })
    }

    /// Takes a request out of the bucket of the route's limit, if it has one.
    pub(super) fn take(
        &self,
        index: usize,
        route: &RouteSettings,
        client: IpAddr,
        fields: &HeaderMap,
        now: Instant,
    ) -> Option<Standing> {
        let limit = route.limit.as_ref()?;
        let limits = self.limits.as_ref()?;
        let key = *limits.keys.get(index)?;
        Some(limits.buckets.take(limit, key, client, fields, now))
    }

    /// The page for an error of weir's own on `route`, if it got that far.
    pub(super) fn page(
        &self,
        route: Option<&RouteSettings>,
        status: http::StatusCode,
    ) -> Option<&Page> {
        self.pages.find(route, status)
    }
}

impl Limits {
    fn new(routes: &[RouteSettings], previous: Option<&Filters>) -> Option<Self> {
        if routes.iter().all(|route| route.limit.is_none()) {
            return None;
        }
        let known = previous.and_then(|previous| previous.limits.as_ref());
        let buckets = known.map_or_else(
            || Arc::new(Buckets::new(clock::now())),
            |known| Arc::clone(&known.buckets),
        );
        let key = |route: &RouteSettings| buckets.limit_key(&(&route.pattern, &route.limit));
        Some(Self {
            keys: routes.iter().map(key).collect(),
            buckets,
        })
    }
}

impl Guard {
    /// Reads each file once.
    fn load(
        routes: &[RouteSettings],
        previous: Option<&Filters>,
    ) -> Result<Option<Self>, FileError> {
        let mut by_file: HashMap<&Path, Arc<Passwords>> = HashMap::new();
        let mut passwords = Vec::with_capacity(routes.len());
        for route in routes {
            passwords.push(match &route.basic_auth {
                None => None,
                Some(auth) => Some(if let Some(known) = by_file.get(auth.file.as_path()) {
                    Arc::clone(known)
                } else {
                    let loaded = Arc::new(Passwords::load(&auth.file)?);
                    by_file.insert(&auth.file, Arc::clone(&loaded));
                    loaded
                }),
            });
        }
        let Some(file) = by_file.keys().next() else {
            return Ok(None);
        };
        let known = previous.and_then(|previous| previous.guard.as_ref());
        let verifier = match known {
            Some(known) => Arc::clone(&known.verifier),
            None => Arc::new(Verifier::start().map_err(|cause| FileError {
                path: file.to_path_buf(),
                message: format!("no thread to verify its passwords: {cause}"),
                hint: String::new(),
            })?),
        };
        Ok(Some(Self {
            verifier,
            passwords,
        }))
    }
}

/// The whole of `path`, at most `bytes_max` bytes.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let error = |message: String, hint: &str| FileError {
        path: path.to_owned(),
        message,
        hint: hint.to_owned(),
    };
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut content))
        .map_err(|cause| {
            let hint = match cause.kind() {
                io::ErrorKind::NotFound => "create it, or name another file",
                io::ErrorKind::PermissionDenied => "let the user that weir runs as read it",
                _ => "",
            };
            error(format!("cannot be read: {cause}"), hint)
        })?;
    if content.len() as u64 > bytes_max {
        return Err(error(
            format!("larger than {} KiB", bytes_max >> 10),
            "name a smaller file",
        ));
    }
    Ok(content)
}
