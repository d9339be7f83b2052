//! What of a request decides on its server: what it is hashed by, and the server that its client had before.

use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Uri, request};

use super::fields::Scheme;
use crate::balance::{HashOn, Key, Policy, Upstream, Wish};

/// What `request` asks of `upstream`'s choice.
pub(super) fn wish(client: IpAddr, upstream: &Upstream, request: &request::Parts) -> Wish {
    let fields = &request.headers;
    let key = match &upstream.settings.balance {
        Policy::Maglev(hash_on) => {
            // Who does not say what it is hashed by is hashed by who it is.
            let key = key(upstream, hash_on, fields, &request.uri);
            Some(key.unwrap_or_else(|| upstream.secret.client(client)))
        }
        Policy::RoundRobin | Policy::LeastRequests | Policy::PeakEwma | Policy::Random => None,
    };
    let sticky = upstream.settings.sticky.as_ref();
    let server = sticky.and_then(|sticky| {
        let mut values = cookies(fields, &sticky.cookie);
        values.find_map(|value| upstream.of_token(value))
    });
    Wish { key, server }
}

/// The cookie that leads a client back to the server it had: none if its own already does.
pub(super) fn set_cookie(
    upstream: &Upstream,
    wish: Wish,
    server: usize,
    scheme: Scheme,
) -> Option<HeaderValue> {
    let sticky = upstream.settings.sticky.as_ref()?;
    if wish.server == Some(server) {
        return None;
    }
    let secure = match scheme {
        Scheme::Https => "; Secure",
        Scheme::Http => "",
    };
    let cookie = format!(
        "{}={}; Path=/; HttpOnly; SameSite=Lax{secure}",
        sticky.cookie,
        upstream.token(server)?
    );
    HeaderValue::try_from(cookie).ok()
}

fn key(upstream: &Upstream, hash_on: &HashOn, fields: &HeaderMap, uri: &Uri) -> Option<Key> {
    let text = match hash_on {
        HashOn::ClientIp => return None,
        HashOn::Uri => uri.path_and_query()?.as_str().as_bytes(),
        HashOn::Header(name) => fields.get(name)?.as_bytes(),
        HashOn::Cookie(name) => cookies(fields, name).next()?.as_bytes(),
    };
    Some(upstream.secret.text(text))
}

/// The values of the cookie `name` (RFC 6265 §4.2), of which HTTP/2 may send each in a line of its own.
fn cookies<'a>(fields: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    fields
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(move |pair| {
            let (found, value) = pair.trim().split_once('=')?;
            (found == name).then_some(value)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_in_one_line_or_several() {
        let mut fields = HeaderMap::new();
        fields.append(COOKIE, HeaderValue::from_static("a=1; origin=x;b=2"));
        fields.append(COOKIE, HeaderValue::from_static("origin=y"));
        fields.append(COOKIE, HeaderValue::from_static("xorigin=z; origin"));
        let found: Vec<_> = cookies(&fields, "origin").collect();
        assert_eq!(found, ["x", "y"]);
    }
}
