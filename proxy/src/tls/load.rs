//! Reads one certificate with its key and checks that they belong together.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, Validity, X509Certificate};

use super::{CertificateError, CertificateSettings};
use crate::clock;

/// A certificate ready to serve, and the DNS names and addresses it is for, lower case.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: CertifiedKey,
    pub(super) names: Vec<String>,
}

pub(super) fn certificate(
    settings: &CertificateSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Certificate, CertificateError> {
    let chain = chain(&settings.chain)?;
    let names = read_leaf(&settings.chain, &chain[0])?;
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
    Ok(Certificate { key, names })
}

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

/// Subject alternative names: DNS names and addresses. The common name is long obsolete (RFC 9525 §2).
///
/// A certificate outside its time is served and complained about: clients may still be better off with it than with
/// nothing, and a weir that refuses to start over it turns one expired name into an outage of all.
fn read_leaf(path: &Path, leaf: &CertificateDer<'_>) -> Result<Vec<String>, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|error| refuse(path, format!("holds a broken certificate: {error}")))?;
    if let Some(remark) = out_of_time(certificate.validity(), clock::wall()) {
        tracing::warn!(chain = %path.display(), "{remark}");
    }
    let alternative = certificate.subject_alternative_name().map_err(|error| {
        refuse(
            path,
            format!("has broken subject alternative names: {error}"),
        )
    })?;
    Ok(alternative
        .map(|extension| {
            extension
                .value
                .general_names
                .iter()
                .filter_map(name)
                .collect()
        })
        .unwrap_or_default())
}

/// What is wrong with `validity` at `now`.
fn out_of_time(validity: &Validity, now: SystemTime) -> Option<String> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let now = ASN1Time::from_timestamp(i64::try_from(now).ok()?).ok()?;
    if now > validity.not_after {
        return Some(format!("the certificate expired on {}", validity.not_after));
    }
    (now < validity.not_before).then(|| {
        format!(
            "the certificate is not valid before {}",
            validity.not_before
        )
    })
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_outside_its_time_is_remarked_on() {
        let at = |seconds| ASN1Time::from_timestamp(seconds).expect("a time");
        let validity = Validity {
            not_before: at(1_000),
            not_after: at(2_000),
        };
        for (now, part) in [
            (999, Some("not valid before")),
            (1_000, None),
            (2_000, None),
            (2_001, Some("expired on")),
        ] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            let remark = out_of_time(&validity, now);
            assert_eq!(remark.is_some(), part.is_some(), "{remark:?}");
            assert!(
                remark
                    .unwrap_or_default()
                    .contains(part.unwrap_or_default())
            );
        }
    }
}
