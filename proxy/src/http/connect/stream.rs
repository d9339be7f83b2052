//! The byte stream of an origin server, under TLS or bare, and what may come over it before a response.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection to an origin server.
pub(in crate::http) struct OriginStream {
    transport: Transport,
    head: Arc<HeadBudget>,
}

pub(in crate::http) enum Transport {
    Cleartext(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Bytes that may come before a response's head is complete. hyper skips interim responses (RFC 9110 §15.2) however many
/// there are; this ends a stream of nothing else. Atomic only because hyper may hand the stream to another thread.
#[derive(Debug)]
pub(in crate::http) struct HeadBudget(AtomicU64);

impl OriginStream {
    pub(in crate::http) fn new(transport: Transport) -> Self {
        let head = Arc::default();
        Self { transport, head }
    }

    #[cfg(test)]
    pub(in crate::http) fn cleartext(stream: TcpStream) -> Self {
        Self::new(Transport::Cleartext(stream))
    }

    pub(super) fn head(&self) -> Arc<HeadBudget> {
        Arc::clone(&self.head)
    }

    fn inner(&mut self) -> Pin<&mut dyn ReadWrite> {
        match &mut self.transport {
            Transport::Cleartext(stream) => Pin::new(stream),
            Transport::Tls(stream) => Pin::new(stream),
        }
    }
}

impl Default for HeadBudget {
    fn default() -> Self {
        Self(AtomicU64::new(UNLIMITED))
    }
}

impl HeadBudget {
    /// A request goes out.
    pub(in crate::http) fn begin(&self) {
        self.0.store(HEADS_BYTES_MAX, Ordering::Relaxed);
    }

    /// The response's head came.
    pub(in crate::http) fn end(&self) {
        self.0.store(UNLIMITED, Ordering::Relaxed);
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == UNLIMITED {
            return Ok(());
        }
        let left = left
            .checked_sub(bytes as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "interim responses only"))?;
        self.0.store(left, Ordering::Relaxed);
        Ok(())
    }
}

trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ReadWrite for T {}

impl AsyncRead for OriginStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.inner().poll_read(context, buffer))?;
        Poll::Ready(self.head.spend(buffer.filled().len() - before))
    }
}

impl AsyncWrite for OriginStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Cleartext(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}

const UNLIMITED: u64 = u64::MAX;
/// A dozen of the largest interim responses, or thousands of ordinary ones; over it: 502.
const HEADS_BYTES_MAX: u64 = 256 << 10;
