//! Certificates by name and rustls settings. TLS 1.2 and 1.3, aws-lc-rs.

use std::path::PathBuf;

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
}

/// Reads every certificate and makes the server settings: SNI picks by exact name, then wildcard, then the first
/// certificate. ALPN is set per listener by the worker.
pub fn server_config(
    certificates: &[CertificateSettings],
) -> Result<rustls::ServerConfig, CertificateError> {
    let _ = certificates;
    todo!()
}
