//! HTTP/1.1 connections: one exchange at a time.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;

use super::{Open, Server};
use crate::http::body::RequestBody;
use crate::http::connect::{Ends, HeadBudget};

/// A connection and the task that runs it. Dropped, it is closed at once. Dropping the sender alone would not do: hyper
/// finishes the request first, and an origin that answered early or never may take no more of it.
pub(in crate::http) struct Link {
    sender: SendRequest<RequestBody>,
    task: AbortHandle,
    head: Arc<HeadBudget>,
    /// Also after the protocol was switched, when the task is done with the socket.
    _open: Rc<Open>,
    /// Whose it is, if it said so to its server.
    client: Option<Ends>,
    /// Past it, no request goes over it any more.
    until: Instant,
}

/// One that waits for a request.
pub(super) struct Idle {
    pub(super) link: Link,
    pub(super) server: Server,
    pub(super) since: Instant,
}

impl Link {
    /// `task` runs the connection that `sender` belongs to.
    pub(in crate::http) fn new(
        sender: SendRequest<RequestBody>,
        task: AbortHandle,
        head: Arc<HeadBudget>,
        open: Rc<Open>,
        client: Option<Ends>,
        until: Instant,
    ) -> Self {
        Self {
            sender,
            task,
            head,
            _open: open,
            client,
            until,
        }
    }

    /// Whether it is alive, as far as can be told, and not too old.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        !self.sender.is_closed() && now < self.until
    }

    /// Whether it may carry a request of `client`.
    pub(super) fn is_for(&self, client: Option<Ends>) -> bool {
        self.client == client
    }

    /// One that is not ready still reads the end of its last response or writes the rest of its last request.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    #[allow(
        clippy::result_large_err,
        reason = "hyper's, which gives the request back"
    )]
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.head.begin();
        let outcome = self.sender.try_send_request(request).await;
        self.head.end();
        outcome
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Idle {
    pub(super) fn until(&self) -> Instant {
        (self.since + self.server.idle_timeout()).min(self.link.until)
    }
}
