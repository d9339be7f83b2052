//! What origins are told of a client's certificate, in fields that no client can send: they are removed from every
//! request first, whether or not a certificate was asked for.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::tls::Identity;

/// A verified client certificate, as fields; made once a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Certificate {
    subject: HeaderValue,
    alternative_names: Option<HeaderValue>,
    fingerprint: HeaderValue,
}

impl Certificate {
    pub(in crate::http) fn new(identity: &Identity) -> Self {
        let value = |text: &str| {
            HeaderValue::from_str(text).expect("invariant: an identity is printable ASCII")
        };
        let names = &identity.alternative_names;
        Self {
            subject: value(&identity.subject),
            alternative_names: (!names.is_empty()).then(|| value(names)),
            fingerprint: value(&identity.fingerprint),
        }
    }

    pub(super) fn insert(&self, fields: &mut HeaderMap) {
        fields.insert(SUBJECT, self.subject.clone());
        if let Some(names) = &self.alternative_names {
            fields.insert(ALTERNATIVE_NAMES, names.clone());
        }
        fields.insert(FINGERPRINT, self.fingerprint.clone());
    }
}

pub(super) const SUBJECT: HeaderName = HeaderName::from_static("x-client-cert-subject");
pub(super) const ALTERNATIVE_NAMES: HeaderName = HeaderName::from_static("x-client-cert-san");
pub(super) const FINGERPRINT: HeaderName = HeaderName::from_static("x-client-cert-fingerprint");
