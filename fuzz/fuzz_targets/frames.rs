//! The target `frames`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("frames");
