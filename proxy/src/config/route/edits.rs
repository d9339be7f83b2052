//! `request_headers`, `response_headers`: what a route changes in the fields of messages.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderName;

use super::pattern::{field_name, field_value};
use crate::config::reader::{Node, Table};
use crate::config::value::Refusal;
use crate::route::{CERTIFICATE_FIELDS, FieldEdits, Template, Values, Variable};

/// Whose fields are edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
}

/// The table `key` of `route`.
pub(super) fn edits(route: &mut Table<'_>, key: &'static str, message: Message) -> FieldEdits {
    let mut table = route.section(key);
    let mut pairs = |key| {
        let node = table.take(key);
        node.map_or_else(Vec::new, |node| lines(&node, message))
    };
    let (set, add) = (pairs("set"), pairs("add"));
    let remove = table.list("remove");
    let remove = remove
        .iter()
        .filter_map(|node| node.read(|text| editable(text, message)))
        .collect();
    table.finish(&[]);
    FieldEdits { remove, set, add }
}

fn lines(node: &Node<'_>, message: Message) -> Vec<(HeaderName, Template)> {
    let entries = node.entries().unwrap_or_default();
    if entries.len() > LINES_MAX {
        node.refuse(Refusal::invalid(
            "too many fields",
            format!("name at most {LINES_MAX}"),
        ));
    }
    let entries = entries.iter();
    entries
        .filter_map(|(name, value)| {
            let name = value.accept(sayable(name, message));
            let template = value.read(line);
            Some((name?, template?))
        })
        .collect()
}

fn line(text: &str) -> Result<Template, Refusal> {
    field_value(text)?;
    template(text)
}

/// A text with variables.
pub(super) fn template(text: &str) -> Result<Template, Refusal> {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Refusal::invalid(
            "holds characters that no field has",
            "write ASCII characters on one line",
        ));
    }
    Template::new(text).map_err(|error| {
        let known: Vec<String> = Variable::ALL
            .iter()
            .map(|variable| format!("${}", variable.as_str()))
            .collect();
        Refusal::invalid(
            error.to_string(),
            format!("there are {}; write $$ for a dollar sign", known.join(", ")),
        )
    })
}

/// What a template makes of an ordinary request.
pub(super) fn value_of(template: &Template) -> String {
    template.expand(&Values {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: "https",
        host: "example.com",
        path: "/a",
        query: Some("b"),
    })
}

/// A field that is end to end and not weir's own business.
fn editable(text: &str, message: Message) -> Result<HeaderName, Refusal> {
    let name = field_name(text)?;
    if CONNECTION.contains(&name.as_str()) {
        return Err(Refusal::invalid(
            "this field is of one connection or delimits messages, so that changing it would break them",
            "remove it",
        ));
    }
    if message == Message::Request && name == http::header::HOST {
        return Err(Refusal::invalid(
            "the origin gets the host that the client asked for",
            "remove it",
        ));
    }
    Ok(name)
}

/// A field that can be edited and is not true by weir's word alone.
fn sayable(text: &str, message: Message) -> Result<HeaderName, Refusal> {
    let name = editable(text, message)?;
    if message == Message::Request && CERTIFICATE_FIELDS.contains(&name) {
        return Err(Refusal::invalid(
            "origins believe what this field says of a client's certificate, so only a handshake fills it",
            "remove it; `client_auth` of a listener asks for certificates",
        ));
    }
    Ok(name)
}

/// Fields of one connection and framing (RFC 9110 §7.6.1, RFC 9112 §6), and what loops are found by.
const CONNECTION: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// Most lines of one table.
const LINES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_delimit_messages_cannot_be_edited() {
        for (name, request, response) in [
            ("X-A", true, true),
            ("server", true, true),
            ("host", false, true),
            ("Content-Length", false, false),
            ("transfer-encoding", false, false),
            ("Connection", false, false),
            ("te", false, false),
            ("a b", false, false),
        ] {
            assert_eq!(editable(name, Message::Request).is_ok(), request, "{name}");
            assert_eq!(
                editable(name, Message::Response).is_ok(),
                response,
                "{name}"
            );
        }
    }

    #[test]
    fn what_a_handshake_says_can_be_left_out_but_not_made_up() {
        let name = "X-Client-Cert-Subject";
        assert!(editable(name, Message::Request).is_ok());
        assert!(sayable(name, Message::Request).is_err());
        assert!(sayable("ssl-client-verify", Message::Request).is_err());
        assert!(sayable("x-a", Message::Request).is_ok());
    }

    #[test]
    fn unknown_variables_are_told_with_those_there_are() {
        let refusal = line("$remote_addr").expect_err("nginx's name");
        assert_eq!(refusal.message, "$remote_addr is no variable");
        assert_eq!(
            refusal.hint,
            "there are $client_ip, $scheme, $host, $path, $query; write $$ for a dollar sign"
        );
    }
}
