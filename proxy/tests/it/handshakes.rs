//! TLS handshakes as bytes: what is taken, what is refused and how, and what they count as.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, StreamOwned};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::client::Client;
use crate::origin::Origin;
use crate::tls::{Certificate, connect, exchange, run};
use crate::weir::{PATIENCE, Setup, Weir, until};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

fn secure(origin: &Origin, certificate: &Certificate) -> Setup {
    Setup::to(&[origin.address]).with(|setup| setup.credentials = Some(certificate.server()))
}

fn raw(weir: &Weir) -> TcpStream {
    let stream = TcpStream::connect(weir.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// What comes until weir closes the connection, which it has to.
fn rest(stream: &mut TcpStream, sent: &str) -> Vec<u8> {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(
            error.kind(),
            io::ErrorKind::ConnectionReset,
            "{sent}: {error}"
        );
    }
    rest
}

/// A client's side, and the first flight it would send.
fn client(config: ClientConfig) -> (ClientConnection, Vec<u8>) {
    let name = ServerName::try_from("a.test").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut hello).unwrap();
    }
    (client, hello)
}

/// A record (RFC 8446 §5.1).
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 1], &length[..], content].concat()
}

/// How a first flight is written.
type Way<'a> = &'a dyn Fn(&mut TcpStream, &[u8]);

/// The records of a `ClientHello` (RFC 8446 §4.1.2).
fn hello(version: [u8; 2], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut listed = Vec::new();
    for (kind, content) in extensions {
        listed.extend(kind.to_be_bytes());
        listed.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        listed.extend(content);
    }
    let mut body = version.to_vec();
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend([0, 6, 0x13, 0x01, 0xc0, 0x2b, 0xc0, 0x13]);
    body.extend([1, 0]); // no compression
    body.extend(u16::try_from(listed.len()).unwrap().to_be_bytes());
    body.extend(listed);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    message
        .chunks(1 << 14)
        .flat_map(|part| record(22, part))
        .collect()
}

/// Extensions of a `ClientHello` for TLS 1.3 with `shares`.
fn modern(shares: &[(u16, &[u8])]) -> Vec<(u16, Vec<u8>)> {
    let mut keys = Vec::new();
    for (group, key) in shares {
        keys.extend(group.to_be_bytes());
        keys.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
        keys.extend(*key);
    }
    let length = u16::try_from(keys.len()).unwrap().to_be_bytes();
    vec![
        (43, vec![2, 3, 4]),                 // supported_versions: 1.3
        (10, vec![0, 2, 0, 29]),             // supported_groups: X25519
        (13, vec![0, 4, 4, 3, 8, 4]),        // signature_algorithms
        (51, [&length[..], &keys].concat()), // key_share
    ]
}

fn answers(weir: SocketAddr, certificate: &Certificate) {
    run(async {
        let mut stream = certificate.connect(weir, &[]).await.unwrap();
        let response = exchange(&mut stream, REQUEST).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    });
}

#[test]
fn a_connection_is_a_handshake_only_until_it_is_done() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate)
        .with(|setup| setup.limits.handshakes = 1)
        .start();
    run(async {
        let mut open = Vec::new();
        for _ in 0..5 {
            let mut stream = certificate.connect(weir.address, &[]).await.unwrap();
            let request = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
                .await
                .unwrap();
            let mut response = vec![0; 12];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut response)
                .await
                .unwrap();
            assert_eq!(response, b"HTTP/1.1 200");
            open.push(stream);
        }
    });
    assert_eq!(weir.counters.refused.load(Ordering::Relaxed), 0);
}

#[test]
fn a_request_in_cleartext_is_told_to_use_https() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    let mut client = Client::connect(weir.address);
    let response = client.get("/");
    assert_eq!(response.status(), 400);
    assert_eq!(response.text(), "this port speaks HTTPS, not plain HTTP\n");
    assert_eq!(response.field("connection"), Some("close"));
    assert!(client.is_closed());
    until("it is counted as a failed handshake", || {
        weir.counters.handshakes_failed.load(Ordering::Relaxed) == 1
    });
    assert!(origin.requests().is_empty());
}

