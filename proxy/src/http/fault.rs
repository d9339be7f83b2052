//! What can go wrong with a request, and the one place that says what the client is told: the status, the
//! `Proxy-Status` (RFC 9209), whose fault it is, and whether another origin server may be asked.

use http::{HeaderValue, StatusCode};

use crate::detect::Offence;

/// Why a request is not answered with an origin's response. Names are RFC 9209 §2.3's where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// The request is malformed or ambiguous.
    BadRequest(Malformed),
    /// `CONNECT`: weir is no forward proxy (RFC 9110 §15.6.2).
    ConnectUnsupported,
    /// `TRACE` shows what fields weir adds, so it is refused (RFC 9110 §9.3.8).
    TraceRefused,
    /// The route is not for this client.
    Forbidden,
    /// The route's `basic_auth` knows no such user and password.
    Unauthorized,
    /// More requests than the route's `limit`.
    TooManyRequests,
    /// A request target longer than weir takes (RFC 9110 §15.5.15).
    TargetTooLong,
    /// A host that the certificate of this connection is not for (RFC 9110 §15.5.20).
    Misdirected,
    /// More content than `body_bytes`.
    ContentTooLarge,
    /// More field lines than `header_fields`.
    FieldsTooMany,
    /// The client stopped sending content.
    ContentTimeout,
    /// The client's content ended before its declared end.
    ContentIncomplete,
    /// No route.
    DestinationNotFound,
    /// The request came through this weir before.
    ProxyLoopDetected,
    /// Every server is drained or unhealthy.
    DestinationUnavailable,
    /// Connections to the servers are at their limit, and so is the number of requests that wait for one, or how long.
    ConnectionLimitReached,
    /// The origin server's name cannot be looked up.
    DnsError,
    /// No connection within `timeouts.connect`.
    ConnectionTimeout,
    /// The origin server refused the connection.
    ConnectionRefused,
    /// There is no way to the origin server.
    DestinationIpUnroutable,
    /// The origin server's certificate does not verify.
    TlsCertificateError,
    /// The origin server refused the TLS handshake.
    TlsAlertReceived,
    /// The origin server speaks no TLS, or no protocol over it, that weir does.
    TlsProtocolError,
    /// The origin server did not look at the request: it leaves, or has enough streams (RFC 9113 §6.8, §8.7).
    StreamRefused,
    /// An upgrade was asked for, and the upstream speaks HTTP/2 only.
    UpgradeUnsupported,
    /// There are as many upgrades as `limits.upgrades`.
    UpgradeLimitReached,
    /// The origin server agreed to another upgrade than the one asked for.
    HttpUpgradeFailed,
    /// The connection was lost before any part of a response.
    ConnectionTerminated,
    /// No response head, or no progress of the request, within `timeouts.response`.
    HttpResponseTimeout,
    /// The response ended before its end.
    HttpResponseIncomplete,
    /// The response head is larger than weir takes.
    HttpResponseHeaderSectionSize,
    /// What came is not a valid response.
    HttpProtocolError,
    /// weir has no descriptor, port or memory for a connection to the origin server.
    ProxyInternalError,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Malformed {
    /// RFC 9112 §3.2: missing in HTTP/1.1, repeated, or no valid host and port.
    Host,
    /// RFC 9113 §8.3.1, RFC 9112 §3.2.2: the target names another host than `Host`.
    HostMismatch,
    /// RFC 9112 §3.2: no target form that goes with the method, or forbidden bytes.
    Target,
    /// A field name with an underscore, where those are refused.
    Underscore,
    /// RFC 9112 §6.1: `Content-Length` and `Transfer-Encoding` in one message.
    Framing,
    /// RFC 9112 §7: a transfer coding other than `chunked`, once. Only that one is taken off.
    Coding,
    /// RFC 9112 §7.1: chunks that are cut, run over, or said in another way than the plain one.
    Chunks,
    /// What a trusted hop says of the client cannot be read, or contradicts itself (RFC 7239).
    Forwarded,
    /// RFC 9112 §2.2, §5.2: a line end or fold that others read differently.
    Line,
}

