//! Pages for weir's own errors, in place of a line of text.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};
use http::{HeaderValue, StatusCode};

use super::{FileError, read};
use crate::route::{ErrorPages, RouteSettings};

/// All pages, read.
#[derive(Debug, Default)]
pub(super) struct Pages {
    by_file: HashMap<PathBuf, Page>,
    everywhere: ErrorPages,
}

/// One page.
#[derive(Debug, Clone)]
pub(in crate::http) struct Page {
    pub(in crate::http) content: Bytes,
    pub(in crate::http) content_type: HeaderValue,
}

impl Pages {
    /// Reads each file once.
    pub(super) fn load(
        routes: &[RouteSettings],
        everywhere: &ErrorPages,
    ) -> Result<Self, FileError> {
        let mut by_file = HashMap::new();
        let of_routes = routes.iter().flat_map(|route| &route.error_pages);
        for (_, file) in of_routes.chain(everywhere) {
            if by_file.contains_key(file) {
                continue;
            }
            if by_file.len() == FILES_MAX {
                return Err(FileError {
                    path: file.clone(),
                    message: format!("more than {FILES_MAX} error pages"),
                    hint: "let routes share them".to_owned(),
                });
            }
            let page = Page {
                content: read(file, PAGE_BYTES_MAX)?.into(),
                content_type: content_type(file),
            };
            by_file.insert(file.clone(), page);
        }
        Ok(Self {
            by_file,
            everywhere: everywhere.clone(),
        })
    }

    /// The route's own page, else the one of all routes.
    pub(super) fn find(&self, route: Option<&RouteSettings>, status: StatusCode) -> Option<&Page> {
        let of_route = route.map_or(&[][..], |route| &route.error_pages);
        let mut pages = of_route.iter().chain(&self.everywhere);
        let (_, file) = pages.find(|(of, _)| *of == status)?;
        self.by_file.get(file)
    }
}

fn content_type(file: &Path) -> HeaderValue {
    let extension = file.extension().and_then(|extension| extension.to_str());
    HeaderValue::from_static(match extension {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    })
}

/// Files at most, with [`PAGE_BYTES_MAX`] 16 MiB in memory.
const FILES_MAX: usize = 64;
const PAGE_BYTES_MAX: u64 = 256 << 10;
