//! Upgrades: WebSocket and other protocols that take an HTTP/1.1 connection over (RFC 9110 §7.8), and WebSocket over a
//! stream of HTTP/2 (RFC 8441), which becomes an upgrade of HTTP/1.1 towards the origin.
//!
//! - An upgrade is asked for in HTTP/1.1, without content, in one protocol. Anything else is answered as if it had not been
//!   asked for, which RFC 9110 lets every server do; so is `h2c`, which would carry requests past every check.
//! - Nothing that the client sends after its request reaches the origin before the origin's 101.
//! - The origin's 101 must name the protocol that was asked for. Any other response is a response like all.
//! - Tunnels are bounded in number over all workers, and end when nothing has moved for a while.

#[cfg(feature = "fuzzing")]
pub(super) mod fuzz;
mod slots;
mod tunnel;
mod websocket;

pub use slots::Upgrades;
pub(super) use slots::{Full, Slot};
pub(super) use tunnel::Tunnel;

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, request, response};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use super::activity::Http;
use super::connection::Connection;
use super::fault::Fault;
use super::forward::Size;
use super::pool::{Lease, Server};
use super::served::Served;
use tunnel::Client;
use websocket::Key;

/// An upgrade that a client asks for.
pub(super) struct Upgrade {
    /// `Upgrade` towards the origin.
    protocol: HeaderValue,
    client: Asker,
}

/// One that the origin is asked for.
pub(super) struct Pending {
    upgrade: Upgrade,
    slot: Slot,
}

/// Who asks.
enum Asker {
    /// HTTP/1.1, whose connection it will be.
    Http1,
    /// A stream of HTTP/2, to which the key means nothing: towards the origin weir is the WebSocket client.
    Http2(OnUpgrade, Key),
}

/// An upgrade that the origin agreed to.
pub(super) struct Agreed {
    origin: OnUpgrade,
    client: Client,
    protocol: HeaderValue,
    /// The origin's connection.
    lease: Lease,
    slot: Slot,
}

impl Upgrade {
    /// What `request` asks for. Extended CONNECT becomes the GET that RFC 8441 §5 says it stands for.
    pub(super) fn asked(
        request: &mut request::Parts,
        http: Http,
        size: Size,
    ) -> Result<Option<Self>, Fault> {
        if http == Http::Two {
            return Self::extended_connect(request);
        }
        let asked = request.version == Version::HTTP_11
            && size == Size::Empty
            && names(&request.headers, &CONNECTION, "upgrade");
        let protocol = single(&request.headers).filter(|protocol| asked && is_token(protocol));
        Ok(protocol.map(|protocol| Self {
            protocol: protocol.clone(),
            client: Asker::Http1,
        }))
    }

    fn extended_connect(request: &mut request::Parts) -> Result<Option<Self>, Fault> {
        let Some(protocol) = request.extensions.remove::<Protocol>() else {
            return Ok(None);
        };
        let client = request.extensions.remove::<OnUpgrade>();
        let (Some(client), "websocket", &Method::CONNECT) =
            (client, protocol.as_str(), &request.method)
        else {
            return Err(Fault::UpgradeUnsupported);
        };
        let key = Key::random().ok_or(Fault::ProxyInternalError)?;
        request.method = Method::GET;
        request.headers.insert(SEC_WEBSOCKET_KEY, key.field());
        Ok(Some(Self {
            protocol: HeaderValue::from_static("websocket"),
            client: Asker::Http2(client, key),
        }))
    }

    /// Asks the origin for it, if there is room for one more. The other connection fields have been removed.
    pub(super) fn ask(
        self,
        upgrades: &Arc<Upgrades>,
        fields: &mut HeaderMap,
    ) -> Result<Pending, Fault> {
        let slot = upgrades.take().map_err(|Full| Fault::UpgradeLimitReached)?;
        fields.remove(TE);
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, self.protocol.clone());
        Ok(Pending {
            upgrade: self,
            slot,
        })
    }
}

