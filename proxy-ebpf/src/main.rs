//! The XDP program `weir`: parse, decide, count, sample, act. Exists for BPF only; on the host this is an empty binary,
//! so that the workspace checks and builds as a whole.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod program;
#[cfg(target_arch = "bpf")]
mod sample;
#[cfg(target_arch = "bpf")]
mod stats;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
