//! A shared cache (RFC 9111), first version: explicit freshness only, in memory, bounded by bytes. Decides and keeps;
//! fetching and sending are `http`'s. Not yet: validation of stale responses, ranges, collapsed requests.
//!
//! A request goes: [`must_forward`] → [`Store::lookup`] → on a hit [`StoredResponse::evaluate_conditionals`], otherwise to
//! the origin and [`storable`] → content, whole → [`Store::insert`]; an unsafe one ends in [`invalidates`].

mod conditional;
mod directives;
mod freshness;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzz;
mod key;
mod policy;
mod response;
mod status;
mod store;
mod vary;

pub use conditional::Precondition;
pub use key::Key;
pub use policy::{Times, invalidates, is_unsafe, must_forward, storable};
pub use response::{Audience, StoredResponse};
pub use status::{Forwarded, Status};
pub use store::{Lookup, Store, StoreStats};

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of stored responses, heads included. Default 256 MiB; 0 = store nothing.
    pub memory: u64,
    /// Largest stored content in bytes. Default 64 MiB, at most `memory`.
    pub max_object: u64,
}
