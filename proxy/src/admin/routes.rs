//! From a request to its answer: path, method, query and content checked, then one call of [`Control`]. No I/O.

use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Control, Failure, FailureKind, api, query};

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    Full,
    /// GET and HEAD.
    ReadOnly,
    /// Nothing: the peer's credentials do not suffice.
    Refused,
}

/// A resource and what is to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Status,
    Drops,
    Sources,
    Blocks,
    Block,
    Unblock,
    Allows,
    Allow,
    Disallow,
    Upstreams,
    Drain,
    Undrain,
    Certs,
    Reload,
    Health,
    Ready,
}

/// Status, `Allow` field and JSON content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) allow: Option<String>,
    pub(super) content: Vec<u8>,
}

/// Every resource with its methods. HEAD goes wherever GET does (RFC 9110 §9.3.2).
const ROUTES: [(&str, &[(Method, Endpoint)]); 11] = [
    ("/v1/status", &[(Method::GET, Endpoint::Status)]),
    ("/v1/drops", &[(Method::GET, Endpoint::Drops)]),
    ("/v1/sources", &[(Method::GET, Endpoint::Sources)]),
    (
        "/v1/blocks",
        &[
            (Method::GET, Endpoint::Blocks),
            (Method::POST, Endpoint::Block),
            (Method::DELETE, Endpoint::Unblock),
        ],
    ),
    (
        "/v1/allows",
        &[
            (Method::GET, Endpoint::Allows),
            (Method::POST, Endpoint::Allow),
            (Method::DELETE, Endpoint::Disallow),
        ],
    ),
    ("/v1/upstreams", &[(Method::GET, Endpoint::Upstreams)]),
    (
        "/v1/drain",
        &[
            (Method::POST, Endpoint::Drain),
            (Method::DELETE, Endpoint::Undrain),
        ],
    ),
    ("/v1/certs", &[(Method::GET, Endpoint::Certs)]),
    ("/v1/reload", &[(Method::POST, Endpoint::Reload)]),
    ("/healthz", &[(Method::GET, Endpoint::Health)]),
    ("/readyz", &[(Method::GET, Endpoint::Ready)]),
];

/// Which endpoint a request means, or the refusal.
pub(super) fn resolve(access: Access, method: &Method, path: &str) -> Result<Endpoint, Answer> {
    if access == Access::Refused {
        return Err(Answer::error(
            StatusCode::FORBIDDEN,
            "not permitted to talk to weir",
            "use root, weir's own user or a member of the group `weir`",
        ));
    }
    let Some((_, methods)) = ROUTES.iter().find(|(route, _)| *route == path) else {
        return Err(Answer::error(
            StatusCode::NOT_FOUND,
            format!("there is no {path}"),
            "resources are below /v1/: status, drops, sources, blocks, allows, upstreams, drain, certs, reload",
        ));
    };
    let offered = |candidate: &Method| access == Access::Full || *candidate == Method::GET;
    let wanted = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    methods
        .iter()
        .find(|(candidate, _)| candidate == wanted && offered(candidate))
        .map(|(_, endpoint)| *endpoint)
        .ok_or_else(|| {
            let allowed = methods
                .iter()
                .map(|(method, _)| method)
                .filter(|m| offered(m));
            method_not_allowed(access, method, path, allowed)
        })
}

impl Endpoint {
    /// Whether the request's content matters.
    pub(super) fn takes_content(self) -> bool {
        matches!(self, Self::Block | Self::Allow | Self::Drain)
    }

    /// Does it.
    pub(super) fn run(self, control: &impl Control, query: &str, content: &[u8]) -> Answer {
        self.try_run(control, query, content)
            .unwrap_or_else(Answer::from)
    }

