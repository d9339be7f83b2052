//! Response fields on their way to the client.

use http::header::{CONTENT_TYPE, FORWARDED, HeaderName, SERVER, TRAILER, VARY, VIA};
use http::{HeaderMap, HeaderValue, Version};

use super::identity::{ALTERNATIVE_NAMES, FINGERPRINT, SUBJECT};
use super::relocate::relocate;
use super::request::{X_FORWARDED_FOR, X_REQUEST_ID};
use super::{
    VIA_HTTP_1_0, VIA_HTTP_1_1, VIA_HTTP_2, remove_all, remove_forbidden_trailers,
    remove_hop_by_hop, tokens,
};
use crate::balance::Upstream;
use crate::http::fields::Scheme;

/// Where a response comes from, and what of it the client may learn.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Origin<'a> {
    pub(in crate::http) upstream: &'a Upstream,
    /// Index into `upstream.servers`.
    pub(in crate::http) server: usize,
    /// `reveal_origin` of the route.
    pub(in crate::http) reveal: bool,
}

/// Turns an origin's fields into the client's. `authority` and `scheme` are what the client asked for, `version` is the
/// origin's.
pub(in crate::http) fn to_client(
    fields: &mut HeaderMap,
    origin: &Origin<'_>,
    scheme: Scheme,
    authority: &HeaderValue,
    version: Version,
) {
    remove_hop_by_hop(fields);
    if origin.reveal {
        fields.remove(ALT_SVC);
        if let Some(value) = name_of(origin) {
            fields.insert(X_WEIR_ORIGIN, value);
        }
    } else {
        remove_all(fields, |name| {
            IDENTITY.contains(name) || *name == ALT_SVC || *name == X_WEIR_ORIGIN
        });
        relocate(fields, origin.upstream, scheme, authority);
    }
    let via = match version {
        Version::HTTP_10 => VIA_HTTP_1_0,
        Version::HTTP_2 => VIA_HTTP_2,
        _ => VIA_HTTP_1_1,
    };
    fields.append(VIA, via);
}

/// Says in an HTTP/1.1 response which trailers will come. HTTP/2 need not announce them, HTTP/1.1 does (RFC 9110 §6.6.2);
/// of an unannounced one only gRPC's are known.
pub(in crate::http) fn announce_trailers(fields: &mut HeaderMap) {
    let is_grpc = fields
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if is_grpc && !fields.contains_key(TRAILER) {
        fields.insert(TRAILER, HeaderValue::from_static(GRPC_TRAILERS));
    }
}

/// Whether `Vary` nominates a field that weir sets for the origin by more than the cache's key holds: by who the client is,
/// or anew for each request. Such a response is for one client, and what the client itself said in that field, which never
/// reached the origin, cannot tell for whom.
pub(in crate::http) fn varies_by_ours(fields: &HeaderMap) -> bool {
    tokens(fields, &VARY).any(|nominated| {
        OURS.iter()
            .any(|name| nominated.eq_ignore_ascii_case(name.as_str()))
    })
}

/// Removes from a response's trailers what the client must not see there.
pub(in crate::http) fn trailers_to_client(trailers: &mut HeaderMap) {
    remove_forbidden_trailers(trailers);
    remove_all(trailers, |name| IDENTITY.contains(name));
}

fn name_of(origin: &Origin<'_>) -> Option<HeaderValue> {
    let server = &origin.upstream.servers[origin.server];
    HeaderValue::try_from(format!(
        "{}/{}",
        origin.upstream.settings.name, server.authority
    ))
    .ok()
}

const GRPC_TRAILERS: &str = "grpc-status, grpc-message, grpc-status-details-bin";
/// Alternative services (RFC 7838) of the origin are none of ours.
const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");
const X_WEIR_ORIGIN: HeaderName = HeaderName::from_static("x-weir-origin");

/// Request fields that weir sets by more than scheme and host.
static OURS: [HeaderName; 7] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_REQUEST_ID,
    VIA,
    SUBJECT,
    ALTERNATIVE_NAMES,
    FINGERPRINT,
];

/// Fields by which origins name themselves or their software.
static IDENTITY: [HeaderName; 13] = [
    SERVER,
    HeaderName::from_static("x-aspnet-version"),
    HeaderName::from_static("x-aspnetmvc-version"),
    HeaderName::from_static("x-backend"),
    HeaderName::from_static("x-backend-server"),
    HeaderName::from_static("x-generator"),
    HeaderName::from_static("x-origin-server"),
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-real-server"),
    HeaderName::from_static("x-served-by"),
    HeaderName::from_static("x-server"),
    HeaderName::from_static("x-server-name"),
    HeaderName::from_static("x-upstream"),
];
