//! A stored response: what is kept of it, its age, and what it weighs.

use std::mem::size_of;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// A stored response. Fields are as received, without connection fields; content is whole.
#[derive(Debug)]
pub struct StoredResponse {
    /// Status.
    pub status: StatusCode,
    /// End-to-end fields. Date is there, Age is not: it is [`StoredResponse::current_age`] when the response is sent.
    pub fields: HeaderMap,
    /// Content, as it came in.
    pub content: Vec<Bytes>,
    /// How long it is fresh (RFC 9111 §4.2.1).
    pub freshness_lifetime: Duration,
    /// Age on arrival: the larger of the Age field and what Date says (RFC 9111 §4.2.3).
    pub corrected_initial_age: Duration,
    /// When it arrived.
    pub response_time: Instant,
    /// Nominated request fields and their values in the request it answered (RFC 9111 §4.1). Sorted by name.
    pub nominated_fields: Vec<(HeaderName, Vec<HeaderValue>)>,
    /// Whose requests it may answer.
    pub audience: Audience,
}

/// Whose requests a stored response may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// All: it says `public`, `s-maxage` or `must-revalidate` (RFC 9111 §3.5).
    Everyone,
    /// Those without Authorization. Stricter than RFC 9111, which would let what an anonymous client got answer a client
    /// with credentials too: origins that tell them apart seldom say so in Vary.
    Unauthenticated,
}

impl StoredResponse {
    /// `current_age` (RFC 9111 §4.2.3): what the Age field says, in whole seconds.
    pub fn current_age(&self, now: Instant) -> Duration {
        let resident_time = now.saturating_duration_since(self.response_time);
        self.corrected_initial_age.saturating_add(resident_time)
    }

    /// Freshness left at `current_age`; zero = stale.
    pub fn freshness_left(&self, current_age: Duration) -> Duration {
        self.freshness_lifetime.saturating_sub(current_age)
    }

    /// Bytes of the content.
    pub fn content_bytes(&self) -> u64 {
        self.content.iter().map(|part| part.len() as u64).sum()
    }

    /// The fields of a 304 in its stead: all but those that describe content (RFC 9110 §15.4.5).
    pub fn not_modified_fields(&self) -> HeaderMap {
        let mut fields = self.fields.clone();
        for name in [
            CONTENT_ENCODING,
            CONTENT_LANGUAGE,
            CONTENT_LENGTH,
            CONTENT_RANGE,
            CONTENT_TYPE,
        ] {
            fields.remove(name);
        }
        fields
    }

    /// Bytes it is counted with: content, fields, nominated fields, and [`RESPONSE_OVERHEAD`], [`FIELD_OVERHEAD`] and
    /// [`PART_OVERHEAD`] for what memory they take besides.
    pub(super) fn weight(&self) -> u64 {
        let own = self.fields.iter();
        let nominated = self.nominated_fields.iter();
        let nominated = nominated.flat_map(|(name, lines)| {
            let lines = lines.iter().map(move |line| (name, line.len()));
            lines.chain([(name, 0)])
        });
        let lines = own.map(|(name, line)| (name, line.len())).chain(nominated);
        let heads = lines.map(|(name, line)| name.as_str().len() + line + FIELD_OVERHEAD);
        let parts = self.content.len() * PART_OVERHEAD;
        (heads.sum::<usize>() + parts + RESPONSE_OVERHEAD) as u64 + self.content_bytes()
    }

    /// Moves the content into memory of its own, in parts of [`PART_BYTES`]. As received it is slices of read buffers, each
    /// of which keeps its whole buffer alive: a small response could hold many times its size.
    pub(super) fn compact(&mut self) {
        let mut left = usize::try_from(self.content_bytes()).unwrap_or(usize::MAX);
        let mut parts = Vec::with_capacity(left.div_ceil(PART_BYTES));
        let mut part = BytesMut::with_capacity(left.min(PART_BYTES));
        for mut received in std::mem::take(&mut self.content) {
            while !received.is_empty() {
                let room = left.min(PART_BYTES.saturating_sub(part.len()));
                let taken = received.split_to(room.min(received.len()));
                part.extend_from_slice(&taken);
                left -= taken.len();
                if part.len() == PART_BYTES || left == 0 {
                    parts.push(part.freeze());
                    part = BytesMut::with_capacity(left.min(PART_BYTES));
                }
            }
        }
        self.content = parts;
    }
}

