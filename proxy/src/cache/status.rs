//! What the cache did for a response, in the words of RFC 9211.

use http::HeaderValue;

/// Why a request went to the origin: RFC 9211 §2.2's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The cache was not consulted: the route does not cache, or the request is of a kind the cache does not handle.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing stored for the URI.
    UriMiss,
    /// Something stored, but for other nominated fields.
    VaryMiss,
    /// The request's directives or credentials refuse what is stored.
    Request,
    /// What is stored is stale.
    Stale,
}

impl Forwarded {
    /// The word, as in `fwd=` and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// What the cache did for a response: rendered as `Cache-Status` (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Served from the store.
    Hit {
        /// Freshness left, seconds.
        ttl_seconds: u64,
    },
    /// Sent to the origin.
    Forwarded {
        /// Why.
        why: Forwarded,
        /// Whether the response is being stored.
        stored: bool,
    },
}

impl Status {
    /// `weir; hit; ttl=30` or `weir; fwd=uri-miss; stored`. A member to append to the field: what is nearer to the origin
    /// comes first (RFC 9211 §2).
    pub fn to_field(self) -> HeaderValue {
        let text = match self {
            Self::Hit { ttl_seconds } => format!("weir; hit; ttl={ttl_seconds}"),
            Self::Forwarded { why, stored: false } => format!("weir; fwd={}", why.as_str()),
            Self::Forwarded { why, stored: true } => format!("weir; fwd={}; stored", why.as_str()),
        };
        HeaderValue::try_from(text).expect("invariant: printable ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_rfc_9211_form() {
        let forwarded = |why, stored| Status::Forwarded { why, stored };
        for (status, expected) in [
            (Status::Hit { ttl_seconds: 30 }, "weir; hit; ttl=30"),
            (forwarded(Forwarded::Bypass, false), "weir; fwd=bypass"),
            (forwarded(Forwarded::Method, false), "weir; fwd=method"),
            (
                forwarded(Forwarded::UriMiss, true),
                "weir; fwd=uri-miss; stored",
            ),
            (
                forwarded(Forwarded::VaryMiss, true),
                "weir; fwd=vary-miss; stored",
            ),
            (forwarded(Forwarded::Request, false), "weir; fwd=request"),
            (forwarded(Forwarded::Stale, true), "weir; fwd=stale; stored"),
        ] {
            assert_eq!(status.to_field(), expected);
        }
    }
}
