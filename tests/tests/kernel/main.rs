//! Kernel ring: the built eBPF object, run by the kernel on one frame at a time (`BPF_PROG_TEST_RUN`), without an
//! interface and without pins.
//!
//! Needs root and the object that `cargo xtask build-ebpf` writes. Missing either is a failure, not a skip.
#![allow(
    clippy::disallowed_methods,
    reason = "loading is timed, and the fuzz has a budget of real time"
)]

mod answers;
mod eviction;
mod frames;
mod fuzz;
mod pair;
mod rules;
mod samples;
mod sets;
mod shield;
mod sockets;
#[allow(clippy::too_many_lines, reason = "a table is as long as what it lists")]
mod table;
mod variations;
mod verdicts;
mod verifier;
