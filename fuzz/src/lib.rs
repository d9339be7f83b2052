//! Properties of weir's parsers, each a function of bytes that panics where the property does not hold.
//!
//! `cargo xtask fuzz` searches for such bytes with libFuzzer; the unit ring runs every property on its corpus
//! (`corpus/NAME`), so that none of them rots. What needs a look into a module is in that module's `fuzz.rs`, behind weir's
//! feature `fuzzing`.

#[macro_use]
mod target;
mod caching;
mod files;
mod input;
mod messages;
mod operators;
mod packets;
mod routes;

#[cfg(test)]
mod tests;

pub use target::{TARGETS, Target, repeat};
