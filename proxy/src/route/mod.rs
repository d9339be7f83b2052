//! Which route a request takes: host, path, then method and fields; the most specific wins. Decides only; rewriting and
//! forwarding are `http`'s.

mod access;
mod edit;
mod expression;
mod limit;
mod path;
mod prefixes;
mod rewrite;
mod shadow;
mod table;
mod template;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use access::{Access, Verdict};
pub use edit::{CERTIFICATE_FIELDS, FieldEdits};
pub use expression::{Expression, InvalidExpression};
pub use limit::{Admission, Buckets, LimitBy, LimitSettings, Standing};
pub use path::{EncodedSlashes, InvalidPath, RequestSettings, Underscores, normalise};
pub use rewrite::{Rewrite, UnknownGroup};
pub use shadow::{Shadow, shadowed};
pub use table::{Matched, Table};
pub use template::{Template, UnknownVariable, Values, Variable};

/// One `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// Which requests.
    pub pattern: Pattern,
    /// What is done with them.
    pub action: Action,
    /// Which clients they may come from; `None` = any.
    pub access: Option<Access>,
    /// How often; `None` = as often as it likes.
    pub limit: Option<LimitSettings>,
    /// `basic_auth`: only for users of a file.
    pub basic_auth: Option<BasicAuth>,
    /// `strip_prefix`: the origin gets the path without the route's prefix. Default false.
    pub strip_prefix: bool,
    /// `rewrite`: the origin gets another path.
    pub rewrite: Option<Rewrite>,
    /// Whether the origin gets the path as the client wrote it, instead of the normal form that was matched. Default false.
    pub raw_path: bool,
    /// Changes to the request's fields, after weir's own.
    pub request_edits: FieldEdits,
    /// Changes to the response's fields, after weir's own, whoever made the response.
    pub response_edits: FieldEdits,
    /// `timeouts`, each in place of the upstream's.
    pub timeouts: RouteTimeouts,
    /// `max_body`: largest request content in bytes, in place of the listener's `body_bytes`.
    pub content_bytes_max: Option<u64>,
    /// What weir's own errors of this route show, before those of the whole file.
    pub error_pages: ErrorPages,
    /// Whether responses may be stored.
    pub cache: bool,
    /// `compress`: whether the client gets content in a coding that it takes. Default false.
    pub compress: bool,
    /// Keep what names the origin (`Server`, …) and add `X-Weir-Origin`. Default false.
    pub reveal_origin: bool,
}

/// `timeouts` of a route; `None` = as the upstream has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// Until the response head, and between parts of the content.
    pub response: Option<Duration>,
    /// Between parts of server-sent events and of gRPC calls, if longer than `response`.
    pub stream: Option<Duration>,
}

/// `error_pages`: files by status; at most one a status.
pub type ErrorPages = Vec<(StatusCode, PathBuf)>;

/// What is done with a route's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `upstream`: they are forwarded; index into `Settings::upstreams`.
    Forward(usize),
    /// `redirect`
    Redirect(Redirect),
    /// `respond`
    Respond(FixedResponse),
}

/// `redirect`: the client is sent elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Where.
    pub to: Template,
    /// 301, 302, 303, 307 or 308. Default 308.
    pub status: StatusCode,
}

/// `respond`: the response is always the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedResponse {
    /// 200 to 599.
    pub status: StatusCode,
    /// Its content, at most 64 KiB.
    pub content: Bytes,
    /// `Content-Type`. Default: `text/plain; charset=utf-8`.
    pub content_type: HeaderValue,
}

/// `basic_auth`: who may use a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// Users and hashes of their passwords.
    pub file: PathBuf,
    /// What the client is told that the password is for.
    pub realm: String,
    /// What becomes of the client's credentials. Default: keep.
    pub credentials: Credentials,
}

/// What becomes of credentials that were verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// The origin does not see them.
    Keep,
    /// The origin gets them.
    Forward,
}

impl RouteSettings {
    /// A route to upstream number `upstream`, the rest as it is by default.
    pub fn new(pattern: Pattern, upstream: usize) -> Self {
        Self {
            pattern,
            action: Action::Forward(upstream),
            access: None,
            limit: None,
            basic_auth: None,
            strip_prefix: false,
            rewrite: None,
            raw_path: false,
            request_edits: FieldEdits::default(),
            response_edits: FieldEdits::default(),
            timeouts: RouteTimeouts::default(),
            content_bytes_max: None,
            error_pages: Vec::new(),
            cache: false,
            compress: false,
            reveal_origin: false,
        }
    }
}

/// Which requests are a route's: those that meet all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// `host`
    pub host: HostPattern,
    /// `path`
    pub path: PathPattern,
    /// `methods`, sorted, each once; empty = any.
    pub methods: Vec<Method>,
    /// `headers`: fields of which one line is exactly this value; sorted by name, each once. At most 16.
    pub fields: Vec<(HeaderName, HeaderValue)>,
}

impl Pattern {
    /// Any method, whatever the fields.
    pub fn new(host: HostPattern, path: PathPattern) -> Self {
        Self {
            host,
            path,
            methods: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Whether it looks at method or fields.
    fn has_conditions(&self) -> bool {
        !(self.methods.is_empty() && self.fields.is_empty())
    }

    /// Whether method and fields of a request are those that the route wants.
    fn takes(&self, method: &Method, fields: &HeaderMap) -> bool {
        let has = |(name, value): &(HeaderName, HeaderValue)| {
            fields.get_all(name).iter().any(|line| line == value)
        };
        (self.methods.is_empty() || self.methods.contains(method)) && self.fields.iter().all(has)
    }

    /// Routes of the same host and path are asked in ascending order of this, then in file order: more fields first, then
    /// those with methods.
    fn rank(&self) -> (std::cmp::Reverse<usize>, bool) {
        (
            std::cmp::Reverse(self.fields.len()),
            self.methods.is_empty(),
        )
    }
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
    /// Matches this expression, somewhere unless it is anchored.
    Regex(Expression),
}

/// What of a request decides its route.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Lower case, without port and trailing dot.
    pub host: &'a str,
    /// Normalised, without query: what the origin server will see.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The request's fields, as the client sent them.
    pub fields: &'a HeaderMap,
}
