//! From a request to an origin's response: which server, over which connection, and what if that fails.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, Uri};
use hyper::body::Incoming;

use super::body::{RequestBody, Upload};
use super::connect::connect;
use super::fault::{Fault, Retry, Who};
use super::pool::{Lease, Reuse, Server};
use super::served::Served;
use super::worker::{View, Worker};
use crate::balance::{Attempt, Tried};
use crate::clock;

/// A request head as the origin gets it; kept, so that it can be sent again.
pub(super) struct Outgoing {
    pub(super) method: Method,
    /// Origin-form.
    pub(super) uri: Uri,
    pub(super) fields: HeaderMap,
    /// The route's limit in place of the upstream's `timeouts.response`.
    pub(super) response_timeout: Option<Duration>,
}

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

/// Whether a request that may have been acted on can be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replay {
    Possible,
    Impossible,
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

/// Asks the servers of `view`'s upstream number `upstream` in turn until one responds. A fault that cannot have had an
/// effect is retried with the next server; one that may have had is retried only for idempotent requests without content
/// (RFC 9110 §9.2.2). Ends at the latest when all servers were asked once.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    view: &View,
    upstream: usize,
    outgoing: &Outgoing,
    content: Content,
    served: &mut Served,
) -> Result<Exchange, Fault> {
    let group = &view.site.upstreams[upstream];
    let replay = if content.size == Size::Empty && outgoing.method.is_idempotent() {
        Replay::Possible
    } else {
        Replay::Impossible
    };
    let upload = content.upload;
    let mut body = content.body;
    let mut tried = Tried::default();
    let mut last = Fault::ConnectionRefused;
    loop {
        let picked = view.pick(upstream, &mut tried, clock::now());
        let Some(index) = picked else {
            return Err(last);
        };
        let server = Server {
            upstream: Arc::clone(group),
            index,
        };
        served.asked(&group.settings.name, &server.origin().authority);
        let failed = match attempt(worker, &server, outgoing, body, &upload, replay).await {
            Ok(exchange) => {
                group.report(index, Attempt::Responded, clock::now());
                return Ok(exchange);
            }
            Err(failed) => failed,
        };
        blame(&server, failed.fault);
        last = failed.fault;
        body = match (failed.fault.retry(), failed.unsent) {
            (Retry::Always, Some(unsent)) => unsent,
            (Retry::Idempotent, _) if replay == Replay::Possible => RequestBody::empty(),
            _ => return Err(last),
        };
    }
}

/// Holds a failure against the server's health, and says so when that ejects it. A slow or broken response does not
/// count: one bad resource must not take a whole server out.
fn blame(server: &Server, fault: Fault) {
    if fault.who() != Who::Origin || fault.retry() == Retry::Never {
        return;
    }
    let group = &server.upstream;
    if group.report(server.index, Attempt::Failed, clock::now()) {
        tracing::warn!(
            upstream = group.settings.name,
            server = server.origin().authority,
            error = fault.name(),
            seconds = group.settings.eject.duration.as_secs(),
            "origin server ejected"
        );
    }
}

/// One server: over an idle connection if there is one, else over a new one. An idle connection may turn out to be
/// closed; that says nothing of the server, so the request goes out once more over a new one.
async fn attempt(
    worker: &Rc<Worker>,
    server: &Server,
    outgoing: &Outgoing,
    body: RequestBody,
    upload: &Upload,
    replay: Replay,
) -> Result<Exchange, Failed> {
    let timeout = outgoing
        .response_timeout
        .unwrap_or(server.upstream.settings.timeouts.response);
    let mut body = body;
    let reuse = match replay {
        Replay::Possible => Reuse::Any,
        Replay::Impossible => Reuse::Recent,
    };
    if let Some(lease) = worker.pool.take(server, reuse, clock::now()) {
        let failed = match exchange(lease, outgoing, body, upload, timeout).await {
            Ok(exchange) => return Ok(exchange),
            Err(failed) => failed,
        };
        body = match failed.unsent {
            Some(unsent) => unsent,
            None if replay == Replay::Possible && failed.fault.retry() == Retry::Idempotent => {
                RequestBody::empty()
            }
            None => return Err(failed),
        };
    }
    match connect(&worker.pool, server).await {
        Ok(lease) => exchange(lease, outgoing, body, upload, timeout).await,
        Err(fault) => Err(Failed {
            fault,
            unsent: Some(body),
        }),
    }
}

/// Sends the request over `lease` and waits for the response's head.
async fn exchange(
    mut lease: Lease,
    outgoing: &Outgoing,
    body: RequestBody,
    upload: &Upload,
    timeout: Duration,
) -> Result<Exchange, Failed> {
    let mut request = Request::new(body);
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = outgoing.uri.clone();
    *request.headers_mut() = outgoing.fields.clone();
    let sent = lease.link.sender.try_send_request(request);
    let outcome = tokio::select! {
        biased;
        outcome = sent => outcome,
        () = silence(upload, timeout) => {
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
            Err(Failed { fault, unsent })
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
    } else if error.is_parse() || error.is_parse_status() {
        Fault::HttpProtocolError
    } else if error.is_incomplete_message() {
        Fault::HttpResponseIncomplete
    } else {
        Fault::ConnectionTerminated
    }
}
