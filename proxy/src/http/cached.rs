//! The cache's part in a request: asked before the origin, told of what the origin said.
//!
//! What may be stored and reused is decided in [`crate::cache`]; here its answers become responses.

use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request};

use super::forward::Size;
use super::pipeline::{Answer, AnswerContent};
use super::target::Target;
use super::worker::Worker;
use crate::cache::{self, Forwarded, Key, Lookup, Precondition, Status, StoredResponse, Times};
use crate::clock;
use crate::http::fields::{self, Scheme};

/// What came of asking the cache.
pub(super) enum Consulted {
    /// It has the response.
    Hit(Answer, Status),
    /// The origin must be asked.
    Miss(Miss),
}

/// A request that goes to the origin past the cache.
pub(super) struct Miss {
    key: Key,
    method: Method,
    why: Forwarded,
    /// When the cache was asked, which is not after the origin is.
    request_time: Instant,
    /// As they were then; only kept when the response may be stored.
    fields: Option<HeaderMap>,
}

/// What a request may change, if it is of an unsafe method: the target as routes without conditions store it, and as its own
/// route does. Empty otherwise, and while nothing is stored.
#[derive(Default)]
pub(super) struct Changed {
    method: Method,
    keys: Vec<Key>,
}

impl Changed {
    pub(super) fn by(worker: &Worker, place: &Place<'_>, request: &request::Parts) -> Self {
        let method = request.method.clone();
        if !cache::is_unsafe(&method) || worker.store.is_empty() {
            return Self::default();
        }
        let path = path_of(request);
        let plain = Place {
            conditions: &[],
            ..*place
        };
        let mut keys = vec![plain.key(path)];
        if !place.conditions.is_empty() {
            keys.push(place.key(path));
        }
        Self { method, keys }
    }

    /// The origin answered: unless with an error, what is stored is out of date (RFC 9111 §4.4), whether the request's own
    /// route caches or not.
    pub(super) fn invalidate(&self, worker: &Worker, status: StatusCode) {
        if cache::invalidates(&self.method, status) {
            for key in &self.keys {
                worker.store.invalidate(key);
            }
        }
    }
}

/// A response on its way into the store. Dropped before [`Fill::store`], it leaves no trace.
pub(super) struct Fill {
    key: Key,
    response: StoredResponse,
    /// Content so far.
    bytes: u64,
    room: Room,
    /// What `Content-Length` promised.
    expected: Option<u64>,
}

/// Which resource a request is for, but for its path.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) scheme: Scheme,
    pub(super) target: &'a Target,
    /// Fields that the route asks for. Another route without them may lead elsewhere, so they are part of the key. Its
    /// `methods` are not: only responses to GET are stored, by which HEAD is answered, too, whatever route it takes (RFC 9110
    /// §9.3.2), and unsafe methods have to find what they invalidate (RFC 9111 §4.4).
    pub(super) conditions: &'a [(HeaderName, HeaderValue)],
}

impl Place<'_> {
    fn key(&self, path_and_query: &str) -> Key {
        let scheme = self.scheme.as_str();
        let host = self.target.key_host(self.scheme.port());
        if self.conditions.is_empty() {
            return Key::new(scheme, &host, path_and_query);
        }
        let mut space = scheme.to_owned();
        for (name, value) in self.conditions {
            let value = String::from_utf8_lossy(value.as_bytes());
            // A key is made of parts that tell their length; so must this one be.
            let lengths = (name.as_str().len(), value.len());
            write!(space, ";{}:{name}={}:{value}", lengths.0, lengths.1)
                .expect("invariant: a String takes it all");
        }
        Key::new(&space, &host, path_and_query)
    }
}

/// Asks the cache about a request of a route that caches.
pub(super) fn consult(
    worker: &Worker,
    place: &Place<'_>,
    request: &request::Parts,
    size: Size,
) -> Consulted {
    let key = place.key(path_of(request));
    let now = clock::now();
    let lookup = match (cache::must_forward(&request.method, &request.headers), size) {
        (Some(why), _) => Lookup::Forward(why),
        // HTTP/2 announces no content (RFC 9113 §8.1.1), so the fields cannot tell.
        (None, Size::Some) => Lookup::Forward(Forwarded::Bypass),
        (None, Size::Empty) => worker.store.lookup(&key, &request.headers, now),
    };
    match lookup {
        Lookup::Hit {
            response,
            current_age,
        } => {
            let ttl_seconds = response.freshness_left(current_age).as_secs();
            let answer = reuse(response, request, current_age);
            Consulted::Hit(answer, Status::Hit { ttl_seconds })
        }
        Lookup::Forward(why) => {
            let may_store = request.method == Method::GET && size == Size::Empty;
            Consulted::Miss(Miss {
                key,
                method: request.method.clone(),
                why,
                request_time: now,
                fields: may_store.then(|| request.headers.clone()),
            })
        }
    }
}