/// Bytes of a stored part of content, except the last.
const PART_BYTES: usize = 256 << 10;

/// Of one response: itself, its place in the index, in the eviction queues and in the ghost table.
pub(super) const RESPONSE_OVERHEAD: usize = 1024;
const _: () = assert!(size_of::<StoredResponse>() <= RESPONSE_OVERHEAD / 2);

/// Of one field line: its places in a `HeaderMap`, whose tables may be half empty, and its allocations.
const FIELD_OVERHEAD: usize = 256;

/// Of one part of content: handle and allocation.
const PART_OVERHEAD: usize = 128;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[allow(
        clippy::disallowed_methods,
        reason = "any start will do; time then moves by hand"
    )]
    pub(in super::super) fn start() -> Instant {
        Instant::now()
    }

    /// A 200 with `fields`, fresh for a minute, age zero.
    pub(in super::super) fn response(fields: &[(&'static str, &'static str)]) -> StoredResponse {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        StoredResponse {
            status: StatusCode::OK,
            fields: map,
            content: Vec::new(),
            freshness_lifetime: Duration::from_mins(1),
            corrected_initial_age: Duration::ZERO,
            response_time: start(),
            nominated_fields: Vec::new(),
            audience: Audience::Everyone,
        }
    }

    #[test]
    fn age_grows_from_the_initial_age_with_the_time_in_the_store() {
        let mut response = response(&[]);
        response.corrected_initial_age = Duration::from_secs(10);
        let age = response.current_age(response.response_time + Duration::from_secs(5));
        assert_eq!(age, Duration::from_secs(15));
        assert_eq!(response.freshness_left(age), Duration::from_secs(45));
        assert_eq!(
            response.freshness_left(Duration::from_mins(1)),
            Duration::ZERO
        );
        assert_eq!(response.freshness_left(Duration::MAX), Duration::ZERO);
    }

    #[test]
    fn compacting_keeps_the_bytes_and_lets_go_of_the_buffers_they_came_in() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for parts in [0_usize, 1, 7, 300] {
            let mut stored = response(&[]);
            let mut whole = Vec::new();
            let mut buffers = Vec::new();
            for n in 0..parts {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let buffer = Bytes::from(vec![u8::try_from(n % 251).expect("fits"); 8192]);
                let part = buffer.slice(..usize::try_from(seed % 8000).expect("fits"));
                whole.extend_from_slice(&part);
                stored.content.push(part);
                buffers.push(buffer);
            }
            stored.compact();
            assert_eq!(stored.content.concat(), whole);
            assert_eq!(stored.content.len(), whole.len().div_ceil(PART_BYTES));
            assert!(
                buffers.iter().all(Bytes::is_unique),
                "a buffer is still held"
            );
        }
    }

    #[test]
    fn weight_counts_content_fields_and_nominated_fields() {
        let empty = response(&[]).weight();
        let with_fields = response(&[("x", "12345"), ("x", "1")]).weight();
        assert_eq!(with_fields - empty, (2 * FIELD_OVERHEAD + 8) as u64);
        let mut stored = response(&[]);
        stored.content.push(Bytes::from_static(b"0123456789"));
        assert_eq!(stored.weight() - empty, (PART_OVERHEAD + 10) as u64);
        let mut stored = response(&[]);
        let line = HeaderValue::from_static("gzip");
        stored
            .nominated_fields
            .push((http::header::ACCEPT, vec![line]));
        assert_eq!(stored.weight() - empty, (2 * FIELD_OVERHEAD + 16) as u64);
    }

    #[test]
    fn a_304_describes_no_content() {
        let stored = response(&[
            ("etag", "\"a\""),
            ("content-type", "a/b"),
            ("content-length", "3"),
            ("vary", "x"),
        ]);
        let fields = stored.not_modified_fields();
        let mut names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "vary"]);
    }
}
