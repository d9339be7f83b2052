//! The target `target`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("target");
