//! One health check of an origin server: over a connection of its own, so that it says whether new ones can be made.

use std::io::ErrorKind;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::balance::{Expect, HealthSettings, OriginServer, ProbeKind};

/// Why a check failed, in words for the operator; they do not name the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The name has no addresses.
    #[error("name not found")]
    NotFound,
    /// No connection.
    #[error("{0}")]
    Connect(&'static str),
    /// Not done within `health.timeout`.
    #[error("timed out")]
    TimedOut,
    /// A connection, but no response.
    #[error("no valid response")]
    Invalid,
    /// A response with a status that is none of `health.expect`.
    #[error("status {0}")]
    Status(u16),
}

/// Checks `server`.
pub async fn probe(server: &OriginServer, settings: &HealthSettings) -> Result<(), Failed> {
    let check = async {
        let stream = connect(server).await?;
        match &settings.probe {
            ProbeKind::Tcp => Ok(()),
            ProbeKind::Http { path, host, expect } => {
                let host = host.as_deref().unwrap_or(&server.authority);
                ask(stream, path, host, expect).await
            }
        }
    };
    tokio::time::timeout(settings.timeout, check)
        .await
        .unwrap_or(Err(Failed::TimedOut))
}

async fn connect(server: &OriginServer) -> Result<TcpStream, Failed> {
    let mut outcome = Err(Failed::NotFound);
    for address in server.addresses().iter() {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => outcome = Err(Failed::Connect(in_words(error.kind()))),
        }
    }
    outcome
}

async fn ask(stream: TcpStream, path: &str, host: &str, expect: &Expect) -> Result<(), Failed> {
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "weir health check")
        .header(CONNECTION, HeaderValue::from_static("close"))
        .body(Empty::<Bytes>::new())
        .map_err(|_invalid| Failed::Invalid)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_closed| Failed::Invalid)?;
    let mut response = std::pin::pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        // It may end with the response in hand.
        _ = connection => response.await,
    };
    let status = response.map_err(|_lost| Failed::Invalid)?.status().as_u16();
    if expect.accepts(status) {
        Ok(())
    } else {
        Err(Failed::Status(status))
    }
}

fn in_words(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "unreachable",
        ErrorKind::TimedOut => "timed out",
        _ => "cannot connect",
    }
}

/// Largest response head.
const HEAD_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::balance::{Scheme, Secret, ServerSettings, Upstream, UpstreamSettings};
    use crate::clock;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Checks a server on `port`; `None` = nobody answers there.
    fn check(port: u16, probe_kind: ProbeKind, timeout: Duration) -> Result<(), Failed> {
        let servers = vec![ServerSettings {
            scheme: Scheme::Http,
            host: "127.0.0.1".into(),
            port,
            weight: 1,
        }];
        let settings = UpstreamSettings::new("app", servers);
        let upstream = Upstream::new(settings, Secret::new([7; 16]), clock::now());
        let health = HealthSettings {
            probe: probe_kind,
            timeout,
            ..HealthSettings::default()
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(probe(&upstream.servers[0], &health))
    }

    fn http() -> ProbeKind {
        ProbeKind::Http {
            path: "/healthz".into(),
            host: Some("app.internal".into()),
            expect: Expect::default(),
        }
    }

    /// A server that answers one connection with `response`; what it was asked comes back.
    fn answering(response: &'static str) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (port, thread)
    }

    #[test]
    fn the_status_decides() {
        for (response, outcome) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Ok(())),
            ("HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", Ok(())),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Err(Failed::Status(404))),
            ("HTTP/1.1 503 Busy\r\n\r\n", Err(Failed::Status(503))),
            ("SSH-2.0-x\r\n\r\n", Err(Failed::Invalid)),
            ("", Err(Failed::Invalid)),
        ] {
            let (port, thread) = answering(response);
            assert_eq!(check(port, http(), PATIENCE), outcome, "{response:?}");
            let request = thread.join().unwrap().to_ascii_lowercase();
            assert!(
                request.starts_with("get /healthz http/1.1\r\n"),
                "{request}"
            );
            assert!(request.contains("host: app.internal\r\n"), "{request}");
        }
    }

    #[test]
    fn a_connection_is_enough_without_a_path_and_a_refusal_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(check(port, ProbeKind::Tcp, PATIENCE), Ok(()));
        drop(listener);
        let refused = Err(Failed::Connect("connection refused"));
        assert_eq!(check(port, ProbeKind::Tcp, PATIENCE), refused);
    }

    #[test]
    fn a_server_that_says_nothing_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let outcome = check(port, http(), Duration::from_millis(50));
        assert_eq!(outcome, Err(Failed::TimedOut));
    }
}
