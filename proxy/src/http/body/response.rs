//! Response content on its way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::BoxError;
use crate::cache::StoredResponse;
use crate::http::cached::Fill;
use crate::http::fields;
use crate::http::pool::Lease;
use crate::http::served::Served;
use crate::net::Stall;

/// Response content, with what must outlive the request: dropping it, at the end or early, closes the books on the
/// request and frees what it held.
pub(in crate::http) struct ResponseBody {
    content: Content,
    served: Served,
}

enum Content {
    Empty,
    Own(Bytes),
    Stored {
        response: Arc<StoredResponse>,
        next: usize,
        left: u64,
    },
    Origin(Box<FromOrigin>),
}

/// An origin's content as it comes in.
pub(in crate::http) struct FromOrigin {
    incoming: Incoming,
    silent: Stall,
    /// The connection it comes over; given back when the content came whole.
    lease: Option<Lease>,
    /// The copy for the cache.
    fill: Option<Fill>,
}

impl ResponseBody {
    /// No content.
    pub(in crate::http) fn empty(served: Served) -> Self {
        Self::of(Content::Empty, served)
    }

    /// Content of weir's own.
    pub(in crate::http) fn own(content: Bytes, served: Served) -> Self {
        if content.is_empty() {
            return Self::empty(served);
        }
        Self::of(Content::Own(content), served)
    }

    /// Content from the cache, `length` bytes in all.
    pub(in crate::http) fn stored(
        response: Arc<StoredResponse>,
        length: u64,
        served: Served,
    ) -> Self {
        let content = Content::Stored {
            response,
            next: 0,
            left: length,
        };
        Self::of(content, served)
    }

    /// Content from an origin.
    pub(in crate::http) fn origin(mut content: Box<FromOrigin>, served: Served) -> Self {
        if content.incoming.is_end_stream() {
            content.finish();
            return Self::empty(served);
        }
        Self::of(Content::Origin(content), served)
    }

    fn of(content: Content, served: Served) -> Self {
        let mut body = Self { content, served };
        if body.is_end_stream() {
            body.served.completed();
        }
        body
    }
}

impl FromOrigin {
    /// `timeout` bounds the time between two parts.
    pub(in crate::http) fn new(
        incoming: Incoming,
        timeout: Duration,
        lease: Lease,
        fill: Option<Fill>,
    ) -> Self {
        Self {
            incoming,
            silent: Stall::new(timeout),
            lease: Some(lease),
            fill,
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Pending => match self.silent.poll_waiting(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    self.abandon();
                    Poll::Ready(Some(Err("origin stopped sending".into())))
                }
            },
            Poll::Ready(outcome) => {
                self.silent.progressed();
                match outcome {
                    Some(Ok(frame)) => Poll::Ready(Some(Ok(self.pass(frame)))),
                    Some(Err(error)) => {
                        self.abandon();
                        Poll::Ready(Some(Err(error.into())))
                    }
                    None => {
                        self.finish();
                        Poll::Ready(None)
                    }
                }
            }
        }
    }

    fn pass(&mut self, mut frame: Frame<Bytes>) -> Frame<Bytes> {
        if let Some(data) = frame.data_ref() {
            if let Some(fill) = &mut self.fill
                && !fill.push(data)
            {
                self.fill = None;
            }
            // With a declared length the body is not polled again after its last byte.
            if self.incoming.is_end_stream() {
                self.finish();
            }
        } else if let Some(trailers) = frame.trailers_mut() {
            fields::trailers_to_client(trailers);
            // The cache keeps no trailers, so it keeps nothing that has some.
            self.fill = None;
            self.finish();
        }
        frame
    }

    /// The content came whole.
    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        if let Some(fill) = self.fill.take() {
            fill.store();
        }
    }

    /// The content will not come whole: the connection is in an unknown state, and what came is no response.
    fn abandon(&mut self) {
        self.lease = None;
        self.fill = None;
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = match &mut this.content {
            Content::Empty => Poll::Ready(None),
            Content::Own(content) => {
                let frame = Frame::data(std::mem::take(content));
                this.content = Content::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Content::Stored {
                response,
                next,
                left,
            } => {
                let part = response.content.get(*next).cloned();
                *next += 1;
                *left -= part.as_ref().map_or(0, |part| part.len() as u64);
                Poll::Ready(part.map(|part| Ok(Frame::data(part))))
            }
            Content::Origin(content) => content.poll_frame(context),
        };
        this.served.polled(polled.is_pending());
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.served.sent(length as u64);
                if this.is_end_stream() || frame.is_trailers() {
                    this.served.completed();
                }
            }
            Poll::Ready(None) => this.served.completed(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Own(_) => false,
            Content::Stored { left, .. } => *left == 0,
            Content::Origin(content) => content.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Own(content) => SizeHint::with_exact(content.len() as u64),
            Content::Stored { left, .. } => SizeHint::with_exact(*left),
            Content::Origin(content) => content.incoming.size_hint(),
        }
    }
}