#[test]
fn the_key_exchange_is_post_quantum_when_the_client_can() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    let all = rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
    let group = |name| *all.iter().find(|group| group.name() == name).unwrap();
    let (hybrid, classic, nist) = (
        group(NamedGroup::X25519MLKEM768),
        group(NamedGroup::X25519),
        group(NamedGroup::secp256r1),
    );
    run(async {
        for (offered, agreed) in [
            (vec![hybrid, classic], NamedGroup::X25519MLKEM768),
            (vec![classic], NamedGroup::X25519),
            // The key share that came is taken: another one would cost a round trip.
            (vec![nist, classic, hybrid], NamedGroup::secp256r1),
            (vec![nist], NamedGroup::secp256r1),
        ] {
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            provider.kx_groups = offered;
            let config = ClientConfig::builder_with_provider(Arc::new(provider))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(certificate.roots())
                .with_no_client_auth();
            let client = TlsConnector::from(Arc::new(config));
            let stream = connect(weir.address, &client, "a.test").await.unwrap();
            let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
            assert_eq!(group.name(), agreed);
        }
    });
}

#[test]
fn versions_before_1_2_are_refused() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    let mut extensions = modern(&[(29, &[9; 32])]);
    extensions.retain(|(kind, _)| matches!(kind, 10 | 13));
    for version in [[3, 0], [3, 1], [3, 2]] {
        let mut stream = raw(&weir);
        stream.write_all(&hello(version, &extensions)).unwrap();
        // RFC 8446 §6: an alert, fatal.
        let alert = rest(&mut stream, "an old version");
        assert_eq!((alert[0], alert[5]), (21, 2), "{version:?}");
    }
    // The same hello for 1.2 gets a handshake message.
    let mut stream = raw(&weir);
    stream.write_all(&hello([3, 3], &extensions)).unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], 22);
    drop(stream);
    answers(weir.address, &certificate);
}

#[test]
fn a_hello_in_small_parts_is_a_hello_all_the_same() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    let in_records = |size| {
        move |stream: &mut TcpStream, hello: &[u8]| {
            let parts = hello[5..].chunks(size).flat_map(|part| record(22, part));
            stream.write_all(&parts.collect::<Vec<_>>()).unwrap();
        }
    };
    let byte_by_byte = |stream: &mut TcpStream, hello: &[u8]| {
        for byte in hello {
            stream.write_all(&[*byte]).unwrap();
        }
    };
    let ways: [Way; 3] = [&in_records(7), &in_records(500), &byte_by_byte];
    for way in ways {
        let config = certificate.client_config().with_no_client_auth();
        let (client, hello) = client(config);
        let mut stream = raw(&weir);
        way(&mut stream, &hello);
        let mut stream = StreamOwned::new(client, stream);
        stream.write_all(REQUEST.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
}

#[test]
fn a_hello_that_drips_in_is_ended_by_the_deadline() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate)
        .with(|setup| setup.limits.handshake_timeout = Duration::from_millis(200))
        .start();
    let mut stream = raw(&weir);
    // A record of 16 KiB whose end never comes: each byte is progress.
    stream
        .write_all(&[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc])
        .unwrap();
    let mut closed = false;
    for _ in 0..10_000 {
        std::thread::sleep(Duration::from_millis(1));
        if stream.write_all(&[0]).is_err() {
            closed = true;
            break;
        }
    }
    assert!(closed, "all of it was taken");
    until("it is counted", || {
        weir.counters.handshakes_failed.load(Ordering::Relaxed) == 1
    });
}

#[test]
fn what_is_no_handshake_ends_at_once_and_hurts_nobody() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    let good = hello([3, 3], &modern(&[(29, &[9; 32])]));
    let share: (u16, &[u8]) = (29, &[9; 32]);
    let cases: [(&str, Vec<u8>); 11] = [
        ("SSL 2", [&[0x80, 0x2e, 1, 3, 1], &[0; 44][..]].concat()),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("data before a handshake", record(23, &[1; 32])),
        ("an alert", record(21, &[2, 40])),
        (
            "a record that is too long",
            [&[22, 3, 1, 0xff, 0xff][..], &[0; 64]].concat(),
        ),
        (
            "a message that is too long",
            record(22, &[1, 0xff, 0xff, 0xff, 0]),
        ),
        ("empty records", record(22, &[]).repeat(1_000)),
        ("another message", record(22, &[11, 0, 0, 1, 0])),
        ("a hello and garbage", [&good[..], &[0xff; 64]].concat()),
        (
            "one key share a thousand times",
            hello([3, 3], &modern(&vec![share; 1_000])),
        ),
    ];
    for (what, bytes) in &cases {
        let mut stream = raw(&weir);
        // It may be closed before all of it is sent.
        let _ = stream.write_all(bytes);
        rest(&mut stream, what);
    }
    // Cut off.
    let mut stream = raw(&weir);
    stream.write_all(&good[..good.len() / 2]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    rest(&mut stream, "half a hello");
    until("all are counted", || {
        let failed = weir.counters.handshakes_failed.load(Ordering::Relaxed);
        failed == cases.len() as u64 + 1
    });
    answers(weir.address, &certificate);
}

