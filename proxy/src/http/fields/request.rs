//! Request fields on their way to the origin.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::OnceLock;

use bytes::{BufMut, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderName, TE, TRAILER, VIA,
};
use http::{HeaderMap, HeaderValue, Version};

use super::forwarded::Told;
use super::identity::Certificate;
use super::{HOP_BY_HOP, remove_all, remove_forbidden_trailers, remove_hop_by_hop, tokens};
use crate::http::fault::Fault;
use crate::route::CERTIFICATE_FIELDS;

/// How the client reached weir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As in a URI.
    pub(in crate::http) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The scheme's own port (RFC 9110 §4.2).
    pub(in crate::http) const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Who asks, and what the origin is told of it. Made once a connection, or, behind a hop that is trusted to say who asks,
/// once a request.
#[derive(Debug)]
pub(in crate::http) struct Client {
    /// Who is counted, limited and logged; IPv4 as such.
    pub(in crate::http) address: IpAddr,
    /// How it reached weir, or the first hop.
    pub(in crate::http) scheme: Scheme,
    /// `X-Forwarded-For`.
    forwarded_for: HeaderValue,
    /// `for=…;proto=…` (RFC 7239 §4).
    forwarded: String,
    /// The authority that was asked for last and the `Forwarded` with it: most connections ask for one only.
    told: RefCell<Option<(HeaderValue, HeaderValue)>>,
    /// `X-Forwarded-Host`, if it is not what weir was asked for.
    forwarded_host: Option<HeaderValue>,
    /// `X-Request-Id` of a trusted hop.
    pub(in crate::http) request_id: Option<HeaderValue>,
    /// Shown in the TLS handshake and verified.
    certificate: Option<Certificate>,
}

impl Client {
    pub(in crate::http) fn new(address: IpAddr, scheme: Scheme) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            scheme,
            forwarded_for: ascii(&address.to_string()),
            forwarded: format!("for={};proto={}", node(address), scheme.as_str()),
            told: RefCell::default(),
            forwarded_host: None,
            request_id: None,
            certificate: None,
        }
    }

    /// The client of one request on the connection of this hop, as the hop tells. What it does not believe itself is left
    /// out, so that the leftmost address is the client's.
    pub(in crate::http) fn behind(&self, told: Told) -> Self {
        let mut forwarded = String::new();
        let (last, others) = told.path.split_last().expect("invariant: never empty");
        for (at, address) in others.iter().enumerate() {
            let _infallible = write!(forwarded, "for={}", node(*address));
            if let (0, Some(scheme)) = (at, told.scheme) {
                let _infallible = write!(forwarded, ";proto={}", scheme.as_str());
            }
            if let (0, Some(host)) = (at, told.host.as_ref().and_then(|host| host.to_str().ok())) {
                // Checked: no quote or backslash.
                let _infallible = write!(forwarded, ";host=\"{host}\"");
            }
            forwarded.push_str(", ");
        }
        let _infallible = write!(
            forwarded,
            "for={};proto={}",
            node(*last),
            self.scheme.as_str()
        );
        let path: Vec<_> = told.path.iter().map(ToString::to_string).collect();
        Self {
            address: told.path[0],
            scheme: told.scheme.unwrap_or(self.scheme),
            forwarded_for: ascii(&path.join(", ")),
            forwarded,
            told: RefCell::default(),
            forwarded_host: told.host,
            request_id: told.request_id,
            certificate: self.certificate.clone(),
        }
    }

    /// Which has shown `certificate`.
    pub(in crate::http) fn with_certificate(self, certificate: Option<Certificate>) -> Self {
        Self {
            certificate,
            ..self
        }
    }
}

