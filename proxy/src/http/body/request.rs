//! Request content on its way to the origin.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pace::{Pace, Speed};
use super::{BoxError, is_cut};
use crate::clock;
use crate::http::fault::{Fault, Malformed};
use crate::http::fields;
use crate::http::pool::h2::Stream;
use crate::net::{ClientLimits, Cut, Stall};

/// Request content: the client's, within its limits. An error in it aborts the exchange with the origin, so that the
/// origin never takes a part for the whole.
pub(in crate::http) struct RequestBody {
    upload: Rc<Upload>,
    /// Which of the upload's bodies this is; only the last one gets anything.
    number: u32,
    /// Kept part that comes next.
    next: usize,
    silent: Stall,
    manner: Manner,
    /// The stream it goes over, if a connection is shared: its place is taken until the content has gone.
    stream: Option<Rc<Stream>>,
}

/// The content of a request, shared by its bodies (one for each time it is sent) and read by whoever waits for the
/// response.
pub(in crate::http) struct Upload {
    source: RefCell<Source>,
    /// The client's.
    version: Version,
    /// Number of the last body.
    bodies: Cell<u32>,
    timeout: Duration,
    /// Why the content ended early.
    fault: Cell<Option<Fault>>,
    /// The origin's connection asked for content and the client has none yet.
    waits_for_client: Cell<bool>,
    /// Parts that went to the origin's connection.
    parts: Cell<u64>,
    /// When the last one did.
    moved: Cell<Option<Instant>>,
    /// All of it did.
    whole: Cell<bool>,
}

/// How content has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// At the least rate.
    Steady,
    /// As the client has something to say.
    Pausing,
}

struct Source {
    incoming: Option<Incoming>,
    /// Bytes that may still come.
    left: u64,
    pace: Pace,
    kept: Kept,
}

/// The parts so far, so that they can be sent again.
struct Kept {
    parts: Vec<Part>,
    bytes: usize,
    /// Whether these are all of them.
    extent: Extent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    All,
    None,
}

enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl RequestBody {
    fn of(upload: Rc<Upload>) -> Self {
        upload.bodies.set(upload.bodies.get() + 1);
        upload.whole.set(upload.source.borrow().is_sent(0));
        upload.waits_for_client.set(false);
        Self {
            number: upload.bodies.get(),
            next: 0,
            silent: Stall::new(upload.timeout),
            manner: Manner::Steady,
            upload,
            stream: None,
        }
    }

    /// It goes over `stream`.
    pub(in crate::http) fn hold(&mut self, stream: Rc<Stream>) {
        self.stream = Some(stream);
    }

    /// It is one side of a dialogue: silent for up to `timeout`, at any rate. Before it is sent.
    pub(in crate::http) fn may_pause(&mut self, timeout: Duration) {
        self.silent = Stall::new(timeout);
        self.manner = Manner::Pausing;
    }

    /// It has not gone after all.
    pub(in crate::http) fn unsent(mut self) -> Self {
        self.silent = Stall::new(self.upload.timeout);
        self.manner = Manner::Steady;
        self.stream = None;
        self
    }
}

impl Upload {
    /// At most `bytes_max` bytes, and within `limits`, not silent for too long while content is due, and not too slow in
    /// all.
    pub(in crate::http) fn new(
        incoming: Incoming,
        version: Version,
        bytes_max: u64,
        limits: &ClientLimits,
    ) -> Rc<Self> {
        Rc::new(Self {
            source: RefCell::new(Source {
                incoming: (!incoming.is_end_stream()).then_some(incoming),
                left: bytes_max,
                pace: Pace::new(limits.min_body_rate),
                kept: Kept {
                    parts: Vec::new(),
                    bytes: 0,
                    extent: Extent::None,
                },
            }),
            version,
            bodies: Cell::new(0),
            timeout: limits.body_timeout,
            fault: Cell::new(None),
            waits_for_client: Cell::new(false),
            parts: Cell::new(0),
            moved: Cell::new(None),
            whole: Cell::new(false),
        })
    }

    /// The content, to be sent for the first time.
    pub(in crate::http) fn body(self: &Rc<Self>) -> RequestBody {
        RequestBody::of(Rc::clone(self))
    }

    /// From now on what goes by is kept, up to [`KEPT_BYTES_MAX`], so that it can be sent again.
    pub(in crate::http) fn keep(&self) {
        self.source.borrow_mut().kept.extent = Extent::All;
    }

    /// The content from its beginning, to be sent once more; `None` if it is not all there. Ends the body before.
    pub(in crate::http) fn again(self: &Rc<Self>) -> Option<RequestBody> {
        let all = self.source.borrow().kept.extent == Extent::All;
        (all && self.fault.get().is_none()).then(|| RequestBody::of(Rc::clone(self)))
    }

    /// Whether the content could be sent again as far as it went.
    pub(in crate::http) fn is_kept(&self) -> bool {
        self.source.borrow().kept.extent == Extent::All
    }

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

    /// When content moved last; `None` = there was none.
    pub(in crate::http) fn moved(&self) -> Option<Instant> {
        self.moved.get()
    }

    fn passed(&self) {
        self.parts.set(self.parts.get() + 1);
        self.moved.set(Some(clock::now()));
    }

    fn fail(&self, source: &mut Source, fault: Fault) -> BoxError {
        source.incoming = None;
        self.fault.set(Some(fault));
        self.waits_for_client.set(false);
        cancelled()
    }
}

