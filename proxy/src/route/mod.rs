//! Which route a request takes: host, then the longest path.

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
    /// Exactly this host, lower case, without port.
    Exact(String),
    /// `*.example.com`: any host below it, one or more labels; the text is `example.com`.
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

/// All routes, compiled. Immutable; part of the snapshot that workers read.
#[derive(Debug)]
pub struct Table {}

/// A request's route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'a> {
    /// Index into the settings' routes.
    pub index: usize,
    /// The route.
    pub route: &'a RouteSettings,
}

impl Table {
    /// Compiles `routes`.
    pub fn new(routes: Vec<RouteSettings>) -> Self {
        let _ = routes;
        todo!()
    }

    /// The route for a request to `host` (lower case, without port) and `path`: the most specific host that has a
    /// matching path (exact, then the longest wildcard, then any), there an exact path, then the longest prefix,
    /// then file order.
    pub fn find(&self, host: &str, path: &str) -> Option<Matched<'_>> {
        let _ = (host, path);
        todo!()
    }
}
