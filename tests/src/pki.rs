//! A throw-away certification authority and one server certificate for the lab's names.

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

/// Certificate files for weir, and the authority for the clients.
#[derive(Debug)]
pub struct Pki {
    /// PEM: server certificate, then the authority's.
    pub chain: PathBuf,
    /// PEM: the server's private key.
    pub key: PathBuf,
    authority: RootCertStore,
}

impl Pki {
    /// Makes everything anew and writes the server's files into `directory`.
    pub fn create(directory: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name = common_name("weir lab authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let mut server = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        server.distinguished_name = common_name(SERVER_NAME);
        let key_pair = KeyPair::generate()?;
        let certificate = server.signed_by(&key_pair, &authority)?;

        let chain = directory.join("chain.pem");
        let key = directory.join("key.pem");
        uninterrupted(|| {
            std::fs::write(&chain, certificate.pem() + &authority.pem())?;
            std::fs::write(&key, key_pair.serialize_pem())
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        Ok(Self {
            chain,
            key,
            authority: roots,
        })
    }

    /// A TLS client configuration that trusts the authority and offers exactly `alpn`.
    pub fn client_config(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.authority.clone())
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
