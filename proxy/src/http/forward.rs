//! From a request to an origin's response: which server, over which connection, and what if that fails.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;

use super::body::{RequestBody, Upload};
use super::connect::{self, Speak, connect};
use super::fault::{Fault, Retry, Who};
use super::outgoing::Outgoing;
use super::patience::{Dialogue, Patience};
use super::pool::{Lease, Reuse, Server, Waited, h2};
use super::served::Served;
use super::worker::{View, Worker};
use crate::balance::{Attempt, ProxyProtocol, Tried, Upstream, Wish};
use crate::clock;

/// Content that goes with it.
pub(super) struct Content {
    pub(super) body: RequestBody,
    pub(super) upload: Rc<Upload>,
    /// Whether there is any.
    pub(super) size: Size,
}

/// Whether a request has content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Empty,
    Some,
}

/// Where a request is to go.
pub(super) struct Whither {
    /// Number of the upstream.
    pub(super) upstream: usize,
    /// What decides on the server.
    pub(super) wish: Wish,
}

/// An origin's response and the connection it comes over.
pub(super) struct Exchange {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
}

/// An exchange that failed, with the content if none of it was sent.
struct Failed {
    fault: Fault,
    unsent: Option<RequestBody>,
}

/// Asks servers of the upstream in turn until one responds. A fault that cannot have had an effect is retried with the next
/// server; one that may have had is retried only for idempotent requests (RFC 9110 §9.2.2) whose content is still there.
/// Ends when all servers were asked once, after `retry.attempts` retries, or when the upstream's budget of them is used up.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    view: &View,
    whither: &Whither,
    outgoing: &Outgoing,
    content: Content,
    served: &mut Served,
) -> Result<Exchange, Fault> {
    let group = &view.site.upstreams[whither.upstream];
    let upload = content.upload;
    if outgoing.method.is_idempotent() || content.size == Size::Empty {
        upload.keep();
    }
    let sends = group.settings.transport.send_proxy_protocol;
    let mut body = content.body;
    let mut search = Search::new(worker, view, whither);
    let mut retries = 0;
    loop {
        let server = search.next().await?;
        served.asked(&group.settings.name, &server.origin().authority);
        let target = connect::Target {
            server: &server,
            tls: view.site.origin_tls[whither.upstream].as_deref(),
            speak: outgoing.speak,
            client: (sends != ProxyProtocol::Off).then_some(outgoing.client),
        };
        let failed = match attempt(worker, target, outgoing, body, &upload).await {
            Ok(exchange) => return Ok(exchange),
            Err(failed) => failed,
        };
        let fault = failed.fault;
        body = match (fault.retry(), failed.unsent) {
            (Retry::Always | Retry::Unprocessed, Some(unsent)) => unsent,
            (retry, _) => again(retry, outgoing, &upload).ok_or(fault)?,
        };
        search.failed(server.index, fault);
        if fault == Fault::ConnectionLimitReached {
            served.not_asked();
            continue;
        }
        retries += 1;
        if retries > group.settings.retry.attempts || !group.may_retry(clock::now()) {
            return Err(fault);
        }
    }
}

/// The servers for one request, one after the other.
struct Search<'a> {
    worker: &'a Rc<Worker>,
    view: &'a View,
    whither: &'a Whither,
    /// Asked, or at their limit.
    tried: Tried,
    /// Those asked.
    asked: Tried,
    last: Fault,
    /// A server was at its limit.
    full: bool,
    /// When to stop waiting for a connection.
    deadline: Option<Instant>,
}

impl<'a> Search<'a> {
    fn new(worker: &'a Rc<Worker>, view: &'a View, whither: &'a Whither) -> Self {
        Self {
            worker,
            view,
            whither,
            tried: Tried::default(),
            asked: Tried::default(),
            last: Fault::DestinationUnavailable,
            full: worker
                .pool
                .is_awaited(&view.site.upstreams[whither.upstream]),
            deadline: None,
        }
    }

