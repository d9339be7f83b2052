//! What a trusted hop says of a request's client: `Forwarded` (RFC 7239) and `X-Forwarded-*`.
//!
//! 1. Addresses are read from the right: each was added by the hop to its right, so it is believed only if that hop is
//!    trusted. The first that is not trusted is the client; what stands left of it is its own invention and is dropped.
//! 2. `unknown` and obfuscated names (RFC 7239 §6.2, §6.3) end the walk: the hop that says so is taken for the client.
//! 3. What cannot be parsed, as far as it is looked at, is refused, and so are `Forwarded` and `X-Forwarded-For` that
//!    name different clients: one of them passed a hop that does not know it, and nobody can tell which.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::Scheme;
use super::request::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID};
use crate::http::fault::{Fault, Malformed};
use crate::http::target::Target;
use crate::net::Networks;

/// What is believed of a request.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Told {
    /// The client, then the hops between it and weir; never empty.
    pub(super) path: Path,
    /// How the client reached the first hop.
    pub(super) scheme: Option<Scheme>,
    /// `host[:port]` that the client asked for.
    pub(super) host: Option<HeaderValue>,
    /// As the hop named the request.
    pub(super) request_id: Option<HeaderValue>,
}

type Path = SmallVec<[IpAddr; 4]>;

/// One hop, as the next one describes it.
#[derive(Debug, Default)]
struct Element<'a> {
    node: Option<&'a str>,
    proto: Option<&'a str>,
    host: Option<&'a str>,
}

/// Whom a node names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    Hidden,
}

impl Told {
    /// Of a request that came from `source`, which is in `trusted`.
    pub(in crate::http) fn read(
        source: IpAddr,
        trusted: &Networks,
        fields: &HeaderMap,
    ) -> Result<Self, Fault> {
        let standard = match list(fields, &FORWARDED)? {
            Some(text) => Some(standard(source, trusted, &text)?),
            None => None,
        };
        let customary = match list(fields, &X_FORWARDED_FOR)? {
            Some(text) => Some(customary(source, trusted, &text)?),
            None => None,
        };
        let (path, scheme, host) = match (standard, customary) {
            (Some((path, ..)), Some(other)) if path.first() != other.first() => return Err(BAD),
            (Some(standard), _) => standard,
            (None, Some(path)) => (path, None, None),
            (None, None) => (Path::from_slice(&[source]), None, None),
        };
        let scheme = match scheme {
            Some(scheme) => Some(scheme),
            None => last(fields, &X_FORWARDED_PROTO)?
                .map(parse_scheme)
                .transpose()?,
        };
        let host = match host {
            Some(host) => Some(host),
            None => last(fields, &X_FORWARDED_HOST)?
                .map(parse_host)
                .transpose()?,
        };
        Ok(Self {
            path,
            scheme,
            host,
            request_id: fields.get(X_REQUEST_ID).filter(|id| is_id(id)).cloned(),
        })
    }
}

/// `X-Forwarded-For`.
fn customary(source: IpAddr, trusted: &Networks, text: &str) -> Result<Path, Fault> {
    let nodes = text
        .rsplit(',')
        .map(str::trim)
        .filter(|node| !node.is_empty());
    let (path, _) = walk(source, trusted, nodes.map(Ok))?;
    Ok(path)
}

/// `Forwarded`: the path, and what the element that names the client says beside.
fn standard(
    source: IpAddr,
    trusted: &Networks,
    text: &str,
) -> Result<(Path, Option<Scheme>, Option<HeaderValue>), Fault> {
    let elements = elements(text)?;
    let nodes = elements.iter().rev().map(|element| element.node.ok_or(BAD));
    let (path, taken) = walk(source, trusted, nodes)?;
    let Some(first) = taken
        .checked_sub(1)
        .and_then(|at| elements.iter().rev().nth(at))
    else {
        return Ok((path, None, None));
    };
    let scheme = first.proto.map(parse_scheme).transpose()?;
    let host = first.host.map(parse_host).transpose()?;
    Ok((path, scheme, host))
}

/// Follows `nodes`, the nearest first, as far as they are to be believed: the path, and how many were looked at.
fn walk<'a>(
    source: IpAddr,
    trusted: &Networks,
    nodes: impl Iterator<Item = Result<&'a str, Fault>>,
) -> Result<(Path, usize), Fault> {
    let mut path = Path::from_slice(&[source]);
    let mut taken = 0;
    for node in nodes {
        if !trusted.contains(path[0]) {
            break;
        }
        taken += 1;
        match parse_node(node?)? {
            Node::Address(address) if path.len() < HOPS_MAX => path.insert(0, address),
            Node::Address(_) => return Err(BAD),
            Node::Hidden => break,
        }
    }
    Ok((path, taken))
}