/// Whose doing a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The client's.
    Client,
    /// Ours or our configuration's.
    Proxy,
    /// The origin server's.
    Origin,
}

/// Whether another origin server may be asked, as far as the fault goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Nothing of the request reached an origin server.
    Always,
    /// An origin server says that it did not act on it: any request whose content can be sent again.
    Unprocessed,
    /// An origin server may have acted on it: only an idempotent request whose content can be sent again.
    Idempotent,
    /// Asking again would not help, or would double the harm.
    Never,
}

impl Fault {
    /// Sent to the client.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::ContentIncomplete => StatusCode::BAD_REQUEST,
            Self::ConnectUnsupported | Self::UpgradeUnsupported => StatusCode::NOT_IMPLEMENTED,
            Self::TraceRefused => StatusCode::METHOD_NOT_ALLOWED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::FieldsTooMany => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ContentTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::DestinationNotFound => StatusCode::NOT_FOUND,
            Self::DestinationUnavailable
            | Self::ConnectionLimitReached
            | Self::UpgradeLimitReached
            | Self::ProxyInternalError => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectionTimeout | Self::HttpResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::ProxyLoopDetected
            | Self::DnsError
            | Self::ConnectionRefused
            | Self::DestinationIpUnroutable
            | Self::TlsCertificateError
            | Self::TlsAlertReceived
            | Self::TlsProtocolError
            | Self::StreamRefused
            | Self::HttpUpgradeFailed
            | Self::ConnectionTerminated
            | Self::HttpResponseIncomplete
            | Self::HttpResponseHeaderSectionSize
            | Self::HttpProtocolError => StatusCode::BAD_GATEWAY,
        }
    }

    /// `Proxy-Status` with an error type of RFC 9209 §2.3, and a line for the client.
    #[allow(clippy::too_many_lines, reason = "a table")]
    const fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest(malformed) => (REQUEST_ERROR, malformed.text()),
            Self::ConnectUnsupported => (REQUEST_DENIED, "CONNECT is not supported\n"),
            Self::TraceRefused => (REQUEST_DENIED, "TRACE is not allowed\n"),
            Self::Forbidden => (REQUEST_DENIED, "forbidden\n"),
            Self::Unauthorized => (REQUEST_DENIED, "unauthorized\n"),
            Self::TooManyRequests => (REQUEST_DENIED, "too many requests\n"),
            Self::TargetTooLong => (REQUEST_ERROR, "request target too long\n"),
            Self::Misdirected => (REQUEST_DENIED, "wrong connection for this host\n"),
            Self::ContentTooLarge => (REQUEST_ERROR, "request content too large\n"),
            Self::FieldsTooMany => (REQUEST_ERROR, "too many request header fields\n"),
            Self::ContentTimeout => (REQUEST_ERROR, "request content stalled\n"),
            Self::ContentIncomplete => (REQUEST_ERROR, "request content incomplete\n"),
            Self::DestinationNotFound => ("weir; error=destination_not_found", "no such site\n"),
            Self::ProxyLoopDetected => ("weir; error=proxy_loop_detected", "proxy loop\n"),
            Self::DestinationUnavailable => (
                "weir; error=destination_unavailable",
                "no origin available\n",
            ),
            Self::ConnectionLimitReached => (
                "weir; error=connection_limit_reached",
                "origin at its connection limit\n",
            ),
            Self::DnsError => ("weir; error=dns_error", "origin not found\n"),
            Self::ConnectionTimeout => (
                "weir; error=connection_timeout",
                "origin connection timed out\n",
            ),
            Self::ConnectionRefused => (
                "weir; error=connection_refused",
                "origin refused the connection\n",
            ),
            Self::DestinationIpUnroutable => (
                "weir; error=destination_ip_unroutable",
                "origin unreachable\n",
            ),
            Self::TlsCertificateError => (
                "weir; error=tls_certificate_error",
                "origin certificate invalid\n",
            ),
            Self::TlsAlertReceived => (
                "weir; error=tls_alert_received",
                "origin refused the TLS handshake\n",
            ),
            Self::TlsProtocolError => (
                "weir; error=tls_protocol_error",
                "origin TLS handshake failed\n",
            ),
            Self::StreamRefused => (
                "weir; error=connection_terminated",
                "origin did not take the request\n",
            ),
            Self::UpgradeLimitReached => (
                "weir; error=connection_limit_reached",
                "too many upgraded connections\n",
            ),
            Self::HttpUpgradeFailed => (
                "weir; error=http_upgrade_failed",
                "origin upgrade invalid\n",
            ),
            Self::UpgradeUnsupported => (
                "weir; error=http_upgrade_failed",
                "upgrade not supported here\n",
            ),
            Self::ConnectionTerminated => (
                "weir; error=connection_terminated",
                "origin closed the connection\n",
            ),
            Self::HttpResponseTimeout => (
                "weir; error=http_response_timeout",
                "origin did not respond in time\n",
            ),
            Self::HttpResponseIncomplete => (
                "weir; error=http_response_incomplete",
                "origin response incomplete\n",
            ),
            Self::HttpResponseHeaderSectionSize => (
                "weir; error=http_response_header_section_size",
                "origin response head too large\n",
            ),
            Self::HttpProtocolError => (
                "weir; error=http_protocol_error",
                "origin response invalid\n",
            ),
            Self::ProxyInternalError => ("weir; error=proxy_internal_error", "out of resources\n"),
        }
    }

    /// Whose doing it is.
    pub(crate) const fn who(self) -> Who {
        match self {
            Self::BadRequest(_)
            | Self::ConnectUnsupported
            | Self::TraceRefused
            | Self::TargetTooLong
            | Self::Misdirected
            | Self::ContentTooLarge
            | Self::FieldsTooMany
            | Self::ContentTimeout
            | Self::ContentIncomplete => Who::Client,
            Self::Forbidden
            | Self::Unauthorized
            | Self::TooManyRequests
            | Self::DestinationNotFound
            | Self::ProxyLoopDetected
            | Self::DestinationUnavailable
            | Self::ConnectionLimitReached
            | Self::UpgradeUnsupported
            | Self::UpgradeLimitReached
            | Self::ProxyInternalError => Who::Proxy,
            Self::DnsError
            | Self::ConnectionTimeout
            | Self::ConnectionRefused
            | Self::DestinationIpUnroutable
            | Self::TlsCertificateError
            | Self::TlsAlertReceived
            | Self::TlsProtocolError
            | Self::StreamRefused
            | Self::HttpUpgradeFailed
            | Self::ConnectionTerminated
            | Self::HttpResponseTimeout
            | Self::HttpResponseIncomplete
            | Self::HttpResponseHeaderSectionSize
            | Self::HttpProtocolError => Who::Origin,
        }
    }

    /// What detection may count it as.
    pub(crate) const fn offence(self) -> Option<Offence> {
        match self {
            Self::BadRequest(_) | Self::FieldsTooMany | Self::TargetTooLong => {
                Some(Offence::ProtocolError)
            }
            Self::ContentTimeout => Some(Offence::SlowRequest),
            _ => None,
        }
    }

    /// Whether another origin server may be asked.
    pub(crate) const fn retry(self) -> Retry {
        match self {
            Self::ConnectionLimitReached
            | Self::DnsError
            | Self::ConnectionTimeout
            | Self::ConnectionRefused
            | Self::DestinationIpUnroutable
            | Self::TlsCertificateError
            | Self::TlsAlertReceived
            | Self::TlsProtocolError => Retry::Always,
            Self::StreamRefused => Retry::Unprocessed,
            Self::ConnectionTerminated | Self::HttpResponseIncomplete => Retry::Idempotent,
            _ => Retry::Never,
        }
    }

    /// `Proxy-Status` (RFC 9209 §2).
    pub(crate) const fn proxy_status(self) -> HeaderValue {
        HeaderValue::from_static(self.text().0)
    }

    /// RFC 9209's error type, for the log.
    pub(crate) fn name(self) -> &'static str {
        let field = self.text().0;
        field.split_once('=').map_or(field, |(_, name)| name)
    }

    /// One line for the client; names no origin.
    pub(crate) const fn explanation(self) -> &'static str {
        self.text().1
    }
}

