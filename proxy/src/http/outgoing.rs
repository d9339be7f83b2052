//! A request as an origin server gets it, in either version of HTTP.

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri, Version};

use super::body::RequestBody;
use super::connect::{Ends, Speak};
use super::fault::{Fault, Malformed};
use super::patience::Dialogue;
use super::pool::Lease;
use crate::balance;
use crate::route::RouteTimeouts;

/// A request head in the form of HTTP/1.1; kept, so that it can be sent again.
pub(super) struct Outgoing {
    pub(super) method: Method,
    /// Origin-form.
    pub(super) uri: Uri,
    pub(super) fields: HeaderMap,
    pub(super) speak: Speak,
    /// What the route has in place of the upstream's.
    pub(super) timeouts: RouteTimeouts,
    /// Whether it is answered while it goes on.
    pub(super) dialogue: Dialogue,
    /// On whose behalf.
    pub(super) client: Ends,
}

impl Outgoing {
    /// In the form of `lease`'s version, with `body` as its content; or `body` back.
    pub(super) fn request(
        &self,
        lease: &Lease,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, (Fault, RequestBody)> {
        let mut fields = self.fields.clone();
        let (uri, version) = if lease.is_http2() {
            match self.http2_uri(lease) {
                Some(uri) => (uri, Version::HTTP_2),
                None => return Err((Fault::BadRequest(Malformed::Host), body)),
            }
        } else {
            (self.uri.clone(), Version::HTTP_11)
        };
        if version == Version::HTTP_2 {
            // RFC 9113 §8.2.2; `:authority` is what `Host` was (§8.3.1). `TE: trailers` may stay.
            for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
                fields.remove(name);
            }
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = fields;
        Ok(request)
    }

    /// RFC 9113 §8.3.1: `:scheme` is the connection's, `:authority` what the client asked for. An HTTP/1.0 client may have
    /// named nobody; then it is the server itself.
    fn http2_uri(&self, lease: &Lease) -> Option<Uri> {
        let origin = lease.server.origin();
        let scheme = match origin.settings.scheme {
            balance::Scheme::Http => Scheme::HTTP,
            balance::Scheme::Https => Scheme::HTTPS,
        };
        let named = self.fields.get(HOST).filter(|host| !host.is_empty());
        let authority = match named {
            Some(host) => Authority::try_from(host.as_bytes()).ok()?,
            None => Authority::try_from(origin.authority.as_str()).ok()?,
        };
        let path = self.uri.path_and_query().cloned();
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .ok()
    }
}