    /// The next server; waits while all that are left have as many connections as they may.
    async fn next(&mut self) -> Result<Server, Fault> {
        let Whither { upstream, wish } = *self.whither;
        let group = &self.view.site.upstreams[upstream];
        if self.full && self.deadline.is_none() && self.tried == Tried::default() {
            // Others wait already.
            self.wait(group).await?;
        }
        loop {
            let picked = self
                .view
                .pick(upstream, wish, &mut self.tried, clock::now());
            if let Some(index) = picked {
                return Ok(Server {
                    upstream: Arc::clone(group),
                    index,
                });
            }
            if !self.full {
                return Err(self.last);
            }
            self.wait(group).await?;
        }
    }

    /// Waits for a connection; then what was at its limit may be tried again.
    async fn wait(&mut self, group: &Arc<Upstream>) -> Result<(), Fault> {
        let pending = group.settings.timeouts.pending;
        let deadline = *self.deadline.get_or_insert_with(|| clock::now() + pending);
        match self.worker.pool.wait(group, deadline).await {
            Waited::InVain => Err(Fault::ConnectionLimitReached),
            Waited::Freed => {
                self.tried = self.asked;
                self.full = false;
                Ok(())
            }
        }
    }

    /// Server number `index` did not answer.
    fn failed(&mut self, index: usize, fault: Fault) {
        if fault == Fault::ConnectionLimitReached {
            self.full = true;
        } else {
            self.last = fault;
            self.asked.insert(index);
        }
    }
}

/// Tells the server's health how it answered, and says so when that ejects it.
fn report(server: &Server, attempt: Attempt, why: &'static str) {
    let group = &server.upstream;
    if let Some(ejected) = group.report(server.index, attempt, clock::now()) {
        tracing::warn!(
            upstream = group.settings.name,
            server = server.origin().authority,
            error = why,
            seconds = ejected.as_secs_f64(),
            "origin server ejected"
        );
    }
}

/// Holds a failure against the server. An invalid response is none: one bad resource must not take a whole server out.
fn blame(server: &Server, fault: Fault, took: Duration) {
    if fault.who() != Who::Origin {
        return;
    }
    match fault.retry() {
        Retry::Never if fault != Fault::HttpResponseTimeout => {}
        Retry::Never => report(server, Attempt::Errored(took), fault.name()),
        Retry::Always | Retry::Unprocessed | Retry::Idempotent => {
            report(server, Attempt::Failed, fault.name());
        }
    }
}

/// One server, with the books on it.
async fn attempt(
    worker: &Rc<Worker>,
    target: connect::Target<'_>,
    outgoing: &Outgoing,
    body: RequestBody,
    upload: &Rc<Upload>,
) -> Result<Exchange, Failed> {
    let server = target.server;
    let in_flight = server.upstream.begin(server.index);
    let began = clock::now();
    let outcome = ask(worker, target, outgoing, body, upload).await;
    // A slow upload is the client's doing.
    let since = upload.moved().map_or(began, |moved| moved.max(began));
    let took = clock::now().saturating_duration_since(since);
    match outcome {
        Ok(mut exchange) => {
            let attempt = if exchange.response.status().is_server_error() {
                Attempt::Errored(took)
            } else {
                Attempt::Responded(took)
            };
            report(server, attempt, "http_server_error");
            exchange.lease.in_flight = Some(in_flight);
            Ok(exchange)
        }
        Err(failed) => {
            blame(server, failed.fault, took);
            Err(failed)
        }
    }
}

/// Content to be sent once more after a failure that calls for `retry`; `None` if the request must not be repeated, or its
/// content is gone.
fn again(retry: Retry, outgoing: &Outgoing, upload: &Rc<Upload>) -> Option<RequestBody> {
    let may_repeat = match retry {
        Retry::Unprocessed => true,
        Retry::Idempotent => outgoing.method.is_idempotent(),
        Retry::Always | Retry::Never => false,
    };
    may_repeat.then(|| upload.again()).flatten()
}

