//! An origin server: HTTP/1.1 without TLS in a namespace of its own. Its content says which origin it is, so that a
//! test can tell who answered; it counts requests, so that a test can tell whether it was asked at all.
//!
//! | path | answer |
//! |---|---|
//! | `/static/…` | its name and the path, fresh for a minute |
//! | `/login` | 401 |
//! | `/slow?ms=N` | head at once, content in ten pieces over `N` ms |
//! | `/big?bytes=N` | `N` bytes |
//! | `/echo` | JSON: its name, the method, the target, the field lines and the content's length as received |
//! | anything else | its name |

mod content;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, SERVER};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::namespace::Namespace;
use content::Content;

/// Where every origin listens.
pub const PORT: u16 = 8080;

/// An origin server and its namespace. Stopped when dropped.
#[derive(Debug)]
pub struct Origin {
    name: String,
    requests: Arc<AtomicU64>,
    delay_ms: Arc<AtomicU64>,
    running: Mutex<Option<Running>>,
    namespace: Namespace,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Origin {
    /// Starts listening in `namespace`.
    pub fn start(name: impl Into<String>, namespace: Namespace) -> Result<Self> {
        let origin = Self {
            name: name.into(),
            requests: Arc::default(),
            delay_ms: Arc::default(),
            running: Mutex::default(),
            namespace,
        };
        origin.resume()?;
        Ok(origin)
    }

    /// What its content says.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, and other servers can be.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// From now on takes this long before it answers.
    pub fn think(&self, milliseconds: u64) {
        self.delay_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Requests received so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Closes the listener and every connection, as a crash does.
    pub fn stop(&self) {
        if let Some(running) = self.running().take() {
            // The thread is gone already if it panicked; joining says so.
            let _ = running.stop.send(());
            running.thread.join().expect("the origin does not panic");
        }
    }

    /// Listens again after [`stop`](Self::stop).
    pub fn resume(&self) -> Result<()> {
        let mut current = self.running();
        if current.is_some() {
            return Ok(());
        }
        let listener = self.namespace.run(listen)??;
        let (stop, stopped) = oneshot::channel();
        let served = Served {
            name: self.name.as_str().into(),
            requests: Arc::clone(&self.requests),
            delay_ms: Arc::clone(&self.delay_ms),
        };
        let thread = self.namespace.spawn(&self.name, move || {
            run(listener, served, stopped).expect("the origin's runtime starts");
        })?;
        *current = Some(Running { stop, thread });
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listen() -> Result<std::net::TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("the origin cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until told to stop. Dropping the runtime then closes every connection.
fn run(
    listener: std::net::TcpListener,
    served: Served,
    stopped: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        tokio::select! {
            result = accept(&listener, served) => result,
            _ = stopped => Ok(()),
        }
    })
}

async fn accept(listener: &TcpListener, served: Served) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let served = served.clone();
        let service = service_fn(move |request| {
            let served = served.clone();
            async move { served.answer(request).await }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

#[derive(Debug, Clone)]
struct Served {
    name: Arc<str>,
    requests: Arc<AtomicU64>,
    delay_ms: Arc<AtomicU64>,
}

impl Served {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Content>, hyper::Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let name = &*self.name;
        let delay_ms = self.delay_ms.load(Ordering::Relaxed);
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        // What a proxy should hide: the tests look for it.
        let mut builder = Response::builder()
            .header(SERVER, format!("{name}.internal"))
            .header("x-powered-by", name);
        let path = request.uri().path().to_owned();
        let content = match path.as_str() {
            "/login" => {
                builder = builder.status(401).header("www-authenticate", "Basic");
                Content::text(name)
            }
            "/slow" => Content::slow(name, number(&request, "ms=")),
            "/big" => Content::big(number(&request, "bytes=")),
            "/echo" => {
                builder = builder.header(CONTENT_TYPE, "application/json");
                echo(name, request).await
            }
            _ if path.starts_with("/static/") => {
                builder = builder.header(CACHE_CONTROL, "max-age=60");
                Content::text(format!("{name} {path}"))
            }
            _ => Content::text(name),
        };
        Ok(builder
            .body(content)
            .expect("the fields are constant and valid"))
    }
}

async fn echo(name: &str, request: Request<Incoming>) -> Content {
    let (head, body) = request.into_parts();
    let fields: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let described = serde_json::json!({
        "origin": name,
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "fields": fields,
    });
    let length = match Limited::new(body, LARGEST_CONTENT).collect().await {
        Ok(content) => content.to_bytes().len().into(),
        Err(error) => serde_json::Value::String(error.to_string()),
    };
    let mut described = described;
    described["content_length"] = length;
    Content::text(described.to_string())
}

/// The number after `key` in the query; 0 if there is none.
fn number(request: &Request<Incoming>, key: &str) -> u64 {
    request
        .uri()
        .query()
        .and_then(|query| query.split('&').find_map(|part| part.strip_prefix(key)))
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

/// Largest request content that `/echo` reads, in bytes.
const LARGEST_CONTENT: usize = 64 << 20;
