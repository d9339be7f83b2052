//! The byte stream of an origin server, under TLS or bare, and what may come over it before a response.
//!
//! An origin server may answer before it has taken the whole request, and close (RFC 9112 §9.3, §9.6). The next write then
//! fails while the response waits to be read, so that failure is held back until the read side is at its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection to an origin server.
pub(in crate::http) struct OriginStream {
    transport: Transport,
    head: Arc<HeadBudget>,
    reading: Reading,
    held: Option<Held>,
}

/// Whether more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Open,
    Ended,
}

/// Why a write failed, and who is told when all that came is read.
struct Held {
    why: io::ErrorKind,
    writer: Waker,
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
        Self {
            transport,
            head: Arc::default(),
            reading: Reading::Open,
            held: None,
        }
    }

    #[cfg(test)]
    pub(in crate::http) fn cleartext(stream: TcpStream) -> Self {
        Self::new(Transport::Cleartext(stream))
    }

    pub(super) fn head(&self) -> Arc<HeadBudget> {
        Arc::clone(&self.head)
    }

    fn inner(&mut self) -> Pin<&mut Bytewise> {
        match &mut self.transport {
            Transport::Cleartext(stream) => Pin::new(stream),
            Transport::Tls(stream) => Pin::new(stream),
        }
    }

    /// No more will come: what was held back is told.
    fn end_reading(&mut self) {
        self.reading = Reading::Ended;
        if let Some(held) = &self.held {
            held.writer.wake_by_ref();
        }
    }

    /// Writes, unless that failed before. A failure that says the connection is gone ends the read side, too, so it is not
    /// held back for long.
    fn write<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Bytewise>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let why = match &self.held {
            Some(held) => held.why,
            None => match write(self.inner(), context) {
                Poll::Ready(Err(error)) if is_gone(&error) => error.kind(),
                outcome => return outcome,
            },
        };
        if self.reading == Reading::Ended {
            return Poll::Ready(Err(why.into()));
        }
        let writer = context.waker().clone();
        self.held = Some(Held { why, writer });
        Poll::Pending
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

/// Named with its lifetime, which a method named as a function cannot leave open.
type Bytewise = dyn ReadWrite + 'static;

trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ReadWrite for T {}

impl AsyncRead for OriginStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let room = buffer.remaining();
        let outcome = ready!(self.inner().poll_read(context, buffer));
        let bytes = buffer.filled().len() - before;
        if outcome.is_err() || (bytes == 0 && room > 0) {
            self.end_reading();
        }
        outcome?;
        Poll::Ready(self.head.spend(bytes))
    }
}

impl AsyncWrite for OriginStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, |stream, context| {
            stream.poll_write_vectored(context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Cleartext(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}

/// Whether nobody takes anything any more: reset, or closed and then reset.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

const UNLIMITED: u64 = u64::MAX;
/// A dozen of the largest interim responses, or thousands of ordinary ones; over it: 502.
const HEADS_BYTES_MAX: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const RESPONSE: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";

    /// A stream whose origin server answered and went, with bytes unread so that it reset the connection, and on which a
    /// write has failed but nothing was read yet.
    async fn refused() -> OriginStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut stream = OriginStream::cleartext(stream.unwrap());
        let (mut origin, _) = accepted.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
        origin.readable().await.unwrap();
        origin.write_all(RESPONSE).await.unwrap();
        drop(origin);
        // Over loopback the reset is here with the call that sent it.
        std::future::poll_fn(|context| {
            let write = Pin::new(&mut stream).poll_write(context, b"more");
            assert!(!matches!(write, Poll::Ready(Err(_))), "not held back");
            if stream.held.is_none() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        stream
    }

    #[tokio::test]
    async fn a_response_is_read_though_a_write_failed_before() {
        let mut stream = refused().await;
        let mut response = vec![0; RESPONSE.len()];
        stream.read_exact(&mut response).await.unwrap();
        assert_eq!(response, RESPONSE);
    }

    #[tokio::test]
    async fn a_failed_write_is_told_once_everything_is_read() {
        let (mut reader, mut writer) = tokio::io::split(refused().await);
        let mut response = Vec::new();
        let (written, read) =
            tokio::join!(writer.write_all(b"more"), reader.read_to_end(&mut response));
        read.unwrap();
        assert_eq!(response, RESPONSE);
        let error = written.unwrap_err();
        assert!(is_gone(&error), "{error}");
    }
}