impl Pending {
    /// What the origin says to it over `lease`. Not 101: the response is one like all, and `lease` comes back.
    pub(super) fn answered(
        self,
        response: &mut response::Parts,
        lease: Lease,
    ) -> Result<Result<Agreed, Lease>, Fault> {
        let Upgrade { protocol, client } = self.upgrade;
        if response.status != StatusCode::SWITCHING_PROTOCOLS {
            // RFC 8441 §4: success would open the stream.
            let opens = matches!(client, Asker::Http2(..)) && response.status.is_success();
            return if opens {
                Err(Fault::HttpUpgradeFailed)
            } else {
                Ok(Err(lease))
            };
        }
        let fields = &response.headers;
        let agrees = names(fields, &CONNECTION, "upgrade")
            && single(fields)
                .is_some_and(|named| named.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
        let origin = response.extensions.remove::<OnUpgrade>();
        let (true, Some(origin)) = (agrees, origin) else {
            return Err(Fault::HttpUpgradeFailed);
        };
        let client = match client {
            Asker::Http1 => Client::Http1,
            Asker::Http2(_, key) if !key.is_accepted(fields.get(SEC_WEBSOCKET_ACCEPT)) => {
                return Err(Fault::HttpUpgradeFailed);
            }
            Asker::Http2(client, _) => Client::Http2(client),
        };
        Ok(Ok(Agreed {
            origin,
            client,
            protocol,
            lease,
            slot: self.slot,
        }))
    }
}

impl Agreed {
    /// Who agreed.
    pub(super) fn server(&self) -> &Server {
        &self.lease.server
    }

    /// Says so to the client: `fields` are those of the origin's 101 without connection fields. Returns the status.
    pub(super) fn announce(&self, fields: &mut HeaderMap) -> StatusCode {
        // RFC 9110 §8.6, §9.3.6: there is no content.
        fields.remove(CONTENT_LENGTH);
        match self.client {
            Client::Http1 => {
                fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                fields.insert(UPGRADE, self.protocol.clone());
                StatusCode::SWITCHING_PROTOCOLS
            }
            Client::Http2(_) => {
                fields.remove(SEC_WEBSOCKET_ACCEPT);
                StatusCode::OK
            }
        }
    }

    /// The response goes out: what follows it is the tunnel's.
    pub(super) fn begin(self, connection: &Rc<Connection>, served: Served) {
        let idle_timeout = connection.settings.limits.upgrade_idle_timeout;
        let tunnel = Tunnel::new(self.origin, idle_timeout, served, self.lease, self.slot);
        match self.client {
            Client::Http1 => connection.hand_over(tunnel),
            Client::Http2(client) => {
                tokio::task::spawn_local(tunnel.run_over(client));
            }
        }
    }
}

/// The only protocol of `Upgrade`.
fn single(fields: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = fields.get_all(UPGRADE).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// `token ["/" token]`, and none that weir must not hand on.
fn is_token(protocol: &HeaderValue) -> bool {
    let mut parts = protocol.as_bytes().split(|byte| *byte == b'/');
    let (name, version) = (parts.next().unwrap_or_default(), parts.next());
    let token = |token: &[u8]| {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !token.is_empty() && token.iter().all(allowed)
    };
    token(name)
        && version.is_none_or(token)
        && parts.next().is_none()
        && !LAYERED.iter().any(|no| name.eq_ignore_ascii_case(no))
}

/// Whether the list `field` has the member `token`.
fn names(fields: &HeaderMap, field: &HeaderName, token: &str) -> bool {
    fields
        .get_all(field)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|member| member.trim().eq_ignore_ascii_case(token))
}

/// Versions of HTTP and TLS: requests in them would pass routes and rules unseen.
const LAYERED: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];
const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const SEC_WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn asked(version: Version, size: Size, lines: &[(&'static str, &'static str)]) -> bool {
        let mut request = Request::new(()).into_parts().0;
        request.version = version;
        for (name, value) in lines {
            let name = HeaderName::from_static(name);
            request
                .headers
                .append(name, HeaderValue::from_static(value));
        }
        let asked = Upgrade::asked(&mut request, Http::One, size);
        asked.expect("HTTP/1 never fails").is_some()
    }

    #[test]
    fn only_one_protocol_and_none_of_http_can_be_asked_for() {
        for (protocols, expected) in [
            (&["websocket"][..], true),
            (&["foo/2"], true),
            (&[], false),
            (&[""], false),
            (&["foo/2/3"], false),
            (&["h2c"], false),
            (&["H2C"], false),
            (&["HTTP/2.0"], false),
            (&["TLS/1.0"], false),
            (&["websocket, h2c"], false),
            (&["websocket", "websocket"], false),
        ] {
            let mut lines = vec![("connection", "keep-alive, Upgrade")];
            lines.extend(protocols.iter().map(|protocol| ("upgrade", *protocol)));
            let asked = asked(Version::HTTP_11, Size::Empty, &lines);
            assert_eq!(asked, expected, "{protocols:?}");
        }
    }

    #[test]
    fn an_upgrade_is_asked_for_in_http_1_1_without_content_in_connection() {
        let all = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert!(asked(Version::HTTP_11, Size::Empty, &all));
        assert!(!asked(Version::HTTP_10, Size::Empty, &all));
        assert!(!asked(Version::HTTP_11, Size::Some, &all));
        assert!(!asked(Version::HTTP_11, Size::Empty, &all[1..]));
    }
}
