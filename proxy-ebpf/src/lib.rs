//! weir's packet filter without the kernel: the parser and the verdicts, for BPF and for the host.
//!
//! [`parse::parse`] turns a frame into facts, [`verdict::decide`] turns facts, lists, settings and the time into a
//! decision. Neither knows maps, clocks or helpers: the XDP program (`main.rs`) brings them, and host tests bring
//! stand-ins. Everything is `#[inline(always)]`: the verifier tracks packet bounds within one function only, and a
//! kernel refuses BTF of a BPF function whose signature carries an `Option` or a `Result`.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![allow(
    clippy::inline_always,
    reason = "see above: the verifier needs one function"
)]

pub mod packet;
pub mod parse;
pub mod verdict;