/// Splits `Forwarded` (RFC 7239 §4). Quoted strings have no escapes here: nothing that may stand in them needs one.
fn elements(text: &str) -> Result<Vec<Element<'_>>, Fault> {
    let mut elements = Vec::new();
    for part in split(text, ',') {
        let mut element = Element::default();
        for pair in split(part?, ';') {
            let pair = pair?.trim();
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').ok_or(BAD)?;
            let value = unquoted(value)?;
            let place = match name.to_ascii_lowercase().as_str() {
                "for" => &mut element.node,
                "proto" => &mut element.proto,
                "host" => &mut element.host,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(BAD);
            }
        }
        if !part?.trim().is_empty() {
            elements.push(element);
        }
    }
    Ok(elements)
}

/// Splits at `separator` outside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = Result<&str, Fault>> {
    let mut is_quoted = false;
    let parts = text.split(move |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    });
    parts.map(|part| {
        let is_whole = part.matches('"').count().is_multiple_of(2) && !part.contains('\\');
        is_whole.then_some(part).ok_or(BAD)
    })
}

fn unquoted(value: &str) -> Result<&str, Fault> {
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or(BAD)?,
        None => value,
    };
    if inner.contains('"') {
        Err(BAD)
    } else {
        Ok(inner)
    }
}

/// An address with or without a port; IPv6 with or without brackets, as not everybody writes them.
fn parse_node(node: &str) -> Result<Node, Fault> {
    if node.eq_ignore_ascii_case("unknown") || node.starts_with('_') {
        return Ok(Node::Hidden);
    }
    let bare = node
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(node);
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let address = address.ok_or(BAD)?;
    Ok(Node::Address(address.to_canonical()))
}

fn parse_scheme(text: &str) -> Result<Scheme, Fault> {
    if text.eq_ignore_ascii_case("https") {
        Ok(Scheme::Https)
    } else if text.eq_ignore_ascii_case("http") {
        Ok(Scheme::Http)
    } else {
        Err(BAD)
    }
}

fn parse_host(text: &str) -> Result<HeaderValue, Fault> {
    let target = Target::parse(text.as_bytes()).map_err(|_malformed| BAD)?;
    Ok(target.authority)
}

/// All lines of a list field as one.
fn list(fields: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Fault> {
    let mut all = None;
    for line in fields.get_all(name) {
        let line = line.to_str().map_err(|_not_ascii| BAD)?;
        let all = all.get_or_insert_with(String::new);
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(line);
    }
    Ok(all)
}

/// The last member, which the trusted hop wrote.
fn last<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let Some(line) = fields.get_all(name).iter().next_back() else {
        return Ok(None);
    };
    let line = line.to_str().map_err(|_not_ascii| BAD)?;
    Ok(line.rsplit(',').next().map(str::trim))
}

/// Short, visible, and nothing that quotes or escapes: it goes into logs as it is.
fn is_id(id: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_plain)
}

