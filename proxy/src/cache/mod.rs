//! A shared cache (RFC 9111), first version: explicit freshness only, in memory, bounded by bytes.

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of stored responses, heads included. Default 256 MiB; 0 = store nothing.
    pub memory: u64,
    /// Largest stored content in bytes. Default 64 MiB, at most `memory`.
    pub max_object: u64,
}

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// What identifies a resource: scheme, host, path and query, each length-prefixed so that no two collide.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// `host` is lower case with the port unless default; `path_and_query` is exactly what goes to the origin.
    pub fn new(scheme: &str, host: &str, path_and_query: &str) -> Self {
        let _ = (scheme, host, path_and_query);
        todo!()
    }
}

/// A stored response. Fields are as received, without connection fields; content is whole.
#[derive(Debug)]
pub struct StoredResponse {
    /// Status.
    pub status: StatusCode,
    /// End-to-end fields.
    pub fields: HeaderMap,
    /// Content, as it came in.
    pub content: Vec<Bytes>,
    /// How long it is fresh (RFC 9111 §4.2.1).
    pub freshness_lifetime: Duration,
    /// Age on arrival: the larger of the Age field and what Date says (RFC 9111 §4.2.3).
    pub corrected_initial_age: Duration,
    /// When it arrived.
    pub response_time: std::time::Instant,
    /// Nominated request fields and their values in the request it answered (RFC 9111 §4.1).
    pub nominated_fields: Vec<(http::HeaderName, Vec<http::HeaderValue>)>,
}

/// Why a request went to the origin: RFC 9211 §2.2's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The cache was not consulted: the route does not cache, or the request forbids it.
    Bypass,
    /// The method's semantics require it.
    Method,
    /// Nothing stored for the URI.
    UriMiss,
    /// Something stored, but for other nominated fields.
    VaryMiss,
    /// The request's directives or conditionals refuse what is stored.
    Request,
    /// What is stored is stale.
    Stale,
}

/// What the cache did for a response: rendered as `Cache-Status` (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Served from the store.
    Hit {
        /// Freshness left, seconds.
        ttl_seconds: u64,
    },
    /// Sent to the origin.
    Forwarded {
        /// Why.
        why: Forwarded,
        /// Whether the response is being stored.
        stored: bool,
    },
}

impl Status {
    /// `weir; hit; ttl=30` or `weir; fwd=uri-miss; stored`.
    pub fn to_field(self) -> http::HeaderValue {
        todo!()
    }
}

/// What the store has for a request.
#[derive(Debug)]
pub enum Lookup {
    /// Send this, with this `Age` in seconds.
    Hit {
        /// What is stored.
        response: Arc<StoredResponse>,
        /// RFC 9111 §4.2.3.
        current_age: Duration,
    },
    /// Ask the origin.
    Forward(Forwarded),
}

/// Whether the cache may be asked for this request at all (RFC 9111 §4, §5.2.1): `None` = yes.
pub fn must_forward(method: &Method, fields: &HeaderMap) -> Option<Forwarded> {
    let _ = (method, fields);
    todo!()
}

/// Whether a response may be stored (RFC 9111 §3) and if so everything but its content. `request` are the fields as
/// they were when the store was asked.
pub fn storable(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    now: std::time::Instant,
    wall: SystemTime,
) -> Option<StoredResponse> {
    let _ = (method, request, status, response, now, wall);
    todo!()
}

/// Whether a response to an unsafe method invalidates what is stored for its URI (RFC 9111 §4.4).
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    let _ = (method, status);
    todo!()
}

/// The store: sharded, shared by all workers, bounded by bytes.
#[derive(Debug)]
pub struct Store {}

/// Numbers for status output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Stored responses.
    pub responses: u64,
    /// Their bytes, heads and bookkeeping included.
    pub bytes: u64,
    /// Requests answered from the store.
    pub hits: u64,
    /// Requests for which the store was asked in vain.
    pub misses: u64,
    /// Responses evicted for room.
    pub evicted: u64,
}

impl Store {
    /// Empty.
    pub fn new(settings: &Settings) -> Self {
        let _ = settings;
        todo!()
    }

    /// Looks a GET or HEAD up and counts hit or miss.
    pub fn lookup(&self, key: &Key, request: &HeaderMap, now: std::time::Instant) -> Lookup {
        let _ = (key, request, now);
        todo!()
    }

    /// Largest content that is stored, in bytes.
    pub fn max_object(&self) -> u64 {
        todo!()
    }

    /// Stores, replacing what has the same nominated fields; evicts for room. Over `max_object`: does nothing.
    pub fn insert(&self, key: Key, response: StoredResponse) {
        let _ = (key, response);
        todo!()
    }

    /// Forgets everything stored under `key`.
    pub fn invalidate(&self, key: &Key) {
        let _ = key;
        todo!()
    }

    /// Numbers.
    pub fn stats(&self) -> StoreStats {
        todo!()
    }
}
