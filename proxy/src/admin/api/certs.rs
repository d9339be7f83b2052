//! `/v1/certs`

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `GET /v1/certs`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificates {
    /// In file order; the first is the default one.
    pub certificates: Vec<Certificate>,
    /// What is wrong with files of client authorities; the last good ones are in use.
    pub problems: Vec<String>,
}

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Names it is served for.
    pub names: Vec<String>,
    /// `ECDSA P-256`, `RSA 2048`, `Ed25519`.
    pub key_type: String,
    /// Who issued it.
    pub issuer: String,
    /// Begin of its validity, in seconds since 1970 (UTC).
    pub not_before: u64,
    /// End of its validity, in seconds since 1970 (UTC).
    pub not_after: u64,
    /// Until then; negative when it expired.
    pub expires_in_seconds: i64,
    /// File of its chain.
    pub chain: PathBuf,
    /// File of its key.
    pub key: PathBuf,
    /// Why the files as they are now are not what is in use; `null` when they are.
    pub error: Option<String>,
}
