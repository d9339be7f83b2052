//! Response content on its way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{BoxError, Encoding, is_cut};
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
    /// The content coding it is put in, if any.
    encoding: Option<Box<Encoding>>,
    /// `None`: who follows the response keeps the books.
    served: Option<Served>,
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
    /// The origin's.
    version: Version,
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

    /// No content, and somebody else keeps the books on the request.
    pub(in crate::http) fn handed_over() -> Self {
        Self {
            content: Content::Empty,
            encoding: None,
            served: None,
        }
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

    /// Puts the content in a coding, unless there is none.
    pub(in crate::http) fn encode(&mut self, encoding: Encoding) {
        if !self.is_end_stream() {
            self.encoding = Some(Box::new(encoding));
        }
    }

    fn of(content: Content, served: Served) -> Self {
        let mut body = Self {
            content,
            encoding: None,
            served: Some(served),
        };
        if body.is_end_stream() {
            body.note(Served::completed);
        }
        body
    }

    fn note(&mut self, what: impl FnOnce(&mut Served)) {
        if let Some(served) = &mut self.served {
            what(served);
        }
    }
}

impl FromOrigin {
    /// `timeout` bounds the time between two parts.
    pub(in crate::http) fn new(
        incoming: Incoming,
        version: Version,
        timeout: Duration,
        lease: Lease,
        fill: Option<Fill>,
    ) -> Self {
        Self {
            incoming,
            version,
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
                    None if is_cut(&self.incoming, self.version) => {
                        self.abandon();
                        Poll::Ready(Some(Err("origin reset the stream".into())))
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
        let polled = match &mut this.encoding {
            Some(encoding) => poll_encoded(&mut this.content, encoding, context),
            None => this.content.poll_frame(context),
        };
        let pending = polled.is_pending();
        this.note(|served| served.polled(pending));
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.note(|served| served.sent(length as u64));
                if this.is_end_stream() || frame.is_trailers() {
                    this.note(Served::completed);
                }
            }
            Poll::Ready(None) => this.note(Served::completed),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.encoding {
            Some(encoding) => encoding.is_end_stream(),
            None => self.content.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.encoding, &self.content) {
            (Some(_), _) => SizeHint::default(),
            (None, Content::Empty) => SizeHint::with_exact(0),
            (None, Content::Own(content)) => SizeHint::with_exact(content.len() as u64),
            (None, Content::Stored { left, .. }) => SizeHint::with_exact(*left),
            (None, Content::Origin(content)) => content.incoming.size_hint(),
        }
    }
}

impl Content {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Polled>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Own(content) => {
                let frame = Frame::data(std::mem::take(content));
                *self = Self::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Self::Stored {
                response,
                next,
                left,
            } => {
                let part = response.content.get(*next).cloned();
                *next += 1;
                *left -= part.as_ref().map_or(0, |part| part.len() as u64);
                Poll::Ready(part.map(|part| Ok(Frame::data(part))))
            }
            Self::Origin(content) => content.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Own(_) => false,
            Self::Stored { left, .. } => *left == 0,
            Self::Origin(content) => content.incoming.is_end_stream(),
        }
    }
}

/// The next part of `content` in its coding. An error is passed on before anything that could look like an end.
fn poll_encoded(
    content: &mut Content,
    encoding: &mut Encoding,
    context: &mut Context<'_>,
) -> Poll<Option<Polled>> {
    loop {
        if encoding.is_finished() {
            return Poll::Ready(encoding.take_trailers().map(Ok));
        }
        let coded = match content.poll_frame(context) {
            Poll::Pending => match encoding.flush() {
                Ok(nothing) if nothing.is_empty() => return Poll::Pending,
                flushed => flushed,
            },
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => encoding.finish(None),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => encoding.push(&data).and_then(|coded| {
                    if !content.is_end_stream() {
                        return Ok(coded);
                    }
                    // At once, so that small content is one frame.
                    let rest = encoding.finish(None)?;
                    Ok(if coded.is_empty() {
                        rest
                    } else {
                        [coded, rest].concat().into()
                    })
                }),
                Err(trailers) => encoding.finish(Some(trailers)),
            },
        };
        match coded {
            Ok(nothing) if nothing.is_empty() => {}
            Ok(coded) => return Poll::Ready(Some(Ok(Frame::data(coded)))),
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        }
    }
}

/// What a body yields.
type Polled = Result<Frame<Bytes>, BoxError>;
