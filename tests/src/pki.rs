//! A throw-away certification authority, one server certificate for the lab's names and one for a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::cleanup::uninterrupted;

/// The name that clients ask for. `.test` never resolves (RFC 6761 §6.2).
pub const SERVER_NAME: &str = "weir.test";
/// The common name in the client's certificate.
pub const CLIENT_NAME: &str = "lab client";

/// Certificate files for weir, for servers and clients beside it, and the authority for the clients of the lab.
#[derive(Debug)]
pub struct Pki {
    /// PEM: server certificate, then the authority's.
    pub chain: PathBuf,
    /// PEM: the server's private key.
    pub key: PathBuf,
    /// PEM: the authority's certificate alone.
    pub authority: PathBuf,
    /// PEM: a certificate of the client [`CLIENT_NAME`].
    pub client_chain: PathBuf,
    /// PEM: that client's private key.
    pub client_key: PathBuf,
    roots: RootCertStore,
}

impl Pki {
    /// Makes everything anew and writes the server's files into `directory`.
    pub fn create(directory: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name = common_name("weir lab authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let issue = |name: &str, names: Vec<String>| -> Result<(String, String)> {
            let mut subject = CertificateParams::new(names)?;
            subject.distinguished_name = common_name(name);
            let key_pair = KeyPair::generate()?;
            let certificate = subject.signed_by(&key_pair, &authority)?;
            Ok((
                certificate.pem() + &authority.pem(),
                key_pair.serialize_pem(),
            ))
        };
        let server = issue(SERVER_NAME, vec![SERVER_NAME.to_owned()])?;
        let client = issue(CLIENT_NAME, Vec::new())?;
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            uninterrupted(|| std::fs::write(&path, text)).map(|()| path)
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        Ok(Self {
            chain: write("chain.pem", &server.0)?,
            key: write("key.pem", &server.1)?,
            authority: write("authority.pem", &authority.pem())?,
            client_chain: write("client-chain.pem", &client.0)?,
            client_key: write("client-key.pem", &client.1)?,
            roots,
        })
    }

    /// A TLS client configuration that trusts the authority and offers exactly `alpn`.
    pub fn client_config(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Arc::new(config))
    }

    /// A TLS server configuration with weir's own certificate, for an origin server, that agrees to `alpn` alone.
    pub fn server_config(&self, alpn: &[u8]) -> Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_file_iter(&self.chain)?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(Arc::new(config))
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
