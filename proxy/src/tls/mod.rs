//! Certificates by name and rustls settings. TLS 1.2 (RFC 5246) and 1.3 (RFC 8446), aws-lc-rs.

mod acceptor;
mod certs;
mod load;
mod origin;

pub(crate) use acceptor::Acceptor;
pub(crate) use origin::HandshakeFailure;
pub use origin::{Offer, OriginTls, OriginTlsSettings, Verify, origins};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;

use certs::ByName;

/// One `[[certificate]]`. Names are the certificate's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateSettings {
    /// PEM chain, leaf first.
    pub chain: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// What is wrong with a certificate or key file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}", path = path.display())]
pub struct CertificateError {
    /// The file.
    pub path: PathBuf,
    /// One sentence, without its full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Why the file could not be read, or [`io::ErrorKind::InvalidData`] for what is in it.
    pub kind: io::ErrorKind,
}

/// Reads every certificate and makes the server settings: SNI picks by exact name, then wildcard, then the first
/// certificate. ALPN is set per listener by the worker. Resumption uses stateless tickets (RFC 5077, RFC 8446 §4.6.1)
/// whose key lives as long as these settings; there is no early data, so nothing can be replayed.
pub fn server_config(
    certificates: &[CertificateSettings],
) -> Result<ServerConfig, CertificateError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut by_name = ByName::default();
    for settings in certificates {
        let certificate = load::certificate(settings, &provider)?;
        by_name.add(Arc::new(certificate.key), &certificate.names);
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("invariant: the provider has suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(by_name));
    // Without a ticketer rustls keeps sessions in a map behind a lock; a failing random source leaves it at that.
    if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(config)
}

#[cfg(test)]
mod tests;
