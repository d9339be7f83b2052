//! Clients of TLS and HTTP/2, and a certificate for them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedKey, KeyPair};
use rustls::client::WantsClientCert;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use weir::tls::{CertificateSettings, Credentials, Store};

use crate::weir::PATIENCE;

/// A certificate in files that go with it; its own authority.
pub struct Certificate {
    dir: PathBuf,
    pub settings: CertificateSettings,
    made: CertifiedKey<KeyPair>,
}

impl Certificate {
    /// For `a.test`.
    pub fn new() -> Self {
        Self::of(&["a.test"], KeyPair::generate().unwrap())
    }

    pub fn named(names: &[&str]) -> Self {
        Self::of(names, KeyPair::generate().unwrap())
    }

    pub fn rsa(names: &[&str]) -> Self {
        let size = rcgen::RsaKeySize::_2048;
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
        Self::of(names, key)
    }

    fn of(names: &[&str], key: KeyPair) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let dir = std::env::temp_dir().join(format!("weir-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let parameters = CertificateParams::new(names).unwrap();
        let cert = parameters.self_signed(&key).unwrap();
        let settings = CertificateSettings {
            chain: dir.join("chain.pem"),
            key: dir.join("key.pem"),
            names: Vec::new(),
        };
        let certificate = Self {
            dir,
            settings,
            made: CertifiedKey {
                cert,
                signing_key: key,
            },
        };
        certificate.write();
        certificate
    }

    /// Puts it where `settings` say.
    fn write(&self) {
        self.write_as(&self.settings);
    }

    /// Puts it in place of another.
    pub fn write_as(&self, settings: &CertificateSettings) {
        std::fs::write(&settings.chain, self.made.cert.pem()).unwrap();
        std::fs::write(&settings.key, self.made.signing_key.serialize_pem()).unwrap();
    }

    /// What a server serves by that has this certificate only.
    pub fn server(&self) -> Credentials {
        self.store().credentials()
    }

    pub fn store(&self) -> Store {
        let settings = std::slice::from_ref(&self.settings);
        Store::load(settings, [], Instant::now()).unwrap()
    }

    /// A client that trusts this certificate.
    pub fn client_config(&self) -> rustls::ConfigBuilder<rustls::ClientConfig, WantsClientCert> {
        rustls::ClientConfig::builder().with_root_certificates(self.roots())
    }

    /// This certificate as an authority.
    pub fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.made.cert.der().clone()).unwrap();
        roots
    }

    /// To show as a client's certificate.
    pub fn identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = self.made.signing_key.serialize_der();
        let key = PrivateKeyDer::try_from(key).unwrap();
        (vec![self.made.cert.der().clone()], key)
    }

    pub fn client(&self, alpn: &[&[u8]]) -> TlsConnector {
        let mut config = self.client_config().with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    pub async fn connect(
        &self,
        address: SocketAddr,
        alpn: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        connect(address, &self.client(alpn), "a.test").await
    }
}

/// A handshake that asks for `name`.
pub async fn connect(
    address: SocketAddr,
    client: &TlsConnector,
    name: &'static str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    client.connect(name, stream).await
}

/// Sends a request and reads until the end; a client certificate that is refused shows only here with TLS 1.3.
pub async fn exchange<S>(stream: &mut S, request: &str) -> std::io::Result<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(String::from_utf8(response).unwrap())
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    run_on(async { tokio::time::timeout(PATIENCE, test).await.unwrap() })
}

/// For what somebody else ends.
pub fn run_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

pub async fn h2<S, B>(stream: S) -> SendRequest<B>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::task::spawn_local(connection);
    sender
}

pub fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://a.test{path}"))
        .body(Empty::new())
        .unwrap()
}

pub async fn text(response: Response<Incoming>) -> String {
    let content = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(content.to_vec()).unwrap()
}