const BAD: Fault = Fault::BadRequest(Malformed::Forwarded);
/// Trusted hops in a row; more are a loop.
const HOPS_MAX: usize = 32;
const ID_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[(&'static str, &'static str)]) -> Result<Told, Fault> {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_static(name);
            fields.append(name, HeaderValue::from_static(value));
        }
        let trusted =
            ["192.0.2.0/24", "2001:db8:1::/64"].map(|network| network.parse().expect("a network"));
        let source = "192.0.2.1".parse().expect("an address");
        Told::read(source, &Networks::new(trusted.to_vec()), &fields)
    }

    fn path(told: &Told) -> String {
        let path: Vec<_> = told.path.iter().map(ToString::to_string).collect();
        path.join(" ")
    }

    #[test]
    fn the_first_address_from_the_right_that_is_not_trusted_is_the_client() {
        for (name, value, expected) in [
            ("x-forwarded-for", "198.18.0.1", "198.18.0.1 192.0.2.1"),
            (
                "x-forwarded-for",
                "10.0.0.1, 198.18.0.1",
                "198.18.0.1 192.0.2.1",
            ),
            (
                "x-forwarded-for",
                "\"junk;, 198.18.0.1",
                "198.18.0.1 192.0.2.1",
            ),
            (
                "x-forwarded-for",
                "10.0.0.1,198.18.0.1:443 , 192.0.2.9",
                "198.18.0.1 192.0.2.9 192.0.2.1",
            ),
            (
                "x-forwarded-for",
                "192.0.2.8,,192.0.2.9",
                "192.0.2.8 192.0.2.9 192.0.2.1",
            ),
            ("x-forwarded-for", "2001:db8::5", "2001:db8::5 192.0.2.1"),
            (
                "x-forwarded-for",
                "[2001:db8::5]:80",
                "2001:db8::5 192.0.2.1",
            ),
            (
                "x-forwarded-for",
                "::ffff:198.18.0.1",
                "198.18.0.1 192.0.2.1",
            ),
            ("x-forwarded-for", "198.18.0.1, unknown", "192.0.2.1"),
            ("x-forwarded-for", "", "192.0.2.1"),
            ("forwarded", "for=198.18.0.1", "198.18.0.1 192.0.2.1"),
            (
                "forwarded",
                "For=\"198.18.0.1:80\";by=_x",
                "198.18.0.1 192.0.2.1",
            ),
            (
                "forwarded",
                "for=10.0.0.1, for=\"[2001:db8::5]:1\" ,for=\"[2001:db8:1::1]\"",
                "2001:db8::5 2001:db8:1::1 192.0.2.1",
            ),
            ("forwarded", "for=198.18.0.1, for=_hidden", "192.0.2.1"),
        ] {
            let told = told(&[(name, value)]).unwrap_or_else(|_| panic!("{value}"));
            assert_eq!(path(&told), expected, "{name}: {value}");
        }
        assert_eq!(path(&told(&[]).expect("nothing is fine")), "192.0.2.1");
    }

    #[test]
    fn lines_of_one_field_are_one_list() {
        let told = told(&[
            ("x-forwarded-for", "198.18.0.1"),
            ("x-forwarded-for", "192.0.2.7"),
        ]);
        assert_eq!(
            path(&told.expect("valid")),
            "198.18.0.1 192.0.2.7 192.0.2.1"
        );
    }

    #[test]
    fn what_cannot_be_read_or_contradicts_itself_is_refused() {
        for lines in [
            &[("x-forwarded-for", "198.18.0.1, x")][..],
            &[("x-forwarded-for", "198.18.0.256")],
            &[("x-forwarded-for", "for=198.18.0.1")],
            &[("forwarded", "198.18.0.1")],
            &[("forwarded", "proto=http")],
            &[("forwarded", "for=\"198.18.0.1")],
            &[("forwarded", "for=\"x, for=198.18.0.1")],
            &[("forwarded", "for=198.18.0.1;for=198.18.0.2")],
            &[("forwarded", "for=198.18.0.1;proto=ftp")],
            &[("forwarded", "for=198.18.0.1;host=\"a b\"")],
            &[("forwarded", "for=\"198.18\\.0.1\"")],
            &[("x-forwarded-proto", "gopher")],
            &[("x-forwarded-host", "user@a.test")],
            &[
                ("forwarded", "for=198.18.0.1"),
                ("x-forwarded-for", "198.18.0.2"),
            ],
        ] {
            assert_eq!(told(lines), Err(BAD), "{lines:?}");
        }
    }

    #[test]
    fn scheme_and_host_come_from_the_element_of_the_client() {
        let both = told(&[
            (
                "forwarded",
                "for=198.18.0.9;proto=ftp, for=198.18.0.1;proto=https;host=\"A.test:8443\", for=192.0.2.3;proto=http",
            ),
            ("x-forwarded-for", "198.18.0.1, 192.0.2.3"),
            ("x-forwarded-proto", "http"),
        ])
        .expect("valid");
        assert_eq!(both.scheme, Some(Scheme::Https));
        assert_eq!(both.host, Some(HeaderValue::from_static("A.test:8443")));
        let customary = told(&[
            ("x-forwarded-for", "198.18.0.1"),
            ("x-forwarded-proto", "http, HTTPS"),
            ("x-forwarded-host", "b.test"),
        ])
        .expect("valid");
        assert_eq!(customary.scheme, Some(Scheme::Https));
        assert_eq!(customary.host, Some(HeaderValue::from_static("b.test")));
    }

    #[test]
    fn a_request_id_is_taken_if_it_is_short_visible_and_quotes_nothing() {
        for (id, taken) in [
            ("abc-123", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("a\\b", false),
        ] {
            let told = told(&[("x-request-id", id)]).expect("valid");
            assert_eq!(told.request_id.is_some(), taken, "{id:?}");
        }
    }
}
