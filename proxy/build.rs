//! Puts the eBPF object where `xdp::object` can embed it.
//!
//! It never builds the object (that takes another toolchain; `cargo xtask build-ebpf` does) and never fails for want of
//! it: `cargo check` and editors must work in a fresh clone. A weir built without the object says so when it is asked
//! to attach.

use std::env;
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rustc-check-cfg=cfg(weir_ebpf_object)");
    println!("cargo:rerun-if-env-changed=WEIR_EBPF_OBJECT");
    if env::var_os("CARGO_FEATURE_EBPF").is_none() {
        return Ok(());
    }

    let object = match env::var_os("WEIR_EBPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../target/ebpf/weir.bpf.o"),
    };
    println!("cargo:rerun-if-changed={}", object.display());
    if !object.is_file() {
        println!(
            "cargo:warning=no eBPF object at {}: this weir will be built without its packet filter; \
             make the object with `cargo xtask build-ebpf`",
            object.display()
        );
        return Ok(());
    }

    let embedded = PathBuf::from(env::var("OUT_DIR")?).join("weir.bpf.o");
    std::fs::copy(&object, embedded)
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    println!("cargo:rustc-cfg=weir_ebpf_object");
    Ok(())
}
