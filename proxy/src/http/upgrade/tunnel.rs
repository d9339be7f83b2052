//! What follows an upgrade: bytes both ways, until both sides have ended, one is lost, or nothing moves.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use super::Slot;
use crate::clock;
use crate::http::pool::Lease;
use crate::http::served::Served;

/// The client's side.
pub(in crate::http) enum Client {
    /// The connection, which its driver hands over.
    Http1,
    /// The stream that this becomes.
    Http2(OnUpgrade),
}

/// A tunnel that was agreed to. Dropped, it is closed on both sides.
pub(in crate::http) struct Tunnel {
    origin: OnUpgrade,
    idle_timeout: Duration,
    served: Served,
    /// Counts the origin's connection.
    _lease: Lease,
    _slot: Slot,
}

impl Tunnel {
    /// Ends when nothing has moved for `idle_timeout`.
    pub(in crate::http) fn new(
        origin: OnUpgrade,
        idle_timeout: Duration,
        served: Served,
        lease: Lease,
        slot: Slot,
    ) -> Self {
        slot.count();
        Self {
            origin,
            idle_timeout,
            served,
            _lease: lease,
            _slot: slot,
        }
    }

    /// The same with the stream that `client` becomes.
    pub(in crate::http) async fn run_over(self, client: OnUpgrade) {
        match client.await {
            Ok(client) => self.run(TokioIo::new(client)).await,
            Err(error) => tracing::debug!(%error, "the client gave the upgrade up"),
        }
    }

    /// Copies between `client` and the origin. An end on one side is passed on to the other, which may go on sending.
    pub(in crate::http) async fn run(mut self, mut client: impl AsyncRead + AsyncWrite + Unpin) {
        let origin = match self.origin.await {
            Ok(origin) => origin,
            Err(error) => {
                tracing::debug!(%error, "the origin gave the upgrade up");
                return;
            }
        };
        let moved = Rc::new(Moved {
            to_client: Cell::new(0),
            last: Cell::new(clock::now()),
        });
        let mut origin = Watched {
            inner: TokioIo::new(origin),
            moved: Rc::clone(&moved),
        };
        let copy =
            copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER_BYTES, BUFFER_BYTES);
        let ended = tokio::select! {
            biased;
            ended = copy => ended.map(drop),
            () = silence(&moved, self.idle_timeout) => Err(io::ErrorKind::TimedOut.into()),
        };
        self.served.sent(moved.to_client.get());
        match ended {
            Ok(()) => self.served.completed(),
            Err(error) => tracing::debug!(%error, "tunnel broke off"),
        }
    }
}

/// What has passed.
struct Moved {
    /// Bytes.
    to_client: Cell<u64>,
    /// In either direction.
    last: Cell<Instant>,
}

/// Returns when nothing has moved for `timeout`.
async fn silence(moved: &Moved, timeout: Duration) {
    loop {
        let deadline = moved.last.get() + timeout;
        if clock::now() >= deadline {
            return;
        }
        tokio::time::sleep_until(deadline.into()).await;
    }
}

/// The origin's side, counted.
struct Watched<S> {
    inner: S,
    moved: Rc<Moved>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        let to_client = &self.moved.to_client;
        to_client.set(to_client.get() + read);
        self.moved.last.set(clock::now());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        self.moved.last.set(clock::now());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Per direction.
const BUFFER_BYTES: usize = 16 << 10;
