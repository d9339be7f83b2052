//! From a request to an origin's response: which server, over which connection, and what if that fails.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use super::body::{RequestBody, Upload};
use super::connect::{self, Speak, connect};
use super::fault::{Fault, Retry, Who};
use super::outgoing::Outgoing;
use super::pool::{Lease, Reuse, Server, h2};
use super::served::Served;
use super::worker::{View, Worker};
use crate::balance::{Attempt, ProxyProtocol, Tried};
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

/// Whether a request that was sent can be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replay {
    /// Even if it was acted on.
    Possible,
    /// If it was not acted on.
    Unprocessed,
    /// Its content is gone.
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
    let replay = match content.size {
        Size::Empty if outgoing.method.is_idempotent() => Replay::Possible,
        Size::Empty => Replay::Unprocessed,
        Size::Some => Replay::Impossible,
    };
    let sends = group.settings.transport.send_proxy_protocol;
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
        let target = connect::Target {
            server: &server,
            tls: view.site.origin_tls[upstream].as_deref(),
            speak: outgoing.speak,
            client: (sends != ProxyProtocol::Off).then_some(outgoing.client),
        };
        let failed = match attempt(worker, target, outgoing, body, &upload, replay).await {
            Ok(exchange) => {
                group.report(index, Attempt::Responded, clock::now());
                return Ok(exchange);
            }
            Err(failed) => failed,
        };
        blame(&server, failed.fault);
        last = failed.fault;
        body = match (failed.fault.retry(), failed.unsent) {
            (Retry::Always | Retry::Unprocessed, Some(unsent)) => unsent,
            (retry, _) if can_repeat(retry, replay) => RequestBody::empty(),
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

fn can_repeat(retry: Retry, replay: Replay) -> bool {
    match retry {
        Retry::Unprocessed => replay != Replay::Impossible,
        Retry::Idempotent => replay == Replay::Possible,
        Retry::Always | Retry::Never => false,
    }
}

/// One server: over a connection that there is, else over a new one. A used connection may turn out to be closed, and any
/// may take no more streams; that says nothing of the server, so the request goes out once more.
async fn attempt(
    worker: &Rc<Worker>,
    target: connect::Target<'_>,
    outgoing: &Outgoing,
    body: RequestBody,
    upload: &Upload,
    replay: Replay,
) -> Result<Exchange, Failed> {
    let timeout = target.server.upstream.settings.timeouts.response;
    let reuse = match replay {
        Replay::Possible => Reuse::Any,
        Replay::Unprocessed | Replay::Impossible => Reuse::Recent,
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
        None => match connect(&worker.pool, target).await {
            Ok(lease) => lease,
            Err(fault) => return Err(Failed::before_sending(fault, body)),
        },
    };
    let failed = match exchange(lease, outgoing, body, upload, timeout).await {
        Ok(exchange) => return Ok(exchange),
        Err(failed) => failed,
    };
    if !is_used && failed.fault.retry() != Retry::Unprocessed {
        return Err(failed);
    }
    let body = match failed.unsent {
        Some(unsent) => unsent,
        None if can_repeat(failed.fault.retry(), replay) => RequestBody::empty(),
        None => return Err(failed),
    };
    match connect(&worker.pool, target).await {
        Ok(lease) => exchange(lease, outgoing, body, upload, timeout).await,
        Err(fault) => Err(Failed::before_sending(fault, body)),
    }
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
    body: RequestBody,
    upload: &Upload,
    timeout: Duration,
) -> Result<Exchange, Failed> {
    let request = outgoing
        .request(&lease, body)
        .map_err(|(fault, body)| Failed::before_sending(fault, body))?;
    let outcome = tokio::select! {
        biased;
        outcome = lease.send(request) => outcome,
        () = silence(upload, timeout) => {
            return Err(Failed { fault: Fault::HttpResponseTimeout, unsent: None });
        }
    };
    match outcome {
        Ok(response) => Ok(Exchange { response, lease }),
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
