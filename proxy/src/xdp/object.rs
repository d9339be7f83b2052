//! The embedded eBPF object, if this weir was built with one. `build.rs` decides.

/// The ELF object of `proxy-ebpf`, aligned to 8 bytes for the ELF parser.
#[cfg(weir_ebpf_object)]
pub(super) const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(
    env!("OUT_DIR"),
    "/weir.bpf.o"
)));

/// Built without the object.
#[cfg(not(weir_ebpf_object))]
pub(super) const OBJECT: Option<&[u8]> = None;
