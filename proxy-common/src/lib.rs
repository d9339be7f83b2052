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

#[cfg(feature = "user")]
extern crate std;

pub mod addr;
#[cfg(feature = "user")]
pub mod batch;
pub mod bits;
pub mod counters;
pub mod entry;
pub mod hash;
pub mod maps;
pub mod outcome;
#[cfg(feature = "user")]
mod pod;
pub mod sample;
pub mod settings;
pub mod source;
pub mod text;
pub mod time;

pub use addr::Source;
pub use counters::{Tally, Totals};
pub use entry::{Entry, Note};
pub use outcome::{Outcome, Verdict};
pub use sample::Sample;
pub use settings::{InterfaceSlot, Policy, ShieldSettings};
pub use source::{CpuState, DropClass, PrefixState, Pressure, SourceState};
pub use text::Text;

/// Version of every layout in this crate. It is part of the pin directory's name, so a program never meets a map of
/// another layout. Raise it with any change to a type, a map's key or a map's capacity rule.
pub const ABI_VERSION: u32 = 2;
