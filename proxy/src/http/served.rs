//! The books on one request: open from its head to the last byte of its response, closed by dropping.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use http::header::{CACHE_STATUS, HOST, REFERER, USER_AGENT};
use http::{HeaderValue, StatusCode, Version, request};

use super::activity::Http;
use super::connection::Connection;
use super::fault::Fault;
use super::pipeline::Answer;
use crate::cache;
use crate::clock;
use crate::detect::Event;
use crate::telemetry::{Line, Text};

/// What is known of a request so far. Lives in the request's future, then in its response body, so that it ends when
/// the client has the response or has gone.
pub(super) struct Served {
    connection: Rc<Connection>,
    /// The response's place among the streams with content; HTTP/2 only.
    place: Option<usize>,
    /// What the cache did; set for routes that cache.
    pub(super) cache: Option<cache::Status>,
    record: Option<Record>,
}

/// For the access log; not made when there is none.
struct Record {
    line: Box<Line>,
    started: Instant,
}

impl Served {
    /// A request head came.
    pub(super) fn begin(
        connection: &Rc<Connection>,
        client: IpAddr,
        request: &request::Parts,
        request_id: &HeaderValue,
    ) -> Self {
        connection.activity.request_began(clock::now());
        let record = connection.worker.access.is_enabled().then(|| Record {
            line: Box::new(line(client, request, request_id)),
            started: clock::now(),
        });
        Self {
            connection: Rc::clone(connection),
            place: None,
            cache: None,
            record,
        }
    }

    /// The cache has the response.
    pub(super) fn hit(&mut self, mut answer: Answer, status: cache::Status) -> Answer {
        answer.fields.append(CACHE_STATUS, self.cached(status));
        answer
    }

    /// Notes what the cache did. Returns the member of `Cache-Status` that says so.
    pub(super) fn cached(&mut self, status: cache::Status) -> HeaderValue {
        let field = status.to_field();
        if let Some(record) = &mut self.record {
            let text = field.to_str().unwrap_or_default();
            let text = text.strip_prefix("weir; ").unwrap_or(text);
            record.line.set(Text::Cache, &[text]);
        }
        self.cache = Some(status);
        field
    }

    /// `origin` is being asked.
    pub(super) fn asked(&mut self, upstream: &str, origin: &str) {
        if let Some(record) = &mut self.record {
            record.line.attempts = record.line.attempts.saturating_add(1);
            record.line.set(Text::Origin, &[upstream, "/", origin]);
        }
    }

    /// The origin that was to be asked could not be: it had as many connections as it may.
    pub(super) fn not_asked(&mut self) {
        if let Some(record) = &mut self.record {
            record.line.attempts = record.line.attempts.saturating_sub(1);
        }
    }

    /// The response is decided.
    pub(super) fn decided(&mut self, status: StatusCode, fault: Option<Fault>) {
        if let Some(record) = &mut self.record {
            record.line.status = Some(status.as_u16());
            record.line.error = fault.map(Fault::name);
        }
    }

    /// The client's side asked for more content and got some, or has to wait for the origin.
    pub(super) fn polled(&mut self, pending: bool) {
        if self.connection.http() == Http::One {
            // All that it has is in its connection's buffer, whose writes have a limit of their own.
            return;
        }
        let activity = &self.connection.activity;
        match (self.place, pending) {
            (Some(place), true) => activity.client_took(place),
            (None, true) => {}
            (place, false) => {
                let place = place.unwrap_or_else(|| activity.stream_began(tokio::task::id()));
                self.place = Some(place);
                activity.client_owes(place, clock::now());
            }
        }
    }

    /// `bytes` of content went to the client.
    pub(super) fn sent(&mut self, bytes: u64) {
        if let Some(record) = &mut self.record {
            record.line.bytes += bytes;
        }
    }

    /// The response came to its end.
    pub(super) fn completed(&mut self) {
        if let Some(record) = &mut self.record {
            record.line.complete = true;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.connection.activity.stream_ended(place);
        }
        self.connection.activity.request_ended(clock::now());
        if let Some(Record { mut line, started }) = self.record.take() {
            line.duration = clock::now().saturating_duration_since(started);
            self.connection.worker.access.write(line);
        }
    }
}

/// A head that could not be read, or did not come to its end in time, was answered with `status` without being a request: it
/// is counted, told to detection and logged all the same. `None`: nothing could be answered.
pub(super) fn unread(connection: &Connection, status: Option<StatusCode>) {
    let worker = &connection.worker;
    if let Some(status) = status {
        worker.count(status);
        let event = Event::Response {
            path: "",
            status: status.as_u16(),
        };
        connection.tell(connection.source, &event);
    }
    if worker.access.is_enabled() {
        let took = connection.activity.head_took(clock::now());
        let mut line = Line::new(clock::wall() - took, connection.source, "1.1");
        line.duration = took;
        line.status = status.map(|status| status.as_u16());
        line.complete = status.is_some();
        line.error = Some("http_request_error");
        for unknown in [Text::Method, Text::Target, Text::RequestId] {
            line.set(unknown, &["-"]);
        }
        worker.access.write(Box::new(line));
    }
}

fn line(client: IpAddr, request: &request::Parts, request_id: &HeaderValue) -> Line {
    let version = match request.version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    let mut line = Line::new(clock::wall(), client, version);
    line.set(Text::Method, &[request.method.as_str()]);
    match request.uri.authority() {
        Some(authority) => line.set(Text::Host, &[authority.as_str()]),
        None => set(&mut line, Text::Host, request.headers.get(HOST)),
    }
    let target = request.uri.path_and_query();
    line.set(
        Text::Target,
        &[target.map_or("*", |target| target.as_str())],
    );
    set(&mut line, Text::Referer, request.headers.get(REFERER));
    set(&mut line, Text::UserAgent, request.headers.get(USER_AGENT));
    set(&mut line, Text::RequestId, Some(request_id));
    line
}

/// Copies a field, so that a waiting log line does not keep the connection's read buffer alive.
fn set(line: &mut Line, text: Text, value: Option<&HeaderValue>) {
    if let Some(value) = value {
        line.set(text, &[&String::from_utf8_lossy(value.as_bytes())]);
    }
}
