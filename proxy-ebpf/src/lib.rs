//! weir's packet filter without the kernel: the parser and the verdicts, for BPF and for the host.
//!
//! [`parse`] turns a frame into facts, [`verdict::decide`] turns a frame, what the kernel remembers ([`world::World`]), the
//! settings and the time into a decision. Neither knows maps, clocks or helpers: the XDP program (`main.rs`) brings them,
//! and host tests bring stand-ins. Everything is `#[inline(always)]`: the verifier tracks packet bounds within one function
//! only, and a kernel refuses BTF of a BPF function whose signature carries an `Option` or a `Result`.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![cfg_attr(
    target_arch = "bpf",
    feature(asm_experimental_arch, core_intrinsics),
    allow(
        internal_features,
        reason = "atomic operations: core::sync::atomic has none for BPF"
    )
)]
#![allow(
    clippy::inline_always,
    reason = "see above: the verifier needs one function"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "ports, lengths and hashes are cut to the width that a header, a cell or a register has; each cut says where from"
)]

#[cfg(any(test, feature = "host"))]
pub mod host;
pub mod opaque;
pub mod packet;
pub mod parse;
pub mod shared;
pub mod track;
pub mod verdict;
pub mod world;
