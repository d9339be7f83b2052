//! Which certificate a client gets and what its own is good for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustls::{HandshakeKind, SignatureScheme};
use tokio_rustls::TlsConnector;
use weir::tls::{ClientAuthMode, ClientAuthSettings, ListenerSettings, Sni, Store};

use crate::client::Client;
use crate::origin::Origin;
use crate::tls::{Certificate, connect, exchange, get, h2, run, text};
use crate::weir::{Setup, Weir, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

fn store(certificates: &[&Certificate], auth: &[&ClientAuthSettings]) -> Store {
    let settings: Vec<_> = certificates
        .iter()
        .map(|one| one.settings.clone())
        .collect();
    Store::load(&settings, auth.iter().copied(), Instant::now()).unwrap()
}

fn weir(origin: &Origin, store: &Store, tls: ListenerSettings) -> Weir {
    Setup::to(&[origin.address])
        .with(|setup| {
            setup.credentials = Some(store.credentials());
            setup.tls = tls;
        })
        .start()
}

fn auth(ca: &Certificate, mode: ClientAuthMode) -> ClientAuthSettings {
    ClientAuthSettings {
        ca: ca.settings.chain.clone(),
        mode,
    }
}

fn asking(auth: &ClientAuthSettings) -> ListenerSettings {
    ListenerSettings {
        client_auth: Some(auth.clone()),
        ..ListenerSettings::default()
    }
}

/// Trusts anybody and signs for nobody: shows which certificate is served to whom.
#[derive(Debug)]
struct Understands(Vec<SignatureScheme>);

impl rustls::client::danger::ServerCertVerifier for Understands {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn understanding(
    schemes: &[SignatureScheme],
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let config = rustls::ClientConfig::builder_with_protocol_versions(&[version])
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Understands(schemes.to_vec())))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[test]
fn each_client_gets_a_certificate_whose_signature_it_understands() {
    let origin = Origin::answering(OK);
    let (ecdsa, rsa) = (Certificate::new(), Certificate::rsa(&["a.test"]));
    let store = store(&[&rsa, &ecdsa], &[]);
    let weir = weir(&origin, &store, ListenerSettings::default());
    let both = [
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ];
    run(async {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            for (schemes, expected) in [
                (&both[..], &ecdsa),
                (&both[..1], &rsa),
                (&both[1..], &ecdsa),
            ] {
                let client = understanding(schemes, version);
                let stream = connect(weir.address, &client, "a.test").await.unwrap();
                let shown = stream.get_ref().1.peer_certificates().unwrap();
                assert_eq!(shown, &expected.identity().0[..], "{schemes:?} {version:?}");
            }
            let neither = understanding(&[SignatureScheme::ED25519], version);
            assert!(connect(weir.address, &neither, "a.test").await.is_err());
        }
    });
}

#[test]
fn a_strict_listener_serves_named_hosts_only() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::named(&["a.test", "*.b.test"]);
    let strict = ListenerSettings {
        sni: Sni::Strict,
        client_auth: None,
    };
    let weir = weir(&origin, &store(&[&certificate], &[]), strict);
    run(async {
        let any = understanding(
            &[SignatureScheme::ECDSA_NISTP256_SHA256],
            &rustls::version::TLS13,
        );
        for (name, served) in [
            ("a.test", true),
            ("x.b.test", true),
            ("b.test", false),
            ("c.test", false),
            ("127.0.0.1", false), // Names nothing in SNI.
        ] {
            let outcome = connect(weir.address, &any, name).await;
            assert_eq!(outcome.is_ok(), served, "{name}");
        }
    });
}

#[test]
fn a_request_for_a_host_that_the_certificate_is_not_for_is_misdirected() {
    let origin = Origin::answering(OK);
    let one = Certificate::named(&["a.test", "*.b.test"]);
    let other = Certificate::named(&["c.test"]);
    let weir = weir(
        &origin,
        &store(&[&one, &other], &[]),
        ListenerSettings::default(),
    );
    run(async {
        for (asked, host, status) in [
            ("a.test", "a.test", "200"),
            ("a.test", "A.test:443", "200"),
            ("a.test", "c.test", "421"),
            ("x.b.test", "a.test", "200"),
            ("a.test", "x.y.b.test", "421"),
            // Covered, but there is no route.
            ("a.test", "y.b.test", "404"),
        ] {
            let client = one.client(&[b"http/1.1"]);
            let mut stream = connect(weir.address, &client, asked).await.unwrap();
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let response = exchange(&mut stream, &request).await.unwrap();
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status}")),
                "{asked} {host}: {response}"
            );
        }
        // The connection is good for its other hosts.
        let mut sender = h2(one.connect(weir.address, &[b"h2"]).await.unwrap()).await;
        let mut request = get("/");
        *request.uri_mut() = "https://c.test/".parse().unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 421);
        assert_eq!(
            text(sender.send_request(get("/")).await.unwrap()).await,
            "ok"
        );
    });
    assert_eq!(origin.requests().len(), 4);
}

