//! Reads one certificate with its key and checks that they belong together.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertificateError, CertificateSettings};

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
    let names = names(&settings.chain, &chain[0])?;
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

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
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
fn names(path: &Path, leaf: &CertificateDer<'_>) -> Result<Vec<String>, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|error| refuse(path, format!("holds a broken certificate: {error}")))?;
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

/// Addresses are left out: SNI carries names only (RFC 6066 §3).
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

fn unreadable(path: &Path, error: &pem::Error, what: &str) -> CertificateError {
    let message = match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("holds no {what} in PEM form"),
        other => format!("is not PEM: {other}"),
    };
    refuse(path, message)
}

fn refuse(path: &Path, message: impl Into<String>) -> CertificateError {
    CertificateError {
        path: path.to_path_buf(),
        message: message.into(),
    }
}
