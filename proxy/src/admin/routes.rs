//! From a request to its answer: path, method, query and content checked, then one call of [`Control`]. No I/O.

use http::{Method, StatusCode};
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Control, Failure, FailureKind, api, check, network};

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
const ROUTES: [(&str, &[(Method, Endpoint)]); 9] = [
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
            "resources are below /v1/: status, drops, sources, blocks, allows, upstreams, reload",
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
        matches!(self, Self::Block | Self::Allow)
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
            Self::Sources => Answer::ok(&control.sources(&sources_query(query)?)?),
            Self::Blocks => Answer::ok(&control.blocks()?),
            Self::Allows => Answer::ok(&control.allows()?),
            Self::Upstreams => Answer::ok(&control.upstreams()),
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
            Self::Unblock => Answer::ok(&control.unblock(&networks_query(query)?)?),
            Self::Disallow => Answer::ok(&control.disallow(&networks_query(query)?)?),
            Self::Reload => match control.reload() {
                Ok(reloaded) => Answer::ok(&reloaded),
                Err(failed) => reload_failed(&failed),
            },
            Self::Health => Answer::ok(&serde_json::json!({ "healthy": true })),
            Self::Ready if control.ready() => Answer::ok(&serde_json::json!({ "ready": true })),
            Self::Ready => Answer::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "weir is not ready",
                "it is starting or draining; see /v1/status",
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
    serde_json::from_slice(content).map_err(|error| {
        invalid(
            format!("the content is not what was expected: {error}"),
            r#"send JSON such as {"networks": ["192.0.2.7"]}"#,
        )
    })
}

fn sources_query(query: &str) -> Result<api::SourcesQuery, Failure> {
    let mut wanted = api::SourcesQuery {
        network: None,
        top: check::TOP_DEFAULT,
        sort: api::SourceOrder::default(),
    };
    for pair in pairs(query) {
        let (name, value) = pair?;
        match name {
            "network" => wanted.network = Some(one_network(&value)?),
            "top" => {
                wanted.top = value
                    .parse()
                    .ok()
                    .filter(|top| (1..=check::TOP_MAX).contains(top))
                    .ok_or_else(|| {
                        invalid(format!("`{value}` is no value for top"), "1 to 10000")
                    })?;
            }
            "sort" => {
                wanted.sort = serde_json::from_value(serde_json::Value::String(value.clone()))
                    .map_err(|_unknown_word| {
                        invalid(
                            format!("`{value}` is no value for sort"),
                            "packets, bytes, syns or dropped",
                        )
                    })?;
            }
            other => return Err(unknown_parameter(other, "network, top or sort")),
        }
    }
    Ok(wanted)
}

fn networks_query(query: &str) -> Result<api::NetworksRequest, Failure> {
    let mut networks = Vec::new();
    for pair in pairs(query) {
        match pair? {
            ("network", value) => networks.push(one_network(&value)?),
            (other, _) => return Err(unknown_parameter(other, "network")),
        }
    }
    let request = api::NetworksRequest { networks };
    request.check()?;
    Ok(request)
}

fn one_network(text: &str) -> Result<IpNet, Failure> {
    network::parse(text)
        .map(|parsed| parsed.network)
        .map_err(|refused| invalid(refused.message, refused.hint))
}

/// `name=value` pairs with percent-encoded values (RFC 3986 §2.1). Names are never encoded here.
fn pairs(query: &str) -> impl Iterator<Item = Result<(&str, String), Failure>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode(value).ok_or_else(|| {
                invalid(
                    format!("`{value}` is not percent-encoded text"),
                    "write %2F for a slash, or the slash itself",
                )
            })?;
            Ok((name, value))
        })
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (*rest.first()?, *rest.get(1)?);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(decoded).ok()
}

fn unknown_parameter(name: &str, known: &str) -> Failure {
    invalid(
        format!("there is no parameter `{name}` here"),
        format!("known: {known}"),
    )
}

fn invalid(error: String, hint: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Invalid, error, hint)
}