fn path_of(request: &request::Parts) -> &str {
    let path = request.uri.path_and_query();
    path.map_or("/", |path| path.as_str())
}

/// A stored response as the answer to a request (RFC 9111 §4). The store's answer to GET answers HEAD, too (RFC 9110
/// §9.3.2): with the fields that GET would have got.
fn reuse(response: Arc<StoredResponse>, request: &request::Parts, age: Duration) -> Answer {
    let age = HeaderValue::from(age.as_secs());
    if response.evaluate_conditionals(&request.headers) == Precondition::NotModified {
        let mut fields = response.not_modified_fields();
        fields.insert(AGE, age);
        return Answer {
            status: StatusCode::NOT_MODIFIED,
            fields,
            content: AnswerContent::Empty,
        };
    }
    let length = response.content_bytes();
    let status = response.status;
    let mut fields = response.fields.clone();
    fields.insert(AGE, age);
    // With a length of its own it was stored only because that is what came.
    if status != StatusCode::NO_CONTENT && !fields.contains_key(CONTENT_LENGTH) {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let content = if request.method == Method::HEAD || length == 0 {
        AnswerContent::Empty
    } else {
        AnswerContent::Stored(response, length)
    };
    Answer {
        status,
        fields,
        content,
    }
}

impl Miss {
    /// What `Cache-Status` says if nothing gets stored.
    pub(super) fn status(&self) -> Status {
        Status::Forwarded {
            why: self.why,
            stored: false,
        }
    }

    /// Tells the cache what the origin said: a storable response is copied while it goes by. `fields` are what the client
    /// gets.
    ///
    /// Not copied is content that only the end of its connection delimits: that may just as well be the end of an origin
    /// that died (RFC 9112 §8). Nor what varies by a field that weir sets itself, from more than is in the key.
    pub(super) fn settle(
        self,
        worker: &Rc<Worker>,
        status: StatusCode,
        fields: &HeaderMap,
        delimited: bool,
    ) -> (Status, Option<Fill>) {
        let storable = self
            .fields
            .as_ref()
            .filter(|_| delimited && !fields::varies_by_ours(fields));
        let fill = storable.and_then(|request| {
            let times = Times {
                request_time: self.request_time,
                response_time: clock::now(),
                response_wall: clock::wall(),
            };
            let response = cache::storable(&self.method, request, status, fields, &times)?;
            let expected = fields
                .get(CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            if expected.is_some_and(|length| length > worker.store.max_object()) {
                return None;
            }
            Some(Fill {
                key: self.key,
                response,
                bytes: 0,
                room: Room {
                    worker: Rc::clone(worker),
                    reserved: 0,
                },
                expected,
            })
        });
        let why = self.why;
        let stored = fill.is_some();
        (Status::Forwarded { why, stored }, fill)
    }
}

impl Fill {
    /// Keeps the next part, until the content is whole. False when there is no room for it: then drop this.
    pub(super) fn push(&mut self, data: &Bytes) -> bool {
        self.bytes += data.len() as u64;
        let fits = self.bytes <= self.room.worker.store.max_object() && self.room.take(data);
        if fits {
            self.response.content.push(data.clone());
        }
        fits
    }

    /// The content came whole.
    pub(super) fn store(self) {
        if self.expected.is_none_or(|expected| expected == self.bytes) {
            self.room.worker.store.insert(self.key, self.response);
        }
    }
}

/// Memory of a worker's unfinished copies that one of them has; given back when dropped.
struct Room {
    worker: Rc<Worker>,
    reserved: u64,
}

impl Room {
    fn take(&mut self, data: &Bytes) -> bool {
        let cost = (data.len() as u64).max(PART_BYTES_MIN);
        let taken = self.worker.reserve_fill(cost);
        if taken {
            self.reserved += cost;
        }
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.worker.release_fill(self.reserved);
    }
}

/// What a part counts at least: it is a window on a read buffer that stays alive with it. The store copies.
const PART_BYTES_MIN: u64 = 4096;
