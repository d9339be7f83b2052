//! Client certificates: who may issue them, and what they say of a client.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context, SHA256, digest};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

use super::pem::{self, refuse};
use super::tickets::Policy;
use super::{CertificateError, ClientAuthMode, ClientAuthSettings};

/// Verifies what clients show on a listener.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) policy: Policy,
}

/// What a verified client certificate says; all printable ASCII, so that it fits into fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Distinguished name as in RFC 4514: `CN=alice,O=Example`.
    pub(crate) subject: String,
    /// `DNS:a.test,URI:spiffe://a/b,email:a@b,IP:192.0.2.1`; a comma, a space and what is not printable ASCII are
    /// percent-encoded.
    pub(crate) alternative_names: String,
    /// SHA-256 over the certificate, in hexadecimal.
    pub(crate) fingerprint: String,
    /// End of its validity.
    not_after: SystemTime,
}

/// Reads the authorities.
pub(super) fn authority(
    settings: &ClientAuthSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Authority, CertificateError> {
    let certificates = pem::certificates(&settings.ca)?;
    let mut policy = Context::new(&SHA256);
    policy.update(match settings.mode {
        ClientAuthMode::Required => b"required",
        ClientAuthMode::Optional => b"optional",
    });
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        policy.update(&certificate);
        roots.add(certificate).map_err(|error| {
            let message = format!("holds a certificate that cannot be an authority: {error}");
            refuse(&settings.ca, message, AUTHORITIES)
        })?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match settings.mode {
        ClientAuthMode::Required => builder,
        ClientAuthMode::Optional => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(|error| {
        let message = format!("cannot verify clients: {error}");
        refuse(&settings.ca, message, AUTHORITIES)
    })?;
    let mut digest = Policy::default();
    digest.copy_from_slice(policy.finish().as_ref());
    Ok(Authority {
        verifier,
        policy: digest,
    })
}

impl Identity {
    /// Of the leaf that a client showed; `None` if it cannot be parsed, which a verified one can.
    pub(crate) fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let names = certificate.subject_alternative_name().ok()?;
        let not_after = certificate.validity().not_after.timestamp();
        let mut fingerprint = String::with_capacity(64);
        for byte in digest(&SHA256, leaf).as_ref() {
            let _infallible = write!(fingerprint, "{byte:02x}");
        }
        Some(Self {
            subject: subject(&certificate),
            alternative_names: names.map_or_else(String::new, |names| {
                let names = names.value.general_names.iter();
                names.filter_map(name).collect::<Vec<_>>().join(",")
            }),
            fingerprint,
            not_after: SystemTime::UNIX_EPOCH
                + Duration::from_secs(u64::try_from(not_after).unwrap_or(0)),
        })
    }

    /// Whether it is past its time at `now`: a resumed session is not verified again.
    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        now > self.not_after
    }
}

/// RFC 4514 §2.1: the most specific part first.
fn subject(certificate: &X509Certificate<'_>) -> String {
    let names: Vec<_> = certificate.subject().iter_rdn().collect();
    let names = names.into_iter().rev().map(|name| {
        let parts: Vec<_> = name.iter().map(attribute).collect();
        parts.join("+")
    });
    names.collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = oid2abbrev(attribute.attr_type(), oid_registry()).map_or_else(
        |_unknown| attribute.attr_type().to_id_string(),
        str::to_owned,
    );
    let value = attribute.as_str().map_or_else(
        // RFC 4514 §2.4: what is no text, by its encoding.
        |_binary| {
            let mut hex = "#".to_owned();
            for byte in attribute.as_slice() {
                let _infallible = write!(hex, "{byte:02x}");
            }
            hex
        },
        escaped,
    );
    format!("{kind}={value}")
}

/// RFC 4514 §2.4; what is not printable ASCII too.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let is_edge = at == 0 || at + 1 == text.len();
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                escaped.push('\\');
                escaped.push(char::from(byte));
            }
            b' ' | b'#' if is_edge => {
                escaped.push('\\');
                escaped.push(char::from(byte));
            }
            b' '..=b'~' => escaped.push(char::from(byte)),
            _ => {
                let _infallible = write!(escaped, "\\{byte:02x}");
            }
        }
    }
    escaped
}

/// The kinds that identify somebody; others are left out.
fn name(name: &GeneralName<'_>) -> Option<String> {
    Some(match name {
        GeneralName::DNSName(name) => format!("DNS:{}", encoded(name)),
        GeneralName::URI(uri) => format!("URI:{}", encoded(uri)),
        GeneralName::RFC822Name(address) => format!("email:{}", encoded(address)),
        GeneralName::IPAddress(octets) => {
            let address = match octets.len() {
                4 => <[u8; 4]>::try_from(*octets).ok()?.into(),
                16 => <[u8; 16]>::try_from(*octets).ok()?.into(),
                _ => return None,
            };
            let address: std::net::IpAddr = address;
            format!("IP:{address}")
        }
        _ => return None,
    })
}

/// What separates names, percent-encoded; and so the percent sign, or one name could pass for two.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b',' | b'%') {
            encoded.push(char::from(byte));
        } else {
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

const AUTHORITIES: &str = "in `client_auth` of the [[listen]], name the certificates of those who issue clients' \
                           certificates";
