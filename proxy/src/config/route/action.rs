//! What a route does with its requests: `upstream`, `redirect` or `respond`.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::edits::{template, value_of};
use super::pattern::field_value;
use crate::balance::UpstreamSettings;
use crate::config::problem::ProblemKind;
use crate::config::reader::{Node, Table};
use crate::config::suggest::nearest;
use crate::config::value::Refusal;
use crate::route::{Action, FixedResponse, Redirect, Template};

/// The one action of `route`.
pub(super) fn action(route: &mut Table<'_>, upstreams: &[UpstreamSettings]) -> Action {
    let upstream = route.take("upstream");
    let redirect = route.take("redirect");
    let respond = route.take("respond");
    let mut given = [&upstream, &redirect, &respond].into_iter().flatten();
    let (first, second) = (given.next(), given.next());
    if let (Some(first), Some(second)) = (first, second) {
        second.refuse(Refusal::conflict(
            format!("a route does one thing, and {} is another", first.key()),
            "remove one of them",
        ));
    }
    let action = if let Some(node) = &redirect {
        self::redirect(node).map(Action::Redirect)
    } else if let Some(node) = &respond {
        self::respond(node).map(Action::Respond)
    } else if let Some(node) = &upstream {
        find(node, upstreams).map(Action::Forward)
    } else {
        route.refuse_missing("upstream", "the name of an [[upstream]], in quotes");
        None
    };
    if upstream.is_none() {
        for key in FORWARDING {
            if let Some(node) = route.peek(key) {
                node.refuse(Refusal::conflict(
                    "this route forwards nothing",
                    "remove it, or name an upstream",
                ));
            }
        }
    }
    action.unwrap_or(Action::Forward(0))
}

/// Index of the upstream that `node` names.
fn find(node: &Node<'_>, upstreams: &[UpstreamSettings]) -> Option<usize> {
    let name = node.string()?;
    let found = upstreams.iter().position(|upstream| upstream.name == name);
    if found.is_none() {
        // An upstream whose own name was refused has none here.
        let names: Vec<&str> = upstreams
            .iter()
            .map(|upstream| upstream.name.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None if names.is_empty() => "add an [[upstream]] with this name".to_owned(),
            None => format!("upstreams: {}", names.join(", ")),
        };
        node.refuse(Refusal::conflict("no upstream has this name", hint));
    }
    found
}

fn redirect(node: &Node<'_>) -> Option<Redirect> {
    let mut table = node.table()?;
    let to = table
        .required("to", "\"https://$host$path$query\"")
        .and_then(|node| node.read(location));
    let status = table.take("status").and_then(|node| {
        let status = node.integer(300..=399)?;
        let known = [301, 302, 303, 307, 308].contains(&status);
        if !known {
            node.refuse(Refusal::invalid(
                "not the status of a redirect",
                "write 301, 302, 303, 307 or 308",
            ));
        }
        StatusCode::from_u16(status).ok()
    });
    table.finish(&[]);
    Some(Redirect {
        to: to?,
        status: status.unwrap_or(StatusCode::PERMANENT_REDIRECT),
    })
}

/// A template that makes a reference to http or https, whatever path and host the request has.
fn location(text: &str) -> Result<Template, Refusal> {
    let to = template(text)?;
    let example = value_of(&to);
    // A path begins with a slash, so this is where `/$path` would lead to a host of the client's choice.
    if example.starts_with("//") {
        return Err(Refusal::invalid(
            "begins with two slashes, after which comes a host",
            "$path begins with / itself",
        ));
    }
    let absolute = ["https://", "http://"]
        .iter()
        .any(|scheme| example.len() > scheme.len() && example.starts_with(scheme));
    if (absolute || example.starts_with('/')) && !example.contains([' ', '\\', '"', '<', '>']) {
        return Ok(to);
    }
    Err(Refusal::invalid(
        "not where a browser could go",
        "write such as \"https://$host$path$query\" or \"/elsewhere\"",
    ))
}

fn respond(node: &Node<'_>) -> Option<FixedResponse> {
    let mut table = node.table()?;
    let status = table
        .required("status", "200")
        .and_then(|node| node.integer(200..=599))
        .and_then(|status| StatusCode::from_u16(status).ok());
    let body = table.take("body");
    let content = body.as_ref().and_then(|node| content(node, status));
    let content_type = table
        .take("content_type")
        .and_then(|node| node.read(field_value));
    table.finish(&[]);
    Some(FixedResponse {
        status: status?,
        content: content.unwrap_or_default(),
        content_type: content_type.unwrap_or(TEXT),
    })
}

fn content(node: &Node<'_>, status: Option<StatusCode>) -> Option<Bytes> {
    let text = node.string()?;
    if text.len() > CONTENT_BYTES_MAX {
        node.refuse(Refusal {
            kind: ProblemKind::InvalidValue,
            message: "larger than 64KiB".to_owned(),
            hint: "let an upstream serve it".to_owned(),
        });
    }
    // RFC 9110 §15.3.5, §15.3.6, §15.4.5.
    if !text.is_empty() && status.is_some_and(|status| [204, 205, 304].contains(&status.as_u16())) {
        node.refuse(Refusal::conflict(
            "a response with this status has no content",
            "remove it, or change the status",
        ));
    }
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

/// What means nothing without `upstream`.
const FORWARDING: [&str; 8] = [
    "cache",
    "compress",
    "max_body",
    "raw_path",
    "request_headers",
    "reveal_origin",
    "timeouts",
    "upstream",
];
/// Largest content of a fixed response, in bytes: it is in memory, and sent in one piece.
const CONTENT_BYTES_MAX: usize = 64 << 10;
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_somewhere_that_the_client_does_not_choose() {
        for (text, valid) in [
            ("https://example.com$path$query", true),
            ("https://$host/x", true),
            ("$scheme://www.$host$path", true),
            ("/new$path", true),
            ("$path", true),
            ("/$path", false),
            ("//example.com/", false),
            ("https://", false),
            ("javascript:alert(1)", false),
            ("example.com", false),
            ("https://a b/", false),
            ("https://a\r\nb", false),
            ("$hosts", false),
            ("", false),
        ] {
            assert_eq!(location(text).is_ok(), valid, "{text}");
        }
    }
}
