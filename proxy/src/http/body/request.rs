//! Request content on its way to the origin.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::BoxError;
use super::pace::{Pace, Speed};
use crate::clock;
use crate::http::fault::Fault;
use crate::http::fields;
use crate::net::{ClientLimits, Stall};

/// Request content: the client's, within its limits. An error in it aborts the exchange with the origin, so that the
/// origin never takes a part for the whole.
pub(in crate::http) struct RequestBody {
    incoming: Option<Incoming>,
    /// Bytes that may still come.
    left: u64,
    silent: Stall,
    pace: Pace,
    upload: Rc<Upload>,
}

/// How the content of a request is doing; read by whoever waits for the response.
#[derive(Debug, Default)]
pub(in crate::http) struct Upload {
    /// Why the content ended early.
    fault: Cell<Option<Fault>>,
    /// The origin's connection asked for content and the client has none yet.
    waits_for_client: Cell<bool>,
    /// Parts that went to the origin's connection.
    parts: Cell<u64>,
    /// All of it did.
    whole: Cell<bool>,
}

impl RequestBody {
    /// At most `bytes_max`, and within `limits`, not silent for too long while content is due, and not too slow in all.
    pub(in crate::http) fn new(
        incoming: Incoming,
        bytes_max: u64,
        limits: &ClientLimits,
        upload: Rc<Upload>,
    ) -> Self {
        upload.whole.set(incoming.is_end_stream());
        Self {
            incoming: (!incoming.is_end_stream()).then_some(incoming),
            left: bytes_max,
            silent: Stall::new(limits.body_timeout),
            pace: Pace::new(limits.min_body_rate),
            upload,
        }
    }

    /// No content.
    pub(in crate::http) fn empty() -> Self {
        Self {
            incoming: None,
            left: 0,
            silent: Stall::new(Duration::ZERO),
            pace: Pace::new(0),
            upload: Rc::default(),
        }
    }

    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.incoming = None;
        self.upload.fault.set(Some(fault));
        self.upload.waits_for_client.set(false);
        Poll::Ready(Some(Err(fault.explanation().into())))
    }

    fn pass(&mut self, mut frame: Frame<Bytes>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.upload.parts.set(self.upload.parts.get() + 1);
        if let Some(data) = frame.data_ref() {
            if self.pace.arrived(data.len(), clock::now) == Speed::TooSlow {
                return self.fail(Fault::ContentTimeout);
            }
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => return self.fail(Fault::ContentTooLarge),
            }
        } else if let Some(trailers) = frame.trailers_mut() {
            fields::trailers_to_origin(trailers);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Upload {
    /// Why the content ended early, if it did.
    pub(in crate::http) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// Whether the next move is the client's.
    pub(in crate::http) fn waits_for_client(&self) -> bool {
        self.waits_for_client.get()
    }

    /// Whether the origin's connection has all of the content.
    pub(in crate::http) fn is_whole(&self) -> bool {
        self.whole.get()
    }

    /// Changes whenever content moves.
    pub(in crate::http) fn progress(&self) -> u64 {
        self.parts.get()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(context);
        this.upload.waits_for_client.set(polled.is_pending());
        match polled {
            Poll::Pending => match this.silent.poll_waiting(context) {
                Poll::Pending => {
                    this.pace.waits(clock::now);
                    Poll::Pending
                }
                Poll::Ready(()) => this.fail(Fault::ContentTimeout),
            },
            Poll::Ready(outcome) => {
                this.silent.progressed();
                match outcome {
                    None => {
                        this.upload.whole.set(true);
                        Poll::Ready(None)
                    }
                    Some(Ok(frame)) => {
                        let polled = this.pass(frame);
                        this.upload.whole.set(this.is_end_stream());
                        polled
                    }
                    Some(Err(_)) => this.fail(Fault::ContentIncomplete),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream) && self.upload.fault().is_none()
    }

    /// Exact when the client declared a length: then the origin gets that `Content-Length`, else chunks.
    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
