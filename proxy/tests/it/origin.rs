//! Origin servers: a thread per connection, answering with bytes the test wrote.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::client::{Content, Message, read_message};
use crate::weir::PATIENCE;

/// A listening origin server.
pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Message>>,
}

/// What a handler does with a connection after it has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    KeepOpen,
    Close,
}

impl Origin {
    /// Answers each request with what `handler` writes.
    pub fn start<H>(handler: H) -> Self
    where
        H: Fn(&Message, &mut TcpStream) -> Then + Send + Sync + 'static,
    {
        Self::raw(move |mut stream, seen| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Ok(request) = read_message(&mut reader, Content::Framed) {
                seen(&request);
                if handler(&request, &mut stream) == Then::Close {
                    break;
                }
            }
        })
    }

    /// Answers every request with the same bytes and keeps the connection.
    pub fn answering(response: &'static str) -> Self {
        Self::start(move |_, stream| {
            stream.write_all(response.as_bytes()).unwrap();
            Then::KeepOpen
        })
    }

    /// Hands every connection over as it is, with a function that notes a request.
    pub fn raw<H>(handler: H) -> Self
    where
        H: Fn(TcpStream, &dyn Fn(&Message)) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (noted, handler) = (Arc::clone(&seen), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                noted.connections.fetch_add(1, Ordering::SeqCst);
                let (noted, handler) = (Arc::clone(&noted), Arc::clone(&handler));
                std::thread::spawn(move || {
                    handler(stream, &|request| {
                        noted.requests.lock().unwrap().push(request.clone());
                    });
                });
            }
        });
        Self { address, seen }
    }

    /// An address where nobody listens.
    pub fn refusing() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<Message> {
        self.seen.requests.lock().unwrap().clone()
    }
}