    fn try_run(
        self,
        control: &impl Control,
        query: &str,
        content: &[u8],
    ) -> Result<Answer, Failure> {
        Ok(match self {
            Self::Status => Answer::ok(&control.status()),
            Self::Drops => Answer::ok(&api::Drops {
                samples: control.recent_samples(),
                ..control.drops()?
            }),
            Self::Sources => Answer::ok(&control.sources(&query::sources(query)?)?),
            Self::Blocks => Answer::ok(&control.blocks()?),
            Self::Allows => Answer::ok(&control.allows()?),
            Self::Upstreams => Answer::ok(&control.upstreams()),
            Self::Certs => Answer::ok(&control.certs()),
            Self::Block => {
                let request: api::BlockRequest = parse(content)?;
                request.check()?;
                Answer::ok(&control.block(&request)?)
            }
            Self::Allow => {
                let request: api::NetworksRequest = parse(content)?;
                request.check()?;
                Answer::ok(&control.allow(&request)?)
            }
            Self::Unblock => Answer::ok(&control.unblock(&query::networks(query)?)?),
            Self::Disallow => Answer::ok(&control.disallow(&query::networks(query)?)?),
            Self::Drain => Answer::ok(&control.drain(&parse_drain(content)?)?),
            Self::Undrain => Answer::ok(&control.undrain(&query::server(query)?)?),
            Self::Reload => match control.reload() {
                Ok(reloaded) => Answer::ok(&reloaded),
                Err(failed) => reload_failed(&failed),
            },
            Self::Health => Answer::ok(&serde_json::json!({ "healthy": true })),
            Self::Ready if control.ready() => Answer::ok(&serde_json::json!({ "ready": true })),
            Self::Ready => Answer::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "weir is not ready",
                "it is starting, draining or not guarding an interface; see /v1/status",
            ),
        })
    }
}

impl Answer {
    fn ok(content: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, content)
    }

    /// An error as JSON.
    pub(super) fn error(
        status: StatusCode,
        error: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let content = api::Error {
            error: error.into(),
            hint: hint.into(),
        };
        Self::json(status, &content)
    }

    fn json(status: StatusCode, content: &impl Serialize) -> Self {
        let mut content =
            serde_json::to_vec(content).expect("invariant: the API's types have string keys only");
        content.push(b'\n');
        Self {
            status,
            allow: None,
            content,
        }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let status = match failure.kind {
            FailureKind::Invalid => StatusCode::BAD_REQUEST,
            FailureKind::NotFound => StatusCode::NOT_FOUND,
            FailureKind::NotPermitted => StatusCode::FORBIDDEN,
            FailureKind::NoShield => StatusCode::SERVICE_UNAVAILABLE,
            FailureKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::error(status, failure.error, failure.hint)
    }
}

fn method_not_allowed<'a>(
    access: Access,
    method: &Method,
    path: &str,
    allowed: impl Iterator<Item = &'a Method>,
) -> Answer {
    let mut names: Vec<&str> = allowed.map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    // An empty `Allow` is right for a resource that this listener offers no method for (RFC 9110 §10.2.1).
    let allow = names.join(", ");
    let hint = match access {
        Access::ReadOnly => "this listener is read-only; use the admin socket".to_owned(),
        Access::Full | Access::Refused => format!("use one of: {allow}"),
    };
    Answer {
        allow: Some(allow),
        ..Answer::error(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{path} does not take {method}"),
            hint,
        )
    }
}

fn reload_failed(failed: &api::ReloadFailed) -> Answer {
    let status = if failed.problems.is_empty() {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    Answer::json(status, failed)
}

fn parse<T: DeserializeOwned>(content: &[u8]) -> Result<T, Failure> {
    parse_like(content, r#"{"networks": ["192.0.2.7"]}"#)
}

fn parse_drain(content: &[u8]) -> Result<api::DrainRequest, Failure> {
    parse_like(
        content,
        r#"{"upstream": "app", "server": "10.0.0.11:8080"}"#,
    )
}

fn parse_like<T: DeserializeOwned>(content: &[u8], example: &str) -> Result<T, Failure> {
    serde_json::from_slice(content).map_err(|error| {
        Failure::new(
            FailureKind::Invalid,
            format!("the content is not what was expected: {error}"),
            format!("send JSON such as {example}"),
        )
    })
}