#[test]
fn a_large_hello_is_taken_or_refused_but_not_kept() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    let unknown: Vec<(u16, &[u8])> = (0..1_000)
        .map(|group| (0x4000 + group, &[1; 32][..]))
        .collect();
    for extensions in [modern(&unknown), vec![(0x4a4a, vec![0; 60_000])]] {
        let mut stream = raw(&weir);
        stream.write_all(&hello([3, 3], &extensions)).unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert!(matches!(answer[0], 21 | 22), "{answer:?}");
    }
    answers(weir.address, &certificate);
}

#[test]
fn a_client_without_a_protocol_in_common_is_refused_and_one_that_names_none_speaks_http_1() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    run(async {
        let error = certificate
            .connect(weir.address, &[b"spdy/3"])
            .await
            .unwrap_err();
        let refused = rustls::AlertDescription::NoApplicationProtocol;
        let source = error.get_ref().unwrap().downcast_ref();
        assert_eq!(source, Some(&rustls::Error::AlertReceived(refused)));
    });
    answers(weir.address, &certificate);
}

#[test]
fn nothing_is_taken_before_a_handshake_is_done() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::new();
    let weir = secure(&origin, &certificate).start();
    let mut config = certificate.client_config().with_no_client_auth();
    config.enable_early_data = true;
    let config = Arc::new(config);
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut client = ClientConnection::new(Arc::clone(&config), only()).unwrap();
        assert!(
            client.early_data().is_none(),
            "{kind:?}: no ticket allows it"
        );
        let stream = raw(&weir);
        client.complete_io(&mut &stream).unwrap();
        assert_eq!(client.handshake_kind(), Some(kind));
        let mut stream = StreamOwned::new(client, stream);
        stream.write_all(REQUEST.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
}

/// Offers a session under every name.
#[derive(Debug)]
struct Nameless(ClientSessionMemoryCache);

fn only() -> ServerName<'static> {
    ServerName::try_from("a.test").unwrap()
}

impl ClientSessionStore for Nameless {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(only(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&only())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(only(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&only())
    }
}

#[test]
fn a_session_is_resumed_under_its_own_name_only() {
    let origin = Origin::answering(OK);
    let certificate = Certificate::named(&["a.test", "b.test"]);
    let weir = secure(&origin, &certificate).start();
    run(async {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let mut config = ClientConfig::builder_with_protocol_versions(&[version])
                .with_root_certificates(certificate.roots())
                .with_no_client_auth();
            let sessions = Nameless(ClientSessionMemoryCache::new(16));
            config.resumption = Resumption::store(Arc::new(sessions));
            let client = TlsConnector::from(Arc::new(config));
            for (name, kind) in [
                ("a.test", HandshakeKind::Full),
                ("a.test", HandshakeKind::Resumed),
                ("b.test", HandshakeKind::Full),
            ] {
                let mut stream = connect(weir.address, &client, name).await.unwrap();
                let shown = stream.get_ref().1.handshake_kind();
                assert_eq!(shown, Some(kind), "{name} {version:?}");
                let request = REQUEST.replace("a.test", name);
                exchange(&mut stream, &request).await.unwrap();
            }
        }
    });
}

#[test]
fn an_end_that_only_the_connection_tells_is_told_by_tls() {
    use crate::origin::Then;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (end, whole) in [("0\r\n\r\n", true), ("5\r\nhe", false)] {
        let origin = Origin::start(move |_, stream| {
            write!(stream, "{chunked}{end}").unwrap();
            Then::Close
        });
        let certificate = Certificate::new();
        let weir = secure(&origin, &certificate).start();
        run(async {
            let mut stream = certificate.connect(weir.address, &[]).await.unwrap();
            // RFC 9112 §6.3: to HTTP/1.0 the end of the connection is the end of the content.
            let request = "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n";
            let outcome = exchange(&mut stream, request).await;
            match outcome {
                Ok(response) => assert!(whole && response.ends_with("\r\n\r\nhello")),
                Err(error) => assert!(!whole, "{error}"),
            }
        });
    }
}
