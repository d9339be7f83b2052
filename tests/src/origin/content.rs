//! Response content: at once, in pieces over time, or a lot of it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::Sleep;

/// Response content: `left` more copies of `piece`, each after a pause.
pub(super) struct Content {
    piece: Bytes,
    left: u64,
    last: Bytes,
    pause: Option<(Duration, Pin<Box<Sleep>>)>,
    exact: Option<u64>,
}

impl Content {
    pub(super) fn text(text: impl Into<String>) -> Self {
        let last = Bytes::from(text.into());
        let exact = Some(last.len() as u64);
        Self {
            piece: Bytes::new(),
            left: 0,
            last,
            pause: None,
            exact,
        }
    }

    /// Chunked: its length is not announced.
    pub(super) fn slow(name: &str, milliseconds: u64) -> Self {
        let pause = Duration::from_millis(milliseconds) / SLOW_PIECES;
        Self {
            piece: Bytes::from(format!("{name}\n")),
            left: SLOW_PIECES.into(),
            last: Bytes::new(),
            pause: Some((pause, Box::pin(tokio::time::sleep(pause)))),
            exact: None,
        }
    }

    pub(super) fn big(bytes: u64) -> Self {
        let piece = Bytes::from(vec![b'x'; BIG_PIECE]);
        let rest = usize::try_from(bytes % BIG_PIECE as u64).expect("less than a piece");
        Self {
            last: piece.slice(..rest),
            piece,
            left: bytes / BIG_PIECE as u64,
            pause: None,
            exact: Some(bytes),
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            let last = std::mem::take(&mut self.last);
            return Poll::Ready((!last.is_empty()).then(|| Ok(Frame::data(last))));
        }
        if let Some((pause, sleep)) = &mut self.pause {
            std::task::ready!(sleep.as_mut().poll(context));
            let next = sleep.deadline() + *pause;
            sleep.as_mut().reset(next);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.last.is_empty()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.exact
            .map_or_else(Default::default, hyper::body::SizeHint::with_exact)
    }
}

const BIG_PIECE: usize = 64 << 10;
const SLOW_PIECES: u32 = 10;
