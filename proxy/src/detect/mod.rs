//! What misbehaves at layer 7: counts per rule and source over a window, and says what to block. No I/O, no clock.

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
    /// Longest block. Default 24 h.
    pub block_max: Duration,
}

/// What a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Requests received.
    Requests,
    /// Responses sent; `filter.status` selects.
    Responses,
}

/// `where` of a rule. Empty parts match everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Path prefix.
    pub path: Option<String>,
    /// Status codes; only with `count = "responses"`.
    pub status: Vec<u16>,
}

/// Who is counted: IPv4 by address, IPv6 by /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(ipnet::IpNet);

impl Source {
    /// The source that `address` belongs to. IPv4-mapped IPv6 addresses count as IPv4.
    pub fn of(address: std::net::IpAddr) -> Self {
        let _ = address;
        todo!()
    }

    /// What to block to stop it: an IPv4 /32 or an IPv6 /64.
    pub fn network(self) -> ipnet::IpNet {
        self.0
    }
}

/// What a worker tells detection of one finished request.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Request path, without query.
    pub path: &'a str,
    /// Status sent to the client.
    pub status: u16,
}

/// All rules, compiled. Immutable; part of the snapshot that workers read.
#[derive(Debug, Default)]
pub struct Rules {}

impl Rules {
    /// Compiles `rules`.
    pub fn new(rules: Vec<RuleSettings>) -> Self {
        let _ = rules;
        todo!()
    }

    /// The settings, in file order: a rule's index is its place here.
    pub fn settings(&self) -> &[RuleSettings] {
        todo!()
    }

    /// Indices of the rules that count `event`.
    pub fn matching<'a>(&'a self, event: &'a Event<'a>) -> impl Iterator<Item = usize> + 'a {
        let _ = event;
        std::iter::empty()
    }
}

/// What one worker counted since it last reported: bounded, merged by (rule, source).
#[derive(Debug)]
pub struct Batch {}

impl Batch {
    /// Empty. Holds at most `capacity` different (rule, source) pairs.
    pub fn new(capacity: usize) -> Self {
        let _ = capacity;
        todo!()
    }

    /// Counts one hit. When the batch is full and the pair is new, the hit is counted as overflow instead.
    pub fn add(&mut self, rule: usize, source: Source) {
        let _ = (rule, source);
        todo!()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// Takes (rule, source, hits) out, leaving the batch empty but with its memory.
    pub fn drain(&mut self) -> Vec<(usize, Source, u32)> {
        todo!()
    }

    /// Hits that found the batch full, since the start.
    pub fn overflow(&self) -> u64 {
        todo!()
    }
}

/// A source broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDecision {
    /// Rule name.
    pub rule: String,
    /// What to block.
    pub network: ipnet::IpNet,
    /// For how long: doubled on each repeat, up to `block_max`.
    pub duration: Duration,
    /// For the operator: `42 requests in 10s, limit 20`. At most 48 bytes.
    pub reason: String,
}

/// Counts over windows. Lives on the control thread. Memory is bounded: 65,536 sources a rule and window half, and
/// 65,536 remembered offenders.
#[derive(Debug)]
pub struct Detector {}

impl Detector {
    /// Nothing counted yet.
    pub fn new(rules: &Rules, now: std::time::Instant) -> Self {
        let _ = (rules, now);
        todo!()
    }

    /// Adds `hits` of `source` under rule `rule`. `Some` when that crosses the limit; then the source's count starts
    /// anew, so that each offence is reported once.
    pub fn observe(
        &mut self,
        rule: usize,
        source: Source,
        hits: u32,
        now: std::time::Instant,
    ) -> Option<BlockDecision> {
        let _ = (rule, source, hits, now);
        todo!()
    }

    /// Hits that were not counted because a window was full.
    pub fn untracked(&self) -> u64 {
        todo!()
    }
}