#[test]
fn a_required_client_certificate_is_told_to_the_origin() {
    let origin = Origin::answering(OK);
    let (server, alice, mallory) = (
        Certificate::new(),
        Certificate::named(&["alice.test"]),
        Certificate::named(&["alice.test"]),
    );
    let auth = auth(&alice, ClientAuthMode::Required);
    let store = store(&[&server], &[&auth]);
    let weir = weir(&origin, &store, asking(&auth));
    let showing = |certificate: &Certificate| {
        let (chain, key) = certificate.identity();
        let config = server.client_config().with_client_auth_cert(chain, key);
        TlsConnector::from(Arc::new(config.unwrap()))
    };
    let forged = REQUEST.replace(
        "Connection",
        "X-Client-Cert-Subject: CN=root\r\nx-client-cert-san: x\r\nX_Client_Cert_San: x\r\n\
         Client-Cert: :x:\r\nX-Client-Cert-Fingerprint: 1\r\nConnection",
    );
    run(async {
        let client = showing(&alice);
        let mut stream = connect(weir.address, &client, "a.test").await.unwrap();
        let response = exchange(&mut stream, &forged).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        for client in [server.client(&[]), showing(&mallory)] {
            let outcome = match connect(weir.address, &client, "a.test").await {
                Ok(mut stream) => exchange(&mut stream, REQUEST).await,
                Err(error) => Err(error),
            };
            assert!(outcome.is_err(), "{outcome:?}");
        }
    });
    until("the failed handshakes are counted", || {
        weir.counters.handshakes_failed.load(Ordering::Relaxed) == 2
    });
    let requests = origin.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0].field("x-client-cert-subject"),
        Some("CN=rcgen self signed cert")
    );
    assert_eq!(
        requests[0].field("x-client-cert-san"),
        Some("DNS:alice.test")
    );
    assert_eq!(
        requests[0]
            .field("x-client-cert-fingerprint")
            .unwrap()
            .len(),
        64
    );
    assert_eq!(requests[0].field("x_client_cert_san"), None);
    assert_eq!(requests[0].field("client-cert"), None);
}

#[test]
fn an_optional_client_certificate_may_be_left_out_but_not_forged() {
    let origin = Origin::answering(OK);
    let (server, alice) = (Certificate::new(), Certificate::named(&["alice.test"]));
    let auth = auth(&alice, ClientAuthMode::Optional);
    let store = store(&[&server], &[&auth]);
    let weir = weir(&origin, &store, asking(&auth));
    run(async {
        let client = server.client(&[]);
        let mut stream = connect(weir.address, &client, "a.test").await.unwrap();
        let request = REQUEST.replace(
            "Connection",
            "X-Client-Cert-Subject: CN=alice\r\nConnection",
        );
        let response = exchange(&mut stream, &request).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        let (chain, key) = server.identity();
        let stranger = server.client_config().with_client_auth_cert(chain, key);
        let stranger = TlsConnector::from(Arc::new(stranger.unwrap()));
        let outcome = match connect(weir.address, &stranger, "a.test").await {
            Ok(mut stream) => exchange(&mut stream, REQUEST).await,
            Err(error) => Err(error),
        };
        assert!(outcome.is_err(), "{outcome:?}");
    });
    let requests = origin.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].field("x-client-cert-subject"), None);
}

#[test]
fn cleartext_clients_cannot_forge_a_certificate_either() {
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address]).start();
    let mut client = Client::connect(weir.address);
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nX-Client-Cert-Subject: CN=root\r\nSSL-Client-Verify: SUCCESS\r\n\
         Transfer-Encoding: chunked\r\nTrailer: X-Client-Cert-San\r\n\r\n0\r\nX-Client-Cert-San: DNS:root\r\n\r\n",
    );
    assert_eq!(client.response().status(), 200);
    let request = &origin.requests()[0];
    assert_eq!(request.field("x-client-cert-subject"), None);
    assert_eq!(request.field("ssl-client-verify"), None);
    assert_eq!(request.trailers, []);
}

#[test]
fn sessions_resume_with_tickets_but_not_where_other_certificates_are_asked_for() {
    let origin = Origin::answering(OK);
    let (server, alice) = (Certificate::new(), Certificate::named(&["alice.test"]));
    let auth = auth(&alice, ClientAuthMode::Optional);
    let store = store(&[&server], &[&auth]);
    // The same ticket keys.
    let open = weir(&origin, &store, ListenerSettings::default());
    let beside = weir(&origin, &store, ListenerSettings::default());
    let asking = weir(&origin, &store, asking(&auth));
    run(async {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let config = rustls::ClientConfig::builder_with_protocol_versions(&[version])
                .with_root_certificates(server.roots())
                .with_no_client_auth();
            let client = TlsConnector::from(Arc::new(config));
            for (address, kind) in [
                (open.address, HandshakeKind::Full),
                (open.address, HandshakeKind::Resumed),
                (beside.address, HandshakeKind::Resumed),
                (asking.address, HandshakeKind::Full),
            ] {
                let mut stream = connect(address, &client, "a.test").await.unwrap();
                let shown = stream.get_ref().1.handshake_kind();
                assert_eq!(shown, Some(kind), "{version:?}");
                exchange(&mut stream, REQUEST).await.unwrap();
            }
        }
    });
}

#[test]
fn a_listener_serves_on_while_its_client_authority_is_taken_away() {
    let origin = Origin::answering(OK);
    let (server, alice) = (Certificate::new(), Certificate::named(&["alice.test"]));
    let auth = auth(&alice, ClientAuthMode::Optional);
    let before = store(&[&server], &[&auth]);
    let weir = weir(&origin, &before, asking(&auth));
    // A reload as its worker sees it before it hears of the listener's new settings.
    let next = before
        .next(std::slice::from_ref(&server.settings), [])
        .unwrap();
    weir.credentials
        .store(Arc::new(next.credentials_after(&before)));
    run(async {
        let client = server.client(&[]);
        let mut stream = connect(weir.address, &client, "a.test").await.unwrap();
        let response = exchange(&mut stream, REQUEST).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    });
}
