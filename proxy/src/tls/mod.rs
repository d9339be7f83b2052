//! TLS towards clients: certificates by name, kept current while their files change, tickets, client certificates.
//! TLS 1.2 (RFC 5246) and 1.3 (RFC 8446) only, by rustls and aws-lc-rs; X25519MLKEM768 is the preferred key exchange.

mod acceptor;
mod certs;
mod client;
mod credentials;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod load;
mod origin;
mod pem;
mod store;
mod tickets;
mod watched;

pub(crate) use acceptor::{Acceptor, ClientOffer};
pub(crate) use certs::Served;
pub(crate) use client::Identity;
pub use credentials::Credentials;
pub use load::Facts;
pub(crate) use origin::HandshakeFailure;
pub use origin::{Offer, OriginTls, OriginTlsSettings, Verify, origins};
pub use store::{CertificateState, Store};

use std::io;
use std::path::PathBuf;

/// One `[[certificate]]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateSettings {
    /// PEM chain, leaf first.
    pub chain: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// Names it is served for, lower case, `*.` for any one label. Empty: the certificate's own.
    pub names: Vec<String>,
}

/// What one listener makes of the certificates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ListenerSettings {
    /// What a client gets that names nothing or something unknown. Default: the default certificate.
    pub sni: Sni,
    /// Client certificates. Default: none are asked for.
    pub client_auth: Option<ClientAuthSettings>,
}

/// What a client gets that names no host that a certificate is served for (RFC 6066 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sni {
    /// The first certificate.
    #[default]
    Default,
    /// A failed handshake.
    Strict,
}

/// `client_auth` of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientAuthSettings {
    /// PEM certificates of the authorities that clients' certificates come from.
    pub ca: PathBuf,
    /// Whether a client may do without.
    pub mode: ClientAuthMode,
}

/// Whether a client needs a certificate. One that does not verify fails the handshake in either mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuthMode {
    /// No certificate, no handshake.
    Required,
    /// Asked for, and may be left out.
    Optional,
}

/// What is wrong with a certificate or key file.
#[derive(Debug, Clone, thiserror::Error)]
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

#[cfg(test)]
mod tests;
