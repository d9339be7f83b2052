//! Which route a request takes: host, then the longest path. Decides only; rewriting and forwarding are `http`'s.

mod table;

pub use table::{Matched, Table};

/// One `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
    /// Where requests go: index into `Settings::upstreams`.
    pub upstream: usize,
    /// Whether responses may be stored.
    pub cache: bool,
    /// Keep what names the origin (`Server`, …) and add `X-Weir-Origin`. Default false.
    pub reveal_origin: bool,
}

/// `host` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Any host.
    Any,
    /// Exactly this host, lower case, without port and trailing dot.
    Exact(String),
    /// `*.example.com`: any host below it, one or more labels; the text is `example.com`, lower case.
    Below(String),
}

/// `path` of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Starts with this text. `/` matches all. `/a` matches `/a`, `/a/b` and `/ab`, as written.
    Prefix(String),
    /// Is this text.
    Exact(String),
}
