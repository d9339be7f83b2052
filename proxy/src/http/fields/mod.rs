//! Fields on their way through: which end here, which are added (RFC 9110 §7.6, RFC 7239).

mod forwarded;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzz;
mod identity;
mod relocate;
mod request;
mod response;

pub(super) use forwarded::Told;
pub(super) use identity::Certificate;
pub(super) use request::{
    Client, Scheme, is_withheld, join_cookie_crumbs, to_origin, trailers_to_origin,
};
pub(super) use response::{
    Origin, announce_trailers, to_client, trailers_to_client, varies_by_ours,
};

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, DATE, ETAG, EXPECT, EXPIRES, HOST, HeaderName, LOCATION, SET_COOKIE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA,
};
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

/// Removes what belongs to one connection (RFC 9110 §7.6.1): the fields that `Connection` nominates, then the known
/// ones. A nominated field that is meant for all recipients stays: a client must not be able to delete `Cookie` or
/// `Authorization` before the origin sees them. Our own fields are added later, so nobody can nominate them.
fn remove_hop_by_hop(fields: &mut HeaderMap) {
    if fields.contains_key(CONNECTION) {
        for nominated in nominated(fields) {
            if !END_TO_END.contains(&nominated) {
                fields.remove(nominated);
            }
        }
        fields.remove(CONNECTION);
    }
    remove_all(fields, |name| HOP_BY_HOP.contains(name));
}

/// Removes every field whose name `is_unwanted`. Looks at the few names that are there: to look each unwanted one up would
/// hash dozens for every message.
fn remove_all(fields: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    let there: SmallVec<[HeaderName; 4]> = fields
        .keys()
        .filter(|name| is_unwanted(name))
        .cloned()
        .collect();
    for name in there {
        fields.remove(name);
    }
}

/// Whether `Connection` nominates `name`.
pub(super) fn nominates(fields: &HeaderMap, name: &HeaderName) -> bool {
    tokens(fields, &CONNECTION).any(|token| token.eq_ignore_ascii_case(name.as_str()))
}

fn nominated(fields: &HeaderMap) -> Vec<HeaderName> {
    tokens(fields, &CONNECTION)
        .filter(|token| {
            !token.eq_ignore_ascii_case("close") && !token.eq_ignore_ascii_case("keep-alive")
        })
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .collect()
}

/// The members of a list field whose members are tokens; lines that are not ASCII are skipped.
fn tokens<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    fields
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Removes from trailers what must not come after the content (RFC 9110 §6.5.1): framing, routing, authentication and
/// content fields.
fn remove_forbidden_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    // An entity tag may come late, computed over the content as it went by.
    remove_all(trailers, |name| END_TO_END.contains(name) && name != ETAG);
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PROXY_AUTHENTICATE: HeaderName = HeaderName::from_static("proxy-authenticate");
const PROXY_AUTHORIZATION: HeaderName = HeaderName::from_static("proxy-authorization");

static HOP_BY_HOP: [HeaderName; 9] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HTTP2_SETTINGS,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
];

/// Fields that `Connection` cannot take away and trailers cannot bring.
static END_TO_END: [HeaderName; 17] = [
    HOST,
    AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    EXPIRES,
    ETAG,
    LOCATION,
    TRAILER,
    VARY,
    VIA,
    HeaderName::from_static("forwarded"),
];

/// What weir calls itself in `Via` (RFC 9110 §7.6.3), after the version it received.
const VIA_HTTP_1_0: HeaderValue = HeaderValue::from_static("1.0 weir");
const VIA_HTTP_1_1: HeaderValue = HeaderValue::from_static("1.1 weir");
const VIA_HTTP_2: HeaderValue = HeaderValue::from_static("2.0 weir");

#[cfg(test)]
mod tests;
