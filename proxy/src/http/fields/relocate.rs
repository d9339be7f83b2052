//! References to origin servers in response fields, turned into references to where the client is.
//!
//! Covers the fields whose grammar says where a reference is: `Location` and `Content-Location` (RFC 9110), `Link`
//! (RFC 8288), `Refresh` (HTML), and the `Domain` of `Set-Cookie` (RFC 6265 §4.1.2.3). Content is the origin's own.

use http::header::{CONTENT_LOCATION, Entry, HeaderName, LINK, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::Scheme;
use crate::balance::{OriginServer, Upstream};

/// Rewrites every field that names a server of `upstream`; the others stay as they are.
pub(super) fn relocate(
    fields: &mut HeaderMap,
    upstream: &Upstream,
    scheme: Scheme,
    authority: &HeaderValue,
) {
    let Some(authority) = authority.to_str().ok().filter(|text| !text.is_empty()) else {
        return;
    };
    let here = Here {
        upstream,
        scheme,
        authority,
    };
    rewrite_all(fields, LOCATION, |value| here.reference(value));
    rewrite_all(fields, CONTENT_LOCATION, |value| here.reference(value));
    rewrite_all(fields, LINK, |value| here.link(value));
    rewrite_all(fields, REFRESH, |value| here.refresh(value));
    rewrite_all(fields, SET_COOKIE, |value| here.cookie(value));
}

/// What a reference is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Web,
    /// RFC 6455 §3.
    Socket,
}

/// Where the client is, and who must not be named.
struct Here<'a> {
    upstream: &'a Upstream,
    scheme: Scheme,
    authority: &'a str,
}

impl Here<'_> {
    /// An absolute or protocol-relative reference to any server of the upstream.
    fn reference(&self, text: &str) -> Option<String> {
        let known = REFERENCES.iter().find_map(|(prefix, ports, kind)| {
            Some((*ports, *kind, strip_prefix_ignore_case(text, prefix)?))
        });
        let (ports, kind, rest) = known?;
        let (named, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let is_named = |server: &OriginServer| {
            named.eq_ignore_ascii_case(&server.authority)
                || (ports.contains(&server.settings.port)
                    && named.eq_ignore_ascii_case(host_of(server)))
        };
        let scheme = match (kind, self.scheme) {
            (Kind::Web, scheme) => scheme.as_str(),
            (Kind::Socket, Scheme::Http) => "ws",
            (Kind::Socket, Scheme::Https) => "wss",
        };
        let authority = self.authority;
        let ours = self.upstream.servers.iter().any(|server| is_named(server));
        ours.then(|| format!("{scheme}://{authority}{path}"))
    }

    /// The targets of `Link`: what stands between `<` and `>`.
    fn link(&self, text: &str) -> Option<String> {
        let mut ours = String::with_capacity(text.len());
        let (mut rest, mut changed) = (text, false);
        while let Some((before, behind)) = rest.split_once('<')
            && let Some((target, after)) = behind.split_once('>')
        {
            let relocated = self.reference(target);
            changed |= relocated.is_some();
            ours.extend([before, "<", relocated.as_deref().unwrap_or(target), ">"]);
            rest = after;
        }
        ours.push_str(rest);
        changed.then_some(ours)
    }

    /// `5; url=http://…`, the reference bare or in quotes.
    fn refresh(&self, text: &str) -> Option<String> {
        let start = text.to_ascii_lowercase().find("url=")? + "url=".len();
        let (head, reference) = text.split_at(start);
        let bare = reference.trim().trim_matches(['"', '\'']);
        Some(format!("{head}{}", self.reference(bare)?))
    }

    /// Without a `Domain` that names a server: the cookie is then the client's host's, which is what was meant.
    fn cookie(&self, text: &str) -> Option<String> {
        let names_server = |attribute: &&str| {
            attribute.split_once('=').is_some_and(|(name, value)| {
                let domain = value.trim().trim_start_matches('.');
                let is_named = |server: &OriginServer| domain.eq_ignore_ascii_case(host_of(server));
                name.trim().eq_ignore_ascii_case("domain")
                    && self.upstream.servers.iter().any(|server| is_named(server))
            })
        };
        // The first part is the cookie itself, whatever it is called.
        let (cookie, attributes) = text.split_once(';')?;
        let attributes: Vec<_> = attributes.split(';').collect();
        let kept: Vec<_> = attributes
            .iter()
            .copied()
            .filter(|attribute| !names_server(attribute))
            .collect();
        (kept.len() < attributes.len()).then(|| {
            let parts: Vec<_> = std::iter::once(cookie).chain(kept).collect();
            parts.join(";")
        })
    }
}

/// Replaces the lines of `name` for which `rewrite` has something else, in place.
fn rewrite_all(fields: &mut HeaderMap, name: HeaderName, rewrite: impl Fn(&str) -> Option<String>) {
    let Entry::Occupied(mut lines) = fields.entry(name) else {
        return;
    };
    for line in lines.iter_mut() {
        let ours = line.to_str().ok().and_then(&rewrite);
        if let Some(ours) = ours.and_then(|text| HeaderValue::try_from(text).ok()) {
            *line = ours;
        }
    }
}

/// The server's host as an authority has it: IPv6 in brackets.
fn host_of(server: &OriginServer) -> &str {
    server
        .authority
        .rsplit_once(':')
        .map_or(server.authority.as_str(), |(host, _)| host)
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

/// How a reference to a server begins, the ports that it may leave out, and what it is for.
const REFERENCES: [(&str, &[u16], Kind); 5] = [
    ("http://", &[80], Kind::Web),
    ("https://", &[443], Kind::Web),
    ("ws://", &[80], Kind::Socket),
    ("wss://", &[443], Kind::Socket),
    // Of the scheme that the server takes for the client's.
    ("//", &[80, 443], Kind::Web),
];
