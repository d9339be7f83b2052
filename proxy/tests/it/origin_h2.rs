//! Origin servers that speak HTTP/2: a thread with a runtime each, answering frame by frame as the test wants.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// A listening origin server.
pub struct H2Origin {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<http::request::Parts>>,
}

/// One request, and the way to answer it.
pub struct Exchange {
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
}

/// What an origin server sets up.
#[derive(Clone, Default)]
pub struct Speaking {
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub streams: Option<u32>,
}

impl H2Origin {
    /// Answers each request, beside the others, with what `handler` does.
    pub fn start<H, F>(speaking: Speaking, handler: H) -> Self
    where
        H: Fn(Exchange) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        Self::connections(speaking, move |mut connection, noted| {
            let handler = handler.clone();
            async move {
                while let Some(Ok((request, respond))) = connection.accept().await {
                    noted(&request);
                    tokio::task::spawn_local(handler(Exchange { request, respond }));
                }
            }
        })
    }

    /// Answers every request with `ok`.
    pub fn ok(speaking: Speaking) -> Self {
        Self::start(speaking, |mut exchange| async move {
            exchange.answer(200, "ok");
        })
    }

    /// Hands every connection over, with a function that notes a request.
    pub fn connections<H, F>(speaking: Speaking, handler: H) -> Self
    where
        H: Fn(Connection<Box<dyn Stream>, Bytes>, Noted) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    noted.connections.fetch_add(1, Ordering::SeqCst);
                    let Some(stream) = secured(stream, speaking.tls.clone()).await else {
                        continue;
                    };
                    let mut builder = Builder::new();
                    if let Some(streams) = speaking.streams {
                        builder.max_concurrent_streams(streams);
                    }
                    let Ok(connection) = builder.handshake(stream).await else {
                        continue;
                    };
                    let noted = Arc::clone(&noted);
                    let note: Noted = Box::new(move |request| {
                        let mut head = Request::new(());
                        *head.method_mut() = request.method().clone();
                        *head.uri_mut() = request.uri().clone();
                        *head.version_mut() = request.version();
                        *head.headers_mut() = request.headers().clone();
                        noted.requests.lock().unwrap().push(head.into_parts().0);
                    });
                    tokio::task::spawn_local(handler(connection, note));
                }
            });
        });
        Self { address, seen }
    }

    pub fn connected(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<http::request::Parts> {
        self.seen.requests.lock().unwrap().clone()
    }
}

/// Notes a request.
pub type Noted = Box<dyn Fn(&Request<RecvStream>)>;

pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

async fn secured(
    stream: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Option<Box<dyn Stream>> {
    stream.set_nodelay(true).unwrap();
    match tls {
        None => Some(Box::new(stream)),
        Some(tls) => {
            let stream = TlsAcceptor::from(tls).accept(stream).await.ok()?;
            Some(Box::new(stream))
        }
    }
}

impl Exchange {
    pub fn answer(&mut self, status: u16, content: &'static str) {
        let response = Response::builder().status(status).body(()).unwrap();
        // An error: the other side has gone.
        if let Ok(mut stream) = self.respond.send_response(response, false) {
            let _ = stream.send_data(Bytes::from_static(content.as_bytes()), true);
        }
    }

    /// All of the request's content, with its trailers; an error if it breaks off.
    pub async fn content(&mut self) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
        collect(self.request.body_mut()).await
    }
}

/// All of a message's content, with its trailers; an error if it breaks off.
pub async fn collect(stream: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut content = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        let _ = stream.flow_control().release_capacity(data.len());
        content.extend(data);
    }
    Ok((content, stream.trailers().await?))
}
