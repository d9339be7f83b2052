//! hyper's two server protocols, set up: bounds, buffers, windows, and where their tasks run.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::TokioTimer;

use super::connection::Serve;
use super::tasks;
use crate::net::ListenSettings;

/// HTTP/1.0 and 1.1.
pub(super) fn http1_builder(settings: &ListenSettings) -> http1::Builder {
    let limits = &settings.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // `Connection` keeps the deadlines of heads: hyper's would run while idle, too.
        .header_read_timeout(None)
        .max_headers(limits.header_fields)
        .max_header_size(limits.header_bytes)
        // hyper reads a head and content through one buffer; it must hold the largest head.
        .max_buf_size(BUFFER_BYTES_MAX.max(limits.header_bytes + 1));
    builder
}

/// HTTP/2.
pub(super) fn http2_builder(settings: &ListenSettings) -> http2::Builder<LocalExecutor> {
    let limits = &settings.limits;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits.streams)
        .enable_connect_protocol()
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(ERRONEOUS_STREAMS_MAX);
    builder
}

impl<I, S, B> Serve for http1::Connection<I, S>
where
    Self: Future<Output = hyper::Result<()>>,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl<I, S, B> Serve for http2::Connection<I, S, LocalExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    LocalExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// Runs a connection's streams beside it, on the worker's thread. A panic in one ends that one.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tasks::spawn(future);
    }
}

/// Per HTTP/1 connection and direction.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Request content in flight per stream: what one stream can make a worker hold.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// And per connection.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Response content queued per stream beyond the client's window.
const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Streams that were reset before they were looked at; over it the connection is closed (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 20;
/// Streams that the client's errors made us reset; over it the connection is closed (CVE-2025-8671).
const ERRONEOUS_STREAMS_MAX: usize = 50;
/// Finds dead clients while requests are in flight; idle ones are closed by their own deadline.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
