//! Which origin server gets a request, and which get none for now. Decides only: connections, probes and name look-ups
//! live in `http` and `net`, which tell what they saw.

mod budget;
mod hash;
mod health;
mod jitter;
mod latency;
mod pick;
mod server;
mod settings;
mod upstream;

pub use hash::{Key, Secret};
pub use health::{Attempt, Health, Turn};
pub use jitter::{fraction, jittered};
pub use pick::{Picker, Tried, Wish};
pub use server::{InFlight, OriginServer};
pub use settings::{
    EjectSettings, Expect, HashOn, HealthSettings, Policy, ProbeKind, Protocol, ProxyProtocol,
    RetrySettings, Scheme, ServerSettings, ServiceSettings, StickySettings, UpstreamLimits,
    UpstreamSettings, UpstreamTimeouts, UpstreamTransport,
};
pub use upstream::{Terms, Upstream};

/// Most servers an upstream may have. Requests remember the servers they tried in as many bits, and a look-up table
/// names a server in a byte. Configuration refuses more; servers past it would never be picked.
pub const SERVERS_MAX: usize = 256;
