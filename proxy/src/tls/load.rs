//! Reads one certificate with its key and checks that they belong together.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::SignatureAlgorithm;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::certs::covers;
use super::{CertificateError, CertificateSettings};
use crate::clock;

/// A certificate ready to serve.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// What it is served for, lower case.
    pub(super) names: Vec<String>,
    /// What it says of itself.
    pub(super) facts: Facts,
}

/// What a certificate says of itself, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `ECDSA P-256`, `RSA 2048`, `Ed25519`.
    pub key_type: String,
    /// Who issued it.
    pub issuer: String,
    /// Validity.
    pub not_before: SystemTime,
    /// Validity.
    pub not_after: SystemTime,
}

/// Reads a pair and checks that its parts belong together.
pub(super) fn certificate(
    settings: &CertificateSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Certificate, CertificateError> {
    let chain = chain(&settings.chain)?;
    let (own, facts) = read_leaf(&settings.chain, &chain[0])?;
    if let Some(remark) = facts.out_of_time(clock::wall()) {
        tracing::warn!(chain = %settings.chain.display(), "{remark}");
    }
    let names = if settings.names.is_empty() {
        own
    } else {
        for name in &settings.names {
            if !own.contains(name) && !covers(&own, name) {
                let message = format!("is not for {name}, which `names` lists");
                return Err(refuse(&settings.chain, message));
            }
        }
        settings.names.clone()
    };
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|error| unreadable(&settings.key, &error, "private key"))?;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let message = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!(
                    "is not the key of the certificate in {}",
                    settings.chain.display()
                )
            }
            other => format!("cannot be used as a private key: {other}"),
        };
        refuse(&settings.key, message)
    })?;
    Ok(Certificate {
        key: Arc::new(key),
        names,
        facts,
    })
}

impl Certificate {
    /// Kind of its key.
    pub(super) fn kind(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }
}

impl Facts {
    /// What is wrong with the validity at `now`.
    ///
    /// A certificate outside its time is served and complained about: clients may still be better off with it than with
    /// nothing, and a weir that refuses to start over it turns one expired name into an outage of all.
    pub fn out_of_time(&self, now: SystemTime) -> Option<String> {
        if now > self.not_after {
            return Some(format!(
                "the certificate expired on {}",
                date(self.not_after)
            ));
        }
        (now < self.not_before).then(|| {
            format!(
                "the certificate is not valid before {}",
                date(self.not_before)
            )
        })
    }
}

/// Certificates of a PEM file, at least one.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, &error, "certificate"))?;
    if chain.is_empty() {
        return Err(refuse(
            path,
            "holds no certificate (no PEM section BEGIN CERTIFICATE)",
        ));
    }
    Ok(chain)
}

/// Subject alternative names and facts. The common name is long obsolete (RFC 9525 §2).
pub(super) fn read_leaf(
    path: &Path,
    leaf: &CertificateDer<'_>,
) -> Result<(Vec<String>, Facts), CertificateError> {
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|error| refuse(path, format!("holds a broken certificate: {error}")))?;
    let alternative = certificate.subject_alternative_name().map_err(|error| {
        refuse(
            path,
            format!("has broken subject alternative names: {error}"),
        )
    })?;
    let names = alternative.map_or_else(Vec::new, |extension| {
        let names = extension.value.general_names.iter();
        names.filter_map(name).collect()
    });
    let validity = certificate.validity();
    let facts = Facts {
        key_type: key_type(&certificate),
        issuer: certificate.issuer().to_string(),
        not_before: time(validity.not_before),
        not_after: time(validity.not_after),
    };
    Ok((names, facts))
}

fn key_type(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        // RFC 8410 §3.
        _ => match certificate
            .public_key()
            .algorithm
            .algorithm
            .to_id_string()
            .as_str()
        {
            "1.3.101.112" => "Ed25519".to_owned(),
            other => other.to_owned(),
        },
    }
}

/// Times before 1970 count as then.
fn time(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Addresses are left out: SNI carries names only (RFC 6066 §3).
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

fn unreadable(path: &Path, error: &pem::Error, what: &str) -> CertificateError {
    let message = match error {
        pem::Error::Io(error) => {
            return CertificateError {
                path: path.to_path_buf(),
                message: format!("cannot be read: {error}"),
                hint: "name a file that is there and that weir may read in [[certificate]]"
                    .to_owned(),
                kind: error.kind(),
            };
        }
        pem::Error::NoItemsFound => format!("holds no {what} in PEM form"),
        other => format!("is not PEM: {other}"),
    };
    refuse(path, message)
}

pub(super) fn refuse(path: &Path, message: impl Into<String>) -> CertificateError {
    CertificateError {
        path: path.to_path_buf(),
        message: message.into(),
        hint: "put a matching pair in PEM form in place: `chain` with the server's certificate first, and its `key`"
            .to_owned(),
        kind: io::ErrorKind::InvalidData,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_outside_its_time_is_remarked_on() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let facts = Facts {
            key_type: String::new(),
            issuer: String::new(),
            not_before: at(1_000),
            not_after: at(2_000),
        };
        for (now, part) in [
            (999, Some("not valid before")),
            (1_000, None),
            (2_000, None),
            (2_001, Some("expired on 1970-01-01T00:33:20Z")),
        ] {
            let remark = facts.out_of_time(at(now));
            assert_eq!(remark.is_some(), part.is_some(), "{remark:?}");
            assert!(
                remark
                    .unwrap_or_default()
                    .contains(part.unwrap_or_default())
            );
        }
    }
}
