//! TLS towards origin servers: whom to trust, who we are, which protocol to offer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, client, crypto,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{CertificateError, CertificateSettings, load, pem};

/// `tls` of an upstream with `https://` servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OriginTlsSettings {
    /// PEM certificates of the authorities to trust. Default: the system's.
    pub ca: Option<PathBuf>,
    /// Name in SNI and the one the certificate must have. Default: the server's host.
    pub server_name: Option<String>,
    /// What to show a server that asks for a certificate. Default: nothing.
    pub certificate: Option<CertificateSettings>,
    /// What of the server's certificate is verified. Default: all of it.
    pub verify: Verify,
    /// Protocols in ALPN.
    pub offer: Offer,
}

/// What of a server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Authority, name and time.
    Certificate,
    /// Only that the server has the certificate's key: anyone in between can have one, too.
    Nothing,
}

/// Protocols offered in ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offer {
    /// `http/1.1`
    Http1,
    /// `h2`
    Http2,
    /// `h2`, else `http/1.1`
    Either,
}

/// One upstream's TLS, made ready. Sessions are resumed (RFC 8446 §2.2), as long as this lives.
#[derive(Debug)]
pub struct OriginTls {
    settings: OriginTlsSettings,
    /// Whom it trusts, as the files said; `None`: anybody.
    trusted: Option<Arc<RootCertStore>>,
    /// The certificate it shows, likewise.
    shown: Vec<CertificateDer<'static>>,
    config: Arc<ClientConfig>,
    /// The same, but offers `http/1.1` alone: what is to be upgraded cannot be HTTP/2.
    http1: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

/// Why a handshake with an origin server failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// Its certificate does not verify.
    Certificate,
    /// It refused us.
    Alert,
    /// It speaks no TLS that we do.
    Protocol,
    /// The connection was lost.
    Closed,
}

impl OriginTls {
    /// Whether what was agreed with a server by this holds by `other`, too: the settings are the same, and so is what is
    /// in the files that they name.
    pub fn is_same(&self, other: &Self) -> bool {
        let same_trust = match (&self.trusted, &other.trusted) {
            (Some(one), Some(other)) => one.roots == other.roots,
            (one, other) => one.is_none() && other.is_none(),
        };
        self.settings == other.settings && self.shown == other.shown && same_trust
    }

    /// The handshake with the server `host`.
    pub(crate) async fn connect(
        &self,
        host: &str,
        offer: Offer,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        let config = match offer {
            Offer::Http1 => &self.http1,
            Offer::Http2 | Offer::Either => &self.config,
        };
        TlsConnector::from(Arc::clone(config))
            .connect(name, stream)
            .await
    }
}

impl HandshakeFailure {
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|source| source.downcast_ref()) {
            Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => {
                Self::Certificate
            }
            Some(Error::AlertReceived(_)) => Self::Alert,
            Some(_) => Self::Protocol,
            None => Self::Closed,
        }
    }
}

/// Makes the TLS of every upstream that has one, in order.
pub fn origins(
    upstreams: &[Option<OriginTlsSettings>],
) -> Result<Vec<Option<Arc<OriginTls>>>, CertificateError> {
    let mut system = None;
    upstreams
        .iter()
        .map(|settings| {
            let Some(settings) = settings else {
                return Ok(None);
            };
            origin(settings, &mut system).map(|tls| Some(Arc::new(tls)))
        })
        .collect()
}

fn origin(
    settings: &OriginTlsSettings,
    system: &mut Option<Arc<RootCertStore>>,
) -> Result<OriginTls, CertificateError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("invariant: the provider has suites for TLS 1.2 and 1.3");
    let trusted = match (settings.verify, &settings.ca) {
        (Verify::Nothing, _) => None,
        (Verify::Certificate, Some(ca)) => Some(Arc::new(authorities(ca)?)),
        (Verify::Certificate, None) => Some(match system {
            Some(roots) => Arc::clone(roots),
            None => Arc::clone(system.insert(Arc::new(system_authorities()?))),
        }),
    };
    let builder = match &trusted {
        None => {
            tracing::warn!("tls.verify = false: anybody can pass for the servers of an upstream");
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(Arc::clone(&provider))))
        }
        Some(roots) => builder.with_root_certificates(Arc::clone(roots)),
    };
    let mut shown = Vec::new();
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let certificate = load::certificate(files, &provider).map_err(in_upstream)?;
            shown.clone_from(&certificate.key.cert);
            let resolver: Arc<dyn client::ResolvesClientCert> =
                Arc::new(SingleCertAndKey::from(certificate.key));
            builder.with_client_cert_resolver(resolver)
        }
    };
    let server_name = settings.server_name.clone().map(|name| {
        ServerName::try_from(name).expect("invariant: the configuration has checked the name")
    });
    config.alpn_protocols = settings.offer.protocols();
    let mut http1 = config.clone();
    http1.alpn_protocols = Offer::Http1.protocols();
    Ok(OriginTls {
        settings: settings.clone(),
        trusted,
        shown,
        config: Arc::new(config),
        http1: Arc::new(http1),
        server_name,
    })
}

impl Offer {
    fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Either => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// The certificates of `path`.
fn authorities(path: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path).map_err(in_upstream)? {
        roots.add(certificate).map_err(|error| {
            let message = format!("holds what is no certificate of an authority: {error}");
            in_upstream(pem::refuse(
                path,
                message,
                "name those who issue the servers' certificates",
            ))
        })?;
    }
    Ok(roots)
}

/// What the system trusts, less what cannot be read: one odd file must not take all upstreams down.
fn system_authorities() -> Result<RootCertStore, CertificateError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "an authority of the system is left out");
    }
    let mut roots = RootCertStore::empty();
    let (added, _odd) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(CertificateError {
            path: PathBuf::from("/etc/ssl/certs"),
            message: "the system has no certificate authorities".to_owned(),
            hint: "install the package ca-certificates, or name a file in `tls.ca` of the [[upstream]]"
                .to_owned(),
            kind: io::ErrorKind::NotFound,
        });
    }
    Ok(roots)
}

fn in_upstream(error: CertificateError) -> CertificateError {
    CertificateError {
        hint: format!("in `tls` of the [[upstream]]: {}", error.hint),
        ..error
    }
}

/// Takes any certificate, but has the server prove that it has the key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
