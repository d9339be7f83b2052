//! What routes do to a request before an origin is asked, and to a response before the client has it.

mod act;
mod pages;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub(super) use act::{redirect, respond};
pub(super) use pages::Page;
use pages::Pages;

use crate::route::{ErrorPages, RouteSettings};

/// What the routes of a site need beside their settings. Part of the site.
#[derive(Debug, Default)]
pub struct Filters {
    pages: Pages,
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
    /// Reads the files that `routes` and `error_pages` name.
    pub fn load(routes: &[RouteSettings], error_pages: &ErrorPages) -> Result<Self, FileError> {
        Ok(Self {
            pages: Pages::load(routes, error_pages)?,
        })
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
