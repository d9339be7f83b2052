//! What misbehaves at layer 7: counts per rule and source over a window, and says what to block. No I/O, no clock.
//!
//! Workers ask [`Rules`] which rules a finished request counts for and collect hits in a [`Batch`]; the control thread
//! feeds the batches to the [`Detector`], whose [`BlockDecision`]s go to the shield.

mod batch;
mod detector;
mod offenders;
mod rules;
mod source;
mod window;

pub use batch::Batch;
pub use detector::{BlockDecision, Detector};
pub use rules::{Event, Offence, Rules};
pub use source::Source;

use std::time::Duration;

/// One `[[detect]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSettings {
    /// Unique, at most 25 bytes, `[a-z0-9-]`: entries carry it as `detect:<rule>`.
    pub name: String,
    /// What is counted.
    pub count: Count,
    /// Which of them.
    pub filter: Filter,
    /// More than this many within `window` is an offence. 1 to 10,000,000.
    pub limit: u32,
    /// 1 s to 1 h.
    pub window: Duration,
    /// First block's duration; doubled on each repeat. Default `shield.block_for`.
    pub block_for: Duration,
    /// Longest block. Default 24 h. After twice as long without an offence the next one counts as the first.
    pub block_max: Duration,
}

/// What a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Requests received.
    Requests,
    /// Responses sent; `filter.status` selects.
    Responses,
    /// TLS handshakes that failed or took too long.
    TlsFailures,
    /// Requests that cannot be read or can be in two ways, broken framing, floods of HTTP/2 frames.
    ProtocolErrors,
    /// Heads, contents and readers that are slower than `[limits]` allow.
    SlowRequests,
    /// Connections let in.
    Connections,
}

/// `where` of a rule. Empty parts match everything; only requests and responses have a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Path prefix.
    pub path: Option<String>,
    /// Status codes; only with `count = "responses"`.
    pub status: Vec<u16>,
}