impl Malformed {
    const fn text(self) -> &'static str {
        match self {
            Self::Host => "Host missing, repeated or invalid\n",
            Self::HostMismatch => "Host differs from the request target\n",
            Self::Target => "invalid request target\n",
            Self::Underscore => "field name with an underscore\n",
            Self::Framing => "Content-Length with Transfer-Encoding\n",
            Self::Coding => "transfer coding other than chunked\n",
            Self::Chunks => "invalid chunk in the request content\n",
            Self::Forwarded => "invalid forwarding fields\n",
            Self::Line => "invalid line in the request head\n",
        }
    }
}

/// RFC 9209 §2.3.15: a 4xx on the origin's behalf.
const REQUEST_ERROR: &str = "weir; error=http_request_error";
/// RFC 9209 §2.3.16: refused by policy.
const REQUEST_DENIED: &str = "weir; error=http_request_denied";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Fault; 41] = [
        Fault::BadRequest(Malformed::Host),
        Fault::BadRequest(Malformed::HostMismatch),
        Fault::BadRequest(Malformed::Target),
        Fault::BadRequest(Malformed::Underscore),
        Fault::BadRequest(Malformed::Framing),
        Fault::BadRequest(Malformed::Coding),
        Fault::BadRequest(Malformed::Chunks),
        Fault::BadRequest(Malformed::Line),
        Fault::BadRequest(Malformed::Forwarded),
        Fault::ConnectUnsupported,
        Fault::TraceRefused,
        Fault::Forbidden,
        Fault::Unauthorized,
        Fault::TooManyRequests,
        Fault::TargetTooLong,
        Fault::Misdirected,
        Fault::ContentTooLarge,
        Fault::FieldsTooMany,
        Fault::ContentTimeout,
        Fault::ContentIncomplete,
        Fault::DestinationNotFound,
        Fault::ProxyLoopDetected,
        Fault::DestinationUnavailable,
        Fault::ConnectionLimitReached,
        Fault::DnsError,
        Fault::ConnectionTimeout,
        Fault::ConnectionRefused,
        Fault::DestinationIpUnroutable,
        Fault::TlsCertificateError,
        Fault::TlsAlertReceived,
        Fault::TlsProtocolError,
        Fault::StreamRefused,
        Fault::UpgradeUnsupported,
        Fault::UpgradeLimitReached,
        Fault::HttpUpgradeFailed,
        Fault::ConnectionTerminated,
        Fault::HttpResponseTimeout,
        Fault::HttpResponseIncomplete,
        Fault::HttpResponseHeaderSectionSize,
        Fault::HttpProtocolError,
        Fault::ProxyInternalError,
    ];

    #[test]
    fn clients_are_blamed_with_4xx_and_origins_with_502_or_504() {
        for fault in ALL {
            let status = fault.status();
            match fault.who() {
                Who::Client if fault == Fault::ConnectUnsupported => {}
                Who::Client => assert!(status.is_client_error(), "{fault:?}"),
                Who::Origin => assert!(matches!(status.as_u16(), 502 | 504), "{fault:?}"),
                Who::Proxy => {}
            }
        }
    }

    #[test]
    fn only_faults_before_anything_was_sent_are_retried_for_every_method() {
        for fault in ALL {
            let before_sending = matches!(
                fault,
                Fault::ConnectionLimitReached
                    | Fault::DnsError
                    | Fault::ConnectionTimeout
                    | Fault::ConnectionRefused
                    | Fault::DestinationIpUnroutable
                    | Fault::TlsCertificateError
                    | Fault::TlsAlertReceived
                    | Fault::TlsProtocolError
            );
            assert_eq!(fault.retry() == Retry::Always, before_sending, "{fault:?}");
        }
    }

    #[test]
    fn proxy_status_names_weir_and_an_error_of_the_registry() {
        for fault in ALL {
            let value = fault.proxy_status();
            let text = value.to_str().expect("static");
            let error = text.strip_prefix("weir; error=").expect("form");
            assert!(
                error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{text}"
            );
        }
    }
}