/// Turns the client's fields into the origin's: connection fields and what only a trusted hop may say are removed first,
/// then ours are added. `authority` is what the client asked for, `version` the client's.
pub(in crate::http) fn to_origin(
    fields: &mut HeaderMap,
    client: &Client,
    authority: &HeaderValue,
    version: Version,
    request_id: HeaderValue,
) -> Result<(), Fault> {
    if is_loop(fields) {
        return Err(Fault::ProxyLoopDetected);
    }
    let wants_trailers = tokens(fields, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(fields);
    remove_all(fields, is_forgeable);
    fields.reserve(OURS.len());
    if let Some(certificate) = &client.certificate {
        certificate.insert(fields);
    }
    fields.insert(HOST, authority.clone());
    if wants_trailers {
        // RFC 9110 §10.1.4: a sender of TE nominates it.
        fields.insert(TE, HeaderValue::from_static("trailers"));
        fields.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    fields.insert(FORWARDED, forwarded(client, authority));
    fields.insert(X_FORWARDED_FOR, client.forwarded_for.clone());
    fields.insert(
        X_FORWARDED_PROTO,
        HeaderValue::from_static(client.scheme.as_str()),
    );
    let host = client.forwarded_host.as_ref().unwrap_or(authority);
    fields.insert(X_FORWARDED_HOST, host.clone());
    fields.insert(X_REQUEST_ID, request_id);
    fields.append(VIA, via(version));
    Ok(())
}

/// Whether the origin never gets a client's field of this name, whatever else is kept of the request.
pub(in crate::http) fn is_withheld(name: &HeaderName) -> bool {
    is_forgeable(name) || HOP_BY_HOP.contains(name) || OURS.contains(name)
}

/// RFC 9113 §8.2.3: HTTP/2 may split `Cookie` for compression; HTTP/1.1 must see one line.
pub(in crate::http) fn join_cookie_crumbs(fields: &mut HeaderMap) {
    let mut crumbs = fields.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let mut joined = BytesMut::new();
    for crumb in fields.get_all(COOKIE) {
        if !joined.is_empty() {
            joined.put_slice(b"; ");
        }
        joined.put_slice(crumb.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(joined.freeze()) {
        fields.insert(COOKIE, value);
    }
}

/// Removes from a request's trailers what the origin must not see there.
pub(in crate::http) fn trailers_to_origin(trailers: &mut HeaderMap) {
    remove_forbidden_trailers(trailers);
    remove_all(trailers, |name| is_forgeable(name) || LATE.contains(name));
}

/// RFC 7239 §6: IPv6 in brackets, and in quotes because a colon is no token character.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"[{v6}]\""),
    }
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("invariant: addresses are ASCII")
}

fn forwarded(client: &Client, authority: &HeaderValue) -> HeaderValue {
    let mut told = client.told.borrow_mut();
    if let Some((asked, value)) = &*told
        && asked == authority
    {
        return value.clone();
    }
    let value = forwarded_anew(client, authority);
    // A copy: the field itself would keep the connection's read buffer alive.
    let copy = HeaderValue::from_bytes(authority.as_bytes()).ok();
    *told = copy.map(|asked| (asked, value.clone()));
    value
}

fn forwarded_anew(client: &Client, authority: &HeaderValue) -> HeaderValue {
    let host = authority.as_bytes();
    let mut value = BytesMut::with_capacity(client.forwarded.len() + host.len() + 8);
    value.put_slice(client.forwarded.as_bytes());
    if !host.is_empty() {
        // A checked authority has no quote or backslash. Its colon or brackets are no token characters.
        let quote: &[u8] = if host.iter().any(|byte| b":[]".contains(byte)) {
            b"\""
        } else {
            b""
        };
        value.put_slice(b";host=");
        value.put_slice(quote);
        value.put_slice(host);
        value.put_slice(quote);
    }
    HeaderValue::from_maybe_shared(value.freeze()).expect("invariant: made of checked parts")
}

/// Whether the request passed this very process before. The pseudonym alone would not do: a chain of weirs is in order.
fn is_loop(fields: &HeaderMap) -> bool {
    fields
        .get_all(VIA)
        .iter()
        .any(|line| line.to_str().is_ok_and(|line| line.contains(instance())))
}

fn via(version: Version) -> HeaderValue {
    // Leaked once: a shared buffer would make all workers contend for its reference count.
    static LINES: OnceLock<[&str; 3]> = OnceLock::new();
    let [http_1_0, http_1_1, http_2] = LINES.get_or_init(|| {
        ["1.0", "1.1", "2.0"].map(|version| &*format!("{version} {}", instance()).leak())
    });
    HeaderValue::from_static(match version {
        Version::HTTP_10 => http_1_0,
        Version::HTTP_2 => http_2,
        _ => http_1_1,
    })
}

/// `weir (0f3a…)`: the pseudonym and, as a comment, which weir.
fn instance() -> &'static str {
    static INSTANCE: OnceLock<String> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        let mut text = String::new();
        write!(text, "weir ({:016x})", hasher.finish()).expect("invariant: a String takes it all");
        text
    })
}

/// Whether no client may say this to an origin.
///
/// CGI-like origins read `X_Real_Ip` as `X-Real-Ip`, so a field name with an underscore could pass for one of ours.
fn is_forgeable(name: &HeaderName) -> bool {
    UNTRUSTED.contains(name)
        || CERTIFICATE_FIELDS.contains(name)
        || name.as_str().as_bytes().contains(&b'_')
}

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What weir itself says to origins.
static OURS: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    FORWARDED,
    HOST,
    VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_REQUEST_ID,
];

/// And must not hear from others once the content has gone by.
static LATE: [HeaderName; 5] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_REQUEST_ID,
    TRAILER,
];

/// Fields that origins believe to come from their proxy: they change who the client seems to be, or which resource or
/// method is meant after the routes have judged it. The ones we set ourselves are replaced, not listed.
static UNTRUSTED: [HeaderName; 13] = [
    HeaderName::from_static("proxy"), // becomes HTTP_PROXY in CGI (CVE-2016-5385)
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-rewrite-url"),
];
