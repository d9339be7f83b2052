//! The PROXY protocol towards origin servers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};

use ppp::{PartialResult as _, v2};
use weir::balance::ProxyProtocol;
use weir::tls::{Offer, OriginTlsSettings, Verify};

use crate::client::{Client, Content, read_message};
use crate::origin::Origin;
use crate::tls::run;
use crate::weir::{PATIENCE, Setup};

/// An origin that takes a header with `read` first; the headers come out of the channel.
pub fn origin<T: Send + 'static>(
    read: impl Fn(&mut BufReader<TcpStream>) -> T + Send + Sync + 'static,
) -> (Origin, Receiver<T>) {
    let (headers, received) = sync_channel(16);
    let origin = Origin::raw(move |stream, seen| {
        let mut reader = BufReader::new(stream);
        headers.send(read(&mut reader)).unwrap();
        while let Ok(request) = read_message(&mut reader, Content::Framed) {
            seen(&request);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            reader.get_mut().write_all(answer).unwrap();
        }
    });
    (origin, received)
}

pub fn setup(origin: SocketAddr, version: ProxyProtocol) -> Setup {
    Setup::to(&[origin]).with(|setup| setup.transport.send_proxy_protocol = version)
}

#[test]
fn a_connection_says_for_which_client_it_is_and_serves_no_other() {
    let (origin, headers) = origin(|reader| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    });
    let weir = setup(origin.address, ProxyProtocol::V1).start();
    let mut clients = [(); 2].map(|()| Client::connect(weir.address));
    for round in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").text(), "ok");
            if round == 0 {
                let address = client.uploader().local_addr().unwrap();
                let expected = format!(
                    "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
                    address.port(),
                    weir.address.port()
                );
                assert_eq!(headers.recv_timeout(PATIENCE).unwrap(), expected);
            }
        }
    }
    assert_eq!(origin.connections(), 2, "one for each client");
    assert_eq!(origin.requests().len(), 6);
}

#[test]
fn version_2_is_understood_by_a_parser() {
    let (origin, headers) = origin(|reader| {
        let mut header = vec![0; 16];
        reader.read_exact(&mut header).unwrap();
        let length = u16::from_be_bytes([header[14], header[15]]);
        let start = header.len();
        header.resize(start + usize::from(length), 0);
        reader.read_exact(&mut header[start..]).unwrap();
        header
    });
    let weir = setup(origin.address, ProxyProtocol::V2).start();
    let mut client = Client::connect(weir.address);
    assert_eq!(client.get("/").text(), "ok");
    let header = headers.recv_timeout(PATIENCE).unwrap();
    let parsed = v2::Header::try_from(header.as_slice());
    assert!(parsed.is_complete());
    let v2::Addresses::IPv4(addresses) = parsed.unwrap().addresses else {
        panic!("IPv4 on both ends");
    };
    let client = client.uploader().local_addr().unwrap();
    assert_eq!(addresses.source_address, client.ip());
    assert_eq!(addresses.source_port, client.port());
    assert_eq!(addresses.destination_address, weir.address.ip());
    assert_eq!(addresses.destination_port, weir.address.port());
}

#[test]
fn streams_of_one_client_may_each_have_a_connection_that_names_it() {
    let (origin, headers) = origin(|reader| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    });
    let weir = setup(origin.address, ProxyProtocol::V1).start();
    run(async {
        let stream = tokio::net::TcpStream::connect(weir.address).await.unwrap();
        let port = stream.local_addr().unwrap().port();
        let mut sender = crate::tls::h2(stream).await;
        for _ in 0..3 {
            let response = sender.send_request(crate::tls::get("/")).await.unwrap();
            assert_eq!(crate::tls::text(response).await, "ok");
        }
        let header = headers.recv_timeout(PATIENCE).unwrap();
        assert!(header.contains(&format!(" {port} ")), "{header}");
    });
    assert_eq!(origin.connections(), 1);
}

#[test]
fn the_header_comes_before_tls() {
    let (sent, received) = sync_channel(1);
    let origin = Origin::raw(move |stream, _| {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let mut record = [0; 3];
        reader.read_exact(&mut record).unwrap();
        sent.send((line, record)).unwrap();
    });
    let weir = setup(origin.address, ProxyProtocol::V1)
        .with(|setup| {
            setup.origin_tls = Some(OriginTlsSettings {
                ca: None,
                server_name: None,
                certificate: None,
                verify: Verify::Nothing,
                offer: Offer::Http1,
            });
        })
        .start();
    assert_eq!(Client::connect(weir.address).get("/").status(), 502);
    let (line, record) = received.recv_timeout(PATIENCE).unwrap();
    assert!(line.starts_with("PROXY TCP4 "), "{line}");
    // RFC 8446 §5.1: a handshake, in a record of the version that all have.
    assert_eq!(record, [22, 3, 1]);
}