impl Source {
    /// Counts content against its pace and its limit, and leaves of trailers what an origin may get.
    fn admit(&mut self, frame: &mut Frame<Bytes>) -> Result<(), Fault> {
        if let Some(data) = frame.data_ref() {
            if self.pace.arrived(data.len(), clock::now) == Speed::TooSlow {
                return Err(Fault::ContentTimeout);
            }
            let left = self.left.checked_sub(data.len() as u64);
            self.left = left.ok_or(Fault::ContentTooLarge)?;
        } else if let Some(trailers) = frame.trailers_mut() {
            fields::trailers_to_origin(trailers);
        }
        Ok(())
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Whether nothing comes after kept part number `next`.
    fn is_sent(&self, next: usize) -> bool {
        next >= self.kept.parts.len() && self.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Kept {
    /// Keeps `frame`, or gives up for good when it is too much.
    fn push(&mut self, frame: &Frame<Bytes>) {
        if self.extent == Extent::None {
            return;
        }
        let part = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Part::data(data),
            (None, Some(trailers)) => Part::Trailers(trailers.clone()),
            (None, None) => return,
        };
        self.bytes += part.bytes();
        if self.bytes > KEPT_BYTES_MAX {
            self.extent = Extent::None;
            self.parts = Vec::new();
        } else {
            self.parts.push(part);
        }
    }

    /// Bytes of content from part number `next` on.
    fn left(&self, next: usize) -> u64 {
        let parts = self.parts.iter().skip(next);
        parts.map(|part| part.data_bytes() as u64).sum()
    }
}

impl Part {
    /// A small part is copied: it is a window on a read buffer, which would stay alive with it.
    fn data(data: &Bytes) -> Self {
        Self::Data(if data.len() < COPY_BELOW_BYTES {
            Bytes::copy_from_slice(data)
        } else {
            data.clone()
        })
    }

    fn frame(&self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data.clone()),
            Self::Trailers(trailers) => Frame::trailers(trailers.clone()),
        }
    }

    fn data_bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(_) => 0,
        }
    }

    /// What it counts: itself, and what there is around it.
    fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len() + PART_OVERHEAD_BYTES,
            Self::Trailers(trailers) => trailers
                .iter()
                .map(|(name, value)| name.as_str().len() + value.len() + PART_OVERHEAD_BYTES)
                .sum(),
        }
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
        let upload = &*this.upload;
        if this.number != upload.bodies.get() {
            // It is sent again over another connection.
            return Poll::Ready(Some(Err(cancelled())));
        }
        if let Some(stream) = &this.stream
            && !stream.asked()
        {
            return Poll::Ready(Some(Err(cancelled())));
        }
        let mut source = upload.source.borrow_mut();
        let source = &mut *source;
        if let Some(part) = source.kept.parts.get(this.next) {
            let frame = part.frame();
            this.next += 1;
            upload.passed();
            upload.whole.set(source.is_sent(this.next));
            upload.waits_for_client.set(false);
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(incoming) = &mut source.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *incoming).poll_frame(context);
        upload.waits_for_client.set(polled.is_pending());
        let outcome = match polled {
            Poll::Pending => {
                if this.silent.poll_waiting(context).is_pending() {
                    if this.manner == Manner::Steady {
                        source.pace.waits(clock::now);
                    }
                    return Poll::Pending;
                }
                return Poll::Ready(Some(Err(upload.fail(source, Fault::ContentTimeout))));
            }
            Poll::Ready(outcome) => outcome,
        };
        this.silent.progressed();
        let Some(outcome) = outcome else {
            if is_cut(incoming, upload.version) {
                return Poll::Ready(Some(Err(upload.fail(source, Fault::ContentIncomplete))));
            }
            source.incoming = None;
            upload.whole.set(true);
            return Poll::Ready(None);
        };
        let mut frame = match outcome {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Some(Err(upload.fail(source, fault_of(&error))))),
        };
        upload.passed();
        if let Err(fault) = source.admit(&mut frame) {
            return Poll::Ready(Some(Err(upload.fail(source, fault))));
        }
        source.kept.push(&frame);
        this.next = source.kept.parts.len();
        upload.whole.set(source.is_sent(this.next));
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.upload.source.borrow().is_sent(self.next) && self.upload.fault().is_none()
    }

    /// Exact when the client declared a length: then the origin gets that `Content-Length`, else chunks.
    fn size_hint(&self) -> SizeHint {
        let source = self.upload.source.borrow();
        let kept = source.kept.left(self.next);
        let mut hint = source.size_hint();
        if let Some(exact) = hint.exact() {
            return SizeHint::with_exact(kept + exact);
        }
        hint.set_lower(hint.lower() + kept);
        hint
    }
}

/// What of a client's content could not be read: the decoder of chunks and whoever watches them say that it is invalid. So
/// does TLS of a broken record, which says nothing about content.
fn fault_of(error: &hyper::Error) -> Fault {
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match io {
        Some(io) if io.kind() == io::ErrorKind::InvalidInput || Cut::is(io) => {
            Fault::BadRequest(Malformed::Chunks)
        }
        _ => Fault::ContentIncomplete,
    }
}

/// HTTP/2 sends the reason on (RFC 9113 §8.1); HTTP/1.1 can only close.
fn cancelled() -> BoxError {
    Box::new(h2::Error::from(h2::Reason::CANCEL))
}

/// Content that is kept for one request, so that it can be sent again; more is sent once.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// About what a part takes beside its bytes.
const PART_OVERHEAD_BYTES: usize = 64;
const COPY_BELOW_BYTES: usize = 4096;
