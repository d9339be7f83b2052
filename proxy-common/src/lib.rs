//! Types that the XDP program and user space share: everything that lies in a pinned map or a ring buffer.
//!
//! All of it is `#[repr(C)]` with fixed-width integers, no implicit padding and asserted sizes. Addresses are byte
//! arrays in network order, so endianness never leaves this crate. Kernel time is `CLOCK_MONOTONIC` in nanoseconds
//! and ends in `_ns`. No decisions live here.
#![no_std]
#![allow(
    clippy::inline_always,
    reason = "the XDP program calls these, and the verifier tracks values within one function only"
)]

pub mod addr;
pub mod counters;
pub mod entry;
pub mod maps;
pub mod outcome;
#[cfg(feature = "user")]
mod pod;
pub mod sample;
pub mod settings;
pub mod text;

pub use addr::Source;
pub use counters::{SourceCounters, Tally, Totals};
pub use entry::Entry;
pub use outcome::{Outcome, Verdict};
pub use sample::Sample;
pub use settings::{InterfaceSlot, Policy, ShieldSettings};
pub use text::Text;

/// Version of every layout in this crate. It is part of the pin directory's name, so a program never meets a map of
/// another layout. Raise it with any change to a type, a map's key or a map's capacity rule.
pub const ABI_VERSION: u32 = 1;
