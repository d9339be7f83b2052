//! The Basic authentication scheme (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};

use super::Filters;
use crate::http::fault::Fault;
use crate::route::{BasicAuth, Credentials};

/// Lets a request pass that has the credentials of a user of the route's file.
pub(in crate::http) async fn authenticate(
    filters: &Filters,
    index: usize,
    auth: &BasicAuth,
    fields: &mut HeaderMap,
) -> Result<(), Fault> {
    let guard = filters.guard.as_ref();
    let passwords = guard.and_then(|guard| Some((guard, guard.passwords.get(index)?.as_ref()?)));
    let Some((guard, passwords)) = passwords else {
        // Never: passwords are loaded with the routes. A route without them must not be open.
        return Err(Fault::Unauthorized);
    };
    let text = credentials(fields).ok_or(Fault::Unauthorized)?;
    let (user, password) = text.split_once(':').ok_or(Fault::Unauthorized)?;
    let verified = guard.verifier.verify(user, password, passwords.hash(user));
    match verified.await {
        Ok(true) => {}
        Ok(false) => return Err(Fault::Unauthorized),
        Err(_) => return Err(Fault::ProxyInternalError),
    }
    if auth.credentials == Credentials::Keep {
        fields.remove(AUTHORIZATION);
    }
    Ok(())
}

/// `user:password` of the only `Authorization` field.
pub(super) fn credentials(fields: &HeaderMap) -> Option<String> {
    let mut lines = fields.get_all(AUTHORIZATION).iter();
    let line = lines.next()?.to_str().ok()?;
    if lines.next().is_some() || line.len() > FIELD_BYTES_MAX {
        return None;
    }
    let (scheme, encoded) = line.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()
}

/// Says what credentials are wanted (RFC 7617 §2).
pub(in crate::http) fn challenge(fields: &mut HeaderMap, auth: &BasicAuth) {
    let text = format!("Basic realm=\"{}\", charset=\"UTF-8\"", auth.realm);
    if let Ok(value) = HeaderValue::try_from(text) {
        fields.insert(WWW_AUTHENTICATE, value);
    }
}

/// Longest field that is looked at, in bytes.
const FIELD_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_in_one_field_of_the_basic_scheme() {
        for (lines, expected) in [
            (&["Basic YTpi"][..], Some("a:b")),
            (&["basic YTpi"], Some("a:b")),
            (&["Basic  YTpi"], Some("a:b")),
            (&[], None),
            (&["Basic YTpi", "Basic YTpi"], None),
            (&["Bearer YTpi"], None),
            (&["Basic"], None),
            (&["Basic !"], None),
            (&["Basic /w=="], None),
        ] {
            let mut fields = HeaderMap::new();
            for line in lines {
                fields.append(AUTHORIZATION, HeaderValue::from_static(line));
            }
            assert_eq!(credentials(&fields).as_deref(), expected, "{lines:?}");
        }
    }
}
