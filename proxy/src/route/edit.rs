//! Changes to the fields of a message that a route asks for.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Template, Values};

/// `request_headers`, `response_headers`: applied in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldEdits {
    /// All lines of these go.
    pub remove: Vec<HeaderName>,
    /// One line each, in place of those there are.
    pub set: Vec<(HeaderName, Template)>,
    /// A line more.
    pub add: Vec<(HeaderName, Template)>,
}

impl FieldEdits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Applies them.
    pub fn apply(&self, fields: &mut HeaderMap, values: &Values<'_>) {
        for name in &self.remove {
            fields.remove(name);
        }
        for (name, template) in &self.set {
            // What cannot be said is not replaced by what should not be.
            fields.remove(name);
            if let Some(value) = value(template, values) {
                fields.insert(name, value);
            }
        }
        for (name, template) in &self.add {
            if let Some(value) = value(template, values) {
                fields.append(name, value);
            }
        }
    }
}

/// `None` never happens with values that were checked: paths, queries and hosts are visible ASCII.
fn value(template: &Template, values: &Values<'_>) -> Option<HeaderValue> {
    HeaderValue::try_from(template.expand(values)).ok()
}

/// By these origins are told of a client's certificate: ours, RFC 9440's, and those of other proxies. Only what a handshake
/// has verified may stand in them, so no client, no route's edits and no route's conditions have a say.
pub static CERTIFICATE_FIELDS: [HeaderName; 14] = [
    HeaderName::from_static("x-client-cert-subject"),
    HeaderName::from_static("x-client-cert-san"),
    HeaderName::from_static("x-client-cert-fingerprint"),
    HeaderName::from_static("client-cert"),
    HeaderName::from_static("client-cert-chain"),
    HeaderName::from_static("ssl-client-cert"),
    HeaderName::from_static("ssl-client-verify"),
    HeaderName::from_static("ssl-client-subject-dn"),
    HeaderName::from_static("x-client-cert"),
    HeaderName::from_static("x-forwarded-client-cert"),
    HeaderName::from_static("x-forwarded-tls-client-cert"),
    HeaderName::from_static("x-ssl-client-cert"),
    HeaderName::from_static("x-ssl-client-dn"),
    HeaderName::from_static("x-ssl-client-verify"),
];

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let name = HeaderName::from_static;
        let template = |text| Template::new(text).expect("valid");
        let edits = FieldEdits {
            remove: vec![name("x-gone"), name("x-again")],
            set: vec![(name("x-set"), template("$host"))],
            add: vec![
                (name("x-set"), template("2")),
                (name("x-again"), template("3")),
            ],
        };
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("x-gone", "1"),
            ("x-gone", "2"),
            ("x-again", "1"),
            ("x-set", "a"),
            ("x-set", "b"),
            ("x-kept", "k"),
        ] {
            fields.append(name, HeaderValue::from_static(value));
        }
        let values = Values {
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            scheme: "http",
            host: "h",
            path: "/",
            query: None,
        };
        edits.apply(&mut fields, &values);
        let all = |name: &str| -> Vec<_> { fields.get_all(name).iter().collect() };
        assert_eq!(all("x-set"), ["h", "2"]);
        assert_eq!(all("x-again"), ["3"]);
        assert_eq!(all("x-kept"), ["k"]);
        assert_eq!(fields.len(), 4);
    }
}
