//! The client's byte stream: what was read ahead comes first, whoever watches sees every byte that comes in, and a
//! write that makes no progress fails. What the watcher finds fault with does not come out at the other side.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Stall;

/// Is told what a client sends.
pub(crate) trait Observe {
    /// `bytes` came in; empty at the end of the stream. Returns how many of them may be read; if not all, the next read
    /// fails.
    fn received(&self, bytes: &[u8]) -> usize;

    /// `bytes` went to the client.
    fn sent(&self, bytes: usize);

    /// Whether the stream, when it is dropped, is to be reset: what the client has not taken is not to wait in the kernel.
    fn is_to_be_reset(&self) -> bool;
}

/// The observer found fault with what came in.
#[derive(Debug)]
pub(crate) struct Cut;

impl Cut {
    fn error() -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self)
    }

    /// Whether this is what `error` says.
    pub(crate) fn is(error: &io::Error) -> bool {
        let cause = error.get_ref();
        cause
            .and_then(|cause| cause.downcast_ref::<Self>())
            .is_some()
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what came in is not plain")
    }
}

impl std::error::Error for Cut {}

/// A client's socket, under TLS or bare.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Has the kernel send RST instead of FIN.
    fn reset_on_close(&self);
}

impl Socket for TcpStream {
    fn reset_on_close(&self) {
        // If it cannot be set, the connection is gone already.
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl Socket for TlsStream<TcpStream> {
    fn reset_on_close(&self) {
        self.get_ref().0.reset_on_close();
    }
}

/// A client's stream, TLS or not.
pub(crate) struct ClientStream<S: Socket, O: Observe> {
    inner: S,
    read_ahead: Bytes,
    observer: O,
    /// The next read fails, once: what comes after it is nobody's request, but may be read to let the client speak out.
    is_cut: bool,
    /// Runs while the client takes nothing of what is to be written.
    unread: Stall,
}

impl<S: Socket, O: Observe> ClientStream<S, O> {
    /// `read_ahead` was already read from `inner`. A write that waits longer than `write_timeout` fails with
    /// [`io::ErrorKind::TimedOut`].
    pub(crate) fn new(inner: S, read_ahead: Bytes, observer: O, write_timeout: Duration) -> Self {
        Self {
            inner,
            read_ahead,
            observer,
            is_cut: false,
            unread: Stall::new(write_timeout),
        }
    }

    /// `bytes` have been read, but are to be read again.
    pub(crate) fn rewound(mut self, bytes: Bytes) -> Self {
        self.read_ahead = if self.read_ahead.is_empty() {
            bytes
        } else {
            [&bytes[..], &self.read_ahead].concat().into()
        };
        self
    }

    /// The stream underneath.
    pub(crate) fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Whether bytes that were to be written wait for the client.
    pub(crate) fn is_blocked(&self) -> bool {
        self.unread.is_waiting()
    }
}

impl<S: Socket, O: Observe> ClientStream<S, O> {
    fn wrote(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &outcome {
            self.observer.sent(*bytes);
        }
        self.progress(outcome, context)
    }

    /// Bounds how long `outcome` may stay pending.
    fn progress<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.unread.progressed();
            return outcome;
        }
        ready!(self.unread.poll_waiting(context));
        // Closed in order, it would live on in the kernel for as long as the client takes a few bytes now and then, with
        // all that waits in its buffer.
        self.inner.reset_on_close();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Socket, O: Observe> Drop for ClientStream<S, O> {
    fn drop(&mut self) {
        if self.observer.is_to_be_reset() {
            self.inner.reset_on_close();
        }
    }
}

impl<S: Socket, O: Observe + Unpin> AsyncRead for ClientStream<S, O> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.is_cut) {
            return Poll::Ready(Err(Cut::error()));
        }
        let before = buffer.filled().len();
        if this.read_ahead.is_empty() {
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        } else {
            let length = this.read_ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.read_ahead[..length]);
            this.read_ahead.advance(length);
        }
        let received = &buffer.filled()[before..];
        let kept = this.observer.received(received);
        if kept < received.len() {
            buffer.set_filled(before + kept);
            if kept == 0 {
                // An empty read would be the end of the stream.
                return Poll::Ready(Err(Cut::error()));
            }
            this.is_cut = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket, O: Observe + Unpin> AsyncWrite for ClientStream<S, O> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write(context, bytes);
        this.wrote(outcome, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_write_vectored(context, slices);
        this.wrote(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_flush(context);
        this.progress(outcome, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.inner).poll_shutdown(context);
        this.progress(outcome, context)
    }
}
