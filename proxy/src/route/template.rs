//! Texts with variables of the request in them: where a redirect leads, values of fields.

use std::fmt::Write as _;
use std::net::IpAddr;

/// A text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Variable(Variable),
}

/// What stands in for `$name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `$client_ip`: the client's address.
    ClientIp,
    /// `$scheme`: `http` or `https`, as the client came.
    Scheme,
    /// `$host`: the host asked for, lower case, without port.
    Host,
    /// `$path`: the path, after `strip_prefix` and `rewrite`.
    Path,
    /// `$query`: the query with its `?`, or nothing.
    Query,
}

/// What variables are of one request.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// Whose request it is.
    pub client: IpAddr,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Lower case, without port.
    pub host: &'a str,
    /// Begins with `/`.
    pub path: &'a str,
    /// Without `?`.
    pub query: Option<&'a str>,
}

/// A `$` that begins no variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("${0} is no variable")]
pub struct UnknownVariable(pub String);

impl Variable {
    /// Every variable.
    pub const ALL: [Self; 5] = [
        Self::ClientIp,
        Self::Scheme,
        Self::Host,
        Self::Path,
        Self::Query,
    ];

    /// As written after `$`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientIp => "client_ip",
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Path => "path",
            Self::Query => "query",
        }
    }
}

impl Template {
    /// Reads `text`: `$name` or `${name}` is a variable, `$$` a dollar sign.
    pub fn new(text: &str) -> Result<Self, UnknownVariable> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            plain.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
                continue;
            }
            let (name, after) = name(after);
            let variable = Variable::ALL
                .into_iter()
                .find(|known| known.as_str() == name);
            let variable = variable.ok_or_else(|| UnknownVariable(name.to_owned()))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Variable(variable));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self(parts))
    }

    /// Whether `variable` is in it.
    pub fn has(&self, variable: Variable) -> bool {
        self.0.contains(&Part::Variable(variable))
    }

    /// The text of one request.
    pub fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Variable(Variable::ClientIp) => {
                    write!(text, "{}", values.client).expect("invariant: a String takes it all");
                }
                Part::Variable(Variable::Scheme) => text.push_str(values.scheme),
                Part::Variable(Variable::Host) => text.push_str(values.host),
                Part::Variable(Variable::Path) => text.push_str(values.path),
                Part::Variable(Variable::Query) => {
                    if let Some(query) = values.query {
                        text.push('?');
                        text.push_str(query);
                    }
                }
            }
        }
        text
    }
}

/// The name at the beginning of `text`, in braces or not, and what follows.
fn name(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return (name, after);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'static> = Values {
        client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        scheme: "http",
        host: "a.test",
        path: "/p",
        query: Some("q"),
    };

    #[test]
    fn variables_stand_for_what_the_request_has() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("https://$host$path$query", "https://a.test/p?q"),
            ("$scheme://${host}x", "http://a.testx"),
            ("$client_ip, $$5", "192.0.2.1, $5"),
        ] {
            let template = Template::new(text).expect(text);
            assert_eq!(template.expand(&VALUES), expected, "{text}");
        }
        let template = Template::new("$path$query").expect("valid");
        let without = Values {
            query: None,
            ..VALUES
        };
        assert_eq!(template.expand(&without), "/p");
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for (text, name) in [
            ("$hosts", "hosts"),
            ("$", ""),
            ("${host", ""),
            ("$1", "1"),
            ("${a b}", "a b"),
        ] {
            let expected = Err(UnknownVariable(name.to_owned()));
            assert_eq!(Template::new(text), expected, "{text}");
        }
    }
}
