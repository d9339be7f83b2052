//! Kernel ring: the built eBPF object, run by the kernel on one frame at a time (`BPF_PROG_TEST_RUN`), without an
//! interface and without pins.
//!
//! Needs root and the object that `cargo xtask build-ebpf` writes. Missing either is a failure, not a skip.

mod frames;
mod rules;
mod samples;
mod shield;
mod table;
mod verdicts;