/// Over a connection that there is, else over a new one. A used connection may turn out to be closed, and any may take no
/// more streams; that says nothing of the server, so the request goes out once more.
async fn ask(
    worker: &Rc<Worker>,
    target: connect::Target<'_>,
    outgoing: &Outgoing,
    body: RequestBody,
    upload: &Rc<Upload>,
) -> Result<Exchange, Failed> {
    let timeouts = &target.server.upstream.settings.timeouts;
    let patience = Patience::of(outgoing.timeouts, timeouts);
    let reuse = if outgoing.method.is_idempotent() && upload.is_kept() {
        Reuse::Any
    } else {
        Reuse::Recent
    };
    let now = clock::now();
    let shared = match target.speak {
        Speak::Any => worker.pool.stream(target.server, now),
        Speak::Http1 => None,
    };
    let used = shared.or_else(|| worker.pool.take(target.server, target.client, reuse, now));
    let is_used = used.is_some();
    let lease = match used {
        Some(lease) => lease,
        None => match dial(worker, target).await {
            Ok(lease) => lease,
            Err(fault) => return Err(Failed::before_sending(fault, body)),
        },
    };
    let failed = match exchange(lease, outgoing, body, upload, patience).await {
        Ok(exchange) => return Ok(exchange),
        Err(failed) => failed,
    };
    if !is_used && failed.fault.retry() != Retry::Unprocessed {
        return Err(failed);
    }
    let body = match failed.unsent {
        Some(unsent) => unsent,
        None => match again(failed.fault.retry(), outgoing, upload) {
            Some(again) => again,
            None => return Err(failed),
        },
    };
    match dial(worker, target).await {
        Ok(lease) => exchange(lease, outgoing, body, upload, patience).await,
        Err(fault) => Err(Failed::before_sending(fault, body)),
    }
}

/// A new connection. Boxed: few requests need one, and all of them would carry the room for a handshake about.
fn dial<'a>(
    worker: &'a Rc<Worker>,
    target: connect::Target<'a>,
) -> Pin<Box<impl Future<Output = Result<Lease, Fault>> + use<'a>>> {
    Box::pin(connect(&worker.pool, target))
}

impl Failed {
    fn before_sending(fault: Fault, body: RequestBody) -> Self {
        Self {
            fault,
            unsent: Some(body),
        }
    }
}

/// Sends the request over `lease` and waits for the response's head.
async fn exchange(
    mut lease: Lease,
    outgoing: &Outgoing,
    mut body: RequestBody,
    upload: &Upload,
    patience: Patience,
) -> Result<Exchange, Failed> {
    if outgoing.dialogue == Dialogue::Yes && lease.is_http2() {
        body.may_pause(patience.stream());
    }
    let request = outgoing
        .request(&lease, body)
        .map_err(|(fault, body)| Failed::before_sending(fault, body))?;
    let outcome = tokio::select! {
        biased;
        outcome = lease.send(request) => outcome,
        () = silence(upload, patience.response()) => {
            return Err(Failed { fault: Fault::HttpResponseTimeout, unsent: None });
        }
    };
    match outcome {
        Ok(response) => {
            if !upload.is_whole() {
                lease.spend();
            }
            Ok(Exchange { response, lease })
        }
        Err(mut error) => {
            let unsent = error.take_message().map(Request::into_body);
            let fault = upload
                .fault()
                .unwrap_or_else(|| response_fault(error.error()));
            Err(Failed {
                fault,
                unsent: unsent.map(RequestBody::unsent),
            })
        }
    }
}

/// Returns when nothing has moved for `timeout`: neither content to the origin nor a response from it. While the client
/// owes content, that is not the origin's fault and has its own limit.
async fn silence(upload: &Upload, timeout: Duration) {
    let mut deadline = clock::now() + timeout;
    let mut sleep = pin!(tokio::time::sleep_until(deadline.into()));
    let mut seen = upload.progress();
    loop {
        sleep.as_mut().await;
        let progress = upload.progress();
        if progress == seen && !upload.waits_for_client() {
            return;
        }
        seen = progress;
        deadline = clock::now() + timeout;
        sleep.as_mut().reset(deadline.into());
    }
}

/// What a connection's error says of the origin's response.
fn response_fault(error: &hyper::Error) -> Fault {
    if error.is_parse_too_large() {
        Fault::HttpResponseHeaderSectionSize
    } else if error.is_parse()
        || error.is_parse_status()
        || h2::is_malformed(error)
        || is_invalid(error)
    {
        Fault::HttpProtocolError
    } else if h2::is_unprocessed(error) {
        Fault::StreamRefused
    } else if error.is_incomplete_message() {
        Fault::HttpResponseIncomplete
    } else {
        Fault::ConnectionTerminated
    }
}

/// Whether the byte stream refused what came.
fn is_invalid(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    source.is_some_and(|error: &std::io::Error| error.kind() == std::io::ErrorKind::InvalidData)
}
