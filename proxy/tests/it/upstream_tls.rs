//! TLS towards origin servers: whom weir trusts, who it says it is, and what it offers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use weir::balance::Protocol;
use weir::tls::{CertificateSettings, Offer, OriginTlsSettings, Verify, origins};

use crate::client::Client;
use crate::origin::Origin;
use crate::origin_h2::{H2Origin, Speaking};
use crate::weir::{PATIENCE, Setup};

/// An authority whose certificates both sides may use, and a directory with the files weir reads.
pub struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let directory =
            std::env::temp_dir().join(format!("weir-ca-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    /// Chain and key for `name`, in memory and in files.
    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair, CertificateSettings) {
        self.issue_with(name, |_| {})
    }

    fn issue_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (rcgen::Certificate, KeyPair, CertificateSettings) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateSettings {
            names: Vec::new(),
            chain: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        std::fs::write(&files.chain, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        (certificate, key, files)
    }

    /// For an origin server called `name`; `alpn` is what it speaks.
    pub fn server(&self, name: &str, alpn: &[&[u8]], clients: Clients) -> Arc<ServerConfig> {
        let (certificate, key, _) = self.issue(name);
        let builder = ServerConfig::builder();
        let builder = match clients {
            Clients::Anyone => builder.with_no_client_auth(),
            Clients::Certified => {
                let mut roots = RootCertStore::empty();
                roots.add(self.issuer.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    /// For an origin server whose certificate was good once.
    fn expired(&self, name: &str) -> Arc<ServerConfig> {
        let (certificate, key, _) = self.issue_with(name, |params| {
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        });
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder().with_no_client_auth();
        let config = builder.with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }

    pub fn trusted(&self) -> OriginTlsSettings {
        OriginTlsSettings {
            ca: Some(self.directory.join("ca.pem")),
            server_name: Some("app.internal".into()),
            certificate: None,
            verify: Verify::Certificate,
            offer: Offer::Either,
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    Anyone,
    Certified,
}

/// What an origin server saw of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    server_name: Option<String>,
    protocol: Option<Vec<u8>>,
    client_certificates: usize,
    resumed: bool,
}

pub type Handshakes = Arc<Mutex<Vec<Handshake>>>;

/// An HTTP/1.1 origin server that answers one request a connection.
pub fn origin(config: Arc<ServerConfig>) -> (SocketAddr, Handshakes) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handshakes = Handshakes::default();
    let noted = Arc::clone(&handshakes);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            if head.is_empty() {
                continue;
            }
            noted.lock().unwrap().push(Handshake {
                server_name: stream.conn.server_name().map(str::to_owned),
                protocol: stream.conn.alpn_protocol().map(<[u8]>::to_vec),
                client_certificates: stream.conn.peer_certificates().map_or(0, <[_]>::len),
                resumed: stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
            });
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
            stream.write_all(answer).unwrap();
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, handshakes)
}

pub fn setup(origin: SocketAddr, tls: OriginTlsSettings) -> Setup {
    Setup::to(&[origin]).with(|setup| setup.origin_tls = Some(tls))
}

#[test]
fn an_origin_is_verified_by_its_authority_and_name_and_sessions_are_resumed() {
    let authority = Authority::new();
    let config = authority.server("app.internal", &[b"http/1.1"], Clients::Anyone);
    let (address, handshakes) = origin(config);
    let weir = setup(address, authority.trusted()).start();
    let mut client = Client::connect(weir.address);
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "ok");
    }
    let seen = handshakes.lock().unwrap().clone();
    let first = Handshake {
        server_name: Some("app.internal".into()),
        protocol: Some(b"http/1.1".to_vec()),
        client_certificates: 0,
        resumed: false,
    };
    let second = Handshake {
        resumed: true,
        ..first.clone()
    };
    assert_eq!(seen, [first, second]);
}

#[test]
fn an_origin_that_does_not_verify_gets_no_request() {
    let (authority, other) = (Authority::new(), Authority::new());
    let wrong_name = authority.server("other.internal", &[], Clients::Anyone);
    let wrong_authority = other.server("app.internal", &[], Clients::Anyone);
    let expired = authority.expired("app.internal");
    for config in [wrong_name, wrong_authority, expired] {
        let (address, handshakes) = origin(config);
        let weir = setup(address, authority.trusted()).start();
        let response = Client::connect(weir.address).get("/");
        assert_eq!(response.status(), 502);
        assert_eq!(
            response.field("proxy-status"),
            Some("weir; error=tls_certificate_error")
        );
        assert_eq!(*handshakes.lock().unwrap(), []);
    }
}

#[test]
fn verification_can_be_switched_off() {
    let (authority, other) = (Authority::new(), Authority::new());
    let config = other.server("other.internal", &[], Clients::Anyone);
    let (address, _) = origin(config);
    let tls = OriginTlsSettings {
        ca: None,
        verify: Verify::Nothing,
        ..authority.trusted()
    };
    let weir = setup(address, tls).start();
    assert_eq!(Client::connect(weir.address).get("/").text(), "ok");
}

#[test]
fn without_a_server_name_the_host_is_verified() {
    let authority = Authority::new();
    let config = authority.server("127.0.0.1", &[], Clients::Anyone);
    let (address, handshakes) = origin(config);
    let tls = OriginTlsSettings {
        server_name: None,
        ..authority.trusted()
    };
    let weir = setup(address, tls).start();
    assert_eq!(Client::connect(weir.address).get("/").text(), "ok");
    // RFC 6066 §3: an address is no server name.
    assert_eq!(handshakes.lock().unwrap()[0].server_name, None);
}

#[test]
fn an_origin_that_asks_for_a_certificate_gets_the_configured_one() {
    let authority = Authority::new();
    let config = authority.server("app.internal", &[], Clients::Certified);
    let (address, handshakes) = origin(config);
    let weir = setup(address, authority.trusted()).start();
    assert_eq!(Client::connect(weir.address).get("/").status(), 502);
    let (_, _, files) = authority.issue("weir.internal");
    let tls = OriginTlsSettings {
        certificate: Some(files),
        ..authority.trusted()
    };
    let weir = setup(address, tls).start();
    assert_eq!(Client::connect(weir.address).get("/").text(), "ok");
    assert_eq!(handshakes.lock().unwrap()[0].client_certificates, 1);
}

#[test]
fn an_origin_without_tls_is_502() {
    let plain = Origin::raw(|mut stream, _| {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let authority = Authority::new();
    let weir = setup(plain.address, authority.trusted()).start();
    let response = Client::connect(weir.address).get("/");
    assert_eq!(response.status(), 502);
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=tls_protocol_error")
    );
}

#[test]
fn auto_speaks_what_the_origin_chooses() {
    let authority = Authority::new();
    let config = authority.server("app.internal", &[b"h2", b"http/1.1"], Clients::Anyone);
    let speaking = Speaking {
        tls: Some(config),
        ..Speaking::default()
    };
    let origin_h2 = H2Origin::ok(speaking);
    let weir = setup(origin_h2.address, authority.trusted()).start();
    let mut client = Client::connect(weir.address);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(origin_h2.connected(), 1);
    assert_eq!(origin_h2.requests()[0].uri.to_string(), "https://a.test/");

    // One that says nothing in ALPN speaks HTTP/1.1.
    let config = authority.server("app.internal", &[], Clients::Anyone);
    let (address, handshakes) = origin(config);
    let weir = setup(address, authority.trusted()).start();
    let mut client = Client::connect(weir.address);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(handshakes.lock().unwrap().len(), 3);
}

#[test]
fn h2_is_spoken_only_where_alpn_agrees() {
    let authority = Authority::new();
    let (address, handshakes) = origin(authority.server("app.internal", &[], Clients::Anyone));
    let tls = OriginTlsSettings {
        offer: Offer::Http2,
        ..authority.trusted()
    };
    let weir = setup(address, tls)
        .with(|setup| setup.transport.protocol = Protocol::H2)
        .start();
    let response = Client::connect(weir.address).get("/");
    assert_eq!(
        response.field("proxy-status"),
        Some("weir; error=tls_protocol_error")
    );
    assert_eq!(*handshakes.lock().unwrap(), []);
}

#[test]
fn bad_files_are_named_with_a_hint() {
    let authority = Authority::new();
    let (_, _, files) = authority.issue("weir.internal");
    let (_, _, others) = authority.issue("other.internal");
    let empty = authority.directory.join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let mixed = CertificateSettings {
        names: Vec::new(),
        chain: files.chain.clone(),
        key: others.key.clone(),
    };
    for (tls, path, part) in [
        (
            OriginTlsSettings {
                ca: Some(authority.directory.join("absent.pem")),
                ..authority.trusted()
            },
            authority.directory.join("absent.pem"),
            "cannot be read",
        ),
        (
            OriginTlsSettings {
                ca: Some(empty.clone()),
                ..authority.trusted()
            },
            empty,
            "holds no certificate",
        ),
        (
            OriginTlsSettings {
                certificate: Some(mixed),
                ..authority.trusted()
            },
            others.key.clone(),
            "is not the key of the certificate",
        ),
    ] {
        let error = origins(&[None, Some(tls)]).unwrap_err();
        assert_eq!(error.path, path);
        assert!(error.message.contains(part), "{error}");
        assert!(
            error.hint.contains("`tls` of the [[upstream]]"),
            "{}",
            error.hint
        );
    }
}

#[test]
fn a_request_that_no_server_got_for_its_certificate_goes_to_the_next_one() {
    let authority = Authority::new();
    let (bad, refused) = origin(authority.expired("app.internal"));
    let config = authority.server("app.internal", &[b"http/1.1"], Clients::Anyone);
    let (good, served) = origin(config);
    let weir = Setup::to(&[bad, good])
        .with(|setup| setup.origin_tls = Some(authority.trusted()))
        .start();
    let mut client = Client::connect(weir.address);
    for _ in 0..4 {
        // Not idempotent: nothing of it may have been sent.
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!(*refused.lock().unwrap(), []);
    assert_eq!(served.lock().unwrap().len(), 4);
}

#[test]
fn content_that_only_the_connection_ends_is_cut_short_without_a_close_notify() {
    let authority = Authority::new();
    let config = authority.server("app.internal", &[b"http/1.1"], Clients::Anyone);
    for notified in [true, false] {
        let config = Arc::clone(&config);
        let plain = Origin::raw(move |stream, _| {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream);
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\ncontent").unwrap();
            if notified {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
        });
        let weir = setup(plain.address, authority.trusted()).start();
        let mut client = Client::connect(weir.address);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        match client.try_response() {
            Ok(response) => assert!(notified && response.text() == "content"),
            Err(error) => assert!(!notified, "{error}"),
        }
    }
}
